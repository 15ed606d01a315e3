//! Finding nodes: discv4, discv5, static lists, and whom to dial of those found.
//!
//! Owns: the UDP socket, the table of nodes, our record, the dial schedule. Never: a connection to a
//! peer; whom the schedule chooses is dialled by whoever hands in a [`Dials`](feed::Dials). Pure are
//! [`packet`], [`table`], [`bonds`], [`limiter`], [`lookup`], [`v4`] and [`dial`]; [`service`] and
//! [`feed`] are the tasks that carry out what those decide.
//!
//! ```text
//! socket ─ service ─┬─ v4 (packet, limiter, bonds, table, lookup) ─┐
//!                   └─ discv5 (its crate) ─────────────────────────┴─ Found ─ feed ─ dial ─ Dials
//! static list ──────────────────────────────────────────────────────────────┘
//! ```

pub mod bonds;
pub mod dial;
pub mod dice;
pub mod feed;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod limiter;
pub mod lookup;
pub mod node;
pub mod packet;
#[cfg(test)]
pub(crate) mod packet_vectors;
pub mod record;
pub mod service;
pub mod source;
pub mod table;
pub mod v4;
mod v5;

pub use dial::{DialConfig, DialSchedule};
pub use feed::{Dials, feed};
pub use node::{Bootnode, BootnodeError, Node};
pub use record::ForkEntry;
pub use service::{Discovery, DiscoveryConfig, DiscoveryError};
pub use source::{AllSources, Finds, Found, NodeSource, StaticNodes, Via};
pub use v5::V5Error;
