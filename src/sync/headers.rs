//! The line of headers above the joined ones: which ranges were asked for, and which arrived early.

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::B256;

use super::check::Header;
use crate::ids::SessionId;

/// Linked headers of one answer that wait for those before them.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) from: SessionId,
    /// The hash of the block before the first.
    pub(super) below: B256,
    pub(super) headers: VecDeque<Header>,
}

impl Segment {
    fn bytes(&self) -> usize {
        self.headers.iter().map(|(_, rlp)| rlp.len()).sum()
    }
}

/// Numbers from `next` on are: given back (`holes`), arrived (`held`), asked for, or from
/// `frontier` on not asked for yet.
#[derive(Debug)]
pub(super) struct HeaderLine {
    next: u64,
    frontier: u64,
    /// Start and end (exclusive) of ranges to ask for again.
    holes: BTreeMap<u64, u64>,
    held: BTreeMap<u64, Segment>,
    held_bytes: usize,
    /// Answers asked for in an earlier era are of no use any more.
    era: u32,
}

impl HeaderLine {
    pub(super) fn new(next: u64) -> Self {
        Self { next, frontier: next, holes: BTreeMap::new(), held: BTreeMap::new(), held_bytes: 0, era: 0 }
    }

    /// Forgets everything: the line continues elsewhere.
    pub(super) fn restart(&mut self, next: u64) {
        *self = Self { era: self.era.wrapping_add(1), ..Self::new(next) };
    }

    pub(super) fn era(&self) -> u32 {
        self.era
    }

    /// The first number that is not joined.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes of headers that arrived early.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The lowest range below `end` that satisfies `serves`, which is asked for the start of each.
    pub(super) fn offer(&self, end: u64, serves: impl Fn(u64) -> bool) -> Option<(u64, u64)> {
        let holes = self.holes.iter().map(|(start, hole_end)| (*start, *hole_end));
        let beyond = std::iter::once((self.frontier, end));
        holes
            .take(16)
            .chain(beyond)
            .map(|(start, range_end)| (start, range_end.min(end)))
            .find(|(start, range_end)| start < range_end && serves(*start))
    }

    /// The first `len` numbers of an offer are asked for now.
    pub(super) fn take(&mut self, start: u64, len: u64) {
        let end = start.saturating_add(len);
        if let Some(hole_end) = self.holes.remove(&start) {
            if end < hole_end {
                self.add_hole(end, hole_end);
            }
        } else if start == self.frontier {
            self.frontier = end;
        }
    }

    /// These numbers have to be asked for again, as far as they did not arrive in another way.
    pub(super) fn give_back(&mut self, start: u64, end: u64) {
        let mut start = start.max(self.next);
        while start < end {
            let within = self.held.range(..=start).next_back();
            if let Some(held_end) = within.map(|(at, held)| at + held.headers.len() as u64)
                && held_end > start
            {
                start = held_end;
                continue;
            }
            let held_start = self.held.range(start..).next().map_or(end, |(at, _)| *at);
            let piece_end = end.min(held_start);
            self.add_hole(start, piece_end);
            start = piece_end;
        }
    }

    /// Holes may overlap when a range was asked for twice: that costs a question, never a number.
    fn add_hole(&mut self, start: u64, end: u64) {
        let hole_end = self.holes.entry(start).or_insert(end);
        *hole_end = end.max(*hole_end);
    }

    /// Keeps headers that arrived before those below them. Of two answers for one range the first
    /// stays.
    pub(super) fn hold(&mut self, start: u64, segment: Segment) {
        if !segment.headers.is_empty() && !self.held.contains_key(&start) {
            self.held_bytes += segment.bytes();
            self.held.insert(start, segment);
        }
    }

    /// The next segment that touches the joined headers, with its start.
    pub(super) fn touching(&mut self) -> Option<(u64, Segment)> {
        let start = *self.held.first_key_value()?.0;
        if start > self.next {
            return None;
        }
        let segment = self.held.remove(&start)?;
        self.held_bytes -= segment.bytes();
        Some((start, segment))
    }

    /// Everything below `next` is joined now.
    pub(super) fn advance(&mut self, next: u64) {
        self.next = next;
        self.frontier = self.frontier.max(next);
        while let Some(hole) = self.holes.first_entry().filter(|hole| *hole.key() < next) {
            let end = hole.remove();
            if end > next {
                self.add_hole(next, end);
            }
        }
    }

    /// Drops what a peer sent that is not joined, to be asked for again.
    pub(super) fn drop_from(&mut self, session: SessionId) {
        let theirs: Vec<_> =
            self.held.iter().filter(|(_, held)| held.from == session).map(|(start, _)| *start).collect();
        for start in theirs {
            if let Some(segment) = self.held.remove(&start) {
                self.held_bytes -= segment.bytes();
                self.give_back(start, start + segment.headers.len() as u64);
            }
        }
    }

    /// Nothing is asked for any more: what is neither here nor a hole becomes one.
    pub(super) fn repair(&mut self) {
        self.give_back(self.next, self.frontier);
    }

    /// Where the range that everything waits for starts, if it was asked for and is not here.
    pub(super) fn awaited(&self) -> Option<u64> {
        let asked = self.frontier > self.next && !self.holes.contains_key(&self.next);
        asked.then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(_: u64) -> bool {
        true
    }

    #[test]
    fn ranges_are_handed_out_once_and_again_after_they_came_back() {
        let mut line = HeaderLine::new(1);
        assert_eq!(line.offer(100, any), Some((1, 100)));
        line.take(1, 30);
        line.take(31, 30);
        assert_eq!(line.offer(100, any), Some((61, 100)));
        line.give_back(1, 31);
        assert_eq!(line.offer(100, any), Some((1, 31)));
        assert_eq!(line.offer(100, |start| start > 20), Some((61, 100)));
        line.take(1, 10);
        assert_eq!(line.offer(100, any), Some((11, 31)));
        line.advance(21);
        assert_eq!(line.offer(100, any), Some((21, 31)));
        line.advance(61);
        assert_eq!(line.offer(61, any), None);
        assert_eq!(line.awaited(), None);
    }

    #[test]
    fn what_arrived_twice_is_not_asked_for_again() {
        let mut line = HeaderLine::new(1);
        line.take(1, 30);
        line.hold(11, segment(7, 11, 10));
        line.give_back(1, 31);
        assert_eq!(line.holes, BTreeMap::from([(1, 11), (21, 31)]));
        line.drop_from(SessionId(8));
        assert!(line.touching().is_none());
        line.drop_from(SessionId(7));
        assert_eq!((line.held_bytes(), line.holes.len()), (0, 3));
    }

    fn segment(from: u64, start: u64, len: u64) -> Segment {
        let headers = (start..start + len).map(|number| {
            let header = alloy_consensus::Header { number, ..Default::default() };
            let rlp = alloy_rlp::encode(header);
            (crate::chain::HeaderFacts::read(&rlp).unwrap(), rlp.into())
        });
        Segment { from: SessionId(from), below: B256::ZERO, headers: headers.collect() }
    }
}
