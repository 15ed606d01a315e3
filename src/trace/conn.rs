//! The recording side of one connection: what the transport and the session hold.

use std::time::Instant;

use super::event::Event;
use super::kind::Kind;
use super::record::EventId;
use super::recorder::{Local, Tracer};
use crate::ids::Direction;

/// Records what happens on one connection, from any thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnTrace {
    pub(crate) tracer: Tracer,
    pub(crate) conn: u32,
}

impl Tracer {
    /// The trace of a new connection.
    pub(crate) fn new_conn(&self) -> ConnTrace {
        ConnTrace { tracer: self.clone(), conn: self.next_conn() }
    }
}

impl ConnTrace {
    /// Records nothing.
    pub(crate) fn off() -> Self {
        Self::default()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.tracer.is_on()
    }

    /// Records an event of this connection now.
    #[inline]
    pub(crate) fn record(&self, event: impl FnOnce() -> Event) -> EventId {
        self.tracer.record(|| event().conn(self.conn))
    }

    /// Records an event of this connection at a time that was read already.
    #[inline]
    pub(crate) fn record_at(&self, at: Instant, event: impl FnOnce() -> Event) -> EventId {
        let record = |local: &Local| local.record(local.at(at), event().conn(self.conn));
        self.tracer.with(record).unwrap_or(EventId::NONE)
    }

    /// Records an event of this connection at the time of the event before it: for what follows at
    /// once, without another look at the clock.
    #[inline]
    pub(crate) fn record_soon(&self, event: impl FnOnce() -> Event) -> EventId {
        self.tracer.with(|local| local.record(0, event().conn(self.conn))).unwrap_or(EventId::NONE)
    }

    /// A step in the life of a substream's negotiation; `cause` is its `substream.asked`.
    pub(crate) fn substream(
        &self,
        kind: Kind,
        dir: Direction,
        cause: EventId,
        text: impl std::fmt::Display,
    ) -> EventId {
        self.say(|| Event::new(kind).dir(dir).cause(cause), text)
    }

    /// Records an event of this connection with a text.
    pub(crate) fn say(&self, event: impl FnOnce() -> Event, text: impl std::fmt::Display) -> EventId {
        if !self.is_on() {
            return EventId::NONE;
        }
        let text = self.tracer.text(text);
        self.record(|| event().y(text))
    }
}
