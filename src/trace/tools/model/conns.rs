//! Connections: how they came up, what moved on them, how they ended.

use super::trouble::{Trouble, TroubleKind};
use super::{CONNS_MAX, Conn, Model, RECENT_MAX, Recent};
use crate::ids::Direction;
use crate::trace::kind::{Field, Kind};
use crate::trace::record::{Name, Record};

/// So many steps of an upgrade, and so many exchanges, are kept per connection.
const STEPS_MAX: usize = 16;

impl Model {
    /// A connection, new or known; `None` when there is no room for another one.
    pub(super) fn conn(&mut self, number: u32, at: u64) -> Option<&mut Conn> {
        if number == 0 {
            return None;
        }
        if !self.conns.contains_key(&number) {
            if self.conns.len() >= CONNS_MAX && self.events >= self.build.sweep_conns_at {
                self.build.sweep_conns_at = self.events + CONNS_MAX as u64 / 4;
                self.conns.retain(|_, conn| conn.closed.is_none() && conn.failed.is_none());
            }
            if self.conns.len() >= CONNS_MAX {
                self.beyond.conns += 1;
                return None;
            }
            self.conns.insert(number, Conn { number, began: at, ..Conn::default() });
        }
        self.conns.get_mut(&number)
    }

    pub(super) fn on_conn(&mut self, record: &Record) {
        if record.kind == Kind::SocketRead {
            self.heard(record, record.x);
            return;
        }
        let Some(conn) = self.conn(record.conn, record.at) else { return };
        if let Some((kind, from, n)) = conn.on(record) {
            self.add_trouble(Trouble {
                kind,
                conn: record.conn,
                actor: record.actor,
                name: record.name.clone().or_else(|| record.text.clone()),
                proto: record.proto.clone(),
                how: record.how.clone(),
                from,
                until: record.at,
                event: record.id,
                n,
                last_in: None,
            });
        }
        if record.kind == Kind::SessionStarted
            && let Some(actor) = self.actors.get_mut(&record.actor)
        {
            actor.conn = record.conn;
        }
    }
}

impl Conn {
    /// Takes in an event. Answers with a trouble that is over: its kind, since when, its number.
    fn on(&mut self, record: &Record) -> Option<(TroubleKind, u64, u64)> {
        let at = record.at;
        let text = || record.text.clone().unwrap_or_else(|| "?".into());
        let how = || record.how.clone().unwrap_or_else(|| "?".into());
        let mut trouble = None;
        match record.kind {
            Kind::ConnDialing => {
                self.dir = Some(Direction::Outbound);
                self.addr = Some(text());
            }
            Kind::ConnConnected => {
                self.dir = Some(Direction::Outbound);
                self.addr = Some(text());
                self.socket = Some(at);
            }
            Kind::ConnAccepted => {
                self.dir = Some(Direction::Inbound);
                self.addr = Some(text());
                self.socket = Some(at);
            }
            Kind::ConnStep if self.steps.len() < STEPS_MAX => {
                let name = record.name.clone().unwrap_or_else(|| "?".into());
                self.steps.push((at, name, how(), record.y));
            }
            Kind::ConnPeer => self.peer = Some(text()),
            Kind::ConnFailed => self.failed = Some((at, text())),
            Kind::SessionStarted => {
                self.session = Some((record.x, record.actor));
                self.session_at = Some(at);
                self.peer = record.text.clone().or(self.peer.take());
                self.dir = record.dir.or(self.dir);
            }
            Kind::SessionSettled => self.settled = Some(at),
            Kind::SessionEnded => self.ended = Some((at, how(), text())),
            Kind::ConnClosed => {
                self.closed = Some((at, text()));
                self.blocked_since = None;
                self.window_blocked.clear();
            }
            Kind::LaneUp => self.lane(record, |lane| lane.version = Some(record.x)),
            Kind::LaneDown => {
                self.lane(record, |lane| lane.down = Some((at, how(), text())));
                self.window_blocked.remove(&proto(record));
            }
            Kind::SocketWrote => {
                self.last_out = Some(at);
                self.bytes_out = self.bytes_out.saturating_add(record.x);
            }
            Kind::SocketBlocked => self.blocked_since = self.blocked_since.or(Some(at)),
            Kind::SocketReady => {
                let from = self.blocked_since.take().unwrap_or(at.saturating_sub(record.y));
                trouble = Some((TroubleKind::SocketBlocked, from, 0));
            }
            Kind::WindowBlocked if self.window_blocked.len() < STEPS_MAX => {
                self.window_blocked.entry(proto(record)).or_insert(at);
                self.window_bytes = record.x;
            }
            Kind::WindowReady => {
                let since = self.window_blocked.remove(&proto(record));
                let from = since.unwrap_or(at.saturating_sub(record.y));
                trouble = Some((TroubleKind::WindowBlocked, from, self.window_bytes));
            }
            Kind::SubstreamAsked if self.negotiating.len() < STEPS_MAX => {
                self.negotiating.insert(record.id, (at, text()));
            }
            Kind::SubstreamAgreed | Kind::SubstreamFailed => {
                let asked = record.cause.and_then(|cause| self.negotiating.remove(&cause));
                trouble = asked.map(|(from, _)| (TroubleKind::Negotiation, from, 0));
            }
            Kind::AnswerDropped => trouble = Some((TroubleKind::AnswerDropped, at, record.x)),
            _ => {}
        }
        if !matches!(record.kind, Kind::SocketWrote | Kind::SocketFlushed) {
            self.remember(record);
        }
        trouble
    }

    fn lane(&mut self, record: &Record, change: impl FnOnce(&mut super::Lane)) {
        let proto = proto(record);
        if self.lanes.len() < STEPS_MAX || self.lanes.contains_key(&proto) {
            change(self.lanes.entry(proto).or_default());
        }
    }

    fn remember(&mut self, record: &Record) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        let (x, _) = record.kind.fields();
        self.recent.push_back(Recent {
            at: record.at,
            kind: record.kind,
            dir: record.dir,
            name: record.name.clone().or_else(|| record.proto.clone()),
            how: record.how.clone(),
            text: record.text.clone(),
            n: if x == Field::None { record.y } else { record.x },
        });
    }

    /// When it was last heard of from the peer. While it comes up, the steps that are through tell:
    /// what is read then is not recorded.
    pub fn heard_at(&self) -> Option<u64> {
        let step = self.steps.iter().filter(|(_, _, how, _)| &**how == "ok").map(|(at, ..)| *at).max();
        self.last_in.max(step)
    }

    /// Whether it has ended, one way or another.
    pub fn is_over(&self) -> bool {
        self.over_at().is_some()
    }

    /// When its end was decided.
    pub fn over_at(&self) -> Option<u64> {
        let ended = self.ended.as_ref().map(|(at, ..)| *at);
        let failed = self.failed.as_ref().map(|(at, _)| *at);
        ended.or(failed).or(self.closed.as_ref().map(|(at, _)| *at))
    }
}

fn proto(record: &Record) -> Name {
    record.proto.clone().unwrap_or_else(|| "?".into())
}
