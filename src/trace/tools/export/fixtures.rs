//! Pictures to try exports on: two linked nodes whose requests had one trouble each. Made up, the
//! same for the same numbers.

use std::collections::HashMap;

use crate::ids::Direction::{self, Inbound, Outbound};
use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Header, Line, Name, Record};
use crate::trace::tools::model::{Keep, Model};
use crate::trace::tools::picture::{Node, Pair, Picture};

const MS: u64 = 1_000_000;
/// How far the second node's clock is behind the first one's.
const LATER: u64 = 250 * MS;
const KINDS: [&str; 3] = ["GetBlockHeaders", "GetBlockBodies", "GetReceipts"];

/// What goes wrong with a request of a fixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Mailbox,
    Window,
    Limiter,
    SlowHandler,
    Silent,
    Lost,
    Cancelled,
    Busy,
    Open,
}

/// Two nodes with one connection between them and `requests` requests on it, three of four asked by
/// the first node; a second connection of the first node has a peer without a trace.
pub fn two_nodes(requests: usize) -> Picture {
    build(requests, ["16Uiu2HAmNodeAlphaFollower1111", "16Uiu2HAmNodeBravoServing22222", "out of step"])
}

/// The same with another name, peer id and reason wherever a peer chooses the words.
pub fn with_words(requests: usize, words: &str) -> Picture {
    build(requests, [words, words, words])
}

fn build(requests: usize, [first, second, reason]: [&str; 3]) -> Picture {
    let mut dice = Dice(7);
    let mut a = Scribe::new(first, 0);
    let mut b = Scribe::new(second, LATER);
    a.upgrade(1, Outbound, second);
    b.upgrade(1, Inbound, first);
    a.upgrade(2, Outbound, reason);
    let mut pairs = Vec::new();
    let gap = if requests > 200 { 2 * MS } else { 60 * MS };
    // The second node stands still once, and everything asked then waits for it.
    let stall = (400 * MS + requests as u64 / 2 * gap, 400 * MS + requests as u64 / 2 * gap + 3_000 * MS);
    for nth in 0..requests {
        let mut at = 400 * MS + nth as u64 * gap + dice.below(gap);
        if at > stall.0 + 40 * gap.min(10 * MS) {
            at += 3_000 * MS;
        }
        let trouble = match nth % 20 {
            3 => Trouble::Mailbox,
            5 => Trouble::SlowHandler,
            8 => Trouble::Window,
            11 => Trouble::Limiter,
            13 if nth % 40 == 13 => Trouble::Lost,
            15 if nth % 60 == 15 => Trouble::Cancelled,
            17 if nth % 100 == 17 => Trouble::Busy,
            19 if nth + 20 >= requests => Trouble::Open,
            _ if (stall.0..stall.1).contains(&at) => Trouble::Silent,
            _ => Trouble::None,
        };
        let request = Request { at, nth, trouble, stall, kind: KINDS[nth % 3] };
        match nth % 8 {
            3 | 7 => pairs.extend(request.run(&mut b, &mut a, &mut dice).map(|pair| (1, pair))),
            6 => request.run_alone(&mut a, &mut dice),
            _ => pairs.extend(request.run(&mut a, &mut b, &mut dice).map(|pair| (0, pair))),
        }
    }
    for nth in 0..4 {
        let (at, took) = (400 * MS + nth * 200 * MS, 2 * MS);
        let name = Some(Name::from("Tick"));
        let begun = a.event(at, Kind::MsgStarted, |r| (r.actor, r.name) = (1, name.clone()));
        a.event(at + took, Kind::MsgFinished, |r| {
            (r.actor, r.name, r.cause, r.y) = (1, name, Some(begun), took)
        });
    }
    let end = a.records.iter().map(|record| record.at).max().unwrap_or(0) + 500 * MS;
    b.event(end, Kind::ActorPanicked, |r| (r.actor, r.name) = (3, Some("item Announcement".into())));
    a.event(end, Kind::SubstreamReset, |r| (r.conn, r.dir, r.x) = (1, Some(Inbound), 5));
    a.event(end, Kind::GoAway, |r| (r.conn, r.dir, r.x) = (1, Some(Inbound), 0));
    a.event(end, Kind::Violation, |r| (r.conn, r.text) = (2, Some(reason.into())));
    let how = Some(Name::from("remote"));
    a.event(end, Kind::SessionEnded, |r| (r.conn, r.how, r.text) = (2, how, Some(reason.into())));
    let (a, a_ids) = a.finish();
    let (b, b_ids) = b.finish();
    let pairs = pairs.into_iter().map(|(asker, (asked, served))| match asker {
        0 => Pair { asked: (0, a_ids[&asked]), served: (1, b_ids[&served]) },
        _ => Pair { asked: (1, b_ids[&asked]), served: (0, a_ids[&served]) },
    });
    Picture { pairs: pairs.collect(), links: vec![[(0, 1), (1, 1)]], nodes: vec![a, b] }
}

