//! What the manager is told through its mailbox. Control only: nothing a peer can drive at will
//! comes this way without a bound (handshakes are bounded by the pending slots).

use actix::Message;
use tokio::sync::oneshot;

use super::blame::Record;
use crate::disconnect::DisconnectReason;
use crate::error::DialError;
use crate::ids::{Direction, PeerId, SessionId};
use crate::session::PeerHandle;
use crate::session::messages::Notices;
use crate::transport::addr::PeerAddr;

/// Dials an address.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Dial {
    pub(crate) addr: PeerAddr,
    pub(crate) reply: oneshot::Sender<Result<PeerHandle, DialError>>,
}

/// Stays connected to a peer from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AddStatic(pub(crate) PeerAddr);

/// Does not stay connected to a peer any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct RemoveStatic(pub(crate) PeerId);

/// A connection is authenticated: may it have a session?
#[derive(Debug, Message)]
#[rtype(result = "Verdict")]
pub(crate) struct Arrived {
    pub(crate) peer: PeerId,
    pub(crate) direction: Direction,
    /// The static peer it was dialled for.
    pub(crate) static_index: Option<usize>,
}

/// The manager's answer to [`Arrived`].
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Start the session and report it with [`Started`].
    Admit(Ticket),
    /// Close the connection, with this reason where it can be told.
    Refuse(DisconnectReason),
    /// Close the connection; this session stays.
    KeepExisting(SessionId),
}

/// The right to start one session.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) session: SessionId,
    pub(crate) notices: Notices,
    pub(crate) seed: u64,
}

/// A session was started.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Started {
    pub(crate) handle: PeerHandle,
    /// Who waits for it to settle.
    pub(crate) reply: Option<oneshot::Sender<Result<PeerHandle, DialError>>>,
}

/// A dial came to nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct DialEnded {
    pub(crate) static_index: Option<usize>,
    /// Set when it was for nothing.
    pub(crate) error: Option<String>,
}

/// Waits for an existing session to settle on somebody's behalf.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AwaitSettled {
    pub(crate) session: SessionId,
    pub(crate) reply: oneshot::Sender<Result<PeerHandle, DialError>>,
}

/// What is remembered of a peer.
#[derive(Debug, Message)]
#[rtype(result = "Option<Record>")]
pub(crate) struct Recall(pub(crate) PeerId);

/// Ends everything; the reply comes when all sessions have gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Shutdown {
    pub(crate) reply: Option<oneshot::Sender<()>>,
}
