//! Accept loops: one task per listen address. They survive what single sockets do to them.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;

use super::home::Home;
use super::pending::{Kit, PendingCounts};
use crate::ids::{Direction, PeerId, Wire};
use crate::transport::addr::{Endpoint, PeerAddr};
use crate::transport::memory::MemoryListener;
use crate::transport::tcp;

/// How long an accept loop rests after the system refused it a socket (such as EMFILE).
const REST: Duration = Duration::from_millis(100);

/// A bound listener.
pub(crate) enum Listener {
    Tcp(TcpListener, Wire),
    Memory(MemoryListener),
}

impl Listener {
    /// Binds an address. Returns the address with the real port and our identity.
    pub(crate) async fn bind(
        addr: &PeerAddr,
        us: PeerId,
        memory_latency: Duration,
    ) -> io::Result<(Self, PeerAddr)> {
        let (listener, endpoint) = match addr.endpoint {
            Endpoint::Tcp(socket_addr) => {
                let listener = tcp::bind(socket_addr).await?;
                let endpoint = Endpoint::Tcp(listener.local_addr()?);
                (Self::Tcp(listener, Wire::Libp2p), endpoint)
            }
            Endpoint::Rlpx(socket_addr) => {
                if let Some(why) = why_no_rlpx(us) {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, why));
                }
                let listener = tcp::bind(socket_addr).await?;
                let endpoint = Endpoint::Rlpx(listener.local_addr()?);
                (Self::Tcp(listener, Wire::Rlpx), endpoint)
            }
            Endpoint::Memory(port) => {
                let listener = MemoryListener::bind(port, us, memory_latency)?;
                let endpoint = listener.endpoint();
                (Self::Memory(listener), endpoint)
            }
        };
        Ok((listener, PeerAddr { endpoint, peer: Some(us) }))
    }

    /// Accepts until dropped. A socket that comes while all pending slots are taken is closed.
    pub(crate) async fn run(self, kit: Kit, home: Home, counts: PendingCounts) {
        let max = kit.config.slots.pending_inbound_max;
        match self {
            Self::Tcp(listener, wire) => loop {
                let accepted =
                    listener.accept().await.and_then(|(socket, from)| Ok((socket.into_std()?, from)));
                match accepted {
                    Ok((socket, from)) => {
                        if let Some(guard) = counts.begin(Direction::Inbound, max) {
                            let kit = kit.clone();
                            home.spawn(move || kit.accept_tcp(socket, from, wire, guard));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(REST).await;
                    }
                }
            },
            Self::Memory(mut listener) => {
                let endpoint = listener.endpoint();
                while let Ok(incoming) = listener.accept().await {
                    if let Some(guard) = counts.begin(Direction::Inbound, max) {
                        let kit = kit.clone();
                        home.spawn(move || kit.accept_memory(incoming, endpoint, guard));
                    }
                }
            }
        }
    }
}

/// Why we cannot be met over devp2p, if we cannot.
#[cfg(feature = "rlpx")]
fn why_no_rlpx(us: PeerId) -> Option<&'static str> {
    let known = crate::transport::rlpx::NodeId::of_peer(&us).is_some();
    (!known).then_some("devp2p needs a secp256k1 identity")
}

#[cfg(not(feature = "rlpx"))]
fn why_no_rlpx(_: PeerId) -> Option<&'static str> {
    Some("this build does not speak devp2p (feature rlpx)")
}
