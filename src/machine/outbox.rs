//! What may be sent next: per class a queue, bounded; started messages take turns by segment.
//!
//! Which message *starts* next is decided by class (control, replies, requests, announcements).
//! Messages already started alternate with new ones, segment by segment, so a small answer is
//! never later than about one segment per large message open before it (eth-stream section 2).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::message::Payload;
use crate::wire::segment::{self, DATA_MAX};

/// Which queue a message waits in; lower starts earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Status and Disconnect.
    Control,
    /// Replies to the peer's requests.
    Reply,
    /// Our own requests.
    Request,
    /// Announcements: the oldest is dropped when they are too many.
    Announcement,
}

const RANKS: usize = 4;
const RANKED: [Rank; RANKS] = [Rank::Control, Rank::Reply, Rank::Request, Rank::Announcement];

/// The bounds of an outbox.
#[derive(Debug, Clone, Copy)]
pub struct OutboxLimits {
    /// Bytes of our own requests that may wait; more are refused.
    pub request_bytes_max: usize,
    /// Announcements that may wait; the oldest is dropped for a new one.
    pub announcements_max: usize,
    /// Bytes of announcements that may wait; the oldest are dropped for a new one.
    pub announcement_bytes_max: usize,
    /// Messages that may be open (started, not ended) at once: eth-stream section 2.
    pub open_max: usize,
    /// Bytes that open messages may sum to: eth-stream section 2.
    pub open_bytes_max: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            request_bytes_max: 4 << 20,
            announcements_max: 4096,
            announcement_bytes_max: 8 << 20,
            open_max: 8,
            open_bytes_max: 16 << 20,
        }
    }
}

/// What became of a message that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for its turn.
    Queued,
    /// It waits; so many older announcements were dropped for it.
    Displaced(usize),
    /// No room: it was not taken.
    Full,
}

/// What tells the messages of an outbox apart for whoever watches them; 0: nobody does.
pub type Tag = u64;

/// A segment was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The message it belongs to: its rank.
    pub rank: Rank,
    /// Its tag.
    pub tag: Tag,
    /// It is the message's last.
    pub last: bool,
}

#[derive(Debug)]
struct Waiting {
    tag: Tag,
    message: Payload,
}

#[derive(Debug)]
struct Started {
    number: u64,
    tag: Tag,
    rank: Rank,
    rest: Bytes,
    /// Bytes of the message that were sent already.
    sent: usize,
}

/// Messages waiting to be sent to one peer over one substream.
#[derive(Debug)]
pub struct Outbox {
    queues: [VecDeque<Waiting>; RANKS],
    bytes: [usize; RANKS],
    started: VecDeque<Started>,
    next_number: u64,
    /// Whose turn it is when both a started message and a new one could go.
    turn_of_started: bool,
    /// While the first message (Status) is open, nothing else may be sent.
    exclusive: bool,
    limits: OutboxLimits,
}

