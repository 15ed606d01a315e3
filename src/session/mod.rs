//! One long-lived actor per peer: it owns the connection and its long-lived substreams.
//!
//! Owns: the muxer's driver, one lane per exchange (`lane.rs`), raw substreams, keepalive. Never:
//! decides what a message means (machines and protocols do) or who may have a session (the
//! manager does). Bytes come in as attached streams and leave through each lane's outbox; the
//! mailbox carries requests of ours (one per permit) and control. All writing, serving and timing
//! happens in one place, `pump.rs`.

pub(crate) mod handle;
pub(crate) mod lane;
pub(crate) mod messages;
mod open_request;
pub(crate) mod pump;
pub(crate) mod reader;
pub(crate) mod refuse;
pub(crate) mod rules;
pub(crate) mod shared;
mod substreams;
mod watch;
mod writer;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Handler, SpawnHandle, StreamHandler};
use futures::stream::{BoxStream, FuturesUnordered};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::task::AbortOnDropHandle;

pub use handle::PeerHandle;
use lane::{Lane, Live, State};
use messages::{Ask, Cancel, Notice, Notices, OpenSubstream};
use reader::{ReaderEvent, ReaderItem};
use shared::Shared;
use substreams::{Origin, Task, TaskEnd};
use writer::Writer;

use crate::actor::{self, Ctx};
use crate::disconnect::{Breach, Deadline, DisconnectReason, Disconnected, Side};
use crate::ids::{Direction, ProtocolId, SessionId};
use crate::router::Router;
use crate::stats::RequestStats;
use crate::trace::{Event, Kind, Label};
use crate::transport::mux::{Control, MuxEnd, Substream};
use crate::transport::{Connection, TransportLimits};
use crate::wire::segment::Segment;

/// Everything a session needs to start.
pub(crate) struct Start {
    pub(crate) connection: Connection,
    pub(crate) session: SessionId,
    pub(crate) config: Arc<crate::config::Config>,
    pub(crate) router: Arc<Router>,
    pub(crate) ids: Arc<[ProtocolId]>,
    pub(crate) stats: Arc<RequestStats>,
    pub(crate) notices: Notices,
    pub(crate) seed: u64,
}

/// One attached stream.
struct Reader {
    handle: SpawnHandle,
    opened: Opened,
}

/// Who opened a substream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    /// We did, for the exchange with this index.
    ForLane(usize),
    /// The peer did.
    ByPeer,
}

/// How long after the end of an exchange its dialer opens it again, at the earliest.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const REOPEN_CAP: Duration = Duration::from_secs(30);
/// By then it is decided which exchanges there are; whoever waits is not kept any longer.
const SETTLE_SLACK: Duration = Duration::from_secs(1);
/// Substreams of an exchange beyond the one, within a minute, before they are a breach.
const EXCESS_MAX: usize = 3;

/// The actor of one peer.
pub(crate) struct PeerSession {
    shared: Arc<Shared>,
    router: Arc<Router>,
    ids: Arc<[ProtocolId]>,
    control: Control,
    /// Taken when the actor starts.
    inbound: Option<mpsc::Receiver<Substream>>,
    driver: Option<AbortOnDropHandle<MuxEnd>>,
    mux_end: Option<MuxEnd>,
    lanes: Vec<Lane>,
    tasks: FuturesUnordered<Task>,
    /// The streams of substreams in negotiation or in use, by token. Bounded by the substreams of
    /// the connection.
    readers: HashMap<u64, Reader>,
    next_token: u64,
    identified: bool,
    settle_by: Instant,
    /// Set once the end is decided; then goodbyes are said until the deadline.
    ended: Option<Disconnected>,
    close_by: Option<Instant>,
    notices: Notices,
    pump: SpawnHandle,
    waker: Waker,
    alarm: Option<Pin<Box<Sleep>>>,
    seed: u64,
}

