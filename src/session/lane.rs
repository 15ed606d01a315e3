//! One exchange of a session: its substream, its machine, and what is being served on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::messages::{Ask, Waiter};
use super::rules::ExchangeRules;
use super::shared::{LaneShared, Shared};
use super::watch::LaneWatch;
use super::writer::Writer;
use crate::disconnect::{Breach, DisconnectReason, Disconnected, Side};
use crate::ids::RequestId;
use crate::machine::message::Payload;
use crate::machine::outbox::Tag;
use crate::machine::session::{Action, Counters, Failure, Misdeed, SessionMachine};
use crate::protocols::{From, Outlet, ServeError};
use crate::trace::EventId;
use crate::transport::frame_tap::Window;

/// Where an exchange stands.
pub(super) enum State {
    /// The dialer has asked for a substream, or the listener waits for one.
    Waiting,
    /// The peer does not speak it.
    Unsupported,
    /// A substream is there.
    Live(Box<Live>),
    /// Its substream has ended; the dialer may open another one at this time.
    Over { again_at: Option<Instant> },
}

/// One exchange of a session.
pub(super) struct Lane {
    pub(super) shared: Arc<LaneShared>,
    pub(super) state: State,
    /// How often the substream has ended, for the pause before the next one.
    pub(super) endings: u32,
    /// Substreams that had to be reset: a second one, or one opened by the listener.
    pub(super) excess: Window,
}

/// What became of a lane in a round.
pub(super) enum LaneEvent {
    /// The exchange is over; what waits is still being written.
    Down { ended: Disconnected, close_connection: bool },
    /// Counted against the peer.
    Misdeed(Misdeed),
}

type Serving = BoxFuture<'static, (Tag, Result<Payload, ServeError>)>;
type Taking = BoxFuture<'static, Result<(), ServeError>>;

/// What decides about an exchange.
pub(super) type Machine = SessionMachine<Waiter, ExchangeRules>;

/// An exchange with a substream or channel.
pub(super) struct Live {
    pub(super) token: u64,
    pub(super) machine: Machine,
    from: From,
    writer: Writer,
    serving: FuturesUnordered<Serving>,
    /// Requests that the machine has let through and nobody has polled yet.
    starting: VecDeque<Payload>,
    taking: Option<Taking>,
    /// What the trace hears; `None` without one.
    watch: Option<LaneWatch>,
    /// The protocol was told that the exchange is up.
    announced: bool,
    /// The substream's reading side has ended.
    pub(super) ended: bool,
    /// Written to its end, closed, or broken: nothing is left to wait for.
    pub(super) flushed: bool,
    /// The machine is over.
    pub(super) down: Option<Disconnected>,
}

impl Lane {
    pub(super) fn new(shared: Arc<LaneShared>) -> Self {
        Self { shared, state: State::Waiting, endings: 0, excess: Window::default() }
    }

    /// Whether it is decided if and how this exchange is spoken.
    pub(super) fn is_settled(&self) -> bool {
        match &self.state {
            State::Waiting => false,
            State::Unsupported | State::Over { .. } => true,
            State::Live(live) => live.announced || live.down.is_some(),
        }
    }

    pub(super) fn live(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            State::Live(live) => Some(live),
            _ => None,
        }
    }

    /// A request of ours, made for the version that was negotiated then.
    pub(super) fn ask(&mut self, now: std::time::Instant, ask: Ask) {
        let Ask { version, permit, question, answer_code, timeout, waiter, key, .. } = ask;
        match self.live() {
            Some(live) if live.from.version == version => {
                if let Some(watch) = &mut live.watch {
                    watch.on_asked(permit.id(), key);
                }
                live.machine.request(now, permit, question, answer_code, timeout, waiter);
                live.take_facts(now);
            }
            _ => {
                let ended = Disconnected::local(DisconnectReason::SubstreamClosed);
                drop(waiter.send((EventId::NONE, Err(Failure::Disconnected(ended)))));
            }
        }
    }

    pub(super) fn cancel(&mut self, now: std::time::Instant, id: RequestId) {
        if let Some(live) = self.live() {
            live.machine.cancel(now, id);
        }
    }
}

