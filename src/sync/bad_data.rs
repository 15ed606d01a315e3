//! What can be wrong with what a peer sent.

use alloy_primitives::B256;

use crate::chain::VerifyError;

/// What is wrong with what a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadData {
    /// A header or body that is malformed, or does not follow or fit what it should.
    #[error(transparent)]
    Block(#[from] VerifyError),
    /// Another header than the one whose hash was asked for.
    #[error("header {got} where {asked} was asked for")]
    WrongHash { asked: B256, got: B256 },
    /// Headers that start elsewhere.
    #[error("headers from {got} where {asked} was asked for")]
    WrongStart { asked: u64, got: u64 },
    /// More than was asked for.
    #[error("{got} items where {asked} were asked for")]
    Excess { got: usize, asked: usize },
    /// A body that belongs to none of the blocks asked for, or comes out of order.
    #[error("a body that belongs to none of the blocks asked for")]
    StrayBody,
    /// Receipts that belong to none of the blocks asked for, or come out of order.
    #[error("receipts that belong to none of the blocks asked for")]
    StrayReceipts,
    /// Receipts that are said to go on, without any.
    #[error("a part of a block's receipts without a receipt")]
    NoMoreReceipts,
    /// A header that the peer itself does not build on.
    #[error("its headers contradict each other at block {number}")]
    Contradiction { number: u64 },
    /// A chain that does not start at ours.
    #[error("its chain does not start at block {number} of ours")]
    OtherChain { number: u64 },
    /// A header that is not the trusted one, at its number.
    #[error("block {number} is not the trusted head")]
    NotTrusted { number: u64 },
    /// A block that the host has found to be invalid.
    #[error("block {number} was rejected")]
    Rejected { number: u64 },
    /// An answer that could not be decoded, or of the wrong kind.
    #[error("an answer that cannot be read")]
    Unreadable,
}
