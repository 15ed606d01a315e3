//! What stands behind the life lines of one node: who ran when, what took no bytes, what arrived.

use std::collections::{BTreeMap, HashMap};

use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Name, Record};
use crate::trace::tools::picture::Node;

/// What an actor did in one go.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) from: u64,
    pub(super) ns: u64,
    pub(super) kind: Work,
    pub(super) name: Option<Name>,
    /// Its first event.
    pub(super) id: EventId,
    pub(super) cause: Option<EventId>,
    /// It had not come to an end when the trace did.
    pub(super) open: bool,
}

impl Slice {
    pub(super) fn to(&self) -> u64 {
        self.from.saturating_add(self.ns)
    }
}

/// What kind of work a slice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Message,
    Item,
    Timer,
}

impl Work {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Item => "item",
            Self::Timer => "timer",
        }
    }
}

type Spans = Vec<(u64, u64)>;

/// One node's background, by actor and connection.
#[derive(Debug, Default)]
pub(super) struct Ground {
    /// What each actor did, by the time it began.
    pub(super) slices: BTreeMap<u32, Vec<Slice>>,
    windows: HashMap<(u32, Option<Name>), Spans>,
    sockets: HashMap<u32, Spans>,
    reads: HashMap<u32, Vec<u64>>,
    times: Vec<u64>,
}

impl Ground {
    pub(super) fn of(node: &Node) -> Self {
        let mut ground = Self::default();
        let mut running: HashMap<u32, HashMap<EventId, Slice>> = HashMap::new();
        let mut shut: HashMap<(u32, Option<Name>, bool), u64> = HashMap::new();
        let end = node.model.span.1;
        for record in &node.records {
            ground.times.push(record.at);
            match record.kind {
                Kind::MsgStarted | Kind::ItemStarted | Kind::TimerStarted => {
                    let slice = slice(record, record.at, end.saturating_sub(record.at), true);
                    running.entry(record.actor).or_default().insert(record.id, slice);
                }
                Kind::MsgFinished | Kind::ItemFinished | Kind::TimerFinished => {
                    let begun = running.get_mut(&record.actor).zip(record.cause);
                    let whole = match begun.and_then(|(running, cause)| running.remove(&cause)) {
                        Some(begun) => Slice { ns: record.y, open: false, ..begun },
                        None => slice(record, record.at.saturating_sub(record.y), record.y, false),
                    };
                    ground.slices.entry(record.actor).or_default().push(whole);
                }
                Kind::ActorPanicked | Kind::ActorStopped => {
                    // What it was doing ended with it, whether or not the trace says so.
                    for (_, mut slice) in running.remove(&record.actor).into_iter().flatten() {
                        slice.ns = slice.ns.min(record.at.saturating_sub(slice.from));
                        ground.slices.entry(record.actor).or_default().push(slice);
                    }
                }
                Kind::WindowBlocked => {
                    shut.entry((record.conn, record.proto.clone(), false)).or_insert(record.at);
                }
                Kind::SocketBlocked => {
                    shut.entry((record.conn, None, true)).or_insert(record.at);
                }
                Kind::WindowReady => {
                    let key = (record.conn, record.proto.clone(), false);
                    let from = shut.remove(&key).unwrap_or(record.at.saturating_sub(record.y));
                    ground.windows.entry((key.0, key.1)).or_default().push((from, record.at));
                }
                Kind::SocketReady => {
                    let from = shut.remove(&(record.conn, None, true));
                    let from = from.unwrap_or(record.at.saturating_sub(record.y));
                    ground.sockets.entry(record.conn).or_default().push((from, record.at));
                }
                Kind::SocketRead => ground.reads.entry(record.conn).or_default().push(record.at),
                _ => {}
            }
        }
        for ((conn, proto, socket), from) in shut {
            match socket {
                true => ground.sockets.entry(conn).or_default().push((from, end)),
                false => ground.windows.entry((conn, proto)).or_default().push((from, end)),
            }
        }
        for (actor, running) in running {
            ground.slices.entry(actor).or_default().extend(running.into_values());
        }
        ground.slices.values_mut().for_each(|slices| slices.sort_by_key(|slice| (slice.from, slice.id)));
        ground.windows.values_mut().chain(ground.sockets.values_mut()).for_each(|spans| spans.sort());
        ground.reads.values_mut().for_each(|reads| reads.sort());
        ground.times.sort();
        ground
    }

