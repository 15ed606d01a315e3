//! The context of all our actors.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix::dev::{AsyncContextParts, ContextFut, ContextParts, Mailbox};
use actix::fut::{ActorFuture, ActorStreamExt};
use actix::utils::{IntervalFunc, TimerFunc};
use actix::{Actor, ActorContext, ActorState, Addr, AsyncContext, SpawnHandle, StreamHandler};
use futures::Stream;

use super::address::Address;
use super::items::{TracedFuture, TracedStream};
use super::running::Running;
use crate::trace::{Event, EventId, Kind, Label, Local, Tracer};

/// An actor that keeps its thread for as long as this in one go has it recorded.
const SLOW: Duration = Duration::from_millis(10);

/// The context every actor of this crate runs in.
pub(crate) struct Ctx<A>
where
    A: Actor<Context = Self>,
{
    parts: ContextParts<A>,
    actor: u32,
    tracer: Tracer,
}

/// Starts an actor on this thread. `conn` is the connection it belongs to; 0: none.
pub(crate) fn start<A>(tracer: &Tracer, conn: u32, make: impl FnOnce(&mut Ctx<A>) -> A) -> Address<A>
where
    A: Actor<Context = Ctx<A>>,
{
    let mailbox = Mailbox::default();
    let parts = ContextParts::new(mailbox.sender_producer());
    let mut ctx = Ctx { parts, actor: tracer.new_actor(), tracer: tracer.clone() };
    let name = Label::of_type::<A>();
    tracer.record(|| Event::new(Kind::ActorStarted).name(name).conn(conn).actor(ctx.actor));
    let address = ctx.traced_address();
    let stopped = Stopped { tracer: tracer.clone(), actor: ctx.actor, name };
    let actor = make(&mut ctx);
    let future = ContextFut::new(ctx, actor, mailbox);
    drop(tokio::task::spawn_local(TracedActor { future, stopped }));
    address
}

impl<A> Ctx<A>
where
    A: Actor<Context = Self>,
{
    /// The actor's address, for others.
    pub(crate) fn traced_address(&self) -> Address<A> {
        Address::new(self.parts.address(), self.actor, self.tracer.clone())
    }

    /// The actor's number in the trace.
    pub(crate) fn actor(&self) -> u32 {
        self.actor
    }

    /// Messages that may wait; who sends another waits for room.
    pub(crate) fn set_mailbox_capacity(&mut self, capacity: usize) {
        self.parts.set_mailbox_capacity(capacity);
    }

    /// When the handler that runs now began: for handlers too short to look at the clock again.
    pub(crate) fn handling_since(&self) -> Instant {
        let since = self.tracer.with(|local| local.instant_in_poll());
        since.unwrap_or_else(|| tokio::time::Instant::now().into_std())
    }

    /// A timer that the actor keeps by itself has fired: what is recorded until the guard is dropped
    /// is its doing.
    pub(crate) fn timer_fired(&self, name: &'static str) -> Option<Running> {
        let local = Local::of(self.tracer.id())?;
        let now = local.now();
        Some(Running::new(
            local,
            now,
            Event::new(Kind::TimerStarted).name(Label::of(name)),
            Kind::TimerFinished,
        ))
    }

    fn timer_set<F>(&self, after: Duration) -> (u64, Label, EventId) {
        let name = Label::of_type::<F>();
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        let set = self.tracer.record(|| Event::new(Kind::TimerSet).name(name).y(nanos));
        (self.tracer.id(), name, set)
    }
}

/// The record of a timer that fires now.
fn fired(tracer: u64, name: Label, set: EventId) -> Option<Running> {
    let local = Local::of(tracer)?;
    let now = local.now();
    Some(Running::new(local, now, Event::new(Kind::TimerStarted).name(name).cause(set), Kind::TimerFinished))
}

