//! Why a session ended: the reason, the side that ended it, and who is at fault.

use std::fmt;

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// We did.
    Local,
    /// The peer did, and said so (a Disconnect message, a half-close or a reset).
    Remote,
    /// Neither: the connection under the session broke.
    Transport,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Transport => "transport",
        })
    }
}

/// Who loses reputation when a session ends for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody did anything wrong.
    None,
    /// The peer broke the protocol or sent bad data: it is avoided for a while.
    Peer,
    /// The peer was slow or silent: it is chosen later, never evicted for it.
    Slow,
    /// The peer is honest but of no use to us (another chain, no common protocol).
    Useless,
}

/// The rule of the protocol that the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    /// A frame or segment header that the protocol forbids.
    Framing,
    /// Message numbers, open messages or open bytes outside eth-stream section 2.
    Interleaving,
    /// A message larger than its limit, as sent or inflated.
    TooLarge,
    /// Corrupt or over-long snappy.
    Compression,
    /// A message code that the negotiated version does not have.
    UnknownCode,
    /// Malformed payload: bad RLP, extra elements, trailing bytes.
    Malformed,
    /// The first message was not a Status.
    StatusMissing,
    /// A second Status.
    StatusTwice,
    /// More unserved requests than a peer may have waiting.
    TooManyRequests,
    /// A message that has no place in this state, such as NewBlock after the merge.
    Unexpected,
    /// The muxer's own rules: windows, stream ids, ping, reset or stream floods.
    Muxer,
    /// More substreams of a long-lived protocol than the profile allows.
    SubstreamFlood,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Framing => "framing",
            Self::Interleaving => "interleaving",
            Self::TooLarge => "message too large",
            Self::Compression => "compression",
            Self::UnknownCode => "unknown message code",
            Self::Malformed => "malformed message",
            Self::StatusMissing => "no status first",
            Self::StatusTwice => "second status",
            Self::TooManyRequests => "too many unserved requests",
            Self::Unexpected => "unexpected message",
            Self::Muxer => "muxer rules",
            Self::SubstreamFlood => "substream flood",
        })
    }
}

/// What ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// Transport security and muxer negotiation.
    Upgrade,
    /// Choosing a protocol on a substream.
    Negotiation,
    /// The remote's Status.
    Status,
    /// The next segment of an open message.
    Segment,
    /// Bytes we owe that the peer does not read.
    Write,
    /// The keepalive ping.
    Ping,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upgrade => "upgrade",
            Self::Negotiation => "negotiation",
            Self::Status => "status",
            Self::Segment => "segment",
            Self::Write => "write",
            Self::Ping => "ping",
        })
    }
}

/// Why a session ended. The wire codes are devp2p's (rlpx.md, "Disconnect").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// Somebody asked for it.
    Requested,
    /// The connection broke: reset, EOF, I/O error.
    ConnectionLost,
    /// The peer broke the protocol.
    Breach(Breach),
    /// No protocol in common.
    UselessPeer,
    /// No slot.
    TooManyPeers,
    /// Another connection to the same peer stays.
    AlreadyConnected,
    /// The protocol version of a Status is not the negotiated one.
    IncompatibleVersion,
    /// Status names another network id.
    NetworkMismatch,
    /// Status names another genesis.
    GenesisMismatch,
    /// The fork ids do not fit (EIP-2124).
    ForkMismatch,
    /// Status or BlockRangeUpdate with earliest above latest.
    InvalidRange,
    /// The peer names no identity (devp2p's Hello).
    NullIdentity,
    /// The process is going down.
    ClientQuitting,
    /// The identity is not the one that was dialled.
    UnexpectedIdentity,
    /// The peer is ourselves.
    SelfConnection,
    /// Something took too long.
    TimedOut(Deadline),
    /// Blocks, bodies, receipts or transactions that do not verify, or are not those that were announced
    /// or asked for.
    BadData,
    /// The long-lived substream was closed or reset; the connection may live on.
    SubstreamClosed,
    /// The session actor died of a panic in this process.
    Panicked,
    /// What the peer's own protocol decided, eth mostly: another network, genesis or fork, or
    /// something it did not like (devp2p's 0x10, which says no more).
    Subprotocol,
    /// A reason the peer sent that has no name here.
    Other(u8),
}

