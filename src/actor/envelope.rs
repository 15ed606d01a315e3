//! A message in a mailbox, with what its sending left behind.

use actix::dev::{Envelope, EnvelopeProxy, MessageResponse, OneshotSender, ToEnvelope};
use actix::{Actor, Handler, Message};

use super::address::{Ticket, take_ticket};
use super::context::Ctx;
use super::running::Running;
use crate::trace::{Event, Kind, Local};

impl<A, M> ToEnvelope<A, M> for Ctx<A>
where
    A: Actor<Context = Ctx<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(msg: M, reply: Option<OneshotSender<M::Result>>) -> Envelope<A> {
        match take_ticket() {
            None => Envelope::new(msg, reply),
            Some(ticket) => Envelope::with_proxy(Box::new(Traced { msg: Some(msg), reply, ticket })),
        }
    }
}

struct Traced<M: Message> {
    /// Taken when it is handled.
    msg: Option<M>,
    reply: Option<OneshotSender<M::Result>>,
    ticket: Ticket,
}

impl<A, M> EnvelopeProxy<A> for Traced<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
    A: Actor<Context = Ctx<A>> + Handler<M>,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut Ctx<A>) {
        let Some(msg) = self.msg.take() else { return };
        let Ticket { tracer, enqueued, at, name, .. } = self.ticket;
        let reply = self.reply.take();
        let Some(local) = Local::of(tracer) else {
            return actor.handle(msg, ctx).handle(ctx, reply);
        };
        let now = local.now_in_poll();
        let waited = now.saturating_sub(at);
        if reply.as_ref().is_some_and(OneshotSender::is_closed) {
            // Nobody would get the result: actix does not handle such messages either.
            local.record(now, Event::new(Kind::MsgAbandoned).name(name).cause(enqueued).y(waited));
            return;
        }
        let started = Event::new(Kind::MsgStarted).name(name).cause(enqueued).y(waited);
        let _running = Running::new(local, now, started, Kind::MsgFinished);
        actor.handle(msg, ctx).handle(ctx, reply);
    }
}

impl<M: Message> Drop for Traced<M> {
    /// Never handled: the actor ended first.
    fn drop(&mut self) {
        if self.msg.is_some()
            && let Some(local) = Local::of(self.ticket.tracer)
        {
            let Ticket { enqueued, at, to, name, .. } = self.ticket;
            let now = local.now();
            let dropped = Event::new(Kind::MsgDropped).name(name).cause(enqueued).x(u64::from(to));
            local.record(now, dropped.y(now.saturating_sub(at)));
        }
    }
}