impl<A> ActorContext for Ctx<A>
where
    A: Actor<Context = Self>,
{
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.terminate();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A> AsyncContext<A> for Ctx<A>
where
    A: Actor<Context = Self>,
{
    fn address(&self) -> Addr<A> {
        self.parts.address()
    }

    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        if !self.tracer.is_on() {
            return self.parts.spawn(future);
        }
        let spawned = self.tracer.record(|| Event::new(Kind::FutureSpawned).name(Label::of_type::<F>()));
        self.parts.spawn(TracedFuture::new(future, self.tracer.id(), spawned))
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        self.parts.wait(future);
    }

    fn waiting(&self) -> bool {
        self.parts.waiting()
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }

    fn add_stream<S>(&mut self, stream: S) -> SpawnHandle
    where
        S: Stream + 'static,
        A: StreamHandler<S::Item>,
    {
        self.parts.spawn(TracedStream::new(stream, self.tracer.id()))
    }

    fn run_later<F>(&mut self, after: Duration, run: F) -> SpawnHandle
    where
        F: FnOnce(&mut A, &mut Self) + 'static,
    {
        let (tracer, name, set) = self.timer_set::<F>(after);
        self.parts.spawn(TimerFunc::new(after, move |actor: &mut A, ctx: &mut Self| {
            let _running = fired(tracer, name, set);
            run(actor, ctx);
        }))
    }

    fn run_interval<F>(&mut self, every: Duration, mut run: F) -> SpawnHandle
    where
        F: FnMut(&mut A, &mut Self) + 'static,
    {
        let (tracer, name, set) = self.timer_set::<F>(every);
        let interval = IntervalFunc::new(every, move |actor: &mut A, ctx: &mut Self| {
            let _running = fired(tracer, name, set);
            run(actor, ctx);
        });
        self.parts.spawn(interval.finish())
    }
}

impl<A> AsyncContextParts<A> for Ctx<A>
where
    A: Actor<Context = Self>,
{
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

/// The future of an actor. Fields are dropped in order: the actor goes before its end is recorded.
struct TracedActor<A>
where
    A: Actor<Context = Ctx<A>>,
{
    future: ContextFut<A, Ctx<A>>,
    stopped: Stopped,
}

impl<A> Unpin for TracedActor<A> where A: Actor<Context = Ctx<A>> {}

impl<A> Future for TracedActor<A>
where
    A: Actor<Context = Ctx<A>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let _polling = this.stopped.tracer.with(|_| ()).and_then(|()| {
            Polling::new(Local::of(this.stopped.tracer.id())?, this.stopped.actor, this.stopped.name)
        });
        Pin::new(&mut this.future).poll(cx)
    }
}

/// An actor's turn on its thread.
struct Polling {
    local: Rc<Local>,
    name: Label,
    begun: u64,
    before: u32,
}

impl Polling {
    fn new(local: Rc<Local>, actor: u32, name: Label) -> Option<Self> {
        let begun = local.now();
        let before = local.set_actor(actor);
        local.set_busy(Some((begun, actor)));
        local.set_fresh(false);
        Some(Self { local, name, begun, before })
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let now = self.local.now();
        let took = now.saturating_sub(self.begun);
        self.local.set_busy(None);
        if std::thread::panicking() {
            // A handler has recorded its own panic: this is for the futures of the actor.
            if !self.local.take_panicked() {
                self.local.record(now, Event::new(Kind::ActorPanicked).name(self.name).y(took));
            }
        } else if took >= SLOW.as_nanos() as u64 {
            self.local.record(now, Event::new(Kind::PollSlow).name(self.name).y(took));
        }
        self.local.set_actor(self.before);
    }
}

/// Records the end of an actor.
struct Stopped {
    tracer: Tracer,
    actor: u32,
    name: Label,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let (actor, name) = (self.actor, self.name);
        self.tracer.record(|| Event::new(Kind::ActorStopped).name(name).actor(actor));
    }
}
