//! What a round of writing came to, whichever way an exchange is written.

use crate::machine::outbox::{Rank, Tag};

/// What a round of writing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drained {
    /// The substream took bytes.
    pub(super) progress: bool,
    /// Bytes remain that the substream does not take now; it will wake us.
    pub(super) blocked: bool,
}

/// What a writer tells whoever watches, of a tagged message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) rank: Rank,
    pub(super) tag: Tag,
    /// It was cut to its end since the last call.
    pub(super) cut: bool,
    /// The substream took its last byte.
    pub(super) written: bool,
}