impl PeerSession {
    /// Starts the actor on this thread and returns its handle.
    pub(crate) fn launch(start: Start) -> PeerHandle {
        let Start { connection, session, config, router, ids, stats, notices, seed } = start;
        let shared = Shared::new(&connection, session, router.exchanges(), &config, &stats);
        let transport = config.transport;
        let mux = connection.mux;
        let trace = shared.trace.clone();
        let make = |ctx: &mut Ctx<Self>| {
            let dir = shared.direction;
            let started = || Event::new(Kind::SessionStarted).dir(dir).actor(ctx.actor()).x(session.0);
            trace.say(started, shared.peer);
            Self {
                lanes: shared.lanes.iter().map(|lane| Lane::new(Arc::clone(lane))).collect(),
                router,
                ids,
                control: mux.control,
                inbound: Some(mux.inbound),
                driver: Some(AbortOnDropHandle::new(tokio::task::spawn_local(mux.driver))),
                mux_end: None,
                tasks: FuturesUnordered::new(),
                readers: HashMap::new(),
                next_token: 0,
                identified: false,
                settle_by: Instant::now() + transport.negotiation_timeout + SETTLE_SLACK,
                ended: None,
                close_by: None,
                notices,
                pump: SpawnHandle::default(),
                waker: futures::task::noop_waker(),
                alarm: None,
                shared: Arc::clone(&shared),
                seed,
            }
        };
        let addr = actor::start(&trace.tracer, trace.conn, make);
        PeerHandle { shared, addr }
    }

    fn limits(&self) -> TransportLimits {
        self.shared.config.transport
    }

    fn origin(&self) -> Origin {
        Origin { peer: self.shared.peer, remote_addr: self.shared.remote_addr.clone() }
    }

    /// The pump runs again soon: something changed outside of it.
    fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// Keeps the pump the last of the context's items, so that it runs behind the readers.
    fn respawn_pump(&mut self, ctx: &mut Ctx<Self>) {
        ctx.cancel_future(self.pump);
        self.pump = ctx.spawn(pump::Pump);
    }

    /// Attaches a substream as a stream whose first step is negotiation.
    fn attach(
        &mut self,
        ctx: &mut Ctx<Self>,
        opened: Opened,
        stream: impl FnOnce(u64) -> BoxStream<'static, ReaderItem>,
    ) {
        let token = self.next_token;
        self.next_token += 1;
        let handle = ctx.add_stream(stream(token));
        self.readers.insert(token, Reader { handle, opened });
        self.respawn_pump(ctx);
    }

    /// Drops a stream, and with it its half of the substream.
    fn detach(&mut self, ctx: &mut Ctx<Self>, token: u64) {
        if let Some(reader) = self.readers.remove(&token) {
            ctx.cancel_future(reader.handle);
        }
    }

    /// The dialer asks for the substream of an exchange.
    fn open_lane(&mut self, ctx: &mut Ctx<Self>, index: usize) {
        let ids = self.lanes[index].shared.exchange.ids().to_vec();
        let (control, limits) = (self.control.clone(), self.limits());
        self.lanes[index].state = State::Waiting;
        self.attach(ctx, Opened::ForLane(index), |token| {
            reader::outbound(token, index, control, ids, limits)
        });
    }

    fn on_exchange(
        &mut self,
        ctx: &mut Ctx<Self>,
        token: u64,
        index: usize,
        version: u32,
        io: futures::io::WriteHalf<reader::LaneIo>,
    ) {
        let now = Instant::now().into_std();
        let Some(reader) = self.readers.get(&token) else { return };
        // Identify lists what a peer accepts: a dialer that lists nothing may still open.
        let may_open = !matches!(self.lanes[index].state, State::Live(_)) && self.ended.is_none();
        let by_listener = self.shared.direction == Direction::Outbound && reader.opened == Opened::ByPeer;
        if !may_open || by_listener {
            self.detach(ctx, token);
            if self.lanes[index].excess.exceeds(now, Duration::from_secs(60), EXCESS_MAX) {
                self.end(Disconnected::local(DisconnectReason::Breach(Breach::SubstreamFlood)));
            }
            return;
        }
        let lane = &mut self.lanes[index];
        let live = Live::new(now, token, version, Writer::new(io), &lane.shared, &self.shared);
        lane.state = State::Live(Box::new(live));
    }

    fn attach_inbound(&mut self, ctx: &mut Ctx<Self>, substream: Substream) {
        let (router, ids, limits) = (Arc::clone(&self.router), Arc::clone(&self.ids), self.limits());
        let trace = self.shared.trace.clone();
        self.attach(ctx, Opened::ByPeer, |token| {
            reader::inbound(token, substream, router, ids, limits, trace)
        });
    }

