//! Recording: from wherever something happens into the ring of that thread.
//!
//! A [`Tracer`] belongs to a network. Each thread that records for it has a ring of its own, found
//! through a thread-local; nothing is locked and nothing is allocated per event. Switched off, a
//! tracer is `None` and every call ends there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::clock::{self, Clock, nanos};
use super::event::{Event, IDS_PER_PLACE};
use super::record::{EventId, Name};
use super::ring::Ring;

/// For so many frequent events a thread keeps one rare one, and at least 256.
const RARE_SHARE: usize = 8;
/// Threads that may record for one network; events of further ones are counted and not kept.
const RINGS_MAX: usize = 64;
/// Texts that events may refer to; the oldest is forgotten.
const TEXTS_MAX: usize = 4096;
/// Bytes of a text.
const TEXT_BYTES_MAX: usize = 256;

/// Where a network's events go. Cheap to clone; `off` records nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracer(Option<Arc<Inner>>);

/// What all threads of a tracer share.
#[derive(Debug)]
pub(crate) struct Inner {
    id: u64,
    epoch: Instant,
    pub(super) unix_ns: u64,
    pub(super) node: Name,
    ring_events: usize,
    rings: Mutex<Vec<Rings>>,
    texts: Mutex<Texts>,
    next_actor: AtomicU32,
    next_conn: AtomicU32,
    /// Events of threads beyond [`RINGS_MAX`].
    pub(super) homeless: AtomicU64,
    /// Requests of peers that have arrived, and that have ended.
    served: [AtomicU64; 2],
    /// An actor has panicked since somebody last asked.
    panicked: AtomicBool,
    /// The thread that empties the rings, if any: woken when one is half full.
    pub(super) drainer: OnceLock<Thread>,
}

/// The rings of one thread: what happens all the time does not push out what happens rarely.
#[derive(Debug, Clone)]
struct Rings {
    frequent: Arc<Ring>,
    rare: Arc<Ring>,
}

#[derive(Debug, Default)]
struct Texts {
    /// The number of the first one kept.
    first: u64,
    kept: VecDeque<Name>,
}

/// The recording side of one thread.
#[derive(Debug)]
pub(crate) struct Local {
    tracer: u64,
    inner: Weak<Inner>,
    clock: Clock,
    rings: Rings,
    /// Bits of an event's number that are all zero each time half of the ring was filled.
    half_mask: u64,
    /// The time of the last event: times of a ring never go back.
    last: Cell<u64>,
    /// What is being handled on this thread: cause and actor of what is recorded meanwhile.
    current: Cell<EventId>,
    actor: Cell<u32>,
    /// The last event was recorded a moment ago, in this poll of the actor.
    fresh: Cell<bool>,
    /// A handler has panicked and said so.
    panicked: Cell<bool>,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.rings.frequent.release();
    }
}

thread_local! {
    static LOCALS: RefCell<Vec<Rc<Local>>> = const { RefCell::new(Vec::new()) };
}

