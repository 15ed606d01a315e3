//! One event as tools see it, whether it comes from a file or from a running network.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::kind::Kind;
use crate::ids::Direction;

/// The identity of an event: which ring recorded it, and its number there.
///
/// Numbers of a ring rise, not always by one. In files it is written `RING.NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub(crate) u64);

impl EventId {
    const NUMBER_BITS: u32 = 48;

    /// The event with this number in this ring.
    pub const fn new(ring: u16, number: u64) -> Self {
        Self((ring as u64) << Self::NUMBER_BITS | (number & ((1 << Self::NUMBER_BITS) - 1)))
    }

    /// The ring it was recorded in: one per thread.
    pub const fn ring(self) -> u16 {
        (self.0 >> Self::NUMBER_BITS) as u16
    }

    /// Its number in that ring.
    pub const fn number(self) -> u64 {
        self.0 & ((1 << Self::NUMBER_BITS) - 1)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ring(), self.number())
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ring, number) = text.split_once('.').ok_or(())?;
        let number: u64 = number.parse().map_err(|_| ())?;
        if number >> Self::NUMBER_BITS != 0 {
            return Err(());
        }
        Ok(Self::new(ring.parse().map_err(|_| ())?, number))
    }
}

/// A word of a trace, shared between all the records that carry it.
pub type Name = Arc<str>;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since the trace began, by the clock of the network (`t`).
    pub at: u64,
    /// Its identity (`id`).
    pub id: EventId,
    /// The event without which it would not have happened (`by`).
    pub cause: Option<EventId>,
    /// The actor it happened in; 0: in none, such as a caller's task (`a`).
    pub actor: u32,
    /// What happened (`ev`).
    pub kind: Kind,
    /// The connection it is about; 0: none (`c`).
    pub conn: u32,
    /// Whose doing: requests of ours are `Outbound`, the peer's `Inbound` (`dir`: `out`, `in`).
    pub dir: Option<Direction>,
    /// The key of the request: the id of its first event (`r`).
    pub key: Option<EventId>,
    /// A word known at compile time: a message's type, a request's kind (`name`).
    pub name: Option<Name>,
    /// The exchange it is about (`proto`).
    pub proto: Option<Name>,
    /// How it went, from a small set per kind (`how`).
    pub how: Option<Name>,
    /// The first number; its meaning and its field's name follow from the kind.
    pub x: u64,
    /// The second number, unless it stands for `text`.
    pub y: u64,
    /// Words only known at run time: addresses, peer ids, reasons. Never payload (`text`).
    pub text: Option<Name>,
}

impl Record {
    /// An event of which nothing else is said.
    pub fn new(at: u64, id: EventId, kind: Kind) -> Self {
        Self {
            at,
            id,
            cause: None,
            actor: 0,
            kind,
            conn: 0,
            dir: None,
            key: None,
            name: None,
            proto: None,
            how: None,
            x: 0,
            y: 0,
            text: None,
        }
    }
}

/// What the first line of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The version of the schema.
    pub version: u32,
    /// Who recorded it: a peer id.
    pub node: Name,
    /// The time of day at which the trace began, in nanoseconds since 1970; 0 in simulated runs.
    pub unix_ns: u64,
    /// Why it was written: `file`, or what made a dump.
    pub reason: Name,
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `trace.start`.
    Header(Header),
    /// An event.
    Event(Record),
    /// `trace.lost`: so many events were overwritten before they could be written. Ring 0: what was
    /// followed has been left out from here on.
    Lost {
        /// The ring they were in.
        ring: u16,
        /// How many.
        n: u64,
    },
    /// `trace.skipped`: left out because the budget was spent. Requests are left out whole; far above
    /// the rate most are not even looked at, and not counted as requests.
    Skipped {
        /// Requests.
        requests: u64,
        /// All events, those of the requests included.
        events: u64,
    },
    /// `trace.end`: written when the trace was closed in an orderly way.
    End {
        /// Events written, lost and skipped, in all.
        events: u64,
        /// Requests that never ended, by the network's own count.
        orphans: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_and_read() {
        let id = EventId::new(3, 1 << 40);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!((id.ring(), id.number()), (3, 1 << 40));
        for bad in ["", "1", "1.", ".1", "1.-1", "70000.1", "1.999999999999999999"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}
