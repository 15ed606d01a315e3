//! What subscribers hear of the network.

use std::time::Duration;

use tokio::sync::broadcast;

use crate::disconnect::Disconnected;
use crate::ids::{Direction, PeerId, SessionId};
use crate::session::PeerHandle;
use crate::transport::addr::PeerAddr;

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// We listen on an address, with our identity in it.
    Listening {
        /// The address to give to others.
        addr: PeerAddr,
    },
    /// A peer is there: identify and the negotiation of every exchange are through.
    PeerUp {
        /// Its session.
        peer: PeerHandle,
    },
    /// A peer that was announced as up has gone. Always the last event of its session.
    PeerDown {
        /// Who.
        peer: PeerId,
        /// Which session.
        session: SessionId,
        /// Who ended it and why.
        ended: Disconnected,
        /// Who had dialled.
        direction: Direction,
    },
    /// A peer ended before it was announced as up (another chain, a breach, no slot).
    PeerRefused {
        /// Who.
        peer: PeerId,
        /// Who ended it and why.
        ended: Disconnected,
        /// Who had dialled.
        direction: Direction,
    },
    /// A dial of a static peer came to nothing; the next one follows after a pause.
    DialFailed {
        /// The address.
        addr: PeerAddr,
        /// What went wrong, in a line.
        error: String,
        /// When it is tried again.
        again_in: Option<Duration>,
    },
    /// This subscriber was too slow and missed so many events.
    Missed(u64),
}

/// A subscription. Dropping it ends it.
#[derive(Debug)]
pub struct Events {
    pub(crate) receiver: broadcast::Receiver<NetworkEvent>,
}

impl Events {
    /// The next event; `None` when the network has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<NetworkEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(NetworkEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