static NEXT_TRACER: AtomicU64 = AtomicU64::new(1);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tracer {
    /// Records nothing.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// A tracer with rings of `ring_events` per thread; 0: off. In a simulated run the time of day
    /// is left out, so that two runs are the same.
    pub(crate) fn new(node: &str, ring_events: usize, simulated: bool) -> Self {
        if ring_events == 0 {
            return Self::off();
        }
        clock::warm_up();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Some(Arc::new(Inner {
            id: NEXT_TRACER.fetch_add(1, Ordering::Relaxed),
            epoch: tokio::time::Instant::now().into_std(),
            unix_ns: if simulated { 0 } else { nanos(now) },
            node: node.into(),
            ring_events,
            rings: Mutex::default(),
            texts: Mutex::default(),
            next_actor: AtomicU32::new(1),
            next_conn: AtomicU32::new(1),
            homeless: AtomicU64::new(0),
            served: [AtomicU64::new(0), AtomicU64::new(0)],
            panicked: AtomicBool::new(false),
            drainer: OnceLock::new(),
        })))
    }

    pub(crate) fn inner(&self) -> Option<&Arc<Inner>> {
        self.0.as_ref()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// When the trace began; `None`: it is off.
    pub(crate) fn epoch(&self) -> Option<Instant> {
        self.0.as_ref().map(|inner| inner.epoch)
    }

    /// Which tracer this is; 0: off.
    pub(crate) fn id(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.id)
    }

    /// The number of a new actor.
    pub(crate) fn new_actor(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.next_actor.fetch_add(1, Ordering::Relaxed))
    }

    /// The number of a new connection.
    pub(super) fn next_conn(&self) -> u32 {
        self.0.as_ref().map_or(0, |inner| inner.next_conn.fetch_add(1, Ordering::Relaxed))
    }

    /// Records an event now.
    #[inline]
    pub(crate) fn record(&self, event: impl FnOnce() -> Event) -> EventId {
        self.with(|local| local.record(local.now(), event())).unwrap_or(EventId::NONE)
    }

    /// Runs with this thread's recorder; `None` if the tracer is off.
    #[inline]
    pub(crate) fn with<T>(&self, run: impl FnOnce(&Local) -> T) -> Option<T> {
        let inner = self.0.as_ref()?;
        let mut run = Some(run);
        let ran = LOCALS.try_with(|locals| {
            let locals = locals.borrow();
            let local = locals.iter().find(|local| local.tracer == inner.id)?;
            Some(run.take()?(local))
        });
        match ran {
            Ok(Some(result)) => Some(result),
            Ok(None) => Some(run.take()?(&*inner.join()?)),
            // The thread is ending.
            Err(_) => None,
        }
    }

    /// The number of a text that events may refer to.
    pub(crate) fn text(&self, text: impl std::fmt::Display) -> u64 {
        let Some(inner) = &self.0 else { return 0 };
        let mut text = text.to_string();
        if text.len() > TEXT_BYTES_MAX {
            let cut = (0..=TEXT_BYTES_MAX - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
            text.push('…');
        }
        let mut texts = lock(&inner.texts);
        texts.kept.push_back(text.into());
        if texts.kept.len() > TEXTS_MAX {
            texts.kept.pop_front();
            texts.first += 1;
        }
        texts.first + texts.kept.len() as u64 - 1
    }

    /// A request of a peer has arrived, or one has ended.
    pub(crate) fn count_served(&self, ended: bool) {
        if let Some(inner) = &self.0 {
            inner.served[usize::from(ended)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Inner {
    /// This thread's recorder, made now. `None`: there are too many threads.
    fn join(self: &Arc<Self>) -> Option<Rc<Local>> {
        let rings = {
            let mut rings = lock(&self.rings);
            match rings.iter().find(|rings| rings.frequent.take()) {
                Some(rings) => rings.clone(),
                None if rings.len() >= RINGS_MAX => {
                    self.homeless.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                None => {
                    let number = rings.len() as u16 * 2;
                    let rare = (self.ring_events / RARE_SHARE).max(256);
                    rings.push(Rings {
                        frequent: Arc::new(Ring::new(number + 1, true, self.ring_events)),
                        rare: Arc::new(Ring::new(number + 2, false, rare)),
                    });
                    rings[rings.len() - 1].clone()
                }
            }
        };
        let newest = |ring: &Ring| ring.get(ring.next() - 1).map_or(0, |(at, _)| at);
        let last = newest(&rings.frequent).max(newest(&rings.rare));
        let local = Rc::new(Local {
            tracer: self.id,
            inner: Arc::downgrade(self),
            clock: Clock::since(self.epoch),
            half_mask: rings.frequent.capacity() / 2 - 1,
            rings,
            last: Cell::new(last),
            current: Cell::new(EventId::NONE),
            actor: Cell::new(0),
            fresh: Cell::new(false),
            panicked: Cell::new(false),
        });
        let joined = LOCALS.try_with(|locals| {
            // Borrowed only by somebody who records for another network right now: then this one is
            // not kept, and made again next time.
            if let Ok(mut locals) = locals.try_borrow_mut() {
                locals.retain(|other| other.inner.strong_count() > 0);
                locals.push(Rc::clone(&local));
            }
        });
        joined.ok().map(|()| local)
    }

    /// The rings of all threads so far.
    pub(super) fn rings(&self) -> Vec<Arc<Ring>> {
        lock(&self.rings).iter().flat_map(|rings| [&rings.frequent, &rings.rare]).map(Arc::clone).collect()
    }

    /// The words of a text; `None` if they are forgotten.
    pub(super) fn text(&self, number: u64) -> Option<Name> {
        let texts = lock(&self.texts);
        texts.kept.get(usize::try_from(number.checked_sub(texts.first)?).ok()?).cloned()
    }

    /// Whether an actor has panicked since the last call.
    pub(super) fn take_panicked(&self) -> bool {
        self.panicked.swap(false, Ordering::Relaxed)
    }

    /// Nanoseconds since the trace began.
    pub(super) fn now(&self) -> u64 {
        nanos(tokio::time::Instant::now().into_std().saturating_duration_since(self.epoch))
    }

    /// Requests of peers that have neither been answered nor ended otherwise.
    pub(super) fn served_open(&self) -> u64 {
        let ended = self.served[1].load(Ordering::Relaxed);
        self.served[0].load(Ordering::Relaxed).saturating_sub(ended)
    }
}

impl Local {
    /// This thread's recorder for a tracer, if it has one.
    #[inline]
    pub(crate) fn of(tracer: u64) -> Option<Rc<Self>> {
        let find = |locals: &RefCell<Vec<Rc<Self>>>| {
            locals.borrow().iter().find(|local| local.tracer == tracer).cloned()
        };
        LOCALS.try_with(find).ok().flatten()
    }

    /// Nanoseconds since the trace began, by the clock of the runtime.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The same where a handler may have returned just now: the clock is not read again.
    pub(crate) fn now_in_poll(&self) -> u64 {
        if self.fresh.get() { self.last.get() } else { self.now() }
    }

    /// Whether a handler has returned just now.
    pub(crate) fn set_fresh(&self, fresh: bool) {
        self.fresh.set(fresh);
    }

    /// A panic is on its way out and has been recorded.
    pub(crate) fn set_panicked(&self) {
        self.panicked.set(true);
    }

    /// A panic has left its actor. Returns whether its handler has recorded it.
    pub(crate) fn take_panicked(&self) -> bool {
        if let Some(inner) = self.inner.upgrade() {
            inner.panicked.store(true, Ordering::Relaxed);
        }
        self.panicked.take()
    }

    /// The same of an instant.
    pub(crate) fn at(&self, instant: Instant) -> u64 {
        self.clock.at(instant)
    }

    /// Now as an instant, where a handler has just begun or ended: its time is used again.
    pub(crate) fn instant_in_poll(&self) -> Instant {
        self.clock.epoch() + Duration::from_nanos(self.last.get())
    }

    /// Records an event. What it does not say, the current handler does: its actor, its cause.
    #[inline]
    pub(crate) fn record(&self, at: u64, mut event: Event) -> EventId {
        let at = at.max(self.last.get());
        self.last.set(at);
        if event.actor == 0 {
            event.actor = self.actor.get();
        }
        if event.cause == EventId::NONE {
            let current = self.current.get();
            event.cause = if current == EventId::NONE { event.key } else { current };
        }
        let frequent = event.kind.is_frequent();
        let ring = if frequent { &self.rings.frequent } else { &self.rings.rare };
        let number = ring.push(at, event);
        if frequent && number & self.half_mask == 0 {
            self.wake_drainer();
        }
        EventId::new(ring.number(), number * IDS_PER_PLACE)
    }

    #[cold]
    fn wake_drainer(&self) {
        if let Some(inner) = self.inner.upgrade()
            && let Some(drainer) = inner.drainer.get()
        {
            drainer.unpark();
        }
    }

    /// What is recorded from now on is caused by this event; returns what was so far.
    pub(crate) fn set_current(&self, current: EventId) -> EventId {
        self.current.replace(current)
    }

    /// What is recorded from now on happens in this actor (0: none); returns which it was so far.
    pub(crate) fn set_actor(&self, actor: u32) -> u32 {
        self.actor.replace(actor)
    }

    /// This thread enters or leaves an actor's poll.
    pub(crate) fn set_busy(&self, busy: Option<(u64, u32)>) {
        self.rings.frequent.set_busy(busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{ConnTrace, Kind};

    #[test]
    fn each_thread_has_a_ring_and_a_later_thread_takes_over_that_of_one_that_ended() {
        let tracer = Tracer::new("us", 64, true);
        let first = tracer.record(|| Event::new(Kind::SocketRead));
        let on_thread = |tracer: Tracer| {
            std::thread::spawn(move || tracer.record(|| Event::new(Kind::SocketRead))).join().unwrap()
        };
        assert_eq!((first.ring(), first.number()), (1, 4));
        assert_eq!(on_thread(tracer.clone()), EventId::new(3, 4));
        assert_eq!(on_thread(tracer.clone()), EventId::new(3, 8));
        assert_eq!(tracer.inner().unwrap().rings().len(), 4);
        let rare = tracer.record(|| Event::new(Kind::ConnDialing));
        assert_eq!((rare.ring(), rare.number()), (2, 4), "what is rare has a ring of its own");
        assert_eq!(Tracer::off().record(|| unreachable!()), EventId::NONE);
    }

    #[test]
    fn times_never_go_back_and_the_current_handler_is_the_cause() {
        let tracer = Tracer::new("us", 64, true);
        tracer.with(|local| {
            let first = local.record(50, Event::new(Kind::MsgStarted).actor(3));
            local.set_current(first);
            local.set_actor(3);
            let second = local.record(40, Event::new(Kind::SocketRead));
            let (at, event) = local.rings.frequent.get(second.number() / IDS_PER_PLACE).unwrap();
            assert_eq!((at, event.cause, event.actor), (50, first, 3));
            local.set_current(EventId::NONE);
        });
    }

    #[test]
    fn texts_are_cut_and_the_oldest_are_forgotten() {
        let tracer = Tracer::new("us", 64, true);
        let long = tracer.text("ä".repeat(1000));
        let inner = tracer.inner().unwrap();
        assert!(inner.text(long).unwrap().len() <= TEXT_BYTES_MAX);
        for n in 0..TEXTS_MAX as u64 {
            assert_eq!(tracer.text(n), n + 1);
        }
        assert_eq!((inner.text(0), inner.text(1).as_deref()), (None, Some("0")));
        assert_eq!(inner.text(u64::MAX), None);
    }

    /// `cargo test --release --lib trace::recorder -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn how_long_an_event_takes() {
        const EVENTS: u32 = 10_000_000;
        let trace = Tracer::new("us", 8192, true).new_conn();
        let now = Instant::now();
        let per_event = |what: &str, record: &dyn Fn(u64)| {
            let begun = Instant::now();
            (0..u64::from(EVENTS)).for_each(record);
            println!("{what}: {:?} per event", begun.elapsed() / EVENTS);
        };
        let event = |n| Event::new(Kind::ReqQueued).key(EventId(n)).x(n);
        per_event("at a known time", &|n| {
            trace.record_at(now, || event(n));
        });
        per_event("soon after another", &|n| {
            trace.record_soon(|| event(n));
        });
        per_event("now", &|n| {
            trace.record(|| event(n));
        });
        let off = ConnTrace::off();
        per_event("off", &|n| {
            off.record(|| event(n));
        });
    }
}