impl Live {
    pub(super) fn new(
        now: std::time::Instant,
        token: u64,
        version: u32,
        writer: Writer,
        lane: &Arc<LaneShared>,
        shared: &Shared,
    ) -> Self {
        let exchange = Arc::clone(&lane.exchange);
        let hello = exchange.handshake(version);
        let handshake_code = hello.as_ref().map(|hello| hello.code);
        let rules = ExchangeRules { exchange, version, handshake_code };
        let watch = LaneWatch::new(&shared.trace, lane);
        let mut machine = SessionMachine::new(now, rules, hello, shared.config.session);
        if watch.is_some() {
            machine.watch();
        }
        Self {
            token,
            machine,
            from: From { peer: shared.peer, session: shared.session, version },
            writer,
            serving: FuturesUnordered::new(),
            starting: VecDeque::new(),
            taking: None,
            watch,
            announced: false,
            ended: false,
            flushed: false,
            down: None,
        }
    }

    /// Carries out what the machine has decided, serves, and writes what waits.
    pub(super) fn turn(
        &mut self,
        cx: &mut Context<'_>,
        lane: &Arc<LaneShared>,
        shared: &Shared,
        events: &mut Vec<LaneEvent>,
    ) {
        let now = Instant::now().into_std();
        loop {
            let mut progress = self.act(now, lane, shared, events);
            progress |= self.serve(now, cx, lane);
            progress |= self.take(cx);
            if !progress {
                break;
            }
        }
        self.write(now, cx);
        // Written bytes may have let further replies start.
        if self.act(now, lane, shared, events) || !self.starting.is_empty() {
            cx.waker().wake_by_ref();
        }
    }

    fn act(
        &mut self,
        now: std::time::Instant,
        lane: &Arc<LaneShared>,
        shared: &Shared,
        events: &mut Vec<LaneEvent>,
    ) -> bool {
        self.take_facts(now);
        let mut progress = false;
        while let Some(action) = self.machine.poll_action() {
            progress = true;
            match action {
                Action::Complete(waiter, result) => {
                    let answered = self.watch.as_mut().filter(|_| result.is_ok());
                    let delivered = answered.map_or(EventId::NONE, LaneWatch::take_delivered);
                    // A caller that has gone is no loss: its cancel is on the way.
                    drop(waiter.send((delivered, result)));
                }
                Action::Serve(request) => self.starting.push_back(request),
                Action::Take(message) => {
                    self.taking = Some(Arc::clone(&lane.exchange).on_message(self.from, message));
                }
                Action::Up(theirs) => {
                    self.announced = true;
                    lane.set_version(Some(self.from.version));
                    if let Some(watch) = &self.watch {
                        watch.on_up(self.from.version);
                    }
                    let outlet: Arc<dyn Outlet> = Arc::clone(lane) as Arc<dyn Outlet>;
                    lane.exchange.on_up(self.from, shared.direction, theirs, outlet);
                }
                Action::Misdeed(misdeed) => events.push(LaneEvent::Misdeed(misdeed)),
                Action::Down { ended, close_connection } => {
                    self.end(lane, ended);
                    events.push(LaneEvent::Down { ended, close_connection });
                }
            }
        }
        progress
    }