impl DisconnectReason {
    /// The devp2p reason number to send.
    pub fn code(self) -> u8 {
        match self {
            Self::Requested | Self::SubstreamClosed => 0x00,
            Self::ConnectionLost | Self::Panicked => 0x01,
            Self::Breach(_) | Self::InvalidRange | Self::BadData => 0x02,
            Self::UselessPeer => 0x03,
            Self::TooManyPeers => 0x04,
            Self::AlreadyConnected => 0x05,
            Self::IncompatibleVersion => 0x06,
            Self::NullIdentity => 0x07,
            Self::ClientQuitting => 0x08,
            Self::UnexpectedIdentity => 0x09,
            Self::SelfConnection => 0x0a,
            Self::TimedOut(_) => 0x0b,
            Self::NetworkMismatch | Self::GenesisMismatch | Self::ForkMismatch | Self::Subprotocol => 0x10,
            Self::Other(code) => code,
        }
    }

    /// What a reason number from the peer means.
    pub fn from_code(code: u8) -> Self {
        match code {
            0x00 => Self::Requested,
            0x01 => Self::ConnectionLost,
            0x02 => Self::Breach(Breach::Unexpected),
            0x03 => Self::UselessPeer,
            0x04 => Self::TooManyPeers,
            0x05 => Self::AlreadyConnected,
            0x06 => Self::IncompatibleVersion,
            0x07 => Self::NullIdentity,
            0x08 => Self::ClientQuitting,
            0x09 => Self::UnexpectedIdentity,
            0x0a => Self::SelfConnection,
            0x0b => Self::TimedOut(Deadline::Ping),
            0x10 => Self::Subprotocol,
            other => Self::Other(other),
        }
    }

    /// Who is at fault when *we* ended a session for this reason. What a peer claims about us
    /// costs nobody anything: see [`Disconnected::fault`].
    pub fn fault(self) -> Fault {
        match self {
            Self::Breach(_)
            | Self::InvalidRange
            | Self::BadData
            | Self::NullIdentity
            | Self::UnexpectedIdentity => Fault::Peer,
            Self::TimedOut(_) => Fault::Slow,
            Self::UselessPeer
            | Self::IncompatibleVersion
            | Self::NetworkMismatch
            | Self::GenesisMismatch
            | Self::ForkMismatch => Fault::Useless,
            _ => Fault::None,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("requested"),
            Self::ConnectionLost => f.write_str("connection lost"),
            Self::Breach(rule) => write!(f, "breach of protocol: {rule}"),
            Self::UselessPeer => f.write_str("useless peer: no protocol in common"),
            Self::TooManyPeers => f.write_str("too many peers"),
            Self::AlreadyConnected => f.write_str("already connected"),
            Self::IncompatibleVersion => f.write_str("incompatible protocol version"),
            Self::NetworkMismatch => f.write_str("other network id"),
            Self::GenesisMismatch => f.write_str("other genesis"),
            Self::ForkMismatch => f.write_str("incompatible fork id"),
            Self::InvalidRange => f.write_str("invalid block range"),
            Self::NullIdentity => f.write_str("null node identity"),
            Self::ClientQuitting => f.write_str("client quitting"),
            Self::UnexpectedIdentity => f.write_str("unexpected identity"),
            Self::SelfConnection => f.write_str("connected to self"),
            Self::TimedOut(what) => write!(f, "timed out: {what}"),
            Self::BadData => f.write_str("bad data"),
            Self::SubstreamClosed => f.write_str("substream closed"),
            Self::Panicked => f.write_str("session panicked"),
            Self::Subprotocol => {
                f.write_str("refused by the peer's protocol (0x10: often another network, genesis or fork)")
            }
            Self::Other(code) => write!(f, "reason {code:#04x}"),
        }
    }
}

/// How a session ended, for everybody who waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Disconnected {
    /// Who ended it.
    pub side: Side,
    /// Why.
    pub reason: DisconnectReason,
}

impl Disconnected {
    /// We ended it.
    pub fn local(reason: DisconnectReason) -> Self {
        Self { side: Side::Local, reason }
    }

    /// The peer ended it.
    pub fn remote(reason: DisconnectReason) -> Self {
        Self { side: Side::Remote, reason }
    }

    /// The connection broke.
    pub fn lost() -> Self {
        Self { side: Side::Transport, reason: DisconnectReason::ConnectionLost }
    }

    /// Whether the peer loses reputation: only for what we saw ourselves.
    pub fn fault(&self) -> Fault {
        match self.side {
            Side::Local => self.reason.fault(),
            Side::Remote | Side::Transport => Fault::None,
        }
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_devp2p_survive_a_round_trip() {
        for code in [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x42] {
            assert_eq!(DisconnectReason::from_code(code).code(), code);
        }
    }

    #[test]
    fn what_a_peer_claims_about_us_blames_nobody() {
        let reason = DisconnectReason::Breach(Breach::Framing);
        assert_eq!(Disconnected::local(reason).fault(), Fault::Peer);
        assert_eq!(Disconnected::remote(reason).fault(), Fault::None);
    }
}
