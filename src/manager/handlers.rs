//! What the manager does with each message of its mailbox.

use actix::fut::WrapFuture;
use actix::{ActorFutureExt, AsyncContext, Handler, MessageResult, ResponseActFuture};
use tokio::time::Instant;

use super::blame::Record;
use super::events::NetworkEvent;
use super::messages::{
    AddStatic, Arrived, AwaitSettled, Dial, DialEnded, Recall, RemoveStatic, Shutdown, Started, Verdict,
};
use super::{ConnectionManager, PROBE};
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::error::DialError;

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
            if let Some(handle) = self.table.get(&peer).filter(|handle| handle.ended().is_none()) {
                return self.await_settled(handle.session(), reply);
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
        if addr.peer != Some(self.us)
            && let Some(index) = self.statics.add(addr)
        {
            self.dial_static(ctx, index);
        }
    }
}

impl Handler<RemoveStatic> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, RemoveStatic(peer): RemoveStatic, _: &mut Self::Context) {
        self.statics.remove(&peer);
    }
}

impl Handler<Arrived> for ConnectionManager {
    type Result = ResponseActFuture<Self, Verdict>;

    fn handle(&mut self, arrived: Arrived, _: &mut Self::Context) -> Self::Result {
        match self.judge(&arrived) {
            Ok(verdict) => Box::pin(actix::fut::ready(verdict)),
            Err(existing) => {
                let probed = existing.clone();
                let probe = async move { probed.is_alive(PROBE).await };
                let judge = move |alive, manager: &mut Self, _: &mut _| {
                    manager.judge_probed(&arrived, &existing, alive)
                };
                Box::pin(probe.into_actor(self).map(judge))
            }
        }
    }
}

impl Handler<Started> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Started { handle, reply }: Started, _: &mut Self::Context) {
        let session = handle.session();
        if let Some(winner) = self.by_peer.get(&handle.id()).copied().filter(|winner| *winner != session) {
            // Another connection has won while this one was being started.
            self.table.remove(&handle.id(), session);
            if let Some(there) = self.sessions.get(&winner).and_then(|entry| entry.handle.clone()) {
                self.table.insert(there);
            }
            handle.disconnect(DisconnectReason::AlreadyConnected);
            if let Some(entry) = self.sessions.get_mut(&session) {
                entry.handle = Some(handle);
            }
            if let Some(reply) = reply {
                self.await_settled(winner, reply);
            }
            return;
        }
        let Some(entry) = self.sessions.get_mut(&session) else {
            // It has ended before we heard that it started.
            if let Some(reply) = reply {
                let ended = handle.ended().unwrap_or_else(Disconnected::lost);
                drop(reply.send(Err(DialError::Refused(ended))));
            }
            return;
        };
        entry.waiting.extend(reply);
        entry.handle = Some(handle.clone());
        if self.shutdown.is_some() {
            handle.disconnect(DisconnectReason::ClientQuitting);
        } else if handle.is_settled() {
            self.on_settled(handle.session());
        }
    }
}

impl Handler<AwaitSettled> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, AwaitSettled { session, reply }: AwaitSettled, _: &mut Self::Context) {
        self.await_settled(session, reply);
    }
}

impl Handler<DialEnded> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, DialEnded { static_index, error }: DialEnded, ctx: &mut Self::Context) {
        let Some(index) = static_index else { return };
        self.statics.on_dial_ended(index);
        let Some(error) = error else { return };
        let again_in = if self.shutdown.is_none() { self.schedule(ctx, index) } else { None };
        let addr = self.statics.addr(index).clone();
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
