//! How much a live trace may take: a count and a rate. Pure.
//!
//! Requests are taken or left out whole, so that every life line in a trace is complete; what is
//! left out is counted. Rare events (connections, actors) go before frequent ones (messages, bytes).

use std::collections::HashSet;

use super::event::Event;
use super::kind::Kind;
use super::record::EventId;

/// What a live trace may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Events in all. Default 10 million, about 1.5 GB as a file. When it is spent only the counts
    /// go on.
    pub events_max: u64,
    /// Events per second on average, and as many at one go. Default 50,000.
    pub events_per_second: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { events_max: 10_000_000, events_per_second: 50_000 }
    }
}

/// Requests that are being followed at a time; further ones are left out.
const FOLLOWED_MAX: usize = 1 << 16;

/// Lets events through while the budget lasts.
#[derive(Debug)]
pub(super) struct Gate {
    left: u64,
    rate: u64,
    /// Thousandths of events that may pass now. Followed requests may overdraw it.
    tokens: i64,
    refilled: u64,
    followed: HashSet<EventId>,
    /// Requests and events left out since they were last told.
    skipped: (u64, u64),
    /// A request was left out, or lost from sight.
    has_skipped: bool,
    /// The rate is spent: no new request is followed until there is room for many.
    closed_at: Option<u64>,
}

/// How long requests that are being followed may take to end, once the rate is spent, before the
/// rings are no longer read for them.
const LEAVE_NS: u64 = 50_000_000;

impl Gate {
    pub(super) fn new(budget: Budget) -> Self {
        let rate = u64::from(budget.events_per_second);
        Self {
            left: budget.events_max,
            rate,
            tokens: rate as i64 * 1000,
            refilled: 0,
            followed: HashSet::new(),
            skipped: (0, 0),
            has_skipped: false,
            closed_at: None,
        }
    }

    /// Whether frequent events are worth reading now. Reading what will be left out costs those who
    /// record: their memory is taken from their hands. So over the rate it is done in turns, each
    /// long enough for whole requests.
    pub(super) fn wants_frequent(&mut self, at: u64) -> bool {
        self.refill(at);
        let full = self.rate as i64 * 1000;
        match self.closed_at {
            None => {
                if self.tokens <= full / 10 && self.left > 0 {
                    self.closed_at = Some(at);
                }
                true
            }
            Some(_) if self.tokens > full / 2 => {
                self.closed_at = None;
                true
            }
            Some(since) => !self.followed.is_empty() && at.saturating_sub(since) < LEAVE_NS,
        }
    }

    /// Whether this event may pass.
    pub(super) fn admit(&mut self, at: u64, id: EventId, event: &Event) -> bool {
        self.refill(at);
        let plenty = self.left > 0 && self.closed_at.is_none() && self.tokens > self.rate as i64 * 100;
        let admitted = if event.kind.is_request() {
            if event.key == EventId::NONE {
                let follow = plenty && self.followed.len() < FOLLOWED_MAX;
                if follow {
                    self.followed.insert(id);
                } else {
                    self.skipped.0 += 1;
                    self.has_skipped = true;
                }
                follow
            } else if event.kind == Kind::ReqEnded {
                self.followed.remove(&event.key) || !self.has_skipped
            } else {
                // Inventories are asked for: they may tell of requests older than the trace. And what
                // comes behind the end of a request is left out only with requests themselves.
                event.kind == Kind::ReqOpen || !self.has_skipped || self.followed.contains(&event.key)
            }
        } else if event.kind.is_frequent() {
            plenty
        } else {
            self.left > 0
        };
        if admitted {
            self.left = self.left.saturating_sub(1);
            self.tokens -= 1000;
        } else {
            self.skipped.1 += 1;
        }
        admitted
    }

    /// Events were lost or passed over: requests that were being followed may have ended among them.
    /// Whether there were any.
    pub(super) fn on_lost(&mut self) -> bool {
        self.has_skipped = true;
        let any = !self.followed.is_empty();
        self.followed.clear();
        any
    }

    /// So many events could not be written.
    pub(super) fn skip(&mut self, events: u64) {
        self.skipped.1 += events;
    }

    /// Requests and events left out since the last call.
    pub(super) fn take_skipped(&mut self) -> Option<(u64, u64)> {
        let skipped = std::mem::take(&mut self.skipped);
        (skipped != (0, 0)).then_some(skipped)
    }

    fn refill(&mut self, at: u64) {
        let elapsed = at.saturating_sub(self.refilled);
        // Thousandths of events per nanosecond: rate * 1000 / 10^9.
        let more = u128::from(elapsed) * u128::from(self.rate) / 1_000_000;
        if more > 0 {
            self.refilled = at;
            let full = self.rate as i64 * 1000;
            self.tokens = self.tokens.saturating_add(i64::try_from(more).unwrap_or(full)).min(full);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(events_max: u64, events_per_second: u32) -> Gate {
        Gate::new(Budget { events_max, events_per_second })
    }

    fn request(gate: &mut Gate, at: u64, n: u64) -> usize {
        let key = EventId::new(1, n);
        let steps = [Kind::ReqQueued, Kind::ReqWritten, Kind::ReqEnded];
        let first = usize::from(gate.admit(at, key, &Event::new(Kind::ReqCreated)));
        let rest = steps.iter().filter(|kind| gate.admit(at, key, &Event::new(**kind).key(key))).count();
        first + rest
    }

    #[test]
    fn a_request_is_taken_or_left_out_whole() {
        let mut gate = gate(u64::MAX, 100);
        let taken: Vec<usize> = (1..100).map(|n| request(&mut gate, 0, n)).collect();
        assert!(taken.iter().all(|events| [0, 4].contains(events)), "{taken:?}");
        let whole = taken.iter().filter(|events| **events == 4).count() as u64;
        assert!((20..=25).contains(&whole), "{whole}");
        assert_eq!(gate.take_skipped(), Some((99 - whole, (99 - whole) * 4)));
        assert_eq!(gate.take_skipped(), None);
        assert_eq!(request(&mut gate, 1_000_000_000, 200), 4);
    }

    #[test]
    fn a_spent_count_lets_nothing_new_through_but_ends_what_it_began() {
        let mut gate = gate(2, 1000);
        let key = EventId::new(1, 1);
        assert!(gate.admit(0, key, &Event::new(Kind::ReqCreated)));
        assert!(gate.admit(0, EventId::new(1, 2), &Event::new(Kind::ConnDialing)));
        assert!(!gate.admit(0, EventId::new(1, 3), &Event::new(Kind::ConnDialing)));
        assert!(!gate.admit(0, EventId::new(1, 4), &Event::new(Kind::ReqCreated)));
        assert!(gate.admit(0, EventId::new(1, 5), &Event::new(Kind::ReqEnded).key(key)));
        assert!(!gate.admit(0, EventId::new(1, 6), &Event::new(Kind::ReqWritten).key(key)));
    }

    #[test]
    fn rare_events_go_before_frequent_ones() {
        let mut gate = gate(u64::MAX, 10);
        let admitted = |gate: &mut Gate, kind| gate.admit(0, EventId::new(1, 1), &Event::new(kind));
        assert_eq!((0..20).filter(|_| admitted(&mut gate, Kind::SocketRead)).count(), 9);
        assert!(admitted(&mut gate, Kind::SessionEnded));
    }
}
