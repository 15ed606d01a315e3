//! One request of ours, from its creation to its one end.

use std::time::Duration;

use tokio::sync::oneshot;

use super::PeerSession;
use super::messages::{Ask, Cancel};
use super::shared::Shared;
use crate::actor::{Address, Ticket};
use crate::disconnect::{DisconnectReason, Disconnected, Side};
use crate::error::RequestError;
use crate::ids::{Direction, ProtocolId, RequestId};
use crate::machine::message::Payload;
use crate::machine::session::Failure;
use crate::protocols::Request;
use crate::trace::{Event, EventId, Kind, Label};
use crate::wire::DecodeError;

/// A request between its creation and its end: dropping it in between cancels it.
pub(super) struct OpenRequest<'a> {
    shared: &'a Shared,
    addr: &'a Address<PeerSession>,
    /// Set while the session may hold an entry for it.
    sent: Option<(usize, RequestId)>,
    ended: bool,
    /// Its first event, once that is recorded, its id on the wire, its exchange and kind.
    key: EventId,
    id: u64,
    proto: Label,
    name: Label,
    /// When it was made, in nanoseconds since the trace began.
    begun: u64,
    /// The event before its end.
    cause: EventId,
}

impl<'a> OpenRequest<'a> {
    pub(super) fn begin<R: Request>(shared: &'a Shared, addr: &'a Address<PeerSession>) -> Self {
        let (mut proto, mut name) = (Label::NONE, Label::NONE);
        let begun = shared.trace.tracer.with(|local| {
            let lane = shared.lane(R::exchange()).map(|(_, lane)| lane);
            proto = lane.map_or_else(|| Label::of(R::exchange()), |lane| lane.proto);
            let named = lane.map(|lane| lane.names[usize::from(R::CODE)]).filter(|name| *name != Label::NONE);
            name = named.unwrap_or_else(Label::of_type::<R>);
            local.now()
        });
        let begun = begun.unwrap_or_default();
        let (key, cause) = (EventId::NONE, EventId::NONE);
        Self { shared, addr, sent: None, ended: false, key, id: 0, proto, name, begun, cause }
    }

    /// What its events have in common.
    fn event(&self, kind: Kind) -> Event {
        let event = Event::new(kind).dir(Direction::Outbound).conn(self.shared.trace.conn);
        event.proto(self.proto).name(self.name).key(self.key).x(self.id)
    }

    pub(super) async fn run<R: Request>(
        &mut self,
        request: R,
        timeout: Option<Duration>,
    ) -> Result<R::Response, RequestError> {
        let shared = self.shared;
        let unsupported = || RequestError::Unsupported(ProtocolId::new(R::exchange()));
        let (index, lane) = shared.lane(R::exchange()).ok_or_else(unsupported)?;
        if let Some(ended) = shared.ended.get().copied() {
            return Err(disconnected(ended));
        }
        let version = lane.version().filter(|version| request.can_be_asked(*version));
        let version = version.ok_or_else(unsupported)?;
        let permit = lane.slots.take().ok_or(RequestError::Busy)?;
        let id = permit.id();
        let question = Payload { code: R::CODE, body: request.encode(version, id.as_u64()) };
        let timeout = timeout.unwrap_or_else(|| lane.pace().timeout(&shared.config.pace));
        let (waiter, answer) = oneshot::channel();
        let ticket = self.asked(id);
        // Bounded by the permit: this and the cancel below are the only `do_send`s of the crate.
        self.addr.do_send_as(
            ticket,
            Ask {
                lane: index,
                version,
                permit,
                question,
                answer_code: R::ANSWER,
                timeout,
                waiter,
                key: self.key,
            },
        );
        self.sent = Some((index, id));
        let outcome = answer.await;
        self.sent = None;
        let (body, took) = match outcome {
            Ok((delivered, Ok(answer))) => {
                self.cause = delivered;
                answer
            }
            Ok((_, Err(failure))) => {
                if let Failure::TimedOut(_) = failure {
                    lane.adapt(|pace| pace.on_timeout());
                }
                return Err(match failure {
                    Failure::TimedOut(after) => RequestError::TimedOut(after),
                    Failure::WrongKind => RequestError::WrongKind,
                    Failure::Disconnected(ended) => disconnected(ended),
                    Failure::Busy => RequestError::Busy,
                });
            }
            Err(_) => return Err(ended_error(shared.how_it_ended())),
        };
        lane.adapt(|pace| pace.on_answer(took));
        match request.decode_answer(version, body) {
            Ok(response) => {
                shared.stats.on_ok(took);
                Ok(response)
            }
            Err(error) => {
                lane.report(matches!(error, DecodeError::Excess { .. }));
                Err(RequestError::Malformed(error))
            }
        }
    }

    /// It is about to be sent, with this id.
    fn asked(&mut self, id: RequestId) -> Option<Ticket> {
        let (tracer, to) = (&self.shared.trace.tracer, self.addr.actor());
        if !tracer.is_on() {
            return None;
        }
        let name = Label::of_type::<Ask>();
        let asked = || self.event(Kind::PackAsked).how(name).x(u64::from(to));
        let created = tracer.with(|local| local.record(self.begun, asked()))?;
        (self.key, self.id) = (created, id.as_u64());
        Some(Ticket { tracer: tracer.id(), enqueued: created.packed(1), at: self.begun, to, name })
    }

    /// The one end of every request.
    pub(super) fn end(&mut self, error: Option<&RequestError>) {
        self.sent = None;
        self.ended = true;
        if let Some(error) = error {
            self.shared.stats.on_error(error);
        }
        self.record_end(match error {
            None => Label::OK,
            Some(RequestError::Busy) => Label::BUSY,
            Some(RequestError::Unsupported(_)) => Label::UNSUPPORTED,
            Some(RequestError::TimedOut(_)) => Label::TIMED_OUT,
            Some(RequestError::Disconnected(_)) => Label::DISCONNECTED,
            Some(RequestError::WrongKind) => Label::WRONG_KIND,
            Some(RequestError::Malformed(_)) => Label::MALFORMED,
            Some(RequestError::Panicked) => Label::PANICKED,
            Some(RequestError::Shutdown) => Label::SHUTDOWN,
        });
    }

    fn record_end(&mut self, how: Label) {
        let shared = self.shared;
        shared.trace.tracer.with(|local| {
            let now = local.now();
            if self.key == EventId::NONE {
                // It never got as far as being sent.
                self.key = local.record(self.begun, self.event(Kind::ReqCreated));
            }
            // What is answered is decoded in the same breath.
            let kind = if how == Label::OK { Kind::PackDone } else { Kind::ReqEnded };
            let ended = self.event(kind).how(how).y(now.saturating_sub(self.begun));
            local.record(now, ended.cause(self.cause));
        });
    }
}

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        if let Some((lane, id)) = self.sent {
            self.addr.do_send(Cancel { lane, id });
        }
        if !self.ended {
            self.shared.stats.on_cancelled();
            self.record_end(Label::CANCELLED);
        }
    }
}

fn ended_error(ended: Disconnected) -> RequestError {
    match ended.reason {
        DisconnectReason::Panicked => RequestError::Panicked,
        _ => disconnected(ended),
    }
}

fn disconnected(ended: Disconnected) -> RequestError {
    match ended {
        Disconnected { side: Side::Local, reason: DisconnectReason::ClientQuitting } => {
            RequestError::Shutdown
        }
        ended => RequestError::Disconnected(ended),
    }
}