    /// Negotiation of a substream came to nothing.
    fn on_not_agreed(&mut self, token: u64, unsupported: bool) {
        let Some(Reader { opened: Opened::ForLane(index), .. }) = self.readers.remove(&token) else { return };
        let lane = &mut self.lanes[index];
        lane.state = if unsupported { State::Unsupported } else { lane.pause() };
    }

    /// Decides that the session ends, tells everybody, and starts saying goodbye.
    fn end(&mut self, ended: Disconnected) {
        if self.ended.is_some() {
            return;
        }
        tracing::debug!(peer = %self.shared.peer, session = %self.shared.session, %ended, "session ends");
        self.ended = Some(ended);
        let how = watch::side(ended.side);
        self.shared.trace.say(|| Event::new(Kind::SessionEnded).how(how), ended.reason);
        let _ = self.shared.ended.set(ended);
        self.shared.orders.set_ended();
        for lane in &mut self.lanes {
            if let Some(live) = lane.live() {
                if ended.side == Side::Local {
                    live.machine.end(ended.reason);
                } else {
                    live.machine.on_closed(ended);
                }
            }
        }
        self.close_by = Some(Instant::now() + self.limits().close_timeout);
        if let Some(permit) = self.notices.down.take() {
            permit.send(Notice::Down(self.shared.session, self.shared.peer, ended));
        }
        self.wake();
    }

    fn settle(&mut self) {
        if let Some(permit) = self.notices.settled.take() {
            self.shared.settled.store(true, Ordering::Release);
            self.shared.trace.record(|| Event::new(Kind::SessionSettled));
            permit.send(Notice::Settled(self.shared.session));
        }
    }

    fn on_task_end(&mut self, end: TaskEnd) {
        match end {
            TaskEnd::Done => {}
            TaskEnd::Silent => {
                let reason = DisconnectReason::TimedOut(Deadline::Ping);
                self.end(Disconnected::local(reason));
            }
            TaskEnd::Identified(identity) => {
                self.identified = true;
                if let Some(identity) = identity {
                    self.rule_out_unlisted(&identity.protocols);
                    let _ = self.shared.identity.set(identity);
                }
            }
        }
    }

    /// A listener need not wait for exchanges that the dialer does not speak.
    fn rule_out_unlisted(&mut self, protocols: &[String]) {
        if self.shared.direction == Direction::Outbound {
            return;
        }
        for lane in &mut self.lanes {
            let speaks = |(id, _): &(ProtocolId, u32)| protocols.iter().any(|p| p == id.as_str());
            if matches!(lane.state, State::Waiting) && !lane.shared.exchange.ids().iter().any(speaks) {
                lane.state = State::Unsupported;
            }
        }
    }
}

impl Lane {
    /// A pause before the substream is opened again, longer each time.
    fn pause(&mut self) -> State {
        let pause = REOPEN_AFTER.saturating_mul(1 << self.endings.min(5)).min(REOPEN_CAP);
        self.endings = self.endings.saturating_add(1);
        State::Over { again_at: Some(Instant::now() + pause) }
    }
}

impl Actor for PeerSession {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let config = Arc::clone(&self.shared.config);
        if self.shared.direction == Direction::Outbound {
            for index in 0..self.lanes.len() {
                self.open_lane(ctx, index);
            }
        }
        let (control, limits) = (self.control.clone(), self.limits());
        self.tasks.push(substreams::identify(control.clone(), limits, self.origin()));
        let (interval, timeout) = (config.ping_interval, config.ping_timeout);
        self.tasks.push(substreams::keepalive(control, limits, self.origin(), interval, timeout, self.seed));
        self.respawn_pump(ctx);
    }
}

impl Drop for PeerSession {
    /// Also reached by a panic in a handler: callers and the manager are told all the same.
    fn drop(&mut self) {
        if self.ended.is_none() {
            let panicked = || Event::new(Kind::SessionEnded).how(Label::LOCAL);
            self.shared.trace.say(panicked, DisconnectReason::Panicked);
        }
        let ended = *self.shared.ended.get_or_init(|| Disconnected::local(DisconnectReason::Panicked));
        self.shared.orders.set_ended();
        for lane in &mut self.lanes {
            let shared = Arc::clone(&lane.shared);
            if let Some(live) = lane.live() {
                live.abandon(&shared, ended);
            }
        }
        if let Some(permit) = self.notices.down.take() {
            permit.send(Notice::Down(self.shared.session, self.shared.peer, ended));
        }
        if let Some(permit) = self.notices.gone.take() {
            permit.send(Notice::Gone);
        }
    }
}

