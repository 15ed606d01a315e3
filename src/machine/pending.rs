//! Requests of ours that wait for their answers: request id to waiter, with deadlines.
//!
//! A [`Permit`] is a slot and its generation, taken before a request is made and given back when
//! its entry ends. The id follows from the permit, so a late answer can never meet a reused slot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::RequestId;

/// How many given-up ids are remembered, to excuse late answers: as many as may be in flight at
/// most, so that a peer that answers all of them too late is blamed for none.
const ABANDONED_MAX: usize = 4096;

/// The slots of one peer and protocol: how many requests may be in flight at once.
#[derive(Debug)]
pub struct Slots {
    free: Mutex<Free>,
    capacity: u16,
}

#[derive(Debug)]
struct Free {
    /// Slots nobody holds; the last one is taken next.
    slots: Vec<u16>,
    /// The generation that the next permit of each slot gets.
    generations: Vec<u64>,
}

impl Slots {
    /// `capacity` free slots.
    pub fn new(capacity: u16) -> Arc<Self> {
        let free = Free { slots: (0..capacity).rev().collect(), generations: vec![0; usize::from(capacity)] };
        Arc::new(Self { free: Mutex::new(free), capacity })
    }

    /// A permit for one request, or `None` when all slots are taken.
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = free.slots.pop()?;
        let generation = free.generations[usize::from(slot)];
        free.generations[usize::from(slot)] += 1;
        Some(Permit { id: RequestId::new(generation, slot), slots: Arc::clone(self) })
    }

    /// How many permits are out.
    pub fn in_use(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        usize::from(self.capacity) - free.slots.len()
    }

    /// How many permits there are.
    pub fn capacity(&self) -> u16 {
        self.capacity
    }
}

/// The right to have one request in flight. Dropping it frees the slot.
#[derive(Debug)]
pub struct Permit {
    id: RequestId,
    slots: Arc<Slots>,
}

impl Permit {
    /// The id that the request of this permit has.
    pub fn id(&self) -> RequestId {
        self.id
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut free = self.slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.slots.push(self.id.slot() as u16);
    }
}

/// Who gets an answer?
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<W> {
    /// This waiter, who asked at the given time.
    For(W, Instant),
    /// The request is open, but this is not the kind of answer it wants: the peer's fault.
    WrongKind(W),
    /// We gave up on that request a while ago: no fault.
    Late,
    /// Answered already: the peer's fault.
    Duplicate,
    /// Never issued: the peer's fault.
    Unknown,
}

#[derive(Debug)]
struct Entry<W> {
    permit: Permit,
    answer_code: u8,
    asked: Instant,
    deadline: Instant,
    waiter: W,
}

#[derive(Debug)]
struct Slot<W> {
    entry: Option<Entry<W>>,
    /// The highest generation ever inserted here, plus one.
    issued: u64,
}

/// The pending table of one session and protocol. The waiter is generic: tests use plain values.
#[derive(Debug)]
pub struct PendingRequests<W> {
    slots: Vec<Slot<W>>,
    len: usize,
    /// No deadline is earlier than this one. It may be stale after removals; then the timer fires
    /// early once and is set anew, which is cheaper than an ordered index kept at every request.
    earliest: Option<Instant>,
    abandoned: VecDeque<(RequestId, Instant)>,
    late_grace: Duration,
}

impl<W> PendingRequests<W> {
    /// An empty table. Answers to given-up requests are excused for `late_grace`.
    pub fn new(late_grace: Duration) -> Self {
        Self { slots: Vec::new(), len: 0, earliest: None, abandoned: VecDeque::new(), late_grace }
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The requests that wait, in the order of their slots, with when they were asked.
    pub fn iter(&self) -> impl Iterator<Item = (RequestId, Instant)> {
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        entries.map(|entry| (entry.permit.id(), entry.asked))
    }

    /// Whether any request waits for an answer with this code.
    pub fn expects(&self, code: u8) -> bool {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref()).any(|entry| entry.answer_code == code)
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Occupies the slot that the permit reserved. The entry gives the permit back when it ends.
    pub fn insert(
        &mut self,
        permit: Permit,
        answer_code: u8,
        asked: Instant,
        deadline: Instant,
        waiter: W,
    ) -> RequestId {
        let id = permit.id();
        while self.slots.len() <= id.slot() {
            self.slots.push(Slot { entry: None, issued: 0 });
        }
        let slot = &mut self.slots[id.slot()];
        debug_assert!(slot.entry.is_none(), "a permit is held by one request only");
        slot.issued = id.generation() + 1;
        slot.entry = Some(Entry { permit, answer_code, asked, deadline, waiter });
        self.len += 1;
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        id
    }

    /// An answer came. An id we issued and gave up on is late, not a fault.
    pub fn on_answer(&mut self, now: Instant, id: RequestId, code: u8) -> Answer<W> {
        if let Some(entry) = self.remove(id) {
            return if entry.answer_code == code {
                Answer::For(entry.waiter, entry.asked)
            } else {
                Answer::WrongKind(entry.waiter)
            };
        }
        if let Some(index) = self.abandoned.iter().position(|(abandoned, _)| *abandoned == id) {
            // A second answer to the same given-up request is no longer excused.
            let (_, since) = self.abandoned.remove(index).unwrap_or((id, now));
            if now.saturating_duration_since(since) <= self.late_grace {
                return Answer::Late;
            }
        }
        match self.slots.get(id.slot()) {
            Some(slot) if id.generation() < slot.issued => Answer::Duplicate,
            _ => Answer::Unknown,
        }
    }

    /// The caller gave up. `None`: the request had ended already.
    pub fn cancel(&mut self, now: Instant, id: RequestId) -> Option<W> {
        let entry = self.remove(id)?;
        self.abandon(now, id);
        Some(entry.waiter)
    }

    /// Whether this request still waits.
    pub fn contains(&self, id: RequestId) -> bool {
        self.slots.get(id.slot()).and_then(|slot| slot.entry.as_ref()).is_some_and(|e| e.permit.id() == id)
    }

    /// When [`Self::on_timeout`] should be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// The requests whose deadline has passed, in the order of their slots, with how long they
    /// waited.
    pub fn on_timeout(&mut self, now: Instant) -> Vec<(W, Duration)> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        let mut earliest: Option<Instant> = None;
        for index in 0..self.slots.len() {
            let Some(entry) = &self.slots[index].entry else { continue };
            if entry.deadline <= now {
                let id = entry.permit.id();
                if let Some(entry) = self.remove(id) {
                    self.abandon(now, id);
                    expired.push((entry.waiter, entry.deadline - entry.asked));
                }
            } else {
                let deadline = entry.deadline;
                earliest = Some(earliest.map_or(deadline, |e| e.min(deadline)));
            }
        }
        self.earliest = earliest;
        expired
    }

    /// Ends everything, in the order of the slots.
    pub fn drain(&mut self) -> Vec<W> {
        self.len = 0;
        self.earliest = None;
        self.slots.iter_mut().filter_map(|slot| slot.entry.take()).map(|entry| entry.waiter).collect()
    }

    fn remove(&mut self, id: RequestId) -> Option<Entry<W>> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.entry.as_ref()?.permit.id() != id {
            return None;
        }
        self.len -= 1;
        if self.len == 0 {
            self.earliest = None;
        }
        slot.entry.take()
    }

    fn abandon(&mut self, now: Instant, id: RequestId) {
        if self.abandoned.len() == ABANDONED_MAX {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back((id, now));
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
