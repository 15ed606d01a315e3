//! Unsigned varints, minimal and at most 9 bytes.
