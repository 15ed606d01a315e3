//! A node under attack, an honest peer beside it, and liars.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::io::AsyncWriteExt;
use tokio_util::compat::TokioAsyncReadCompatExt;
use trunkline::disconnect::Disconnected;
use trunkline::testing::raw_peer::{MULTISTREAM, RawConnection, proposal};
use trunkline::transport::addr::Endpoint;
use trunkline::transport::substream::Substream;
use trunkline::{Config, Events, Keypair, Network, NetworkEvent, PeerHandle, PeerId};

use crate::chat::{CHAT, Chat, Say};
use crate::support::Over;
use crate::support::{self, within};

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A node under attack and an honest peer of it.
pub(crate) struct Scene {
    pub(crate) chat: Arc<Chat>,
    pub(crate) node: Network,
    pub(crate) addr: SocketAddr,
    events: Events,
    honest: (Network, PeerHandle),
}

/// Short deadlines and small bounds, so that going one over takes no time.
pub(crate) fn strict() -> Config {
    let mut config = support::config("/ip4/127.0.0.1/tcp/0");
    config.session.status_timeout = Duration::from_millis(400);
    config.session.segment_timeout = Duration::from_millis(400);
    config.session.segment.message_bytes_max = 60_000;
    config.session.segment.open_bytes_max = 100_000;
    config.transport.first_byte_timeout = Duration::from_millis(300);
    config.transport.upgrade_timeout = Duration::from_millis(900);
    config.transport.negotiation_timeout = Duration::from_millis(400);
    config
}

impl Scene {
    pub(crate) async fn set(chat: Arc<Chat>, config: Config) -> Self {
        let node = chat.start(config).await;
        let to = node.listening()[0].clone();
        let Endpoint::Tcp(addr) = to.endpoint else { panic!("not TCP") };
        let honest = Chat::new().start(support::config("")).await;
        let peer = honest.dial(to).await.unwrap();
        let events = node.events();
        Self { chat, node, addr, events, honest: (honest, peer) }
    }

    /// How the session of this peer ended.
    pub(crate) async fn ended(&mut self, whose: PeerId) -> Disconnected {
        end_of(&mut self.events, whose).await
    }

    /// O-7: the honest peer is still served.
    pub(crate) async fn still_serves(&self, after: &str) {
        let (_, peer) = &self.honest;
        let answer = within(SOON, after, peer.request(Say::new("still there?"))).await;
        assert!(answer.is_ok(), "{after}: {answer:?}");
        assert_eq!(peer.ended(), None, "{after}");
    }

    pub(crate) async fn over(self) {
        self.honest.0.over().await;
        within(SOON, "the shutdown", self.node.over()).await;
        assert_eq!(self.chat.serving(), 0);
    }
}

pub(crate) async fn end_of(events: &mut Events, whose: PeerId) -> Disconnected {
    let ending = async {
        loop {
            match events.next().await.expect("events go on") {
                NetworkEvent::PeerDown { peer, ended, .. }
                | NetworkEvent::PeerRefused { peer, ended, .. }
                    if peer == whose =>
                {
                    return ended;
                }
                _ => {}
            }
        }
    };
    within(SOON, "the end of the session", ending).await
}

/// A connection of a liar, honest up to the substream.
pub(crate) struct Liar {
    pub(crate) id: PeerId,
    pub(crate) connection: RawConnection,
}

impl Liar {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let key = Keypair::generate_ed25519();
        let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let connection = RawConnection::dial(socket.compat(), &key).await.unwrap();
        Self { id: key.public().to_peer_id(), connection }
    }

    /// Opens the chat and sends these bytes behind the selection.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Substream {
        let mut io = self.connection.open().await.unwrap();
        // A node that has had enough resets it while we still write.
        let _ = io.write_all(&[MULTISTREAM, &proposal(CHAT), bytes].concat()).await;
        let _ = io.flush().await;
        io
    }
}