struct Request {
    at: u64,
    nth: usize,
    trouble: Trouble,
    stall: (u64, u64),
    kind: &'static str,
}

impl Request {
    /// Runs it from one node to the other; gives both keys.
    fn run(&self, from: &mut Scribe, to: &mut Scribe, dice: &mut Dice) -> Option<(EventId, EventId)> {
        let (key, written) = self.ask(from, 1, dice);
        let written = written?;
        let mut arrives = written + 300_000 + dice.below(900_000);
        if self.trouble == Trouble::Silent {
            arrives = arrives.max(self.stall.1 + dice.below(4 * MS));
        }
        let wire = self.nth as u64 + 1;
        to.event(arrives - 10_000, Kind::SocketRead, |r| (r.conn, r.x) = (1, 96));
        let served = to.step(arrives, Kind::ReqReceived, 1, Inbound, self.kind, None, wire);
        let mut at = arrives + 20_000;
        let mut cause = served;
        if self.trouble == Trouble::Limiter {
            cause = to.step(at, Kind::ReqQueued, 1, Inbound, self.kind, Some((served, cause)), wire);
            to.records.last_mut().expect("just written").how = Some("serving".into());
            at += 90 * MS + dice.below(60 * MS);
        }
        cause = to.step(at, Kind::ReqDelivered, 1, Inbound, self.kind, Some((served, cause)), wire);
        at += match self.trouble {
            Trouble::SlowHandler => 200 * MS + dice.below(20 * MS),
            _ => 500_000 + dice.below(4 * MS),
        };
        cause = to.step(at, Kind::ReqEncoded, 1, Inbound, self.kind, Some((served, cause)), wire);
        at += 100_000 + dice.below(400_000);
        let wrote = to.step(at, Kind::ReqWritten, 1, Inbound, self.kind, Some((served, cause)), wire);
        to.event(at + 5_000, Kind::SocketWrote, |r| (r.conn, r.x) = (1, 18_000));
        to.end(at + 6_000, 1, Inbound, self.kind, (served, wrote), wire, "ok", at - arrives);
        self.answer(from, 1, key, at + 300_000 + dice.below(900_000), dice);
        Some((key, served))
    }

    /// Runs it to a peer without a trace.
    fn run_alone(&self, from: &mut Scribe, dice: &mut Dice) {
        let (key, written) = self.ask(from, 2, dice);
        if let Some(written) = written {
            self.answer(from, 2, key, written + 8 * MS + dice.below(30 * MS), dice);
        }
    }

