//! Who gets a session: what `machine::admission` says, carried out on the manager's tables.

use std::time::Duration;

use actix::AsyncContext;
use rand::RngExt;
use tokio::time::Instant;

use super::messages::{Arrived, Ticket, Verdict};
use super::pending::DialReply;
use super::{ConnectionManager, Entry, Parked};
use crate::actor::Ctx;
use crate::disconnect::{DisconnectReason, Disconnected, Side};
use crate::error::DialError;
use crate::ids::{PeerId, SessionId};
use crate::machine::admission::{Duplicate, Existing, judge_duplicate};
use crate::session::PeerHandle;
use crate::session::messages::Notices;

/// How long a dial that lost against another connection waits for that one.
const PARKED: Duration = Duration::from_secs(1);

impl ConnectionManager {
    /// What to do with an authenticated connection; `Err`: the existing session must be probed.
    pub(super) fn judge(&mut self, arrived: &Arrived) -> Result<Verdict, PeerHandle> {
        let peer = arrived.peer;
        if self.shutdown.is_some() {
            return Ok(Verdict::Refuse(DisconnectReason::ClientQuitting));
        }
        if let Some(index) = arrived.static_index {
            self.statics.learn(index, peer);
        }
        if peer == self.us {
            // Dialling ourselves again would come to the same.
            self.statics.give_up(&peer);
            return Ok(Verdict::Refuse(DisconnectReason::SelfConnection));
        }
        let Some(session) = self.by_peer.get(&peer).copied() else { return Ok(self.judge_new(arrived)) };
        let Some(entry) = self.sessions.get(&session) else { return Ok(self.judge_new(arrived)) };
        let existing = Existing { session, direction: entry.direction, since: entry.since.into_std() };
        let handle = entry.handle.clone();
        if handle.as_ref().is_some_and(|handle| handle.ended().is_some()) {
            // Its notice is on the way.
            return Ok(self.replace(arrived, session));
        }
        let now = Instant::now().into_std();
        match (judge_duplicate(&self.us, &peer, &existing, arrived.direction, now), handle) {
            (Duplicate::KeepNew, handle) => {
                // A session that is admitted but not yet started is ended when it is.
                if let Some(handle) = handle {
                    handle.disconnect(DisconnectReason::AlreadyConnected);
                }
                Ok(self.replace(arrived, session))
            }
            (Duplicate::ProbeExisting, Some(handle)) => Err(handle),
            (Duplicate::KeepExisting | Duplicate::ProbeExisting, _) => Ok(Verdict::KeepExisting(session)),
        }
    }

    /// The probed session is dead or alive; other connections may have come meanwhile.
    pub(super) fn judge_probed(&mut self, arrived: &Arrived, existing: &PeerHandle, alive: bool) -> Verdict {
        if self.shutdown.is_some() {
            return Verdict::Refuse(DisconnectReason::ClientQuitting);
        }
        match self.by_peer.get(&arrived.peer).copied() {
            Some(session) if session != existing.session() => Verdict::KeepExisting(session),
            Some(session) if alive && existing.ended().is_none() => Verdict::KeepExisting(session),
            Some(session) => {
                existing.disconnect(DisconnectReason::TimedOut(crate::disconnect::Deadline::Ping));
                self.replace(arrived, session)
            }
            None => self.judge_new(arrived),
        }
    }

    fn judge_new(&mut self, arrived: &Arrived) -> Verdict {
        let is_static = self.statics.is_static(&arrived.peer);
        if !is_static && self.is_avoided(&arrived.peer) {
            return Verdict::Refuse(DisconnectReason::Requested);
        }
        if !self.occupancy().may_join(&self.config.slots, arrived.direction, is_static) {
            return Verdict::Refuse(DisconnectReason::TooManyPeers);
        }
        self.admit(arrived, is_static)
    }

    /// Takes the slot of a session that ends, and those who wait for it.
    fn replace(&mut self, arrived: &Arrived, old: SessionId) -> Verdict {
        let is_static = self.statics.is_static(&arrived.peer);
        if !is_static && self.is_avoided(&arrived.peer) {
            return Verdict::Refuse(DisconnectReason::Requested);
        }
        let verdict = self.admit(arrived, is_static);
        if let Verdict::Admit(ticket) = &verdict {
            let waiting = self.sessions.get_mut(&old).map(|old| std::mem::take(&mut old.waiting));
            if let Some(new) = self.sessions.get_mut(&ticket.session) {
                new.waiting.extend(waiting.unwrap_or_default());
            }
        }
        verdict
    }

    fn is_avoided(&self, peer: &PeerId) -> bool {
        self.blame.avoided_for(Instant::now().into_std(), peer).is_some()
    }

    fn admit(&mut self, arrived: &Arrived, is_static: bool) -> Verdict {
        let Some(notices) = Notices::reserve(&self.notices) else {
            return Verdict::Refuse(DisconnectReason::TooManyPeers);
        };
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let parked = self.parked.extract_if(.., |parked| parked.peer == arrived.peer);
        let waiting = parked.flat_map(|parked| parked.waiting).collect();
        let entry = Entry {
            direction: arrived.direction,
            since: Instant::now(),
            is_static,
            handle: None,
            up: false,
            waiting,
        };
        self.sessions.insert(session, entry);
        self.by_peer.insert(arrived.peer, session);
        Verdict::Admit(Ticket { session, notices, seed: self.rng.random() })
    }

    /// Answers a dial when this session has settled.
    pub(super) fn await_settled(&mut self, session: SessionId, reply: DialReply) {
        match self.sessions.get_mut(&session) {
            Some(Entry { up: true, handle: Some(handle), .. }) => drop(reply.send(Ok(handle.clone()))),
            Some(entry) => entry.waiting.push(reply),
            None => drop(reply.send(Err(DialError::Refused(Disconnected::lost())))),
        }
    }

    /// A session ended with dials waiting for it. If it lost against another connection to the same
    /// peer, they wait for that one; which may still be on its way.
    pub(super) fn pass_on(
        &mut self,
        ctx: &mut Ctx<Self>,
        peer: PeerId,
        session: SessionId,
        waiting: Vec<DialReply>,
        ended: Disconnected,
    ) {
        if waiting.is_empty() {
            return;
        }
        if let Some(winner) = self.by_peer.get(&peer).copied().filter(|winner| *winner != session) {
            return waiting.into_iter().for_each(|reply| self.await_settled(winner, reply));
        }
        let lost = ended.reason == DisconnectReason::AlreadyConnected || ended.side == Side::Transport;
        if !lost || self.shutdown.is_some() {
            return fail(waiting, ended);
        }
        self.parked.push(Parked { peer, waiting, ended });
        ctx.run_later(PARKED, move |manager, _| {
            for parked in manager.parked.extract_if(.., |parked| parked.peer == peer) {
                fail(parked.waiting, parked.ended);
            }
        });
    }
}

fn fail(waiting: Vec<DialReply>, ended: Disconnected) {
    for reply in waiting {
        drop(reply.send(Err(DialError::Refused(ended))));
    }
}
