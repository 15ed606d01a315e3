//! What a protocol is to the rest of the crate: traits, and each protocol in its own file.
//!
//! Owns: the traits [`Exchange`], [`Request`], [`simple::Protocol`] and [`Outlet`]. Never: a socket, an
//! actor, a `PeerHandle`. A session drives an [`Exchange`] over one long-lived substream, or over a
//! channel of a wire that frames messages by itself (RLPx, by the exchange's [`Capability`]); the
//! exchange decides what messages mean and answers the peer's requests.

#[cfg(feature = "eth")]
pub mod eth;
pub mod identify;
pub mod perf;
pub mod ping;
pub mod simple;
pub mod substream;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::disconnect::{Breach, DisconnectReason, Disconnected};
use crate::ids::{Direction, PeerId, ProtocolId, SessionId};
pub use crate::machine::message::{Class, Encoding, Payload};
use crate::wire::DecodeError;

pub use substream::{RawSubstream, SubstreamHandler};

/// The peer at the other end of an exchange, as its protocol sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct From {
    /// Who.
    pub peer: PeerId,
    /// Over which session.
    pub session: SessionId,
    /// The negotiated version: the second half of an entry of [`Exchange::ids`].
    pub version: u32,
}

/// A protocol's spelling over RLPx: a name with a version, and how many message codes it takes of
/// the connection's id space (devp2p rlpx.md, "Capability Messaging").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capability {
    /// 1 to 8 ASCII characters, such as `eth`. Capabilities are numbered in the order of names.
    pub name: &'static str,
    /// Of several versions that both sides have, the highest is spoken.
    pub version: u32,
    /// Codes 0 to one less than this belong to it. Both sides must agree on it.
    pub messages: u8,
}

/// Why a request of the peer gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The peer's message is malformed: a breach.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer broke a rule of the protocol.
    #[error("breach: {0}")]
    Breach(Breach),
    /// The session must end for another reason.
    #[error("{0}")]
    Disconnect(DisconnectReason),
    /// We cannot answer; the peer is not at fault and will see its request time out.
    #[error("unavailable")]
    Unavailable,
}

/// A long-lived exchange of typed messages with request ids, over one substream or capability per peer.
///
/// A session calls these from the network thread: none of them may block. What takes long belongs
/// in the returned futures, which may move their work to another thread.
pub trait Exchange: Send + Sync + 'static {
    /// The name that [`Request::exchange`] refers to, such as `eth`.
    fn name(&self) -> &'static str;

    /// The protocol ids with their versions, highest first. Must not be empty.
    fn ids(&self) -> &[(ProtocolId, u32)];

    /// How a version is spelled over RLPx. `None`: it is not spoken there.
    fn capability(&self, version: u32) -> Option<Capability> {
        let _ = version;
        None
    }

    /// What messages with this code are called in traces, such as `GetBlockHeaders`. May be a
    /// type's full name; its path is left out.
    fn message_name(&self, code: u8) -> Option<&'static str> {
        let _ = code;
        None
    }

    /// How message bodies are written. The session checks declared lengths against it.
    fn encoding(&self) -> Encoding {
        Encoding::Plain
    }

    /// The first message we send, such as a Status. `None`: the protocol has no handshake, and
    /// messages count from the start.
    fn handshake(&self, version: u32) -> Option<Payload> {
        let _ = version;
        None
    }

    /// Judges the peer's first message, which has the code of our own handshake message. `theirs`
    /// is its body as it came over the wire, still in the [`Encoding`] of the exchange.
    fn accept(&self, version: u32, theirs: Bytes) -> Result<(), DisconnectReason> {
        let _ = (version, theirs);
        Ok(())
    }

    /// What a message is. `prefix` holds the first bytes of its body (inflated): the whole body,
    /// or at least 16 bytes of it.
    fn classify(&self, version: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach>;

    /// Answers a request of the peer. The future is dropped when the session ends.
    fn serve(
        self: Arc<Self>,
        from: From,
        request: Payload,
    ) -> BoxFuture<'static, Result<Payload, ServeError>>;

    /// Takes an announcement. Called in the order of arrival, one at a time per peer.
    fn on_message(
        self: Arc<Self>,
        from: From,
        message: Payload,
    ) -> BoxFuture<'static, Result<(), ServeError>> {
        let _ = (from, message);
        Box::pin(async { Err(ServeError::Breach(Breach::UnknownCode)) })
    }

    /// The exchange with this peer is up: its handshake, if any, was accepted. `theirs` are the
    /// bytes that [`accept`](Self::accept) saw.
    fn on_up(&self, from: From, direction: Direction, theirs: Option<Bytes>, outlet: Arc<dyn Outlet>) {
        let _ = (from, direction, theirs, outlet);
    }

    /// The exchange with this peer has ended. Called exactly once for each `on_up`, and last.
    fn on_down(&self, from: From, ended: Disconnected) {
        let _ = (from, ended);
    }
}

/// Sends announcements to one peer. Given to protocols, implemented by the session.
pub trait Outlet: Send + Sync + fmt::Debug {
    /// Queues an announcement. When the peer's queue is full (4,096 items or 8 MiB by default) the
    /// oldest announcement in it is dropped. `false`: the session has ended, nothing was queued.
    fn send(&self, message: Payload) -> bool;

    /// Ends the session with this peer, with blame if the reason says so.
    fn disconnect(&self, reason: DisconnectReason);
}

/// One kind of question of an [`Exchange`].
pub trait Request: Send + 'static {
    /// What the answer is decoded to.
    type Response: Send + 'static;
    /// The message code of the question.
    const CODE: u8;
    /// The message code of the answer.
    const ANSWER: u8;

    /// The [`Exchange::name`] this question belongs to.
    fn exchange() -> &'static str;

    /// Whether a version has words for this question. If not, it ends as
    /// [`RequestError::Unsupported`](crate::error::RequestError::Unsupported) and nothing is sent.
    fn can_be_asked(&self, version: u32) -> bool {
        let _ = version;
        true
    }

    /// The body of the question, ready for the wire.
    fn encode(&self, version: u32, id: u64) -> Bytes;

    /// Decodes the body of the answer as it came over the wire, on the caller's task. Fails on
    /// malformed bytes and with [`DecodeError::Excess`] on more items than were asked for.
    fn decode_answer(&self, version: u32, body: Bytes) -> Result<Self::Response, DecodeError>;
}