    /// The way out: the key, and when it was written if it was.
    fn ask(&self, from: &mut Scribe, conn: u32, dice: &mut Dice) -> (EventId, Option<u64>) {
        let (kind, wire, session) = (self.kind, self.nth as u64 + 1, conn + 1);
        let mut at = self.at;
        let key = from.step(at, Kind::ReqCreated, conn, Outbound, kind, None, 0);
        let sent = from.event(at + 2_000, Kind::MsgEnqueued, |r| {
            (r.cause, r.name, r.x) = (Some(key), Some("Ask".into()), u64::from(session));
        });
        let mut wait = 10_000 + dice.below(60_000);
        if self.trouble == Trouble::Mailbox {
            wait = 40 * MS + dice.below(40 * MS);
            let item = Some(Name::from("FrameBatch"));
            let begun = from.event(at, Kind::ItemStarted, |r| (r.actor, r.name) = (session, item.clone()));
            from.event(at + wait, Kind::ItemFinished, |r| {
                (r.actor, r.name, r.cause, r.y) = (session, item, Some(begun), wait);
            });
        }
        at += wait;
        let begun = from.event(at, Kind::MsgStarted, |r| {
            (r.actor, r.name, r.cause, r.y) = (session, Some("Ask".into()), Some(sent), wait);
        });
        from.event(at + 30_000, Kind::MsgFinished, |r| {
            (r.actor, r.name, r.cause, r.y) = (session, Some("Ask".into()), Some(begun), 30_000);
        });
        if self.trouble == Trouble::Busy {
            from.end(at + 10_000, conn, Outbound, kind, (key, begun), 0, "busy", wait);
            return (key, None);
        }
        let queued = from.step(at + 5_000, Kind::ReqQueued, conn, Outbound, kind, Some((key, begun)), wire);
        at += 40_000 + dice.below(100_000);
        let encoded = from.step(at, Kind::ReqEncoded, conn, Outbound, kind, Some((key, queued)), wire);
        at += 50_000 + dice.below(200_000);
        if self.trouble == Trouble::Window {
            let proto = Some(Name::from("eth"));
            from.event(at, Kind::WindowBlocked, |r| (r.conn, r.proto, r.x) = (conn, proto.clone(), 4_096));
            let shut = 60 * MS + dice.below(30 * MS);
            at += shut;
            from.event(at - 20_000, Kind::WindowReady, |r| {
                (r.conn, r.proto, r.y) = (conn, proto, shut - 20_000)
            });
        }
        let written = from.step(at, Kind::ReqWritten, conn, Outbound, kind, Some((key, encoded)), wire);
        from.event(at + 5_000, Kind::SocketWrote, |r| (r.conn, r.x) = (conn, 96));
        let timer = Some(Name::from("Deadline"));
        let set =
            from.event(at, Kind::TimerSet, |r| (r.actor, r.name, r.y) = (session, timer.clone(), 2_000 * MS));
        match self.trouble {
            Trouble::Lost => {
                let begun = from.event(at + 2_000 * MS, Kind::TimerStarted, |r| {
                    (r.actor, r.name, r.cause) = (session, timer.clone(), Some(set));
                });
                let fired = from.event(at + 2_000 * MS + 15_000, Kind::TimerFinished, |r| {
                    (r.actor, r.name, r.cause, r.y) = (session, timer, Some(begun), 15_000);
                });
                let at = at + 2_000 * MS + 15_000;
                from.end(at, conn, Outbound, kind, (key, fired), wire, "timed_out", at - self.at);
            }
            Trouble::Cancelled => {
                from.end(
                    at + 3 * MS,
                    conn,
                    Outbound,
                    kind,
                    (key, written),
                    wire,
                    "cancelled",
                    at + 3 * MS - self.at,
                );
            }
            _ => {}
        }
        (key, Some(at))
    }

    /// The way back.
    fn answer(&self, from: &mut Scribe, conn: u32, key: EventId, mut at: u64, dice: &mut Dice) {
        let (kind, wire) = (self.kind, self.nth as u64 + 1);
        match self.trouble {
            Trouble::Lost | Trouble::Open => return,
            Trouble::Cancelled => {
                from.event(at, Kind::AnswerDropped, |r| {
                    (r.conn, r.how, r.x, r.y) = (conn, Some("late".into()), wire, 18_000);
                });
                return;
            }
            _ => {}
        }
        let read = from.event(at - 10_000, Kind::SocketRead, |r| (r.conn, r.x) = (conn, 18_000));
        let mut cause = from.step(at, Kind::ReqFirstByte, conn, Outbound, kind, Some((key, read)), wire);
        for step in [Kind::ReqReceived, Kind::ReqDelivered, Kind::ReqDecoded] {
            at += 50_000 + dice.below(500_000);
            cause = from.step(at, step, conn, Outbound, kind, Some((key, cause)), wire);
        }
        from.end(at + 1_000, conn, Outbound, kind, (key, cause), wire, "ok", at + 1_000 - self.at);
    }
}

/// A source of numbers that is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most.max(1)
    }
}

/// Writes one node's records, in any order, by the first node's clock.
struct Scribe {
    node: Name,
    behind: u64,
    records: Vec<Record>,
}

impl Scribe {
    fn new(node: &str, behind: u64) -> Self {
        let mut scribe = Self { node: node.into(), behind, records: Vec::new() };
        scribe
            .event(LATER, Kind::ActorStarted, |r| (r.actor, r.name) = (1, Some("ConnectionManager".into())));
        scribe
    }

