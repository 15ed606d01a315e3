//! Trace files, line by line.
