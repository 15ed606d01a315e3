//! eth/68, eth/69 and eth/70: handshake, questions and answers, announcements.
//!
//! Owns: the messages of eth, what we answer, who our eth peers are and what they claim. Never: a
//! socket, a session, a verdict about a chain. Data goes from the session through [`Eth`] to the
//! host: announcements as [`EthEvent`]s, answers to the caller of
//! [`GetBlockHeaders`] and its like, questions to the [`Chain`].
//!
//! # What is spoken
//!
//! The messages are devp2p's (caps/eth.md), the same on either wire: over libp2p as `/eth/70/1.0.0`,
//! `/eth/69/1.0.0` and `/eth/68/1.0.0`, over RLPx as the capability `eth`, of which the highest
//! version that both sides have is spoken. A body is the snappy block of the message's RLP; extra
//! elements in a list are malformed, as is anything behind it.
//!
//! | | eth/68 | eth/69 | eth/70 |
//! |---|---|---|---|
//! | Status | total difficulty, head | range of blocks, head | as 69 |
//! | BlockRangeUpdate | none | when the head rose by 32 or moved back | as 69 |
//! | receipts | consensus form | flat: no bloom, the type as a number | as 69 |
//! | GetReceipts | `[id, [hash, ..]]` | as 68 | `[id, first index, [hash, ..]]` |
//! | Receipts | `[id, [list, ..]]` | as 68 | `[id, last incomplete, [list, ..]]` |
//!
//! - Status is the first message of each side and comes once; nothing counts before it. One that
//!   disagrees about version, network, genesis, fork id (EIP-2124, EIP-6122), or whose range ends
//!   before it starts, ends the session, each with a reason of its own.
//! - Our Status says genesis, 0 to 0, until there is more: `latest` is the highest block whose header
//!   and body are verified, and nothing above it is served.
//! - NewBlock and NewBlockHashes are taken in every version, on either wire, as long as our head is
//!   before the merge: that is this crate's profile, devp2p has them up to eth/68. Past the merge they
//!   are a breach.
//! - Answers hold at most 1,024 items, end with the one that brings them to 2 MiB, and stay below
//!   10 MiB inflated; what is larger by itself goes alone (up to eth/69) or in parts (from eth/70).
//!   Bodies and receipts end before the first block that we do not have; transactions that are not in
//!   the pool are left out.
//! - A message that claims more than 16 MiB inflated is refused before it is inflated. An answer may
//!   be shorter than its question asked for, or empty; more items than that are the peer's fault.

mod builder;
pub mod chain;
mod events;
#[cfg(test)]
pub(crate) mod fixtures;
mod gossip;
mod message;
mod peers;
mod pooled;
mod query;
pub mod receipts;
mod request;
mod serve;
mod service;
mod status;
#[cfg(test)]
mod vectors;

pub use builder::EthBuilder;
pub use chain::{Chain, ChainStatus};
pub use events::{EVENT_BYTES_MAX, EVENTS_MAX, EthEvent, EthEvents};
pub use gossip::{
    BlockRangeUpdate, NewBlock, NewBlockHashes, NewPooledTransactionHashes, PooledHash, Transactions,
};
pub use message::{
    ETH_69, ETH_70, HEADER_BYTES_MIN, INFLATED_BYTES_MAX, ITEMS_MAX, LOG_BYTES_MIN, MESSAGE_BYTES_MAX,
    TRANSACTION_BYTES_MIN, Transaction, WITHDRAWAL_BYTES_MIN, classify, code, inflate, payload,
};
pub use peers::{Claim, EthPeer, PEERS_MAX};
pub use pooled::{BLOB_KIND, PooledSource, PooledTransaction, RawTransactions};
pub use query::{GetBlockBodies, GetBlockHeaders, GetPooledTransactions, GetReceipts, HashOrNumber, Query};
pub use request::{ListRequest, NAME, Raw, ReceiptLists, Receipts};
pub use service::{Eth, capability};
pub use status::{Status, StatusClaim};