impl Outbox {
    /// An empty outbox. The first message pushed goes out whole before any other starts.
    pub fn new(limits: OutboxLimits) -> Self {
        Self {
            queues: Default::default(),
            bytes: [0; RANKS],
            started: VecDeque::new(),
            next_number: 0,
            turn_of_started: false,
            exclusive: false,
            limits,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.started.is_empty() && self.queues.iter().all(VecDeque::is_empty)
    }

    /// Bytes that wait, started ones included.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// Bytes of replies that the peer has asked for and not yet taken.
    pub fn owed_bytes(&self) -> usize {
        self.bytes[Rank::Reply as usize]
    }

    /// Replies that the peer has asked for and that have not started to be sent.
    pub fn owed_replies(&self) -> usize {
        self.queues[Rank::Reply as usize].len()
    }

    /// Takes a message into the queue of its rank.
    ///
    /// Control and replies always find room: their number is bounded by the session (one Status,
    /// one Disconnect; replies only start while owed bytes and replies are under their caps).
    pub fn push(&mut self, rank: Rank, message: Payload) -> Pushed {
        self.push_tagged(rank, 0, message)
    }

    /// The same with a tag by which the message's segments are known.
    pub fn push_tagged(&mut self, rank: Rank, tag: Tag, message: Payload) -> Pushed {
        let size = message.wire_bytes();
        let mut displaced = 0;
        match rank {
            Rank::Control | Rank::Reply => {}
            Rank::Request => {
                let waiting = self.bytes[Rank::Request as usize];
                if waiting > 0 && waiting + size > self.limits.request_bytes_max {
                    return Pushed::Full;
                }
            }
            Rank::Announcement => {
                if size > self.limits.announcement_bytes_max {
                    return Pushed::Full;
                }
                let queue = &mut self.queues[Rank::Announcement as usize];
                let waiting = &mut self.bytes[Rank::Announcement as usize];
                while queue.len() >= self.limits.announcements_max
                    || *waiting + size > self.limits.announcement_bytes_max
                {
                    let Some(oldest) = queue.pop_front() else { break };
                    *waiting -= oldest.message.wire_bytes();
                    displaced += 1;
                }
            }
        }
        self.bytes[rank as usize] += size;
        self.queues[rank as usize].push_back(Waiting { tag, message });
        if displaced > 0 { Pushed::Displaced(displaced) } else { Pushed::Queued }
    }

    /// Drops everything that waits and has not started. `dropped` hears the tag of each.
    pub fn clear_waiting(&mut self, mut dropped: impl FnMut(Rank, Tag)) {
        for rank in RANKED {
            let bytes = &mut self.bytes[rank as usize];
            for Waiting { tag, message } in self.queues[rank as usize].drain(..) {
                *bytes -= message.wire_bytes();
                dropped(rank, tag);
            }
        }
    }

    /// The messages that have not been written to their end.
    pub fn tags(&self) -> impl Iterator<Item = (Rank, Tag)> {
        let started = self.started.iter().map(|started| (started.rank, started.tag));
        let waiting =
            RANKED.into_iter().flat_map(|rank| self.queues[rank as usize].iter().map(move |w| (rank, w.tag)));
        started.chain(waiting)
    }

    /// Appends the next segment to `out`. `None`: nothing may be sent now.
    pub fn poll_segment(&mut self, out: &mut BytesMut) -> Option<Cut> {
        let startable = self.startable();
        let continue_started = !self.started.is_empty() && (startable.is_none() || self.turn_of_started);
        if continue_started {
            self.turn_of_started = false;
            return self.continue_one(out);
        }
        self.turn_of_started = true;
        self.start_one(startable?, out)
    }

    /// The next message as a whole, where nothing is cut. Not to be mixed with
    /// [`poll_segment`](Self::poll_segment).
    pub fn poll_message(&mut self) -> Option<(Rank, Tag, Payload)> {
        let rank = RANKED.into_iter().find(|rank| !self.queues[*rank as usize].is_empty())?;
        let Waiting { tag, message } = self.queues[rank as usize].pop_front()?;
        self.bytes[rank as usize] -= message.wire_bytes();
        Some((rank, tag, message))
    }

    /// The rank of the message that may start next, if any may.
    fn startable(&self) -> Option<Rank> {
        if self.exclusive {
            return None;
        }
        RANKED.into_iter().find(|rank| {
            let first = self.queues[*rank as usize].front();
            first.is_some_and(|first| self.may_start(first.message.wire_bytes()))
        })
    }

    /// A message that fits one segment is never open, so it always has room.
    fn may_start(&self, size: usize) -> bool {
        if size <= DATA_MAX {
            return true;
        }
        let open_bytes: usize = self.started.iter().map(|s| s.sent + s.rest.len()).sum();
        self.started.len() < self.limits.open_max && open_bytes + size <= self.limits.open_bytes_max
    }

    fn start_one(&mut self, rank: Rank, out: &mut BytesMut) -> Option<Cut> {
        let Waiting { tag, message } = self.queues[rank as usize].pop_front()?;
        let number = self.next_number;
        self.next_number += 1;
        let mut rest = message.body;
        let first = rest.split_to(rest.len().min(DATA_MAX - 1));
        self.bytes[rank as usize] -= 1 + first.len();
        let more = !rest.is_empty();
        segment::encode_segment(number, more, Some(message.code), &first, out);
        if more {
            self.exclusive = number == 0;
            self.started.push_back(Started { number, tag, rank, rest, sent: 1 + first.len() });
        }
        Some(Cut { rank, tag, last: !more })
    }

    fn continue_one(&mut self, out: &mut BytesMut) -> Option<Cut> {
        let mut message = self.started.pop_front()?;
        let (rank, tag) = (message.rank, message.tag);
        let data = message.rest.split_to(message.rest.len().min(DATA_MAX));
        self.bytes[message.rank as usize] -= data.len();
        message.sent += data.len();
        let more = !message.rest.is_empty();
        segment::encode_segment(message.number, more, None, &data, out);
        if more {
            self.started.push_back(message);
        } else if message.number == 0 {
            self.exclusive = false;
        }
        Some(Cut { rank, tag, last: !more })
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
