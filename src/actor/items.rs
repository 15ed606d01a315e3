//! Attached streams and spawned futures, recorded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext, StreamHandler};
use futures::Stream;
use pin_project_lite::pin_project;

use super::running::Running;
use crate::trace::{Event, EventId, Kind, Label, Local};

/// Items handled at one go before other futures of the actor have their turn; as in actix.
const ITEMS_PER_POLL: usize = 16;

pin_project! {
    /// A stream whose items an actor handles.
    pub(super) struct TracedStream<S> {
        #[pin]
        stream: S,
        tracer: u64,
        name: Label,
        started: bool,
    }
}

impl<S: Stream> TracedStream<S> {
    pub(super) fn new(stream: S, tracer: u64) -> Self {
        Self { stream, tracer, name: Label::of_type::<S::Item>(), started: false }
    }
}

impl<A, S> ActorFuture<A> for TracedStream<S>
where
    S: Stream,
    A: Actor + StreamHandler<S::Item>,
    A::Context: AsyncContext<A>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut A::Context, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.started {
            *this.started = true;
            <A as StreamHandler<S::Item>>::started(actor, ctx);
        }
        let mut handled = 0;
        while let Some(item) = ready!(this.stream.as_mut().poll_next(cx)) {
            match Some(*this.tracer).filter(|tracer| *tracer != 0).and_then(Local::of) {
                None => actor.handle(item, ctx),
                Some(local) => {
                    let now = local.now();
                    let started = Event::new(Kind::ItemStarted).name(*this.name);
                    let _running = Running::new(local, now, started, Kind::ItemFinished);
                    actor.handle(item, ctx);
                }
            }
            handled += 1;
            if ctx.waiting() {
                return Poll::Pending;
            }
            if handled == ITEMS_PER_POLL {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        A::finished(actor, ctx);
        Poll::Ready(())
    }
}

pin_project! {
    /// A future that an actor drives.
    pub(super) struct TracedFuture<F> {
        #[pin]
        future: F,
        tracer: u64,
        name: Label,
        spawned: EventId,
    }
}

impl<F> TracedFuture<F> {
    pub(super) fn new(future: F, tracer: u64, spawned: EventId) -> Self {
        Self { future, tracer, name: Label::of_type::<F>(), spawned }
    }
}

impl<A, F> ActorFuture<A> for TracedFuture<F>
where
    A: Actor,
    F: ActorFuture<A, Output = ()>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut A::Context, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let polled = this.future.poll(actor, ctx, cx);
        if let Some(local) = Local::of(*this.tracer) {
            // Whatever it did took time that the next message has not waited in its handler.
            local.set_fresh(false);
            if polled.is_ready() {
                let ended = Event::new(Kind::FutureEnded).name(*this.name).cause(*this.spawned);
                local.record(local.now(), ended);
            }
        }
        polled
    }
}
