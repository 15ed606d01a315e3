//! Finding nodes: discv4, discv5, static lists, and whom to dial of those found.
//!
//! Owns: the UDP socket, the table of nodes, our record, the dial schedule. Never: a connection to a
//! peer; whom the schedule chooses is dialled by whoever hands in a [`Dials`]. Pure are
//! [`packet`], [`table`], [`bonds`], [`limiter`], [`lookup`], [`v4`] and [`dial`]; [`service`] and
//! [`mod@feed`] are the tasks that carry out what those decide.
//!
//! ```text
//! socket ─ service ─┬─ v4 (packet, limiter, bonds, table, lookup) ─┐
//!                   └─ discv5 (its crate) ─────────────────────────┴─ Found ─ feed ─ dial ─ Dials
//! static list ──────────────────────────────────────────────────────────────┘
//! ```

pub mod bonds;
pub mod config;
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

pub use config::{DiscoveryConfig, DiscoveryError};
pub use dial::{DialConfig, DialSchedule};
pub use feed::{Dials, feed};
pub use node::{Bootnode, BootnodeError, Node};
pub use record::ForkEntry;
pub use service::Discovery;
pub use source::{AllSources, Finds, Found, NodeSource, StaticNodes, Via};
pub use v5::V5Error;

#[cfg(test)]
mod tests {
    /// What decides knows no runtime, no clock and no chance but what it is handed.
    #[test]
    fn the_pure_files_mention_no_runtime_clock_or_randomness() {
        for (name, text) in [
            ("bonds", include_str!("bonds.rs")),
            ("dial", include_str!("dial.rs")),
            ("dice", include_str!("dice.rs")),
            ("limiter", include_str!("limiter.rs")),
            ("lookup", include_str!("lookup.rs")),
            ("node", include_str!("node.rs")),
            ("packet", include_str!("packet.rs")),
            ("record", include_str!("record.rs")),
            ("table", include_str!("table.rs")),
            ("v4", include_str!("v4/mod.rs")),
            ("asking", include_str!("v4/asking.rs")),
            ("searching", include_str!("v4/searching.rs")),
        ] {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in ["tokio", "Instant::now", "SystemTime", "rand::", "UdpSocket", "std::thread"] {
                assert!(!code.contains(word), "{name} must not mention {word}");
            }
        }
    }
}
