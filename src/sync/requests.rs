//! What is asked of whom right now, with deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use alloy_primitives::B256;

use super::pace::{Kind, PerKind};
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// Names one request, or the check of one answer, within a sync. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(pub(super) u64);

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The header of the trusted block to start from.
    Anchor(B256),
    /// The header of the trusted head, to learn its number.
    TrustedHead(B256),
    /// The header of the head a peer claims, to learn its number.
    ClaimedHead(B256),
    /// `len` headers from `start` on, and the one before them, which must be ours.
    Headers { start: u64, len: u64, era: u32 },
    /// The same, asked at the target, where nobody claims that there is anything.
    Poll { start: u64, len: u64, era: u32 },
    /// Headers with falling numbers from `start` on, to find where the peer's branch leaves ours.
    Ancestor { start: u64 },
    /// `len` more headers of that branch, from `start` on, and the one before them.
    Branch { start: u64, len: u64 },
    /// The bodies of these blocks.
    Bodies(Vec<BlockRef>),
    /// The receipts of these blocks, of the first of them from this index on.
    Receipts { blocks: Vec<BlockRef>, first_index: u64 },
}

impl Purpose {
    /// What the answer consists of.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Bodies(_) => Kind::Bodies,
            Self::Receipts { .. } => Kind::Receipts,
            _ => Kind::Headers,
        }
    }

    /// The blocks whose bodies or receipts are asked for.
    pub(super) fn blocks(&self) -> Option<&[BlockRef]> {
        match self {
            Self::Bodies(blocks) | Self::Receipts { blocks, .. } => Some(blocks),
            _ => None,
        }
    }

    /// The first block of the range, if it is one of the header line.
    fn line_start(&self) -> Option<u64> {
        match *self {
            Self::Headers { start, .. } => Some(start),
            _ => None,
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) session: SessionId,
    pub(super) purpose: Purpose,
    /// How many items the answer may have.
    pub(super) amount: usize,
    pub(super) sent: Instant,
    pub(super) deadline: Instant,
    /// From when on somebody else may be asked as well.
    pub(super) late_at: Instant,
    /// Whether somebody else has been asked, or this is that second request.
    pub(super) hedged: bool,
    /// Bytes expected.
    pub(super) reserved: usize,
}

/// All requests in flight. Bounded by the peers and what is allowed for each.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u64,
    open: BTreeMap<Ticket, Asked>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    /// Where the ranges of headers in flight start.
    lines: BTreeSet<(u64, Ticket)>,
    reserved: PerKind<usize>,
}

impl Requests {
    /// A ticket for something that is not a request.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }

    pub(super) fn open(&mut self, asked: Asked) -> Ticket {
        let ticket = self.ticket();
        self.deadlines.insert((asked.deadline, ticket));
        if let Some(start) = asked.purpose.line_start() {
            self.lines.insert((start, ticket));
        }
        self.reserved[asked.purpose.kind()] += asked.reserved;
        self.open.insert(ticket, asked);
        ticket
    }

    pub(super) fn close(&mut self, ticket: Ticket) -> Option<Asked> {
        let asked = self.open.remove(&ticket)?;
        self.deadlines.remove(&(asked.deadline, ticket));
        if let Some(start) = asked.purpose.line_start() {
            self.lines.remove(&(start, ticket));
        }
        self.reserved[asked.purpose.kind()] -= asked.reserved;
        Some(asked)
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Asked> {
        self.open.get(&ticket)
    }

    /// Marks a request as asked twice, or as the second one.
    pub(super) fn hedge(&mut self, ticket: Ticket) {
        if let Some(asked) = self.open.get_mut(&ticket) {
            asked.hedged = true;
        }
    }

    /// The range that starts here was answered by somebody else: this answer is welcome, its
    /// failure is nobody's concern. How long the range was.
    pub(super) fn disown(&mut self, start: u64) -> Option<u64> {
        let ticket = self.line_at(start)?;
        let asked = self.open.get_mut(&ticket)?;
        let Purpose::Headers { len, era, .. } = asked.purpose else { return None };
        asked.purpose = Purpose::Poll { start, len, era };
        self.lines.remove(&(start, ticket));
        Some(len)
    }

    /// How long the range of headers is that starts here and is asked for.
    pub(super) fn line_len(&self, start: u64) -> Option<u64> {
        match self.open.get(&self.line_at(start)?)?.purpose {
            Purpose::Headers { len, .. } => Some(len),
            _ => None,
        }
    }

    /// No range that is asked for is one of the header line any more.
    pub(super) fn forget_lines(&mut self) {
        self.lines.clear();
    }

    /// Whether no range of the header line is asked for.
    pub(super) fn no_lines(&self) -> bool {
        self.lines.is_empty()
    }

    /// The requests sent to a peer.
    pub(super) fn of(&self, session: SessionId) -> Vec<Ticket> {
        self.open.iter().filter(|(_, asked)| asked.session == session).map(|(ticket, _)| *ticket).collect()
    }

    /// How many requests are for such a purpose.
    pub(super) fn count(&self, matches: impl Fn(&Asked) -> bool) -> usize {
        self.open.values().filter(|asked| matches(asked)).count()
    }

    /// The request for the range of headers that starts here, the first if there are two.
    pub(super) fn line_at(&self, start: u64) -> Option<Ticket> {
        let at = self.lines.range((start, Ticket(0))..=(start, Ticket(u64::MAX))).next();
        at.map(|(_, ticket)| *ticket)
    }

    /// The next request whose time is up.
    pub(super) fn expired(&self, now: Instant) -> Option<Ticket> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, ticket)| *ticket)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Bytes expected by all requests of a kind together.
    pub(super) fn reserved(&self, kind: Kind) -> usize {
        self.reserved[kind]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn asked(session: u64, start: u64, len: u64, sent: Instant) -> Asked {
        Asked {
            session: SessionId(session),
            purpose: Purpose::Headers { start, len, era: 0 },
            amount: len as usize + 1,
            sent,
            deadline: sent + Duration::from_secs(session),
            late_at: sent,
            hedged: false,
            reserved: 10,
        }
    }

    #[test]
    fn a_range_asked_for_twice_belongs_to_whoever_answers_first() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        let first = requests.open(asked(1, 5, 20, now));
        let second = requests.open(asked(2, 5, 10, now));
        assert_eq!((requests.line_at(5), requests.line_len(5)), (Some(first), Some(20)));
        assert!(requests.close(second).is_some());
        assert_eq!(requests.disown(5), Some(20));
        assert_eq!((requests.line_at(5), requests.disown(5)), (None, None));
        let closed = requests.close(first).unwrap();
        assert_eq!(closed.purpose, Purpose::Poll { start: 5, len: 20, era: 0 });
        assert_eq!((requests.len(), requests.reserved(Kind::Headers)), (0, 0));
    }

    #[test]
    fn ranges_of_an_earlier_line_are_nobodys_any_more() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        let old = requests.open(asked(3, 5, 20, now));
        requests.forget_lines();
        assert!(requests.no_lines() && requests.line_len(5).is_none());
        let new = requests.open(asked(4, 5, 20, now));
        assert_eq!(requests.line_at(5), Some(new));
        assert_eq!(requests.expired(now + Duration::from_secs(3)), Some(old));
        assert!(requests.close(old).is_some());
        assert_eq!(requests.line_at(5), Some(new));
    }
}
