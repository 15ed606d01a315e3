//! What a session and its handles share: identity, permits, versions, orders.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::task::AtomicWaker;
use multiaddr::Multiaddr;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::Config;
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::ids::{Direction, PeerId, SessionId, Wire};
use crate::machine::message::Payload;
use crate::machine::pace::Pace;
use crate::machine::pending::Slots;
use crate::protocols::identify::Identity;
use crate::protocols::{Exchange, Outlet};
use crate::stats::RequestStats;
use crate::trace::{ConnTrace, Label};
use crate::transport::mux::Control;
use crate::transport::{Connection, Traffic};

/// Facts and orders of one session, seen by the actor and by every handle.
pub(crate) struct Shared {
    pub(crate) peer: PeerId,
    pub(crate) session: SessionId,
    pub(crate) direction: Direction,
    pub(crate) remote_addr: Multiaddr,
    pub(crate) wire: Wire,
    pub(crate) security: &'static str,
    pub(crate) muxer: &'static str,
    pub(crate) since: Instant,
    pub(crate) lanes: Vec<Arc<LaneShared>>,
    pub(crate) identity: OnceLock<Identity>,
    pub(crate) ended: OnceLock<Disconnected>,
    pub(crate) settled: AtomicBool,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) stats: Arc<RequestStats>,
    pub(crate) config: Arc<Config>,
    pub(crate) orders: Arc<Orders>,
    /// Round trips by the transport's own echo, where it has one.
    pub(crate) echo: Option<Control>,
    pub(crate) trace: ConnTrace,
}

impl Shared {
    pub(crate) fn new(
        connection: &Connection,
        session: SessionId,
        exchanges: &[Arc<dyn Exchange>],
        config: &Arc<Config>,
        stats: &Arc<RequestStats>,
    ) -> Arc<Self> {
        let orders = Arc::new(Orders::default());
        let lanes = exchanges.iter().map(|exchange| {
            Arc::new(LaneShared {
                exchange: Arc::clone(exchange),
                slots: Slots::new(config.pending_requests_max),
                version: AtomicU64::new(0),
                pace_us: AtomicU64::new(0),
                malformed: AtomicBool::new(false),
                excess: AtomicBool::new(false),
                announcements: Mutex::default(),
                items_max: config.session.outbox.announcements_max,
                bytes_max: config.session.outbox.announcement_bytes_max,
                orders: Arc::clone(&orders),
                proto: Label::of(exchange.name()),
                names: (0..=u8::MAX)
                    .map(|code| exchange.message_name(code).map_or(Label::NONE, Label::of))
                    .collect(),
            })
        });
        Arc::new(Self {
            peer: connection.peer,
            session,
            direction: connection.direction,
            remote_addr: connection.remote_addr.clone(),
            wire: connection.wire,
            security: connection.security,
            muxer: connection.muxer,
            since: Instant::now(),
            lanes: lanes.collect(),
            identity: OnceLock::new(),
            ended: OnceLock::new(),
            settled: AtomicBool::new(false),
            traffic: Arc::clone(&connection.traffic),
            stats: Arc::clone(stats),
            config: Arc::clone(config),
            orders,
            echo: connection.echoes.then(|| connection.mux.control.clone()),
            trace: connection.trace.clone(),
        })
    }
}

impl Shared {
    /// The exchange of this name, and its place.
    pub(crate) fn lane(&self, exchange: &str) -> Option<(usize, &Arc<LaneShared>)> {
        self.lanes.iter().enumerate().find(|(_, lane)| lane.exchange.name() == exchange)
    }

    /// How the session ended. One that is gone without having said so has panicked.
    pub(crate) fn how_it_ended(&self) -> Disconnected {
        self.ended.get().copied().unwrap_or_else(|| Disconnected::local(DisconnectReason::Panicked))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("peer", &self.peer).field("session", &self.session).finish()
    }
}

/// What anybody may tell a session without its mailbox: one slot, the first order wins.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    disconnect: Mutex<Option<DisconnectReason>>,
    /// Who wants to know where open requests stand: the last one to ask.
    tell_open: Mutex<Option<oneshot::Sender<()>>>,
    /// Something was ordered, reported or announced since the last look.
    changed: AtomicBool,
    ended: AtomicBool,
    waker: AtomicWaker,
}