    fn serve(&mut self, now: std::time::Instant, cx: &mut Context<'_>, lane: &Arc<LaneShared>) -> bool {
        let mut progress = false;
        while let Some(request) = self.starting.pop_front() {
            progress = true;
            // Numbers are for whoever watches.
            let number = self.watch.as_mut().map_or(0, |watch| watch.on_serve(watch.at(now)));
            // Most answers are ready at once: they never see the set.
            let mut answer = Arc::clone(&lane.exchange).serve(self.from, request);
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => self.on_reply(now, number, reply(answer)),
                Poll::Pending => self.serving.push(Box::pin(answer.map(move |answer| (number, answer)))),
            }
        }
        while !self.serving.is_empty()
            && let Poll::Ready(Some((number, answer))) = self.serving.poll_next_unpin(cx)
        {
            progress = true;
            self.on_reply(now, number, reply(answer));
        }
        progress
    }

    fn on_reply(
        &mut self,
        now: std::time::Instant,
        number: Tag,
        reply: Result<Option<Payload>, DisconnectReason>,
    ) {
        if let Some(watch) = &mut self.watch {
            // Its handler may have kept the thread: the clock is read anew.
            watch.on_reply(watch.at(Instant::now().into_std()), number, &reply);
        }
        self.machine.on_reply(now, number, reply);
    }

    /// Tells the trace where every request stands that has not ended.
    pub(super) fn tell_open(&mut self, now: std::time::Instant) {
        let Some(watch) = &self.watch else { return };
        let unwritten = self.machine.outbox().tags().chain(self.writer.tags()).collect();
        watch.tell_open(watch.at(now), unwritten, self.machine.pending());
    }

    fn take_facts(&mut self, now: std::time::Instant) {
        let Some(watch) = &mut self.watch else { return };
        let at = watch.at(now);
        while let Some(fact) = self.machine.poll_fact() {
            watch.on_fact(at, fact);
        }
    }

    fn take(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(taking) = &mut self.taking else { return false };
        let Poll::Ready(result) = taking.as_mut().poll(cx) else { return false };
        self.taking = None;
        self.machine.on_taken(result.map_err(blame));
        true
    }

    fn write(&mut self, now: std::time::Instant, cx: &mut Context<'_>) {
        if self.flushed {
            return;
        }
        if self.down.is_some_and(|ended| ended.side != Side::Local) {
            // The peer has left: nothing that waits is worth waiting for.
            let _ = self.writer.poll_close(cx);
            self.flushed = true;
            return;
        }
        if !self.machine.has_output() && !self.writer.has_output() && self.down.is_none() {
            return;
        }
        let watch = &mut self.watch;
        let at = watch.as_ref().map_or(0, |watch| watch.at(now));
        let drained = self.writer.drain(cx, self.machine.outbox(), |progress| {
            if let Some(watch) = watch.as_mut() {
                watch.on_progress(at, progress);
            }
        });
        match drained {
            Ok(drained) => {
                if let Some(watch) = &mut self.watch {
                    watch.on_blocked(at, drained.blocked, self.writer.waiting_bytes());
                }
                self.machine.on_written(now, drained.progress, drained.blocked);
                if self.down.is_some() && !drained.blocked {
                    // The last word is out: half-close behind it.
                    self.flushed = self.writer.poll_close(cx).is_ready();
                }
            }
            Err(_) => {
                self.flushed = true;
                // The reading side tells how the substream ended; it is read to its end first.
                self.machine.on_written(now, false, false);
            }
        }
    }

    /// Tells the protocol, once, that the exchange is over.
    fn end(&mut self, lane: &LaneShared, ended: Disconnected) {
        self.down = Some(ended);
        self.take_facts(Instant::now().into_std());
        if let Some(watch) = &self.watch {
            watch.on_down(ended);
        }
        let counters = self.machine.counters();
        if counters != Counters::default() {
            tracing::debug!(peer = %self.from.peer, exchange = lane.exchange.name(), ?counters, "passed by");
        }
        self.serving.clear();
        self.starting.clear();
        self.taking = None;
        if self.announced {
            lane.set_version(None);
            lane.exchange.on_down(self.from, ended);
        }
    }

    /// The actor died with the exchange up: the protocol is told all the same.
    pub(super) fn abandon(&mut self, lane: &LaneShared, ended: Disconnected) {
        if self.down.is_none() {
            self.end(lane, ended);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(watch) = &mut self.watch {
            let at = watch.at(Instant::now().into_std());
            watch.on_gone(at, self.down);
        }
    }
}

fn reply(answer: Result<Payload, ServeError>) -> Result<Option<Payload>, DisconnectReason> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ServeError::Unavailable) => Ok(None),
        Err(error) => Err(blame(error)),
    }
}

fn blame(error: ServeError) -> DisconnectReason {
    match error {
        ServeError::Malformed(_) => DisconnectReason::Breach(Breach::Malformed),
        ServeError::Breach(breach) => DisconnectReason::Breach(breach),
        ServeError::Disconnect(reason) => reason,
        ServeError::Unavailable => DisconnectReason::Requested,
    }
}