    fn event(&mut self, at: u64, kind: Kind, fill: impl FnOnce(&mut Record)) -> EventId {
        let id = EventId::new(1, self.records.len() as u64 + 1);
        self.records.push(Record::new(at - self.behind, id, kind));
        fill(self.records.last_mut().expect("just pushed"));
        id
    }

    #[allow(clippy::too_many_arguments)]
    fn step(
        &mut self,
        at: u64,
        kind: Kind,
        conn: u32,
        dir: Direction,
        name: &str,
        from: Option<(EventId, EventId)>,
        wire: u64,
    ) -> EventId {
        let callers = matches!(kind, Kind::ReqCreated | Kind::ReqDecoded);
        let id = self.event(at, kind, |r| {
            (r.conn, r.dir, r.name) = (conn, Some(dir), Some(name.into()));
            (r.key, r.cause, r.x) = (from.map(|from| from.0), from.map(|from| from.1), wire);
            r.proto = Some("eth".into());
            r.actor = if callers { 0 } else { conn + 1 };
            r.y = if kind == Kind::ReqReceived { 18_000 } else { 96 };
        });
        self.records.last_mut().expect("just pushed").key.get_or_insert(id);
        id
    }

    #[allow(clippy::too_many_arguments)]
    fn end(
        &mut self,
        at: u64,
        conn: u32,
        dir: Direction,
        name: &str,
        from: (EventId, EventId),
        wire: u64,
        how: &str,
        ns: u64,
    ) {
        self.step(at, Kind::ReqEnded, conn, dir, name, Some(from), wire);
        let last = self.records.last_mut().expect("just pushed");
        (last.how, last.y) = (Some(how.into()), ns);
    }

    fn upgrade(&mut self, conn: u32, dir: Direction, peer: &str) {
        let (mut at, session) = (LATER + 10 * MS, conn + 1);
        let kind = if dir == Outbound { Kind::ConnConnected } else { Kind::ConnAccepted };
        let ports = ["/ip4/127.0.0.1/tcp/30303", "/ip4/127.0.0.1/tcp/41234"];
        let addr = if dir == Outbound { ports.join(" ") } else { [ports[1], ports[0]].join(" ") };
        self.event(at, kind, |r| (r.conn, r.dir, r.text) = (conn, Some(dir), Some(addr.into())));
        for (name, took) in [("/noise", 2), ("noise", 9), ("/yamux/1.0.0", 2)] {
            at += took * MS;
            let ok = Some(Name::from("ok"));
            self.event(at, Kind::ConnStep, |r| {
                (r.conn, r.name, r.how, r.y) = (conn, Some(name.into()), ok, took * MS);
            });
        }
        self.event(at, Kind::ConnPeer, |r| (r.conn, r.text) = (conn, Some(peer.into())));
        let name = Some(Name::from("PeerSession"));
        self.event(at, Kind::ActorStarted, |r| (r.actor, r.conn, r.name) = (session, conn, name));
        self.event(at, Kind::SessionStarted, |r| {
            (r.actor, r.conn, r.dir, r.x, r.text) =
                (session, conn, Some(dir), conn.into(), Some(peer.into()));
        });
        self.event(at + MS, Kind::LaneUp, |r| (r.conn, r.proto, r.x) = (conn, Some("eth".into()), 69));
    }

    /// Puts the events into the order of their times and reads a model out of them.
    fn finish(mut self) -> (Node, HashMap<EventId, EventId>) {
        self.records.sort_by_key(|record| (record.at, record.id));
        let new = |(nth, record): (usize, &Record)| (record.id, EventId::new(1, nth as u64 + 1));
        let ids: HashMap<_, _> = self.records.iter().enumerate().map(new).collect();
        for record in &mut self.records {
            record.id = ids[&record.id];
            record.cause = record.cause.map(|id| ids[&id]);
            record.key = record.key.map(|id| ids[&id]);
        }
        let mut model = Model::keeping(Keep::All);
        let header = Header { version: 1, node: self.node, unix_ns: 0, reason: "file".into() };
        model.on(&Line::Header(header));
        for record in &self.records {
            model.on(&Line::Event(record.clone()));
        }
        let offset_ns = i64::try_from(self.behind).expect("a small number");
        (Node { model, records: self.records, offset_ns }, ids)
    }
}
