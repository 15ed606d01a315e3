//! What the manager does with each message of its mailbox.

use actix::fut::WrapFuture;
use actix::{ActorFutureExt, AsyncContext, Handler, MessageResult, ResponseActFuture};
use tokio::time::Instant;

use super::blame::Record;
use super::events::NetworkEvent;
use super::messages::{
    AddStatic, Arrived, AwaitSettled, Dial, DialEnded, Recall, Shutdown, Started, Verdict,
};
use super::pending::DialReply;
use super::{ConnectionManager, PROBE};
use crate::disconnect::{Deadline, DisconnectReason, Disconnected};
use crate::error::DialError;
use crate::session::PeerHandle;

impl Handler<Dial> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Dial { addr, reply }: Dial, _: &mut Self::Context) {
        if self.shutdown.is_some() {
            drop(reply.send(Err(DialError::Shutdown)));
            return;
        }
        if let Some(peer) = addr.peer {
            if peer == self.us {
                drop(reply.send(Err(DialError::SelfDial)));
                return;
            }
            if let Some(handle) = self.table.get(&peer) {
                return self.await_settled(handle, reply);
            }
            let avoided = self.blame.avoided_for(Instant::now().into_std(), &peer);
            if let Some(left) = avoided.filter(|_| !self.statics.is_static(&peer)) {
                drop(reply.send(Err(DialError::Avoided(left))));
                return;
            }
        }
        self.dial(addr, None, Some(reply));
    }
}

impl Handler<AddStatic> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, AddStatic(addr): AddStatic, ctx: &mut Self::Context) {
        if let Some(index) = self.statics.add(addr) {
            self.dial_static(ctx, index);
        }
    }
}

impl Handler<Arrived> for ConnectionManager {
    type Result = ResponseActFuture<Self, Verdict>;

    fn handle(&mut self, arrived: Arrived, _: &mut Self::Context) -> Self::Result {
        match self.judge(&arrived) {
            Ok(verdict) => Box::pin(actix::fut::ready(verdict)),
            Err(existing) => {
                let probed = existing.clone();
                let probe = async move { probed.ping(1, PROBE).await.iter().all(Result::is_ok) };
                Box::pin(probe.into_actor(self).map(move |alive, manager, _| {
                    if alive && existing.ended().is_none() {
                        return Verdict::KeepExisting(existing);
                    }
                    existing.disconnect(DisconnectReason::TimedOut(Deadline::Ping));
                    let is_static = manager.statics.is_static(&arrived.peer);
                    manager.judge_new(&arrived, is_static)
                }))
            }
        }
    }
}

impl Handler<Started> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Started { handle, reply }: Started, _: &mut Self::Context) {
        let Some(entry) = self.sessions.get_mut(&handle.session()) else {
            // It has ended before we heard that it started.
            if let Some(reply) = reply {
                let ended = handle.ended().unwrap_or_else(Disconnected::lost);
                drop(reply.send(Err(DialError::Refused(ended))));
            }
            return;
        };
        entry.waiting.extend(reply);
        entry.handle = Some(handle.clone());
        self.table.insert(handle.clone());
        if self.shutdown.is_some() {
            handle.disconnect(DisconnectReason::ClientQuitting);
        } else if handle.is_settled() {
            self.on_settled(handle.session());
        }
    }
}

impl Handler<AwaitSettled> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, AwaitSettled { handle, reply }: AwaitSettled, _: &mut Self::Context) {
        self.await_settled(handle, reply);
    }
}

impl ConnectionManager {
    fn await_settled(&mut self, handle: PeerHandle, reply: DialReply) {
        match self.sessions.get_mut(&handle.session()) {
            Some(entry) if !entry.up => entry.waiting.push(reply),
            Some(_) => drop(reply.send(Ok(handle))),
            None => {
                let ended = handle.ended().unwrap_or_else(Disconnected::lost);
                drop(reply.send(Err(DialError::Refused(ended))));
            }
        }
    }
}

impl Handler<DialEnded> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, DialEnded { static_index, error }: DialEnded, ctx: &mut Self::Context) {
        let Some(index) = static_index else { return };
        self.statics.on_dial_ended(index);
        let Some(error) = error else { return };
        let again_in = if self.shutdown.is_none() { self.schedule(ctx, index) } else { None };
        let addr = self.statics.addr(index).to_multiaddr();
        self.emit(NetworkEvent::DialFailed { addr, error, again_in });
    }
}

impl Handler<Recall> for ConnectionManager {
    type Result = MessageResult<Recall>;

    fn handle(&mut self, Recall(peer): Recall, _: &mut Self::Context) -> Self::Result {
        let record = self.blame.of(&peer);
        MessageResult((record != Record::default()).then_some(record))
    }
}

impl Handler<Shutdown> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Shutdown { reply }: Shutdown, ctx: &mut Self::Context) {
        let first = self.shutdown.is_none();
        self.shutdown.get_or_insert_default().extend(reply);
        if !first {
            return;
        }
        self.listeners.clear();
        for handle in self.sessions.values().filter_map(|entry| entry.handle.as_ref()) {
            handle.disconnect(DisconnectReason::ClientQuitting);
        }
        ctx.run_later(self.config.shutdown_timeout, |manager, ctx| manager.finish(ctx));
        self.check_finished(ctx);
    }
}
