//! The driver under a paused clock.
