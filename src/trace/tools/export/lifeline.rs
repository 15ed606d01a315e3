//! Where a request spent its time: its life line cut into waits, over both of its nodes if both saw it.
//!
//! A request that stands at a step waits for one thing, which [`Cause`] names; where the node noticed
//! that a window or a socket took no bytes, that is the cause instead. A requester knows nothing of
//! the peer but that it has not answered; if the peer's trace is at hand, that wait is replaced by
//! what the peer's own life line says.

mod weave;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use self::weave::{entwine, weave};
use super::ground::Ground;
use crate::ids::Direction;
use crate::trace::record::EventId;
use crate::trace::tools::model::{Life, Mark, Step};
use crate::trace::tools::picture::{Node, Picture};
use crate::trace::tools::show::duration;

/// What a request waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cause {
    /// The session's mailbox: it handled something else.
    Mailbox,
    /// Its turn in a queue of the session.
    Queue,
    /// The window of its substream: the peer's application does not read.
    Window,
    /// The socket: the peer's node does not read, or the network is slow.
    Socket,
    /// The way between the nodes.
    Wire,
    /// The peer, of which nothing more is known.
    Peer,
    /// The protocol that serves it.
    Handler,
    /// A place to be served: as many as may be are.
    Limiter,
    /// The caller's task, which decodes the answer.
    Decoding,
}

impl Cause {
    /// Every cause, in the order of a request's way.
    pub const ALL: [Self; 9] = [
        Self::Mailbox,
        Self::Queue,
        Self::Window,
        Self::Socket,
        Self::Wire,
        Self::Peer,
        Self::Limiter,
        Self::Handler,
        Self::Decoding,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Queue => "queue",
            Self::Window => "window",
            Self::Socket => "socket",
            Self::Wire => "wire",
            Self::Peer => "peer",
            Self::Handler => "handler",
            Self::Limiter => "limiter",
            Self::Decoding => "decoding",
        }
    }
}

/// Where on its node a request is while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// With the task that made it.
    Caller,
    /// With the session of its connection.
    Session,
    /// Between the nodes.
    Wire,
    /// With the protocol that serves it.
    Protocol,
}

/// One wait: times are of the picture's axis, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When it began.
    pub from: i64,
    /// When it was over; never before it began.
    pub to: i64,
    /// What for.
    pub cause: Cause,
    /// On which node; for the wire, the node that had sent.
    pub node: usize,
    /// Where on it.
    pub place: Place,
}

impl Wait {
    /// How long it was.
    pub fn ns(&self) -> u64 {
        self.to.saturating_sub(self.from).max(0) as u64
    }
}

/// One event of a life line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When, on the picture's axis. A server's point is not put before the question or behind the
    /// answer, however its clock was estimated.
    pub at: i64,
    /// At which node.
    pub node: usize,
    /// Which step; `None`: the end.
    pub step: Option<Step>,
    /// The event itself.
    pub mark: Mark,
}

/// One request as a whole.
#[derive(Debug, Clone)]
pub struct Lifeline<'a> {
    /// The node and the life it is told from: the requester's, if it was recorded.
    pub node: usize,
    /// That life.
    pub life: &'a Life,
    /// The server's node and life, if both nodes saw it.
    pub served: Option<(usize, &'a Life)>,
    /// When it began and ended, or was last heard of.
    pub from: i64,
    /// See `from`.
    pub to: i64,
    /// What happened, in the order of its way.
    pub points: Vec<Point>,
    /// Its waits: they follow each other without a gap from `from` to `to`.
    pub waits: Vec<Wait>,
}

impl Lifeline<'_> {
    /// How it ended; `open` if it has not.
    pub fn state(&self) -> &str {
        self.life.end.as_ref().map_or("open", |end| &end.how)
    }

    /// How long it took, or has taken so far.
    pub fn ns(&self) -> u64 {
        self.to.saturating_sub(self.from).max(0) as u64
    }

    /// Its longest wait.
    pub fn longest(&self) -> Option<&Wait> {
        self.waits.iter().rev().max_by_key(|wait| wait.ns())
    }
}

/// The life lines of a picture, and what it takes to cut them.
#[derive(Debug)]
pub struct Lifelines<'a> {
    picture: &'a Picture,
    grounds: Vec<Ground>,
    served_by: HashMap<(usize, EventId), (usize, EventId)>,
    told: HashSet<(usize, EventId)>,
}