impl Orders {
    pub(crate) fn disconnect(&self, reason: DisconnectReason) {
        self.disconnect.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.notify();
    }

    /// Resolved when the session has told, or when somebody else has asked meanwhile.
    pub(crate) fn tell_open(&self) -> oneshot::Receiver<()> {
        let (told, telling) = oneshot::channel();
        *self.tell_open.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        self.notify();
        telling
    }

    pub(crate) fn take_tell_open(&self) -> Option<oneshot::Sender<()>> {
        self.tell_open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn notify(&self) {
        self.changed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether anything was ordered, reported or announced since the last look: the one thing that
    /// is read at every turn of a session.
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire) && self.changed.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn take_disconnect(&self) -> Option<DisconnectReason> {
        self.disconnect.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// One exchange of a session, as its handles and its protocol see it.
pub(crate) struct LaneShared {
    pub(crate) exchange: Arc<dyn Exchange>,
    pub(crate) slots: Arc<Slots>,
    /// The negotiated version plus one; 0 while the exchange is not up.
    version: AtomicU64,
    pace_us: AtomicU64,
    malformed: AtomicBool,
    excess: AtomicBool,
    announcements: Mutex<Announcements>,
    items_max: usize,
    bytes_max: usize,
    orders: Arc<Orders>,
    /// The exchange's name in the trace, and those of its messages by code.
    pub(crate) proto: Label,
    pub(crate) names: Box<[Label]>,
}

#[derive(Debug, Default)]
struct Announcements {
    queue: VecDeque<Payload>,
    bytes: usize,
}

impl LaneShared {
    /// The negotiated version, while the exchange is up.
    pub(crate) fn version(&self) -> Option<u32> {
        self.version.load(Ordering::Acquire).checked_sub(1).map(|version| version as u32)
    }

    pub(crate) fn set_version(&self, version: Option<u32>) {
        self.version.store(version.map_or(0, |version| u64::from(version) + 1), Ordering::Release);
        if version.is_none() {
            // What was meant for this session must not reach the next one.
            *self.announcements.lock().unwrap_or_else(PoisonError::into_inner) = Announcements::default();
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace::from_micros(self.pace_us.load(Ordering::Relaxed))
    }

    /// Adapts the pace. Two callers at once may lose one of the two updates: it is an average.
    pub(crate) fn adapt(&self, change: impl FnOnce(&mut Pace)) {
        let mut pace = self.pace();
        change(&mut pace);
        self.pace_us.store(pace.as_micros(), Ordering::Relaxed);
    }

    /// A caller could not use an answer. Reports coalesce until the session looks.
    pub(crate) fn report(&self, excess: bool) {
        let flag = if excess { &self.excess } else { &self.malformed };
        flag.store(true, Ordering::Release);
        self.orders.notify();
    }

    /// `(malformed, excess)` since the last look.
    pub(crate) fn take_reports(&self) -> (bool, bool) {
        (self.malformed.swap(false, Ordering::Acquire), self.excess.swap(false, Ordering::Acquire))
    }

    /// Moves what was announced since the last look to the session.
    pub(crate) fn take_announcements(&self, mut take: impl FnMut(Payload)) {
        let mut waiting = self.announcements.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes = 0;
        waiting.queue.drain(..).for_each(&mut take);
    }
}

impl fmt::Debug for LaneShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneShared")
            .field("exchange", &self.exchange.name())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Outlet for LaneShared {
    fn send(&self, message: Payload) -> bool {
        let size = message.wire_bytes();
        if self.orders.ended.load(Ordering::Relaxed) || self.version().is_none() || size > self.bytes_max {
            return false;
        }
        let mut waiting = self.announcements.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.queue.len() >= self.items_max || waiting.bytes + size > self.bytes_max {
            let Some(oldest) = waiting.queue.pop_front() else { break };
            waiting.bytes -= oldest.wire_bytes();
        }
        waiting.bytes += size;
        waiting.queue.push_back(message);
        drop(waiting);
        self.orders.notify();
        true
    }

    fn disconnect(&self, reason: DisconnectReason) {
        self.orders.disconnect(reason);
    }
}
