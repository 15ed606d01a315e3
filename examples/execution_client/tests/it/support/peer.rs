//! A peer in the test's process: a network that serves a chain.

use std::sync::Arc;

use tokio::sync::watch;
use trunkline::protocols::Exchange;
use trunkline::protocols::eth::{Chain, Eth};
use trunkline::{Config, Keypair, Network, NetworkEvent, PeerAddr};

use super::liar::{LyingChain, Mute};
use super::within;

/// Which wire a peer listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    Libp2p,
    Rlpx,
}

pub(crate) struct Peer {
    pub(crate) network: Network,
    pub(crate) eth: Arc<Eth>,
}

impl Peer {
    /// Serves this chain.
    pub(crate) async fn start(chain: Arc<dyn Chain>, listen: Listen) -> Self {
        let eth = Eth::new(chain);
        Self { network: network(eth.clone(), listen).await, eth }
    }

    /// Claims this chain and answers nothing. Tells when something is asked.
    pub(crate) async fn mute(chain: Arc<dyn Chain>, listen: Listen) -> (Self, watch::Receiver<bool>) {
        let eth = Eth::new(chain);
        let asked = watch::Sender::new(false);
        let heard = asked.subscribe();
        let mute = Arc::new(Mute { eth: eth.clone(), asked });
        (Self { network: network(mute, listen).await, eth }, heard)
    }

    /// Serves this chain with its lie. Tells when that was told.
    pub(crate) async fn lying(chain: LyingChain, listen: Listen) -> (Self, watch::Receiver<bool>) {
        let told = chain.told();
        (Self::start(Arc::new(chain), listen).await, told)
    }

    pub(crate) fn addr(&self) -> PeerAddr {
        self.network.listening()[0].clone()
    }

    pub(crate) fn id(&self) -> String {
        self.network.id().to_string()
    }

    /// Connects to a client.
    pub(crate) async fn dial(&self, addr: &PeerAddr) {
        within("a connection", self.network.dial(addr.clone())).await.expect("connects");
    }

    /// Waits until a session has ended, since the start.
    pub(crate) async fn left(&self) {
        let mut events = self.network.events();
        while let Some(event) = events.next().await {
            if matches!(event, NetworkEvent::PeerDown { .. }) {
                return;
            }
        }
    }

    pub(crate) async fn over(self) {
        within("the end of a peer", self.network.shutdown()).await;
    }
}

async fn network(exchange: Arc<dyn Exchange>, listen: Listen) -> Network {
    let listen = match listen {
        Listen::Libp2p => "/ip4/127.0.0.1/tcp/0",
        Listen::Rlpx => "/ip4/127.0.0.1/tcp/0/rlpx",
    };
    let config =
        Config::builder().listen(listen.parse().expect("an address")).build().expect("a configuration");
    let starting = Network::builder(config, Keypair::generate_secp256k1()).exchange(exchange).start();
    starting.await.expect("starts")
}
