//! Reading the rings of a tracer: every reader has its own place in each, and takes nothing away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::event::{Event, IDS_PER_PLACE};
use super::kind::Field;
use super::label::Words;
use super::record::{EventId, Header, Line, Name, Record};
use super::recorder::Inner;
use super::ring::Ring;

/// The version of the schema that is written.
pub(super) const VERSION: u32 = 1;

/// A reader of all rings.
#[derive(Debug)]
pub(super) struct Drain {
    inner: Arc<Inner>,
    /// The number of the event that is read next, by ring.
    places: HashMap<u16, u64>,
    words: Words,
    /// Filled and emptied by each round.
    round: VecDeque<(u64, EventId, Event)>,
}

impl Drain {
    /// From the oldest events that the rings hold.
    pub(super) fn from_oldest(inner: Arc<Inner>) -> Self {
        let oldest = |ring: &Ring| ring.next().saturating_sub(ring.capacity()).max(1);
        let places = inner.rings().iter().map(|ring| (ring.number(), oldest(ring))).collect();
        Self { inner, places, words: Words::default(), round: VecDeque::new() }
    }

    /// From now on.
    pub(super) fn from_now(inner: Arc<Inner>) -> Self {
        let places = inner.rings().iter().map(|ring| (ring.number(), ring.next())).collect();
        Self { inner, places, words: Words::default(), round: VecDeque::new() }
    }

    /// What the first line of a file says.
    pub(super) fn header(&self, reason: &str) -> Line {
        Line::Header(Header {
            version: VERSION,
            node: Arc::clone(&self.inner.node),
            unix_ns: self.inner.unix_ns,
            reason: reason.into(),
        })
    }

    /// Takes everything since the last round out of the rings. Returns how many events of which ring
    /// were overwritten before; [`Self::next`] then yields what is left.
    /// Frequent events are only passed over unless they are wanted; how many these were, too.
    pub(super) fn begin_round(&mut self, frequent: bool) -> (Vec<(u16, u64)>, u64) {
        let (mut lost, mut passed) = (Vec::new(), 0);
        for ring in self.inner.rings() {
            let next = self.places.entry(ring.number()).or_insert(1);
            let mut missing = 0;
            let end = ring.next();
            if ring.is_frequent() && !frequent {
                passed += end - *next;
                *next = end;
                continue;
            }
            let oldest = end.saturating_sub(ring.capacity());
            if *next < oldest {
                missing += oldest - *next;
                *next = oldest;
            }
            for number in *next..end {
                match ring.get(number) {
                    Some((at, event)) => {
                        let id = EventId::new(ring.number(), number * IDS_PER_PLACE);
                        self.round.extend(event.unpack(id).map(|(id, event)| (at, id, event)));
                    }
                    None => missing += 1,
                }
            }
            *next = end;
            if missing > 0 {
                lost.push((ring.number(), missing));
            }
        }
        // Each ring is in order already: the stable sort finds these runs and merges them.
        self.round.make_contiguous().sort_by_key(|(at, id, _)| (*at, *id));
        (lost, passed)
    }

    /// The next event of the round, in the order of time.
    pub(super) fn next(&mut self) -> Option<(u64, EventId, Event)> {
        self.round.pop_front()
    }

    /// An event as tools see it.
    pub(super) fn record(&mut self, at: u64, id: EventId, event: &Event) -> Record {
        let some = |id: EventId| (id != EventId::NONE).then_some(id);
        // The first event of a request is its key.
        let begins = event.kind.is_request() && event.key == EventId::NONE;
        let (mut y, mut text) = (event.y, None);
        if event.kind.fields().1 == Field::Text {
            text = Some(self.inner.text(y).unwrap_or_else(|| Name::from("(forgotten)")));
            y = 0;
        }
        Record {
            at,
            id,
            cause: some(event.cause),
            actor: event.actor,
            kind: event.kind,
            conn: event.conn,
            dir: event.dir,
            key: if begins { Some(id) } else { some(event.key) },
            name: self.words.get(event.name),
            proto: self.words.get(event.proto),
            how: self.words.get(event.how),
            x: event.x,
            y,
            text,
        }
    }
}