impl<'a> Lifelines<'a> {
    /// Goes over all events once.
    pub fn of(picture: &'a Picture) -> Self {
        let exists = |(node, key): (usize, EventId)| {
            picture.nodes.get(node).is_some_and(|n| n.model.lives.contains_key(&key))
        };
        let pairs = || picture.pairs.iter().filter(|pair| exists(pair.asked) && exists(pair.served));
        Self {
            picture,
            grounds: picture.nodes.iter().map(Ground::of).collect(),
            served_by: pairs().map(|pair| (pair.asked, pair.served)).collect(),
            told: pairs().map(|pair| pair.served).collect(),
        }
    }

    pub(super) fn ground(&self, node: usize) -> &Ground {
        &self.grounds[node]
    }

    /// Every request once, node by node in the order of their keys. One that both nodes saw is told
    /// from the requester's side.
    pub fn iter(&self) -> impl Iterator<Item = Lifeline<'a>> + '_ {
        let nodes = self.picture.nodes.iter().enumerate();
        let lives = nodes.flat_map(|(node, one)| one.model.lives.values().map(move |life| (node, life)));
        lives
            .filter(|(node, life)| !self.told.contains(&(*node, life.key)))
            .map(|(node, life)| self.cut(node, life))
    }

    /// The life line of one request.
    pub fn cut(&self, node: usize, life: &'a Life) -> Lifeline<'a> {
        let mut line = self.cut_one_side(node, life);
        let served = self.served_by.get(&(node, life.key));
        let served =
            served.and_then(|(node, key)| Some((*node, self.picture.nodes[*node].model.lives.get(key)?)));
        if let Some((at, theirs)) = served {
            let other = self.cut_one_side(at, theirs);
            line.waits = weave(&line, &other);
            for wait in &mut line.waits {
                // The question was on its way for long, and for most of that the peer's node did
                // nothing at all: it stood still, as far as anybody can tell.
                let way = wait.cause == Cause::Wire && wait.node == node && wait.to <= other.from;
                if way && self.stillness(at, wait).is_some_and(|ns| ns >= wait.ns() / 2) {
                    wait.cause = Cause::Peer;
                }
            }
            entwine(&mut line.points, other.points);
            line.served = Some((at, theirs));
        }
        line
    }

    /// What one node alone knows.
    pub(super) fn cut_one_side(&self, node: usize, life: &'a Life) -> Lifeline<'a> {
        let place = &self.picture.nodes[node];
        let order: &[Step] = match life.dir {
            Direction::Outbound => &OURS,
            Direction::Inbound => &THEIRS,
        };
        let mut points: Vec<Point> = Vec::with_capacity(order.len() + 1);
        for step in order {
            let mark = life.marks[*step as usize];
            points.extend(mark.map(|mark| Point { at: axis(place, mark.at), node, step: Some(*step), mark }));
        }
        let last = match &life.end {
            Some(end) => {
                points.push(Point { at: axis(place, end.mark.at), node, step: None, mark: end.mark });
                end.mark.at
            }
            None => place.model.span.1,
        };
        let from = points.first().map_or(axis(place, last), |point| point.at);
        let mut waits = Vec::with_capacity(points.len());
        let mut until = from;
        for (nth, point) in points.iter().enumerate() {
            let Some(step) = point.step else { break };
            let next = points.get(nth + 1).map_or(last, |next| next.mark.at);
            for (_, to, cause, place_of) in self.causes(node, life, step, point.mark.at, next) {
                let to = axis(place, to).max(until);
                if to > until {
                    waits.push(Wait { from: until, to, cause, node, place: place_of });
                    until = to;
                }
            }
        }
        Lifeline { node, life, served: None, from, to: until, points, waits }
    }

    /// What a request waits for that stands at `step` from one time to another.
    fn causes(
        &self,
        node: usize,
        life: &Life,
        step: Step,
        from: u64,
        to: u64,
    ) -> Vec<(u64, u64, Cause, Place)> {
        let (cause, place) = after(step, life.dir);
        if cause != Cause::Queue || to <= from || !matches!(step, Step::Queued | Step::Encoded) {
            return vec![(from, to, cause, place)];
        }
        let ground = &self.grounds[node];
        let windows = ground.window_shut(life.conn, &life.proto, from, to);
        let sockets = ground.socket_shut(life.conn, from, to);
        let shut = windows.into_iter().map(|span| (span, Cause::Window));
        let mut shut: Vec<_> = shut.chain(sockets.into_iter().map(|span| (span, Cause::Socket))).collect();
        shut.sort_by_key(|(span, _)| *span);
        let mut parts = Vec::new();
        let mut until = from;
        for ((begin, end), cause) in shut {
            if begin > until {
                parts.push((until, begin, Cause::Queue, place));
            }
            if end > until {
                parts.push((begin.max(until), end, cause, place));
                until = end;
            }
        }
        if to > until {
            parts.push((until, to, Cause::Queue, place));
        }
        parts
    }

    /// For how long of a wait a node recorded nothing, if that was long: 100 ms or more.
    fn stillness(&self, node: usize, wait: &Wait) -> Option<u64> {
        let offset = self.picture.nodes[node].offset_ns;
        let own = |at: i64| at.saturating_sub(offset).max(0) as u64;
        let (from, to) = self.grounds[node].stillness(own(wait.from), own(wait.to));
        Some(to - from).filter(|ns| *ns >= 100_000_000)
    }

    /// What else is known of the longest wait, in words.
    pub fn note(&self, line: &Lifeline<'_>) -> Option<String> {
        let wait = line.longest().filter(|wait| wait.ns() >= 1_000_000)?;
        let node = &self.picture.nodes[wait.node];
        let own = |at: i64| at.saturating_sub(node.offset_ns).max(0) as u64;
        let (from, to) = (own(wait.from), own(wait.to));
        let ground = &self.grounds[wait.node];
        let life = match line.served {
            Some((served, life)) if served == wait.node && served != line.node => life,
            _ => line.life,
        };
        match wait.cause {
            Cause::Mailbox => {
                let actor = node.model.conns.get(&life.conn).and_then(|conn| conn.session)?.1;
                let (slice, overlap) = ground.busiest(actor, from, to)?;
                let word = slice.name.as_deref().unwrap_or("something");
                let kind = slice.kind.name();
                Some(format!("actor {actor} was busy with {kind} {word} for {} of it", duration(overlap)))
            }
            Cause::Peer if line.served.is_some() => {
                let other = line.served.map(|served| served.0)?;
                self.stillness(other, wait).map(|ns| still(other, ns))
            }
            Cause::Peer => {
                let (from, to) = ground.silence(life.conn, from, to);
                let long = to - from;
                Some(format!("nothing arrived on connection {} for {} of it", life.conn, duration(long)))
            }
            Cause::Wire if wait.node != line.node && line.life.marks[Step::FirstByte as usize].is_none() => {
                Some(format!("node {} wrote the answer, and it never arrived", letter(wait.node)))
            }
            Cause::Wire => {
                let other =
                    line.served.map(|served| if wait.node == line.node { served.0 } else { line.node })?;
                self.stillness(other, wait).map(|ns| still(other, ns))
            }
            Cause::Limiter => Some(match life.queued_for.as_deref() {
                Some("owed") => "too many bytes of replies had not been taken by the requester".into(),
                _ => "as many requests as may be were being served".into(),
            }),
            Cause::Queue | Cause::Window | Cause::Socket | Cause::Handler | Cause::Decoding => None,
        }
    }
}

const OURS: [Step; 8] = [
    Step::Created,
    Step::Queued,
    Step::Encoded,
    Step::Written,
    Step::FirstByte,
    Step::Received,
    Step::Delivered,
    Step::Decoded,
];
const THEIRS: [Step; 5] = [Step::Received, Step::Queued, Step::Delivered, Step::Encoded, Step::Written];

/// What a request that has reached `step` waits for next, and where.
fn after(step: Step, dir: Direction) -> (Cause, Place) {
    match (dir, step) {
        (Direction::Outbound, Step::Created) => (Cause::Mailbox, Place::Session),
        (Direction::Outbound, Step::Written) => (Cause::Peer, Place::Wire),
        (Direction::Outbound, Step::FirstByte) => (Cause::Wire, Place::Wire),
        (Direction::Outbound, Step::Delivered | Step::Decoded) => (Cause::Decoding, Place::Caller),
        (Direction::Inbound, Step::Queued) => (Cause::Limiter, Place::Session),
        (Direction::Inbound, Step::Delivered) => (Cause::Handler, Place::Protocol),
        _ => (Cause::Queue, Place::Session),
    }
}

/// A paused process records nothing, and neither does one that nothing reaches.
fn still(node: usize, ns: u64) -> String {
    let name = letter(node);
    format!("node {name} recorded nothing for {}: it was paused, or nothing reached it", duration(ns))
}

/// What the page calls a node.
fn letter(node: usize) -> char {
    (b'A' + node.min(25) as u8) as char
}

/// A time of a node on the picture's axis.
pub(super) fn axis(node: &Node, at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX).saturating_add(node.offset_ns)
}
