//! Traces made up for tests: a story told event by event.

use super::model::{Keep, Model};
use crate::ids::Direction;
use crate::trace::json;
use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Header, Line, Name, Record};

/// A trace that is being told. Times are in milliseconds.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) lines: Vec<Line>,
    next: u64,
}

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const PEER: &str = "16Uiu2HAmPeerPeerPeerPeerPeerPeerABCDEF";

impl Story {
    pub(crate) fn new() -> Self {
        let header = Header {
            version: 1,
            node: "16Uiu2HAmOurselvesOurselvesOurselves012345".into(),
            unix_ns: 1_700_000_000_000_000_000,
            reason: "file".into(),
        };
        Self { lines: vec![Line::Header(header)], next: 1 }
    }

    /// An event at a time in milliseconds, with what the closure adds.
    pub(crate) fn event(&mut self, ms: u64, kind: Kind, more: impl FnOnce(&mut Record)) -> EventId {
        let id = EventId::new(1, self.next);
        self.next += 1;
        let mut record = Record::new(ms * MS, id, kind);
        more(&mut record);
        self.lines.push(Line::Event(record));
        id
    }

    /// An actor of this type.
    pub(crate) fn actor(&mut self, ms: u64, actor: u32, name: &str) -> EventId {
        self.event(ms, Kind::ActorStarted, |r| {
            r.actor = actor;
            r.name = name_of(name);
        })
    }

    /// A dialled connection that became a session, run by the actor of the same number plus 100.
    pub(crate) fn session(&mut self, ms: u64, conn: u32) -> u32 {
        let actor = conn + 100;
        let with = |r: &mut Record, text: &str| {
            r.conn = conn;
            r.text = name_of(text);
        };
        self.event(ms, Kind::ConnDialing, |r| with(r, "/ip4/127.0.0.1/tcp/30303"));
        self.event(ms, Kind::ConnConnected, |r| {
            with(r, &format!("127.0.0.1:30303 127.0.0.1:{}", 40_000 + conn))
        });
        self.event(ms, Kind::ConnStep, |r| {
            with(r, "");
            (r.name, r.how, r.y) = (name_of("noise"), name_of("ok"), MS);
        });
        self.event(ms, Kind::ConnPeer, |r| with(r, PEER));
        self.actor(ms, actor, "PeerSession");
        self.event(ms, Kind::SessionStarted, |r| {
            with(r, PEER);
            (r.actor, r.x, r.dir) = (actor, u64::from(conn), Some(Direction::Outbound));
        });
        self.event(ms, Kind::SessionSettled, |r| (r.conn, r.actor) = (conn, actor));
        self.event(ms, Kind::LaneUp, |r| {
            (r.conn, r.actor, r.x, r.proto) = (conn, actor, 69, name_of("eth"));
        });
        actor
    }

    pub(crate) fn read(&mut self, ms: u64, conn: u32) {
        self.event(ms, Kind::SocketRead, |r| (r.conn, r.x) = (conn, 100));
    }

    /// A request of ours, as far as `req.created`.
    pub(crate) fn ask(&mut self, ms: u64, conn: u32, name: &str) -> EventId {
        self.event(ms, Kind::ReqCreated, |r| {
            (r.conn, r.dir, r.proto, r.name) =
                (conn, Some(Direction::Outbound), name_of("eth"), name_of(name));
        })
    }

    /// A request of the peer, as far as `req.received`.
    pub(crate) fn asked(&mut self, ms: u64, conn: u32, name: &str, wire: u64) -> EventId {
        self.event(ms, Kind::ReqReceived, |r| {
            (r.conn, r.dir, r.proto, r.name) =
                (conn, Some(Direction::Inbound), name_of("eth"), name_of(name));
            r.x = wire;
        })
    }

