//! The life lines of requests, put together from their events.

use super::trouble::{Trouble, TroubleKind};
use super::{End, Keep, LIVES_MAX, Life, Mark, Model, Step};
use crate::ids::Direction;
use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Record};

/// So many failed and slow requests are kept when only open ones matter.
const SUSPICIOUS_MAX: usize = 65_536;

impl Model {
    pub(super) fn on_request(&mut self, record: &Record) {
        let step = step_of(record.kind);
        // The first event may carry its own id as the key, or none.
        let first = match record.kind {
            Kind::ReqCreated => true,
            Kind::ReqReceived => record.dir == Some(Direction::Inbound),
            _ => false,
        };
        let Some(key) = record.key.or(first.then_some(record.id)) else { return };
        self.heard_on(record);
        if !self.lives.contains_key(&key) && !self.begin(key, record, first) {
            return;
        }
        let (before, after) = {
            let Some(life) = self.lives.get_mut(&key) else { return };
            let before = is_awaiting(life);
            take_in(life, record, step);
            if record.kind == Kind::ReqEnded {
                life.heard = self.conns.get(&life.conn).and_then(|conn| conn.last_in);
            }
            (before, is_awaiting(life))
        };
        self.count_awaiting(record, key, before, after);
        if record.kind == Kind::ReqEnded {
            self.end(key, record);
        }
    }

    /// A request that was not heard of yet. `false`: there is no room for it, or no use.
    fn begin(&mut self, key: EventId, record: &Record, first: bool) -> bool {
        if record.kind == Kind::ReqEnded && !self.is_kept(record.how.as_deref().unwrap_or_default(), record.y)
        {
            return false;
        }
        if self.lives.len() >= LIVES_MAX {
            self.beyond.lives += 1;
            return false;
        }
        let life = Life {
            key,
            conn: record.conn,
            proto: None,
            dir: record.dir.unwrap_or(Direction::Outbound),
            name: None,
            wire: None,
            marks: [None; 8],
            queued_for: None,
            bytes: (0, 0),
            end: None,
            heard: None,
            uncertain: !first && record.kind != Kind::ReqOpen,
        };
        self.lives.insert(key, life);
        true
    }

    fn end(&mut self, key: EventId, record: &Record) {
        let how = record.how.as_deref().unwrap_or_default();
        let Keep::Open { .. } = self.keep else { return };
        let took = self.lives.get(&key).map_or(0, |life| life.took(record.at));
        if !self.is_kept(how, took) {
            self.lives.remove(&key);
        } else if self.no_room_for_another() {
            self.beyond.lives += 1;
            self.lives.remove(&key);
        }
    }

    /// Whether as many are kept as may be; this one is counted if not.
    fn no_room_for_another(&mut self) -> bool {
        let full = self.build.suspicious >= SUSPICIOUS_MAX;
        self.build.suspicious += usize::from(!full);
        full
    }

    /// Keeps the number of requests that wait for the peer, per connection.
    fn count_awaiting(&mut self, record: &Record, key: EventId, before: bool, after: bool) {
        if before == after {
            return;
        }
        let conn = self.lives.get(&key).map_or(0, |life| life.conn);
        let timed_out = record.kind == Kind::ReqEnded && record.how.as_deref() == Some("timed_out");
        let Some(conn) = self.conn(conn, record.at) else { return };
        match after {
            // Those that were given up meanwhile had waited for the same byte.
            true if conn.awaiting.0 == 0 && conn.given_up == 0 => conn.awaiting = (1, record.at),
            true => conn.awaiting.0 += 1,
            false => conn.awaiting.0 = conn.awaiting.0.saturating_sub(1),
        }
        // A caller that waits no longer says nothing of the peer.
        if timed_out {
            conn.given_up += 1;
        }
    }

    /// Events of a request may show that something was read, where reading itself is not recorded.
    fn heard_on(&mut self, record: &Record) {
        let reads = match record.kind {
            Kind::ReqFirstByte => true,
            Kind::ReqReceived => record.dir == Some(Direction::Inbound),
            _ => false,
        };
        if reads && record.conn != 0 {
            self.heard(record, 0);
        }
    }

