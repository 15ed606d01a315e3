//! Typed failures: one enum per question a caller asks.

use std::io;
use std::time::Duration;

use crate::disconnect::{DisconnectReason, Disconnected};
use crate::ids::{PeerId, ProtocolId};
use crate::wire::DecodeError;

/// How a request of ours ended without an answer.
///
/// Every request ends exactly once: with its answer, with one of these, or by its future being
/// dropped.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// All request slots of this peer are taken, or its outbox is full. Nothing was sent.
    #[error("too many requests in flight to this peer")]
    Busy,
    /// The peer does not speak the protocol of this request.
    #[error("the peer does not speak {0}")]
    Unsupported(ProtocolId),
    /// No answer came in time. That is never the same as an empty answer.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The session ended while the request was pending.
    #[error("disconnected: {0}")]
    Disconnected(Disconnected),
    /// The peer answered with another kind of message.
    #[error("answered with the wrong kind of message")]
    WrongKind,
    /// The answer could not be decoded, or held more than was asked for.
    #[error("malformed answer: {0}")]
    Malformed(#[from] DecodeError),
    /// The session actor panicked.
    #[error("the session of this peer panicked")]
    Panicked,
    /// The network is shutting down.
    #[error("the network is shutting down")]
    Shutdown,
}

impl RequestError {
    /// Whether the same request may succeed with this peer or another one, a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy | Self::TimedOut(_) | Self::Disconnected(_) | Self::Panicked => true,
            Self::Unsupported(_) | Self::WrongKind | Self::Malformed(_) | Self::Shutdown => false,
        }
    }

    /// The name this outcome has in counters and traces.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unsupported(_) => "unsupported",
            Self::TimedOut(_) => "timed_out",
            Self::Disconnected(_) => "disconnected",
            Self::WrongKind => "wrong_kind",
            Self::Malformed(_) => "malformed",
            Self::Panicked => "panicked",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Why a dial did not lead to a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address is of a kind this build does not dial.
    #[error("cannot dial {0}")]
    UnsupportedAddress(String),
    /// The socket could not be connected.
    #[error("{0}")]
    Unreachable(#[source] io::Error),
    /// Security, muxer or identity did not come about.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The peer, or we, refused the authenticated connection.
    #[error("refused: {0}")]
    Refused(Disconnected),
    /// No free slot for another dial or session.
    #[error("no free slot")]
    NoSlot,
    /// The peer is avoided for a while after a breach or bad data.
    #[error("avoided for another {0:?}")]
    Avoided(Duration),
    /// The address is our own.
    #[error("that is ourselves")]
    SelfDial,
    /// The network is shutting down.
    #[error("the network is shutting down")]
    Shutdown,
}

/// Why a socket did not become an authenticated, multiplexed connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The whole upgrade took longer than its deadline.
    #[error("no handshake within {0:?}")]
    TimedOut(Duration),
    /// No common security or muxer, or the peer does not speak multistream-select.
    #[error("negotiation failed: {0}")]
    Negotiation(#[source] multistream_select::NegotiationError),
    /// The noise handshake failed.
    #[error("noise handshake failed: {0}")]
    Handshake(#[source] Box<libp2p_noise::Error>),
    /// The RLPx handshake failed.
    #[error("rlpx handshake failed: {0}")]
    Rlpx(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The peer left with a reason instead of introducing itself.
    #[error("refused by the peer: {0}")]
    Refused(DisconnectReason),
    /// The peer's introduction does not do: it was told this reason.
    #[error("{0}")]
    Unfit(DisconnectReason),
    /// The peer is authenticated, but it is not the one that was dialled.
    #[error("expected peer {expected}, met {actual}")]
    WrongIdentity {
        /// Who the address named.
        expected: PeerId,
        /// Who answered.
        actual: PeerId,
    },
    /// The socket broke.
    #[error("connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
}

/// Why a substream did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubstreamError {
    /// The peer does not speak the protocol.
    #[error("the peer does not speak {0}")]
    Unsupported(ProtocolId),
    /// We have as many substreams open to this peer as we may.
    #[error("too many substreams open to this peer")]
    Busy,
    /// Negotiation took too long.
    #[error("no agreement within {0:?}")]
    TimedOut(Duration),
    /// The session ended.
    #[error("disconnected: {0}")]
    Disconnected(Disconnected),
    /// The substream broke during negotiation.
    #[error("substream broke: {0}")]
    Io(#[from] io::Error),
}

/// Why a network did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listen address cannot be used.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// The network thread could not be started.
    #[error("cannot start the network thread: {0}")]
    Thread(#[source] io::Error),
    /// The file of the live trace cannot be written, or its thread not be started.
    #[error("cannot write the trace: {0}")]
    Trace(#[source] io::Error),
}
