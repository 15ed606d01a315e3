//! RLP on byte slices, without allocating.
