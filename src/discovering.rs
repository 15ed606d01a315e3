//! Discovery at work for a [`Network`]: what is found is dialled, what our chain passes is told.

use std::fmt;
use std::sync::Arc;

use alloy_eip2124::{ForkHash, ForkId};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

use crate::discovery::{
    DialConfig, DialSchedule, Dials, Discovery, DiscoveryConfig, DiscoveryError, ForkEntry, Found, Node, feed,
};
use crate::ids::{Direction, Keypair, PeerId};
use crate::network::Network;
use crate::protocols::eth::Chain;
use crate::transport::addr::{Endpoint, PeerAddr};
use crate::transport::rlpx::NodeKey;

/// At most one in so many slots is dialled from what discovery finds; static peers are beside them.
pub const DIAL_RATIO: usize = 3;

/// Running discovery, and the task that dials what it finds.
///
/// One in [`DIAL_RATIO`] of the network's slots is filled with nodes that answer and whose record
/// does not name another chain. Dropping it ends the task; [`shutdown`](Self::shutdown) ends
/// discovery as well.
pub struct Discovering {
    discovery: Discovery,
    _feeding: AbortOnDropHandle<()>,
    chain: Arc<dyn Chain>,
    told: ForkEntry,
}

impl Discovering {
    /// Starts discovery under the identity of the network, which has to be secp256k1.
    ///
    /// The port of the first RLPx listener and the fork id at the chain's head are put into
    /// `config`, unless it names others.
    pub async fn start(
        network: &Network,
        identity: &Keypair,
        chain: Arc<dyn Chain>,
        mut config: DiscoveryConfig,
    ) -> Result<Self, DiscoveryError> {
        let key = NodeKey::of(identity).ok_or(DiscoveryError::Identity)?;
        let rlpx = network.listening().into_iter().find_map(|addr| match addr.endpoint {
            Endpoint::Rlpx(addr) => Some(addr.port()),
            _ => None,
        });
        let fork = config.fork.unwrap_or_else(|| fork_of(&*chain));
        config.tcp = config.tcp.or(rlpx);
        config.fork = Some(fork);
        let discovery = Discovery::start(config, key).await?;
        let slots = DialConfig::for_slots(network.config().slots.peers_max, DIAL_RATIO);
        let schedule = DialSchedule::new(slots, network.id());
        let (finds, ours) = (discovery.finds(), chain.clone());
        let accept = move |found: &Found| found.is_alive && is_ours(&*ours, found);
        let feeding = tokio::spawn(feed(finds, Arc::new(Dialler(network.clone())), schedule, accept));
        Ok(Self { discovery, _feeding: AbortOnDropHandle::new(feeding), chain, told: fork })
    }

    /// The service behind it: our record, our node, what it finds.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// To be called when the head has moved: our record is made anew if a fork was passed.
    pub async fn on_head(&mut self) {
        let fork = fork_of(&*self.chain);
        if fork != self.told {
            self.told = fork;
            self.discovery.set_fork(fork).await;
        }
    }

    /// Ends both.
    pub async fn shutdown(self) {
        self.discovery.shutdown().await;
    }
}

impl fmt::Debug for Discovering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovering").field("told", &self.told).finish_non_exhaustive()
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
