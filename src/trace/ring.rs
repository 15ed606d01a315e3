//! The flight recorder of one thread: the last events, overwritten in turn.
//!
//! One writer, any number of readers, no lock: each slot carries the number of its event, which is
//! taken away before the slot is overwritten and put back afterwards. A reader that meets another
//! number than it expects knows that the event is gone.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use super::event::{Event, WORDS};

#[derive(Debug, Default)]
#[repr(align(64))]
struct Slot([AtomicU64; WORDS]);

/// See the module. Bounded by its slots; the oldest event is overwritten.
#[derive(Debug)]
pub(crate) struct Ring {
    number: u16,
    /// For frequent events.
    frequent: bool,
    slots: Box<[Slot]>,
    /// The number of the next event; all before it are complete.
    next: AtomicU64,
    /// Whether a thread writes into it.
    taken: AtomicBool,
    /// Since when (nanoseconds, plus one) this thread has been inside an actor's poll; 0: it is not.
    busy_since: AtomicU64,
    busy_actor: AtomicU32,
}

impl Ring {
    /// A ring of at least `events` slots, already taken by its first writer.
    pub(crate) fn new(number: u16, frequent: bool, events: usize) -> Self {
        let slots = (0..events.next_power_of_two().max(64)).map(|_| Slot::default()).collect();
        Self {
            number,
            frequent,
            slots,
            next: AtomicU64::new(1),
            taken: AtomicBool::new(true),
            busy_since: AtomicU64::new(0),
            busy_actor: AtomicU32::new(0),
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Whether it is for frequent events.
    pub(crate) fn is_frequent(&self) -> bool {
        self.frequent
    }

    /// How many events it holds at most.
    pub(crate) fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Whether the caller is now its only writer.
    pub(crate) fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }

    /// Another thread may take it.
    pub(crate) fn release(&self) {
        self.taken.store(false, Ordering::Release);
    }

    /// Records an event and returns its number. Only the thread that has taken the ring may call it.
    #[inline]
    pub(crate) fn push(&self, at: u64, event: Event) -> u64 {
        let number = self.next.load(Ordering::Relaxed);
        let words = event.to_words(number, at);
        let slot = &self.slots[number as usize & (self.slots.len() - 1)].0;
        slot[0].store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        // One by one: this is the hottest loop of the trace, and it is not left to the optimiser.
        let [_, at, cause, what, whence, key, x, y] = words;
        slot[1].store(at, Ordering::Relaxed);
        slot[2].store(cause, Ordering::Relaxed);
        slot[3].store(what, Ordering::Relaxed);
        slot[4].store(whence, Ordering::Relaxed);
        slot[5].store(key, Ordering::Relaxed);
        slot[6].store(x, Ordering::Relaxed);
        slot[7].store(y, Ordering::Relaxed);
        slot[0].store(number, Ordering::Release);
        self.next.store(number + 1, Ordering::Release);
        number
    }

    /// The event with this number and its time; `None` if it was overwritten or does not exist yet.
    pub(crate) fn get(&self, number: u64) -> Option<(u64, Event)> {
        let slot = &self.slots[number as usize & (self.slots.len() - 1)].0;
        if slot[0].load(Ordering::Acquire) != number {
            return None;
        }
        let mut words = [0; WORDS];
        for (value, word) in words.iter_mut().zip(slot) {
            *value = word.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        if slot[0].load(Ordering::Relaxed) != number {
            return None;
        }
        let (_, at, event) = Event::from_words(&words)?;
        Some((at, event))
    }

    /// This thread enters (or leaves: `None`) an actor's poll.
    pub(crate) fn set_busy(&self, busy: Option<(u64, u32)>) {
        let (since, actor) = busy.map_or((0, 0), |(since, actor)| (since + 1, actor));
        self.busy_actor.store(actor, Ordering::Relaxed);
        self.busy_since.store(since, Ordering::Release);
    }

    /// Since when this thread has been inside an actor's poll, and which actor's.
    pub(crate) fn busy(&self) -> Option<(u64, u32)> {
        let since = self.busy_since.load(Ordering::Acquire).checked_sub(1)?;
        Some((since, self.busy_actor.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::kind::Kind;

    #[test]
    fn the_oldest_event_is_overwritten() {
        let ring = Ring::new(1, true, 64);
        for number in 1..=100 {
            assert_eq!(ring.push(number * 10, Event::new(Kind::SocketRead).x(number)), number);
        }
        assert_eq!((ring.capacity(), ring.next()), (64, 101));
        assert_eq!(ring.get(36), None);
        assert_eq!(ring.get(37), Some((370, Event::new(Kind::SocketRead).x(37))));
        assert_eq!(ring.get(100), Some((1000, Event::new(Kind::SocketRead).x(100))));
        assert_eq!(ring.get(101), None);
    }

    #[test]
    fn a_reader_beside_the_writer_sees_whole_events_or_none() {
        let ring = std::sync::Arc::new(Ring::new(1, true, 64));
        let writer = std::sync::Arc::clone(&ring);
        let enough = std::sync::Arc::new(AtomicBool::new(false));
        let stop = std::sync::Arc::clone(&enough);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                writer.push(number, Event::new(Kind::SocketRead).x(number).y(!number));
            }
        });
        let mut seen = 0u64;
        while seen < 10_000 {
            let number = ring.next().saturating_sub(32).max(1);
            if let Some((at, event)) = ring.get(number) {
                assert_eq!((at, event.x, event.y), (number, number, !number));
                seen += 1;
            }
        }
        enough.store(true, Ordering::Relaxed);
        thread.join().expect("the writer");
        assert!(ring.next() > 32 && ring.get(ring.next() - 1).is_some());
    }
}
