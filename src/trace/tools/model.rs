//! What a trace says, put together: connections, actors and the life lines of requests.
//!
//! A model is built line by line, so a running network can be asked like a file. Whatever a file
//! says, it stays bounded: at most [`CONNS_MAX`] connections and [`ACTORS_MAX`] actors (those that
//! ended make room, beyond that they are counted), [`LIVES_MAX`] requests ([`Beyond`] counts the
//! rest), 65,536 messages in mailboxes, 65,536 troubles (when there are more, the short ones go) and
//! 1,024 kinds of work.

mod actors;
mod build;
mod conns;
mod lives;
mod trouble;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::BufRead;

pub use actors::{Load, Waiting, Work};
pub use trouble::{Trouble, TroubleKind, Troubles};

use crate::ids::Direction;
use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Name};
use crate::trace::tools::read::{ReadError, Reader};

/// So many connections are kept.
pub const CONNS_MAX: usize = 65_536;
/// So many actors are kept.
pub const ACTORS_MAX: usize = 262_144;
/// So many requests are kept.
pub const LIVES_MAX: usize = 1 << 20;
/// So many events of a connection are remembered.
pub const RECENT_MAX: usize = 8;

/// Which requests a model keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// All of them.
    #[default]
    All,
    /// Those that have not ended, failed, or took longer than so many nanoseconds: what `stuck`
    /// needs of a large file.
    Open {
        /// Longer than this is slow.
        slow_ns: u64,
    },
}

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
    /// When the last byte had come from the peer when it ended.
    pub heard: Option<u64>,
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
    /// When there was a socket.
    pub socket: Option<u64>,
    /// When the session was started.
    pub session_at: Option<u64>,
    /// Substreams whose protocol is being agreed on: since when, and what was proposed, by the event
    /// that began it.
    pub negotiating: BTreeMap<EventId, (u64, Name)>,
    /// Bytes that waited when the substream of an exchange last took no more.
    pub window_bytes: u64,
    /// When it was known which protocols the peer speaks.
    pub settled: Option<u64>,
    /// Exchanges that are up, with their versions, and those that are over, with when, side and
    /// reason.
    pub lanes: BTreeMap<Name, Lane>,
    /// The last events, without bytes and requests, oldest first: at most [`RECENT_MAX`].
    pub recent: VecDeque<Recent>,
    /// Requests of ours that are written and have had no byte of an answer, and since when there
    /// is at least one.
    pub awaiting: (u64, u64),
    /// Requests of ours that have timed out since the last byte came.
    pub given_up: u64,
}

/// How an exchange on a connection went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    /// Its version, once it was up.
    pub version: Option<u64>,
    /// Its end: when, side, reason.
    pub down: Option<(u64, Name, Name)>,
}

/// An event of a connection, as far as people want to see it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// When.
    pub at: u64,
    /// What.
    pub kind: Kind,
    /// Whose doing.
    pub dir: Option<Direction>,
    /// A protocol, a step, an exchange.
    pub name: Option<Name>,
    /// How it went.
    pub how: Option<Name>,
    /// Addresses, reasons.
    pub text: Option<Name>,
    /// A substream, a code, a count.
    pub n: u64,
}

/// An actor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Events of kinds that this program does not know.
    pub unknown: u64,
    /// The file ends in the middle of a line.
    pub cut: bool,
    /// Which requests are kept.
    pub keep: Keep,
    /// How actors were kept busy, by type of actor and of message.
    pub works: BTreeMap<(Name, Name), Work>,
    /// Mailboxes, by actor.
    pub loads: BTreeMap<u32, Load>,
    /// Messages that no handler has begun with, by the event that put them there.
    pub waiting: HashMap<EventId, Waiting>,
    /// What was slow or went wrong, and when.
    pub troubles: Troubles,
    /// Spans in which nothing at all was recorded, the longest ones: from, until.
    pub gaps: Vec<(u64, u64)>,
    /// What did not fit.
    pub beyond: Beyond,
    /// What building it needs.
    pub(crate) build: build::Build,
}

/// What a model had no room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Beyond {
    /// Connections.
    pub conns: u64,
    /// Actors.
    pub actors: u64,
    /// Requests.
    pub lives: u64,
    /// Messages in mailboxes.
    pub messages: u64,
    /// Troubles, short ones first.
    pub troubles: u64,
}

impl Life {
    /// When it began, as far as the trace says.
    pub fn began(&self) -> Option<u64> {
        self.marks.iter().flatten().map(|mark| mark.at).min()
    }

    /// The last step it has reached: the latest one, whatever its place.
    pub fn reached(&self) -> Option<(Step, Mark)> {
        let marks = Step::ALL.iter().zip(&self.marks);
        marks.filter_map(|(step, mark)| mark.map(|mark| (*step, mark))).max_by_key(|(_, mark)| mark.at)
    }

    /// The mark of a step.
    pub fn mark(&self, step: Step) -> Option<Mark> {
        self.marks[step as usize]
    }

    /// The steps it went through, in order of time.
    pub fn path(&self) -> Vec<(Step, Mark)> {
        let marks = Step::ALL.iter().zip(&self.marks);
        let mut path: Vec<_> = marks.filter_map(|(step, mark)| mark.map(|mark| (*step, mark))).collect();
        // Requests of the peer begin with `Received`, so the order is that of time; what happens at
        // the same time keeps the order of its steps, but for that beginning.
        path.sort_by_key(|(step, mark)| (mark.at, self.rank(*step)));
        path
    }

    fn rank(&self, step: Step) -> u8 {
        match (self.dir, step) {
            (Direction::Inbound, Step::Received) => 0,
            (Direction::Inbound, Step::Delivered) => 2,
            (Direction::Inbound, Step::Queued) => 1,
            (_, step) => 3 + step as u8,
        }
    }

    /// How long it took, or has taken until `now`.
    pub fn took(&self, now: u64) -> u64 {
        let until = self.end.as_ref().map_or(now, |end| end.mark.at);
        until.saturating_sub(self.began().unwrap_or(until))
    }

    /// `open`, or how it ended.
    pub fn state(&self) -> &str {
        self.end.as_ref().map_or("open", |end| &end.how)
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Queued,
        Self::Encoded,
        Self::Written,
        Self::FirstByte,
        Self::Received,
        Self::Delivered,
        Self::Decoded,
    ];

    /// Its name, that of its event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Encoded => "encoded",
            Self::Written => "written",
            Self::FirstByte => "first_byte",
            Self::Received => "received",
            Self::Delivered => "delivered",
            Self::Decoded => "decoded",
        }
    }

    /// The step of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }
}

impl Model {
    /// An empty model that keeps what is said.
    pub fn keeping(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }

    /// What a file says.
    pub fn read<R: BufRead>(mut reader: Reader<R>, keep: Keep) -> Result<Self, ReadError> {
        let mut model = Self::keeping(keep);
        for line in &mut reader {
            model.on(&line?);
        }
        model.unknown = reader.unknown();
        model.cut = reader.cut();
        Ok(model)
    }

    /// The peer at the other end of a connection, once known.
    pub fn peer(&self, conn: u32) -> Option<&Name> {
        self.conns.get(&conn)?.peer.as_ref()
    }

    /// The type of an actor, if it is known.
    pub fn actor_name(&self, actor: u32) -> Option<&Name> {
        self.actors.get(&actor)?.name.as_ref()
    }
}