    /// One more step of a request, of the kind `req.*`.
    pub(crate) fn step(&mut self, ms: u64, key: EventId, kind: Kind, wire: u64) -> EventId {
        let first =
            self.records().find(|record| record.id == key).cloned().expect("a request that was begun");
        self.event(ms, kind, |r| {
            (r.conn, r.dir, r.proto, r.name) = (first.conn, first.dir, first.proto, first.name);
            (r.key, r.x, r.y) = (Some(key), wire, 50);
        })
    }

    pub(crate) fn steps(&mut self, key: EventId, wire: u64, steps: &[(u64, Kind)]) {
        for (ms, kind) in steps {
            self.step(*ms, key, *kind, wire);
        }
    }

    /// The end of a request.
    pub(crate) fn end(&mut self, ms: u64, key: EventId, wire: u64, how: &str) -> EventId {
        let id = self.step(ms, key, Kind::ReqEnded, wire);
        let began = self.records().find(|record| record.id == key).map_or(0, |record| record.at);
        self.change(id, |r| (r.how, r.y) = (name_of(how), ms * MS - began));
        id
    }

    /// A request of ours that is answered without a wait worth speaking of.
    pub(crate) fn answered(&mut self, ms: u64, conn: u32, name: &str, wire: u64) -> EventId {
        let key = self.ask(ms, conn, name);
        self.steps(key, wire, &[(ms, Kind::ReqQueued), (ms, Kind::ReqEncoded), (ms, Kind::ReqWritten)]);
        self.read(ms + 1, conn);
        self.steps(
            key,
            wire,
            &[
                (ms + 1, Kind::ReqFirstByte),
                (ms + 1, Kind::ReqReceived),
                (ms + 1, Kind::ReqDelivered),
                (ms + 2, Kind::ReqDecoded),
            ],
        );
        self.end(ms + 2, key, wire, "ok");
        key
    }

    /// A message: put into a mailbox, begun with, done.
    pub(crate) fn message(
        &mut self,
        actor: u32,
        name: &str,
        put: u64,
        begun: u64,
        done: Option<u64>,
    ) -> EventId {
        let enqueued =
            self.event(put, Kind::MsgEnqueued, |r| (r.x, r.name) = (u64::from(actor), name_of(name)));
        let started = self.event(begun, Kind::MsgStarted, |r| {
            (r.actor, r.name, r.y, r.cause) = (actor, name_of(name), (begun - put) * MS, Some(enqueued));
        });
        if let Some(done) = done {
            self.event(done, Kind::MsgFinished, |r| {
                (r.actor, r.name, r.y, r.cause) = (actor, name_of(name), (done - begun) * MS, Some(started));
            });
        }
        started
    }

    /// Something happens elsewhere at that time, so that the trace lasts until then.
    pub(crate) fn until(&mut self, ms: u64) {
        self.actor(ms, 9_999, "Somebody");
    }

    pub(crate) fn change(&mut self, id: EventId, change: impl FnOnce(&mut Record)) {
        let found = self.lines.iter_mut().find_map(|line| match line {
            Line::Event(record) if record.id == id => Some(record),
            _ => None,
        });
        change(found.expect("an event of this story"));
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.lines.iter().filter_map(|line| match line {
            Line::Event(record) => Some(record),
            _ => None,
        })
    }

    /// The lines in the order of time, as a file has them.
    pub(crate) fn sorted(&self) -> Vec<Line> {
        let mut lines = self.lines.clone();
        let mut last = 0;
        lines.sort_by_cached_key(|line| {
            if let Line::Event(record) = line {
                last = record.at;
                return (last, record.id);
            }
            let first = matches!(line, Line::Header(_));
            (last, EventId(if first { 0 } else { u64::MAX }))
        });
        lines
    }

    pub(crate) fn model(&self) -> Model {
        self.keeping(Keep::All)
    }

    pub(crate) fn keeping(&self, keep: Keep) -> Model {
        let mut model = Model::keeping(keep);
        self.sorted().iter().for_each(|line| model.on(line));
        model
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.sorted().iter().for_each(|line| json::write(line, &mut out));
        out
    }
}

pub(crate) fn name_of(word: &str) -> Option<Name> {
    Some(word.into())
}
