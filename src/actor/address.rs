//! Where messages are sent: actix's address, with the sending recorded.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix::dev::{Request, SendError, ToEnvelope};
use actix::{Actor, Addr, Handler, MailboxError, Message};
use futures::Future;
use pin_project_lite::pin_project;

use crate::trace::{Event, EventId, Kind, Label, Tracer};

/// What an envelope remembers of its sending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    /// The tracer that recorded it.
    pub(crate) tracer: u64,
    /// The `msg.enqueued`.
    pub(crate) enqueued: EventId,
    /// When that was, in nanoseconds since the trace began.
    pub(crate) at: u64,
    /// The actor it is for.
    pub(crate) to: u32,
    /// The message's type.
    pub(crate) name: Label,
}

thread_local! {
    /// The ticket of the message that is being sent on this thread: actix packs envelopes without
    /// telling for whom.
    static SENDING: Cell<Option<Ticket>> = const { Cell::new(None) };
}

/// The ticket of the message that is being packed.
pub(super) fn take_ticket() -> Option<Ticket> {
    SENDING.take()
}

/// The address of an actor in a [`Ctx`](super::Ctx).
pub(crate) struct Address<A: Actor> {
    addr: Addr<A>,
    actor: u32,
    tracer: Tracer,
}

impl<A: Actor> Clone for Address<A> {
    fn clone(&self) -> Self {
        Self { addr: self.addr.clone(), actor: self.actor, tracer: self.tracer.clone() }
    }
}

impl<A: Actor> Address<A> {
    pub(super) fn new(addr: Addr<A>, actor: u32, tracer: Tracer) -> Self {
        Self { addr, actor, tracer }
    }

    /// The actor's number in the trace.
    pub(crate) fn actor(&self) -> u32 {
        self.actor
    }

    /// Sends without regard to the mailbox's capacity: only for what a permit bounds.
    pub(crate) fn do_send<M>(&self, msg: M)
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.do_send_as(self.ticket::<M>(), msg);
    }

    /// The same where the sending has been recorded already.
    pub(crate) fn do_send_as<M>(&self, ticket: Option<Ticket>, msg: M)
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        SENDING.set(ticket);
        self.addr.do_send(msg);
        if SENDING.take().is_some() {
            self.refused(ticket, Label::STOPPED);
        }
    }

    /// Sends if there is room.
    pub(crate) fn try_send<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let ticket = self.ticket::<M>();
        SENDING.set(ticket);
        let sent = self.addr.try_send(msg);
        SENDING.set(None);
        match &sent {
            Ok(()) => {}
            Err(SendError::Full(_)) => self.refused(ticket, Label::FULL),
            Err(SendError::Closed(_)) => self.refused(ticket, Label::STOPPED),
        }
        sent
    }

    /// Sends, waiting for room, and waits for the result. Dropping the future before the message
    /// has its turn takes it back.
    pub(crate) fn send<M>(&self, msg: M) -> Sending<'_, A, M>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let ticket = self.ticket::<M>();
        SENDING.set(ticket);
        let request = self.addr.send(msg);
        let waiting = SENDING.take();
        Sending { address: self, request, ticket, waiting }
    }

    fn ticket<M: 'static>(&self) -> Option<Ticket> {
        self.tracer.with(|local| {
            let name = Label::of_type::<M>();
            let at = local.now_in_poll();
            let event = Event::new(Kind::MsgEnqueued).name(name).x(u64::from(self.actor));
            let enqueued = local.record(at, event);
            Ticket { tracer: self.tracer.id(), enqueued, at, to: self.actor, name }
        })
    }

    fn refused(&self, ticket: Option<Ticket>, how: Label) {
        let Some(Ticket { enqueued, name, to, .. }) = ticket else { return };
        let refused = Event::new(Kind::MsgRefused).name(name).how(how).x(u64::from(to));
        self.tracer.record(|| refused.cause(enqueued));
    }
}

pin_project! {
    /// A message on its way, then its result.
    #[must_use = "a message that has found no room is only sent while this is awaited"]
    pub(crate) struct Sending<'a, A, M>
    where
        A: Actor,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message,
        M: Send,
        M: 'static,
        M::Result: Send,
    {
        address: &'a Address<A>,
        #[pin]
        request: Request<A, M>,
        ticket: Option<Ticket>,
        // The ticket, while the message waits for room.
        waiting: Option<Ticket>,
    }
}

impl<A, M> Future for Sending<'_, A, M>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    type Output = Result<M::Result, MailboxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        SENDING.set(this.waiting.take());
        let polled = this.request.poll(cx);
        *this.waiting = SENDING.take();
        if let Poll::Ready(Err(MailboxError::Closed)) = &polled {
            this.address.refused(*this.ticket, Label::STOPPED);
        }
        polled
    }
}