    /// When the window of an exchange was closed between two times.
    pub(super) fn window_shut(&self, conn: u32, proto: &Option<Name>, from: u64, to: u64) -> Spans {
        self.windows.get(&(conn, proto.clone())).map_or_else(Vec::new, |spans| within(spans, from, to))
    }

    /// When the socket took no bytes between two times.
    pub(super) fn socket_shut(&self, conn: u32, from: u64, to: u64) -> Spans {
        self.sockets.get(&conn).map_or_else(Vec::new, |spans| within(spans, from, to))
    }

    /// The slice of an actor that covers most of the time between two times.
    pub(super) fn busiest(&self, actor: u32, from: u64, to: u64) -> Option<(&Slice, u64)> {
        let slices = self.slices.get(&actor)?;
        let first = slices.partition_point(|slice| slice.to() <= from);
        let meets = slices[first..].iter().take_while(|slice| slice.from < to).take(10_000);
        meets
            .map(|slice| (slice, slice.to().min(to).saturating_sub(slice.from.max(from))))
            .max_by_key(|(_, overlap)| *overlap)
            .filter(|(_, overlap)| *overlap > 0)
    }

    /// The longest time between two times in which nothing arrived on a connection.
    pub(super) fn silence(&self, conn: u32, from: u64, to: u64) -> (u64, u64) {
        let none = Vec::new();
        longest_gap(self.reads.get(&conn).unwrap_or(&none), from, to)
    }

    /// The longest time between two times in which the node recorded nothing at all.
    pub(super) fn stillness(&self, from: u64, to: u64) -> (u64, u64) {
        longest_gap(&self.times, from, to)
    }
}

fn slice(record: &Record, from: u64, ns: u64, open: bool) -> Slice {
    let kind = match record.kind {
        Kind::MsgStarted | Kind::MsgFinished => Work::Message,
        Kind::ItemStarted | Kind::ItemFinished => Work::Item,
        _ => Work::Timer,
    };
    Slice { from, ns, kind, name: record.name.clone(), id: record.id, cause: record.cause, open }
}

/// The parts of sorted spans that lie between two times.
fn within(spans: &[(u64, u64)], from: u64, to: u64) -> Spans {
    let first = spans.partition_point(|span| span.1 <= from);
    let meets = spans[first..].iter().take_while(|span| span.0 < to).take(10_000);
    meets.map(|span| (span.0.max(from), span.1.min(to))).filter(|span| span.0 < span.1).collect()
}

fn longest_gap(times: &[u64], from: u64, to: u64) -> (u64, u64) {
    let first = times.partition_point(|time| *time <= from);
    let last = times.partition_point(|time| *time < to).max(first);
    let mut longest = (from, from);
    let mut previous = from;
    for time in times[first..last].iter().copied().chain([to]) {
        if time.saturating_sub(previous) > longest.1 - longest.0 {
            longest = (previous, time);
        }
        previous = time;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found_at_either_end_and_between() {
        assert_eq!(longest_gap(&[], 5, 9), (5, 9));
        assert_eq!(longest_gap(&[6, 20, 21], 5, 22), (6, 20));
        assert_eq!(longest_gap(&[1, 2, 30], 3, 9), (3, 9));
        assert_eq!(longest_gap(&[4, 5], 9, 3), (9, 9));
    }

    #[test]
    fn spans_are_clipped() {
        let spans = [(0, 10), (20, 30), (40, 50)];
        assert_eq!(within(&spans, 5, 45), [(5, 10), (20, 30), (40, 45)]);
        assert_eq!(within(&spans, 10, 20), []);
    }
}
