//! Finding peers while the node runs: `--discovery` and `--bootnode`.

use std::net::SocketAddr;
use std::sync::Arc;

use alloy_eip2124::{ForkHash, ForkId};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use trunkline::discovery::{
    Bootnode, DialConfig, DialSchedule, Dials, Discovery, DiscoveryConfig, DiscoveryError, ForkEntry, Found,
    Node, feed,
};
use trunkline::protocols::eth::Chain;
use trunkline::sync::MemoryStore;
use trunkline::transport::addr::Endpoint;
use trunkline::transport::rlpx::NodeKey;
use trunkline::{Direction, Keypair, Network, PeerAddr, PeerId};

use super::event::Event;
use crate::discover;
use crate::failure::Failure;

/// At most one in so many slots is dialled from what discovery finds; static peers are beside them.
pub(super) const DIAL_RATIO: usize = 3;

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

/// Running discovery, and the task that dials what it finds.
pub(super) struct Discovering {
    discovery: Discovery,
    feeding: JoinHandle<()>,
    chain: Arc<MemoryStore>,
    told: ForkEntry,
}

impl DiscoveryOptions {
    /// Starts, if it is wanted.
    pub(super) async fn start(
        &self,
        network: &Network,
        identity: Keypair,
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
        let key = NodeKey::of(&identity)
            .ok_or_else(|| Failure::unusable("--discovery needs a secp256k1 identity: see --key"))?;
        let fork = fork_of(&*chain);
        let mut config = DiscoveryConfig::new(listen);
        config.tcp = rlpx.map(|addr| addr.port());
        config.fork = Some(fork);
        config.bootnodes.clone_from(&self.bootnodes);
        let discovery = Discovery::start(config, key).await.map_err(|error| match error {
            DiscoveryError::Bind { .. } => Failure::unusable(format!("--discovery {error}")),
            error => Failure::failed(error),
        })?;
        let slots = DialConfig::for_slots(network.config().slots.peers_max, DIAL_RATIO);
        let schedule = DialSchedule::new(slots, network.id());
        let (finds, ours) = (discovery.finds(), chain.clone());
        let accept = move |found: &Found| found.is_alive && is_ours(&*ours, found);
        let feeding = tokio::spawn(feed(finds, Arc::new(Dialler(network.clone())), schedule, accept));
        Ok(Some(Discovering { discovery, feeding, chain, told: fork }))
    }
}

impl Discovering {
    /// What is told of it.
    pub(super) fn event(&self) -> Event {
        let (node, record) = (self.discovery.local_node(), self.discovery.local_record());
        Event::Discovery { enode: node.to_string(), enr: record.to_base64(), udp: node.udp }
    }

    /// The head has moved, perhaps past a fork.
    pub(super) async fn on_head(&mut self) {
        let fork = fork_of(&*self.chain);
        if fork != self.told {
            self.told = fork;
            self.discovery.set_fork(fork).await;
        }
    }

    /// Ends both.
    pub(super) async fn shutdown(self) {
        self.feeding.abort();
        self.discovery.shutdown().await;
    }
}

fn fork_of(chain: &dyn Chain) -> ForkEntry {
    let now = chain.status();
    let ForkId { hash: ForkHash(hash), next } = chain.spec().fork_id(now.latest.number, now.latest_time);
    ForkEntry { hash, next }
}

/// Whether a node may be on our chain. One whose record says nothing of that is tried.
fn is_ours(chain: &dyn Chain, found: &Found) -> bool {
    let told = found.record.as_deref().and_then(ForkEntry::of);
    told.is_none_or(|fork| {
        let (now, theirs) = (chain.status(), ForkId { hash: ForkHash(fork.hash), next: fork.next });
        chain.spec().check_fork_id(now.latest.number, now.latest_time, theirs)
    })
}

struct Dialler(Network);

impl Dials for Dialler {
    fn dial(&self, node: Node) -> BoxFuture<'static, bool> {
        let network = self.0.clone();
        async move {
            let Some(addr) = node.socket_addr() else { return false };
            let addr = PeerAddr { endpoint: Endpoint::Rlpx(addr), peer: Some(node.id.peer_id()) };
            network.dial(addr).await.is_ok()
        }
        .boxed()
    }

    fn connected(&self) -> Vec<(PeerId, Direction)> {
        self.0.peers().iter().map(|peer| (peer.id(), peer.direction())).collect()
    }
}
