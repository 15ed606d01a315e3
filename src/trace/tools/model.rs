//! What a trace says, put together: connections, actors and the life lines of requests.

use std::collections::BTreeMap;

use crate::ids::Direction;
use crate::trace::record::{EventId, Name};

/// A step of a life line, in the order in which a request of ours goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// The call was made.
    Created,
    /// It waits to be sent; the peer's: to be served.
    Queued,
    /// Cut into segments; the peer's: the reply is there.
    Encoded,
    /// Its last byte was taken by the substream.
    Written,
    /// The answer's first byte is here.
    FirstByte,
    /// The whole answer is here; the peer's: the whole request.
    Received,
    /// Handed to the caller; the peer's: to the protocol.
    Delivered,
    /// Decoded by the caller.
    Decoded,
}

/// When and where a step happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Nanoseconds since the trace began.
    pub at: u64,
    /// The event.
    pub id: EventId,
    /// Its cause.
    pub cause: Option<EventId>,
    /// The actor; 0: none.
    pub actor: u32,
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When and where.
    pub mark: Mark,
    /// `ok`, `cancelled` or the name of a `RequestError`.
    pub how: Name,
}

/// The life of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its key: the id of its first event.
    pub key: EventId,
    /// Its connection; 0: it never got one.
    pub conn: u32,
    /// The exchange.
    pub proto: Option<Name>,
    /// `Outbound`: ours. `Inbound`: the peer's.
    pub dir: Direction,
    /// Its kind, such as `GetBlockHeaders`.
    pub name: Option<Name>,
    /// Its id on the wire, once it has one.
    pub wire: Option<u64>,
    /// When each step happened, by [`Step`].
    pub marks: [Option<Mark>; 8],
    /// Why it was queued, if the trace says so.
    pub queued_for: Option<Name>,
    /// Bytes of the question and of the answer, as sent.
    pub bytes: (u64, u64),
    /// Its end; `None`: open when the trace ended, or not known.
    pub end: Option<End>,
    /// Events around it were lost or skipped: what is missing proves nothing.
    pub uncertain: bool,
}

/// How a connection went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conn {
    /// Its number.
    pub number: u32,
    /// Who dialled.
    pub dir: Option<Direction>,
    /// The dialled address, or `remote local` once there is a socket.
    pub addr: Option<Name>,
    /// The peer id, once known.
    pub peer: Option<Name>,
    /// The session's number and actor.
    pub session: Option<(u64, u32)>,
    /// When it was first heard of.
    pub began: u64,
    /// Steps of the upgrade: when they were through, name, outcome, how long they took.
    pub steps: Vec<(u64, Name, Name, u64)>,
    /// When the last byte came in, and how many have.
    pub last_in: Option<u64>,
    /// Bytes received.
    pub bytes_in: u64,
    /// When the last byte was taken by the socket.
    pub last_out: Option<u64>,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Since when the socket takes no bytes.
    pub blocked_since: Option<u64>,
    /// Since when the substream of an exchange takes no bytes, by exchange.
    pub window_blocked: BTreeMap<Name, u64>,
    /// The session's end: when, side, reason.
    pub ended: Option<(u64, Name, Name)>,
    /// Why it did not become a session, and when.
    pub failed: Option<(u64, Name)>,
    /// How the muxer ended, and when.
    pub closed: Option<(u64, Name)>,
}

/// An actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorInfo {
    /// Its number.
    pub number: u32,
    /// Its type.
    pub name: Option<Name>,
    /// The connection it belongs to; 0: none.
    pub conn: u32,
    /// When it started and stopped.
    pub life: (u64, Option<u64>),
    /// What it was handling when it panicked.
    pub panicked: Option<Name>,
    /// The handler that has begun and not returned: since when, what, which event.
    pub busy: Option<(u64, Name, EventId)>,
}

/// What a trace says.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Its first line.
    pub header: Option<crate::trace::record::Header>,
    /// The connections, by number.
    pub conns: BTreeMap<u32, Conn>,
    /// The actors, by number.
    pub actors: BTreeMap<u32, ActorInfo>,
    /// The requests, by key.
    pub lives: BTreeMap<EventId, Life>,
    /// Events read.
    pub events: u64,
    /// Events that were overwritten before they could be written.
    pub lost: u64,
    /// Events that the budget left out.
    pub skipped: u64,
    /// The times of the first and the last event.
    pub span: (u64, u64),
    /// The file was closed in an orderly way; its own count of orphans.
    pub closed: Option<u64>,
}
