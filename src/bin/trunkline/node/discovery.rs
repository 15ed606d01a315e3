//! Finding peers while the node runs: `--discovery` and `--bootnode`.

use std::net::SocketAddr;
use std::sync::Arc;

use trunkline::discovery::{Bootnode, DiscoveryConfig, DiscoveryError};
use trunkline::sync::MemoryStore;
use trunkline::transport::addr::Endpoint;
use trunkline::{Keypair, Network, discovering};

use super::event::Event;
use crate::discover;
use crate::failure::Failure;

/// How to be found and to find others.
#[derive(Debug, clap::Args)]
pub(super) struct DiscoveryOptions {
    /// Finds peers over discv4 and discv5 from this UDP address, such as /ip4/0.0.0.0/udp/30303, and
    /// dials some of them. Port 0 picks one. Default: no discovery.
    ///
    /// Without an address it is where the first RLPx listener is. The event discovery tells our enode
    /// and record. Needs a secp256k1 identity.
    #[arg(long, value_name = "ADDR", value_parser = discover::udp)]
    discovery: Option<Option<SocketAddr>>,
    /// A node that discovery starts from; repeatable: enode://ID@IP:PORT[?discport=PORT] or enr:...
    #[arg(long = "bootnode", value_name = "ENODE|ENR", requires = "discovery")]
    bootnodes: Vec<Bootnode>,
}

/// Running discovery.
pub(super) struct Discovering(discovering::Discovering);

impl DiscoveryOptions {
    /// Starts, if it is wanted.
    pub(super) async fn start(
        &self,
        network: &Network,
        identity: &Keypair,
        chain: Arc<MemoryStore>,
    ) -> Result<Option<Discovering>, Failure> {
        let Some(listen) = self.discovery else { return Ok(None) };
        let rlpx = network.listening().into_iter().find_map(|addr| match addr.endpoint {
            Endpoint::Rlpx(addr) => Some(addr),
            _ => None,
        });
        let listen = listen.or(rlpx).ok_or_else(|| {
            Failure::unusable("--discovery needs a UDP address where no --listen is of RLPx")
        })?;
        let mut config = DiscoveryConfig::new(listen);
        config.bootnodes.clone_from(&self.bootnodes);
        let started = discovering::Discovering::start(network, identity, chain, config).await;
        started.map(|running| Some(Discovering(running))).map_err(|error| match error {
            DiscoveryError::Bind { .. } => Failure::unusable(format!("--discovery {error}")),
            DiscoveryError::Identity => Failure::unusable(format!("--discovery: {error}: see --key")),
            error => Failure::failed(error),
        })
    }
}

impl Discovering {
    /// What is told of it.
    pub(super) fn event(&self) -> Event {
        let discovery = self.0.discovery();
        let (node, record) = (discovery.local_node(), discovery.local_record());
        Event::Discovery { enode: node.to_string(), enr: record.to_base64(), udp: node.udp }
    }

    /// The head has moved, perhaps past a fork.
    pub(super) async fn on_head(&mut self) {
        self.0.on_head().await;
    }

    /// Ends it.
    pub(super) async fn shutdown(self) {
        self.0.shutdown().await;
    }
}
