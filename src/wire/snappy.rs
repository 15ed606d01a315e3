//! Snappy blocks, bounded by their declared length.