impl StreamHandler<ReaderItem> for PeerSession {
    fn handle(&mut self, item: ReaderItem, ctx: &mut Self::Context) {
        let ReaderItem { token, event } = item;
        match event {
            ReaderEvent::Segments(segments) => return self.on_segments(ctx, token, segments),
            ReaderEvent::Exchange { lane, version, io } => self.on_exchange(ctx, token, lane, version, io),
            ReaderEvent::Handler { protocol, handler, io } => {
                self.readers.remove(&token);
                self.tasks.push(substreams::serve(handler, protocol, self.origin(), *io));
            }
            ReaderEvent::BadFraming(breach) => {
                if let Some(live) = self.live_by_token(token) {
                    live.machine.on_bad_framing(breach);
                }
            }
            ReaderEvent::Ended(error) => {
                self.readers.remove(&token);
                if let Some(live) = self.live_by_token(token) {
                    tracing::trace!(?error, "substream ended");
                    live.ended = true;
                }
            }
            ReaderEvent::Failed(error) => self.on_not_agreed(token, error.is_unsupported()),
            ReaderEvent::NotOpened => self.on_not_agreed(token, false),
        }
        self.wake();
    }

    /// A substream is over; the connection may not be. actix would stop the actor here.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl PeerSession {
    /// The hot path: what a batch causes is done at once, answers and replies included.
    fn on_segments(&mut self, ctx: &mut Ctx<Self>, token: u64, segments: Vec<Segment>) {
        let of_token = |lane: &mut Lane| lane.live().is_some_and(|live| live.token == token);
        let Some(index) = self.lanes.iter_mut().position(of_token) else { return };
        if let Some(live) = self.lanes[index].live() {
            let now = Instant::now().into_std();
            segments.into_iter().for_each(|segment| live.machine.on_segment(now, segment));
        }
        // The pump has run before any reader did, so the waker is that of this actor's task.
        let waker = self.waker.clone();
        self.turn_lane(index, ctx, &mut Context::from_waker(&waker));
        let alarm = self.alarm.as_ref().map(|alarm| alarm.deadline());
        let earlier = self.next_deadline().is_some_and(|next| alarm.is_none_or(|alarm| next < alarm));
        if earlier || self.ended.is_some() || self.notices.settled.is_some() {
            self.wake();
        }
    }

    fn live_by_token(&mut self, token: u64) -> Option<&mut Live> {
        self.lanes.iter_mut().filter_map(Lane::live).find(|live| live.token == token)
    }
}

impl Handler<Ask> for PeerSession {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) {
        let now = ctx.handling_since();
        let lane = ask.lane;
        self.lanes[lane].ask(now, ask);
    }
}

impl Handler<Cancel> for PeerSession {
    type Result = ();

    fn handle(&mut self, cancel: Cancel, _: &mut Self::Context) {
        self.lanes[cancel.lane].cancel(Instant::now().into_std(), cancel.id);
    }
}

impl Handler<OpenSubstream> for PeerSession {
    type Result = ();

    fn handle(&mut self, ask: OpenSubstream, _: &mut Self::Context) {
        if self.ended.is_none() {
            let (control, limits) = (self.control.clone(), self.limits());
            self.tasks.push(substreams::open(control, limits, self.origin(), ask));
        }
    }
}

/// Stops the actor: everything it owns is dropped, the socket included.
fn stop(ctx: &mut Ctx<PeerSession>) {
    ctx.stop();
}

/// What the end of the connection means for the session.
fn ended_by(end: &MuxEnd) -> Disconnected {
    match end {
        MuxEnd::Violation(_) => Disconnected::local(DisconnectReason::Breach(Breach::Muxer)),
        MuxEnd::Closed | MuxEnd::RemoteClosed | MuxEnd::Io(_) => Disconnected::lost(),
    }
}
