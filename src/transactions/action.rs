//! What comes out of the plan: orders to the driver.

use std::fmt;

use alloy_primitives::B256;

use crate::ids::SessionId;
use crate::protocols::eth::{PooledHash, PooledTransaction};

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask a peer, and bring the outcome to `on_answer`. One request per peer is in flight.
    Ask { session: SessionId, hashes: Vec<B256> },
    /// Give these to the pool, and bring what it says to `on_verdicts`. One lot at a time.
    Add(Vec<PooledTransaction>),
    /// Send the same to these peers.
    Tell { to: Vec<SessionId>, news: News },
    /// End a session.
    Blame { session: SessionId, why: Offence },
}

/// What peers are told, as much as one message has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    Hashes(Vec<PooledHash>),
    Whole(Vec<PooledTransaction>),
}

/// What a peer did that no honest one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offence {
    Kind,
    Size,
    NotAsked,
    Malformed,
    Invalid,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "a transaction of another type than announced",
            Self::Size => "a transaction of another size than announced",
            Self::NotAsked => "a transaction that was not asked for",
            Self::Malformed => "an answer that cannot be read",
            Self::Invalid => "an invalid transaction",
        })
    }
}
