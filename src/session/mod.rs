//! One long-lived actor per peer: it owns the connection and its long-lived substreams.
//!
//! Owns: the muxer's driver, one lane per exchange (`lane.rs`), raw substreams, keepalive. Never:
//! decides what a message means (machines and protocols do) or who may have a session (the
//! manager does). Bytes come in as attached streams and leave through each lane's outbox; the
//! mailbox carries requests of ours (one per permit) and control. All writing, serving and timing
//! happens in one place, `pump.rs`.

mod attach;
mod drained;
mod echo;
pub(crate) mod handle;
pub(crate) mod lane;
mod message_writer;
pub(crate) mod messages;
mod open_request;
pub(crate) mod pump;
pub(crate) mod reader;
pub(crate) mod refuse;
pub(crate) mod rules;
mod segment_writer;
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
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::task::AbortOnDropHandle;

use attach::Reader;
pub use handle::PeerHandle;
use lane::{Lane, Live, Machine};
use messages::{Ask, Cancel, Notice, Notices, OpenSubstream};
use reader::{ReaderEvent, ReaderItem};
use shared::Shared;
use substreams::{Origin, Task, TaskEnd};

use crate::actor::{self, Ctx};
use crate::disconnect::{Breach, Deadline, DisconnectReason, Disconnected, Side};
use crate::ids::{Direction, ProtocolId, SessionId};
use crate::machine::session::SessionMachine;
use crate::router::Router;
use crate::stats::RequestStats;
use crate::trace::{Event, Kind, Label};
use crate::transport::channel::Channel;
use crate::transport::mux::{Control, MuxEnd, Substream};
use crate::transport::{Connection, TransportLimits};

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

/// By then it is decided which exchanges there are; whoever waits is not kept any longer.
const SETTLE_SLACK: Duration = Duration::from_secs(1);
/// The actor of one peer.
pub(crate) struct PeerSession {
    shared: Arc<Shared>,
    router: Arc<Router>,
    ids: Arc<[ProtocolId]>,
    control: Control,
    inbound: Option<mpsc::Receiver<Substream>>,
    /// Taken when the actor starts.
    channels: Option<Vec<Channel>>,
    /// Exchanges are negotiated on substreams; otherwise they are the channels, once and for all.
    by_substreams: bool,
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
        let Start { mut connection, session, config, router, ids, stats, notices, seed } = start;
        let shared = Shared::new(&connection, session, router.exchanges(), &config, &stats);
        let channels = connection.channels.take();
        let introduced = connection.introduced.take().is_some_and(|said| shared.identity.set(said).is_ok());
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
                by_substreams: channels.is_none(),
                channels,
                driver: Some(AbortOnDropHandle::new(tokio::task::spawn_local(mux.driver))),
                mux_end: None,
                tasks: FuturesUnordered::new(),
                readers: HashMap::new(),
                next_token: 0,
                identified: introduced,
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
}

impl Actor for PeerSession {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let config = Arc::clone(&self.shared.config);
        match self.channels.take() {
            Some(channels) => self.attach_channels(ctx, channels),
            None if self.shared.direction == Direction::Outbound => {
                (0..self.lanes.len()).for_each(|index| self.open_lane(ctx, index));
            }
            None => {}
        }
        let (control, limits) = (self.control.clone(), self.limits());
        if !self.identified {
            self.tasks.push(substreams::identify(control.clone(), limits, self.origin()));
        }
        let (interval, timeout) = (config.ping_interval, config.ping_timeout);
        self.tasks.push(match &self.shared.echo {
            Some(transport) => echo::keepalive(transport.clone(), interval, timeout),
            None => substreams::keepalive(control, limits, self.origin(), interval, timeout, self.seed),
        });
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
            ReaderEvent::Segments(segments) => {
                return self.on_batch(ctx, token, segments, SessionMachine::on_segment);
            }
            ReaderEvent::Messages(messages) => {
                return self.on_batch(ctx, token, messages, SessionMachine::on_whole);
            }
            ReaderEvent::Exchange { lane, version, writer } => {
                self.on_exchange(ctx, token, lane, version, writer);
            }
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
    fn on_batch<T>(
        &mut self,
        ctx: &mut Ctx<Self>,
        token: u64,
        batch: Vec<T>,
        take: fn(&mut Machine, std::time::Instant, T),
    ) {
        let of_token = |lane: &mut Lane| lane.live().is_some_and(|live| live.token == token);
        let Some(index) = self.lanes.iter_mut().position(of_token) else { return };
        if let Some(live) = self.lanes[index].live() {
            let now = Instant::now().into_std();
            batch.into_iter().for_each(|item| take(&mut live.machine, now, item));
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
        MuxEnd::Disconnected(reason) => Disconnected::remote(*reason),
        MuxEnd::Breach(breach) => Disconnected::local(DisconnectReason::Breach(*breach)),
        MuxEnd::Violation(_) => Disconnected::local(DisconnectReason::Breach(Breach::Muxer)),
        MuxEnd::Closed | MuxEnd::RemoteClosed | MuxEnd::Io(_) => Disconnected::lost(),
    }
}
