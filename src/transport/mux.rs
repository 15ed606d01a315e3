//! What a multiplexed connection is to the rest: a control, inbound substreams, a driver.
//!
//! The driver (`yamux.rs`, `memory.rs`) never waits on a consumer: inbound substreams beyond their
//! limit are reset, and a substream nobody reads only fills its own window.

use std::fmt;
use std::io;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::frame_tap::Violation;
pub use super::substream::Substream;
use crate::disconnect::{Breach, DisconnectReason};
use crate::trace::ConnTrace;

/// How a connection ended, told by its driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum MuxEnd {
    /// We closed it.
    Closed,
    /// The other end closed it.
    RemoteClosed,
    /// The peer said goodbye, for this reason.
    Disconnected(DisconnectReason),
    /// The peer broke the muxer's rules.
    Violation(Violation),
    /// The peer broke the rules of a transport that frames messages by itself.
    Breach(Breach),
    /// The socket broke.
    Io(io::Error),
}

impl fmt::Display for MuxEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::RemoteClosed => f.write_str("closed by the peer"),
            Self::Disconnected(reason) => write!(f, "closed by the peer: {reason}"),
            Self::Violation(violation) => write!(f, "{violation}"),
            Self::Breach(breach) => write!(f, "{breach}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

pub(super) type OpenReply = oneshot::Sender<io::Result<Substream>>;

/// What a driver is asked for.
#[cfg_attr(not(feature = "rlpx"), expect(dead_code, reason = "read by drivers with words for it"))]
#[derive(Debug)]
pub(super) enum Command {
    Open(OpenReply),
    /// Answered when the echo is back; dropped where the transport has none.
    Ping(oneshot::Sender<()>),
    /// Say goodbye, with the reason where the transport has words for it.
    Close(DisconnectReason),
}

/// Opens substreams and closes the connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) commands: mpsc::Sender<Command>,
    /// Where what happens on the connection is recorded.
    pub(crate) trace: ConnTrace,
}

impl Control {
    /// Opens a substream. Fails with `WouldBlock` when as many are open as may be, and with
    /// `NotConnected` when the connection is over. Dropping the future drops the substream.
    pub async fn open(&self) -> io::Result<Substream> {
        let (reply, opened) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.commands.send(Command::Open(reply)).await.map_err(|_| gone())?;
        opened.await.map_err(|_| gone())?
    }

    /// A round trip by the transport's own echo, where it has one. Fails with `NotConnected` when the
    /// connection is over or too many echoes are awaited. Wants a time-out around it.
    pub async fn ping(&self) -> io::Result<()> {
        let (reply, echoed) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.commands.send(Command::Ping(reply)).await.map_err(|_| gone())?;
        echoed.await.map_err(|_| gone())
    }

    /// Asks the driver to say goodbye for this reason, and end. Does not wait; asking twice is the
    /// same as once. `false`: more is being asked of the driver than it takes now; ask again.
    pub fn close(&self, reason: DisconnectReason) -> bool {
        !matches!(self.commands.try_send(Command::Close(reason)), Err(mpsc::error::TrySendError::Full(_)))
    }
}

/// A connection's substreams and the future that drives them.
pub struct Mux {
    /// Opens substreams.
    pub control: Control,
    /// Substreams the peer opened.
    pub inbound: mpsc::Receiver<Substream>,
    /// Must be polled for anything to happen; ends with the connection.
    pub driver: BoxFuture<'static, MuxEnd>,
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("control", &self.control).finish_non_exhaustive()
    }
}