    /// Something came in. If requests had waited for that, it was a silence.
    pub(super) fn heard(&mut self, record: &Record, bytes: u64) {
        let Some(conn) = self.conn(record.conn, record.at) else { return };
        let (open, since) = conn.awaiting;
        let count = open.saturating_add(std::mem::take(&mut conn.given_up));
        let from = conn.last_in.map_or(since, |last| last.max(since));
        let last_in = conn.last_in;
        conn.last_in = Some(conn.last_in.map_or(record.at, |last| last.max(record.at)));
        conn.bytes_in = conn.bytes_in.saturating_add(bytes);
        let silent = record.at.saturating_sub(from);
        if count > 0 && self.troubles.takes(TroubleKind::Silence, silent) {
            self.add_trouble(Trouble {
                kind: TroubleKind::Silence,
                conn: record.conn,
                actor: 0,
                name: None,
                proto: record.proto.clone(),
                how: None,
                from,
                until: record.at,
                event: record.id,
                n: count,
                last_in,
            });
        }
    }

    /// Events were lost: whatever is open may have gone on.
    pub(super) fn doubt_lives(&mut self) {
        self.lives.values_mut().filter(|life| life.end.is_none()).for_each(|life| life.uncertain = true);
        self.conns.values_mut().for_each(|conn| (conn.awaiting.0, conn.given_up) = (0, 0));
    }
}

fn step_of(kind: Kind) -> Option<Step> {
    Some(match kind {
        Kind::ReqCreated => Step::Created,
        Kind::ReqQueued => Step::Queued,
        Kind::ReqEncoded => Step::Encoded,
        Kind::ReqWritten => Step::Written,
        Kind::ReqFirstByte => Step::FirstByte,
        Kind::ReqReceived => Step::Received,
        Kind::ReqDelivered => Step::Delivered,
        Kind::ReqDecoded => Step::Decoded,
        _ => return None,
    })
}

/// Whether a request of ours waits for the first byte of its answer.
fn is_awaiting(life: &Life) -> bool {
    life.dir == Direction::Outbound
        && life.end.is_none()
        && !life.uncertain
        && life.mark(Step::Written).is_some()
        && life.mark(Step::FirstByte).is_none()
        && life.mark(Step::Received).is_none()
}

fn take_in(life: &mut Life, record: &Record, step: Option<Step>) {
    let mark = Mark { at: record.at, id: record.id, cause: record.cause, actor: record.actor };
    if life.conn == 0 {
        life.conn = record.conn;
    }
    if life.name.is_none() {
        life.name.clone_from(&record.name);
    }
    if life.proto.is_none() {
        life.proto.clone_from(&record.proto);
    }
    let outbound = life.dir == Direction::Outbound;
    match record.kind {
        Kind::ReqQueued => {
            life.queued_for.clone_from(&record.how);
            life.wire = Some(record.x);
            if outbound {
                life.bytes.0 = record.y;
            }
        }
        Kind::ReqEncoded => {
            life.wire = Some(record.x);
            match outbound {
                true => life.bytes.0 = record.y,
                false => life.bytes.1 = record.y,
            }
        }
        Kind::ReqReceived => {
            life.wire = Some(record.x);
            match outbound {
                true => life.bytes.1 = record.y,
                false => life.bytes.0 = record.y,
            }
        }
        Kind::ReqWritten | Kind::ReqFirstByte | Kind::ReqDelivered => life.wire = Some(record.x),
        Kind::ReqOpen => told(life, record, mark),
        Kind::ReqEnded => {
            let how = record.how.clone().unwrap_or_else(|| "?".into());
            // Exactly one end: the first one counts.
            life.end.get_or_insert(End { mark, how });
        }
        _ => {}
    }
    if let Some(step) = step {
        life.marks[step as usize].get_or_insert(mark);
    }
}

/// A dump says where a request stands. Its beginning may have been overwritten; when it reached its
/// step is not known then, only that it was not before what is known.
fn told(life: &mut Life, record: &Record, mark: Mark) {
    let first = if life.dir == Direction::Outbound { Step::Created } else { Step::Received };
    let began = record.at.saturating_sub(record.y);
    let id = life.key;
    life.marks[first as usize].get_or_insert(Mark { at: began, id, cause: None, actor: 0 });
    if record.x != 0 {
        life.wire = Some(record.x);
    }
    let latest = life.reached().map_or(began, |(_, mark)| mark.at);
    if let Some(step) = record.how.as_deref().and_then(Step::by_name) {
        life.marks[step as usize].get_or_insert(Mark { at: latest, ..mark });
    }
    // It is open by the network's own word, whatever was lost.
    life.uncertain = false;
}
