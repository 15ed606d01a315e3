//! What discovery is to do, and why it may refuse.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::node::Bootnode;
use super::record::ForkEntry;
use super::v4::V4Config;
use super::v5::V5Error;

/// What discovery does and where.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DiscoveryConfig {
    /// The UDP address to bind; port 0 picks one.
    pub listen: SocketAddr,
    /// The address that others reach us at, if it is not the one we bind. Where neither is known,
    /// our record names none until discv5 has learnt it from others.
    pub external_ip: Option<IpAddr>,
    /// The port of our RLPx listener, if there is one.
    pub tcp: Option<u16>,
    /// The chain that our record names.
    pub fork: Option<ForkEntry>,
    /// Nodes to start from.
    pub bootnodes: Vec<Bootnode>,
    /// Speaks discv4.
    pub v4: bool,
    /// Speaks discv5.
    pub v5: bool,
    /// Tells nodes that were only named by others, too, and asks every one of them.
    pub crawl: bool,
    /// The shortest pause between two searches that somebody waits for.
    pub search_every: Duration,
    /// Bounds of discv4.
    pub v4_config: V4Config,
}

impl DiscoveryConfig {
    /// Both protocols on this address, without a node to start from.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            external_ip: None,
            tcp: None,
            fork: None,
            bootnodes: Vec::new(),
            v4: true,
            v5: true,
            crawl: false,
            search_every: Duration::from_secs(4),
            v4_config: V4Config::default(),
        }
    }

    /// Set to find as many nodes as possible in a short time.
    pub fn crawling(mut self) -> Self {
        self.crawl = true;
        self.search_every = Duration::from_millis(100);
        self.v4_config.settle = Duration::ZERO;
        self.v4_config.records_every = Duration::from_millis(100);
        self.v4_config.retry_every = Duration::from_secs(1);
        self
    }
}

/// Why discovery does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The address cannot be bound.
    #[error("{addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Neither protocol is wanted.
    #[error("neither discv4 nor discv5 is wanted")]
    Nothing,
    /// The identity has another curve than the one that devp2p knows.
    #[error("it needs a secp256k1 identity")]
    Identity,
    /// The record cannot be signed.
    #[error("our record cannot be signed: {0}")]
    Record(String),
    /// discv5 does not run.
    #[error(transparent)]
    V5(#[from] V5Error),
}
