//! What goes into the plan and what comes out of it: questions, answers, orders to the driver.

use std::time::Duration;

use alloy_primitives::{B256, U256};
use bytes::Bytes;

use super::bad_data::BadData;
use super::check::Check;
use super::fork::Stored;
use super::receipt_window::Scan;
use super::requests::Ticket;
use super::source::HeadersQuery;
use crate::chain::{BlockRef, RawBlock};
use crate::ids::SessionId;
use crate::protocols::eth::ReceiptLists;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    Headers(HeadersQuery),
    Bodies(Vec<B256>),
    /// Of the first block from this index on.
    Receipts {
        hashes: Vec<B256>,
        first_index: u64,
    },
}

/// What a peer answered: one item per header, body or block of receipts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) items: Vec<Bytes>,
    /// The last item is the receipts of a block that has more.
    pub(super) last_incomplete: bool,
}

impl From<Vec<Bytes>> for Answer {
    fn from(items: Vec<Bytes>) -> Self {
        Self { items, last_incomplete: false }
    }
}

impl From<ReceiptLists> for Answer {
    fn from(lists: ReceiptLists) -> Self {
        Self { items: lists.blocks, last_incomplete: lists.last_incomplete }
    }
}

/// What the driver has to do.
#[derive(Debug)]
pub(super) enum Action {
    /// Ask a peer, and bring the outcome to `on_answer`.
    Ask { ticket: Ticket, session: SessionId, query: Query, timeout: Duration },
    /// Drop a request; nobody waits for its outcome.
    Cancel(Ticket),
    /// Verify, and bring the verdict to `on_verified`.
    Verify(Ticket, Check),
    /// Drop what is above this block if one is given, append these, then `on_stored`. There is one
    /// delivery at a time.
    Deliver { truncate: Option<u64>, blocks: Vec<RawBlock> },
    /// Drop what is above this block, then `on_moved`. There is no delivery meanwhile.
    Drop { above: u64 },
    /// Look which receipts of these blocks the store misses, then `on_found`.
    FindReceipts(Scan),
    /// Add these to the store, then `on_receipts_stored`. One delivery at a time.
    DeliverReceipts(Vec<(B256, Bytes)>),
    /// End a session over bad data.
    Blame { session: SessionId, why: BadData },
    /// The head of the store is the highest block that any peer claims.
    HeadReached(BlockRef),
    /// The trusted head is stored: there is nothing more to do.
    Finished(BlockRef),
    /// The host rejected a block that the trusted head builds on.
    TrustedRejected { number: u64 },
    /// The trusted head is not above our head: there is nothing that could be done.
    Impossible { number: u64 },
}

/// What the store holds when the plan is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    /// The number of its lowest block.
    pub(super) first: u64,
    /// Its head; nothing while an anchor's block is missing.
    pub(super) head: Option<BlockRef>,
    /// The total difficulty of the head.
    pub(super) total_difficulty: U256,
    /// The last blocks, lowest first, the head included.
    pub(super) recent: Vec<Stored>,
    /// The number of the trusted head, if it is there.
    pub(super) trusted: Option<u64>,
}
