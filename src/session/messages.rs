//! What a session is told through its mailbox, and what it tells its manager.

use std::time::Duration;

use actix::Message;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::disconnect::Disconnected;
use crate::error::SubstreamError;
use crate::ids::{PeerId, ProtocolId, RequestId, SessionId};
use crate::machine::message::Payload;
use crate::machine::pending::Permit;
use crate::machine::session::{Failure, Misdeed};
use crate::protocols::RawSubstream;
use crate::trace::EventId;

/// How a request ended for the session, and the event that says so.
pub(crate) type Outcome = (EventId, Result<(Bytes, Duration), Failure>);

/// Who waits for the end of a request.
pub(crate) type Waiter = oneshot::Sender<Outcome>;

/// A request of ours. At most one is in the mailbox per permit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Ask {
    pub(crate) lane: usize,
    pub(crate) version: u32,
    pub(crate) permit: Permit,
    pub(crate) question: Payload,
    pub(crate) answer_code: u8,
    pub(crate) timeout: Duration,
    pub(crate) waiter: Waiter,
    /// The event that began it.
    pub(crate) key: EventId,
}

/// The caller of a request has gone. At most one is in the mailbox per permit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Cancel {
    pub(crate) lane: usize,
    pub(crate) id: RequestId,
}

/// Opens a raw substream.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct OpenSubstream {
    pub(crate) protocol: ProtocolId,
    /// With read-ahead, for hosts on other threads; without, for built-in protocols.
    pub(crate) read_ahead: bool,
    pub(crate) reply: oneshot::Sender<Result<RawSubstream, SubstreamError>>,
}

/// What a session tells its manager.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Identify and the negotiation of every exchange are through, one way or another.
    Settled(SessionId),
    /// The session is over.
    Down(SessionId, PeerId, Disconnected),
    /// The goodbyes are said (or given up) and the connection is closed.
    Gone,
    /// The peer did something that is counted against it.
    Misdeed(PeerId, Misdeed),
}

/// Room for the three notices every session makes, reserved before it starts: they are never lost.
#[derive(Debug)]
pub(crate) struct Notices {
    pub(crate) settled: Option<mpsc::OwnedPermit<Notice>>,
    pub(crate) down: Option<mpsc::OwnedPermit<Notice>>,
    pub(crate) gone: Option<mpsc::OwnedPermit<Notice>>,
    /// For everything that may be dropped when the manager is behind.
    pub(crate) other: mpsc::Sender<Notice>,
}

impl Notices {
    /// `None`: the manager is so far behind that no session should start.
    pub(crate) fn reserve(sender: &mpsc::Sender<Notice>) -> Option<Self> {
        let permit = || sender.clone().try_reserve_owned().ok();
        Some(Self {
            settled: Some(permit()?),
            down: Some(permit()?),
            gone: Some(permit()?),
            other: sender.clone(),
        })
    }
}
