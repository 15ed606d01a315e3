//! eth/68, eth/69 and eth/70: handshake, questions and answers, announcements.
//!
//! Owns: the messages of eth, what we answer, who our eth peers are and what they claim. Never: a
//! socket, a session, a verdict about a chain. Data goes from the session through [`Eth`] to the
//! host: announcements as [`EthEvent`]s, answers to the caller of
//! [`GetBlockHeaders`] and its like, questions to the [`Chain`].

pub mod chain;
mod events;
#[cfg(test)]
pub(crate) mod fixtures;
mod gossip;
mod message;
mod peers;
mod query;
pub mod receipts;
mod request;
mod serve;
mod service;
mod status;
#[cfg(test)]
mod vectors;

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
pub use query::{GetBlockBodies, GetBlockHeaders, GetPooledTransactions, GetReceipts, HashOrNumber, Query};
pub use request::{ListRequest, NAME, Raw, ReceiptLists, Receipts};
pub use service::{Eth, capability};
pub use status::{Status, StatusClaim};
