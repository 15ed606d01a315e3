//! One event as it lies in a ring: eight words of fixed meaning, pure.

use super::kind::Kind;
use super::label::Label;
use super::record::EventId;
use crate::ids::Direction;

/// Ids that each place of a ring has: a packed event stands for up to three.
pub(crate) const IDS_PER_PLACE: u64 = 4;

/// The words of an event: one cache line.
pub(crate) const WORDS: usize = 8;

/// An event about to be recorded, or read back. Its number and time are given by the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) dir: Option<Direction>,
    pub(crate) name: Label,
    pub(crate) proto: Label,
    pub(crate) how: Label,
    pub(crate) actor: u32,
    pub(crate) conn: u32,
    /// 0: none.
    pub(crate) cause: EventId,
    /// 0: none.
    pub(crate) key: EventId,
    pub(crate) x: u64,
    pub(crate) y: u64,
}

impl EventId {
    /// No event.
    pub(crate) const NONE: Self = Self(0);

    /// The `n`th event of a packed one with this id.
    pub(crate) const fn packed(self, n: u64) -> Self {
        if self.0 == 0 { self } else { Self(self.0 + n) }
    }
}

impl Event {
    /// An event of this kind with nothing else said.
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            dir: None,
            name: Label::NONE,
            proto: Label::NONE,
            how: Label::NONE,
            actor: 0,
            conn: 0,
            cause: EventId::NONE,
            key: EventId::NONE,
            x: 0,
            y: 0,
        }
    }

    pub(crate) const fn name(mut self, name: Label) -> Self {
        self.name = name;
        self
    }

    pub(crate) const fn proto(mut self, proto: Label) -> Self {
        self.proto = proto;
        self
    }

    pub(crate) const fn how(mut self, how: Label) -> Self {
        self.how = how;
        self
    }

    pub(crate) const fn dir(mut self, dir: Direction) -> Self {
        self.dir = Some(dir);
        self
    }

    pub(crate) const fn conn(mut self, conn: u32) -> Self {
        self.conn = conn;
        self
    }

    pub(crate) const fn actor(mut self, actor: u32) -> Self {
        self.actor = actor;
        self
    }

    pub(crate) const fn cause(mut self, cause: EventId) -> Self {
        self.cause = cause;
        self
    }

    pub(crate) const fn key(mut self, key: EventId) -> Self {
        self.key = key;
        self
    }

    pub(crate) const fn x(mut self, x: u64) -> Self {
        self.x = x;
        self
    }

    pub(crate) const fn y(mut self, y: u64) -> Self {
        self.y = y;
        self
    }

    /// The events it stands for, in their order; most stand for themselves. The `n`th has the id
    /// `id` plus `n`.
    pub(crate) fn unpack(self, id: EventId) -> impl Iterator<Item = (EventId, Self)> {
        let of = |kind| Self { kind, ..self };
        let nth = move |n: u64| EventId(id.0 + n);
        let wire_only = |kind| Self { y: 0, ..of(kind) };
        let parts = match self.kind {
            Kind::PackAsked => {
                let message = Self::new(Kind::MsgEnqueued).name(self.how).x(self.x).cause(nth(0));
                let created = Self { x: 0, how: Label::NONE, ..of(Kind::ReqCreated) };
                [Some(created), Some(message), None]
            }
            Kind::PackSent => [Some(of(Kind::ReqEncoded)), Some(wire_only(Kind::ReqWritten)), None],
            Kind::PackAnswered => [
                Some(wire_only(Kind::ReqFirstByte)),
                Some(of(Kind::ReqReceived)),
                Some(wire_only(Kind::ReqDelivered)),
            ],
            Kind::PackDone => {
                let decoded = Self { how: Label::NONE, ..wire_only(Kind::ReqDecoded) };
                [Some(decoded), Some(of(Kind::ReqEnded).cause(nth(0))), None]
            }
            Kind::PackServed => {
                let written = Self { how: Label::NONE, ..wire_only(Kind::ReqWritten) };
                [Some(written), Some(of(Kind::ReqEnded).cause(nth(0))), None]
            }
            _ => [Some(self), None, None],
        };
        parts.into_iter().flatten().enumerate().map(move |(n, event)| (nth(n as u64), event))
    }

    /// The words of this event as the `number`th of its ring.
    #[inline]
    pub(crate) fn to_words(self, number: u64, at: u64) -> [u64; WORDS] {
        let dir = match self.dir {
            None => 0,
            Some(Direction::Inbound) => 1,
            Some(Direction::Outbound) => 2,
        };
        [
            number,
            at,
            self.cause.0,
            self.kind as u64 | dir << 8 | u64::from(self.name.0) << 16 | u64::from(self.actor) << 32,
            u64::from(self.conn) | u64::from(self.proto.0) << 32 | u64::from(self.how.0) << 48,
            self.key.0,
            self.x,
            self.y,
        ]
    }

    /// Number, time and event of these words; `None` if they are no event.
    pub(crate) fn from_words(words: &[u64; WORDS]) -> Option<(u64, u64, Self)> {
        let [number, at, cause, what, whence, key, x, y] = *words;
        let dir = match (what >> 8) as u8 {
            0 => None,
            1 => Some(Direction::Inbound),
            _ => Some(Direction::Outbound),
        };
        let event = Self {
            kind: Kind::from_number(what as u8)?,
            dir,
            name: Label((what >> 16) as u16),
            actor: (what >> 32) as u32,
            conn: whence as u32,
            proto: Label((whence >> 32) as u16),
            how: Label((whence >> 48) as u16),
            cause: EventId(cause),
            key: EventId(key),
            x,
            y,
        };
        Some((number, at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_the_event() {
        let event = Event::new(Kind::ReqEnded)
            .name(Label(7))
            .proto(Label(8))
            .how(Label(u16::MAX))
            .dir(Direction::Outbound)
            .conn(u32::MAX)
            .actor(u32::MAX)
            .cause(EventId::new(3, 4))
            .key(EventId::new(u16::MAX, 1))
            .x(u64::MAX)
            .y(1);
        assert_eq!(Event::from_words(&event.to_words(5, 6)), Some((5, 6, event)));
        let plain = Event::new(Kind::ActorStarted);
        assert_eq!(Event::from_words(&plain.to_words(1, 0)), Some((1, 0, plain)));
    }
}
