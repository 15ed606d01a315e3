//! What the tables say: a row per request, actor and peer, as text and a tint.

use trunkline::trace::EventId;
use trunkline::trace::tools::Model;
use trunkline::trace::tools::model::{ActorInfo, Conn, Life, Mark, Step};
use trunkline::{Direction, trace::Name};

use super::words::{bytes, peer_of, short, span, step};
use crate::escape::escape;

/// The three tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Requests,
    Actors,
    Peers,
}

impl Tab {
    /// In the order of their keys.
    pub(super) const ALL: [Self; 3] = [Self::Requests, Self::Actors, Self::Peers];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Actors => "actors",
            Self::Peers => "peers",
        }
    }

    /// Names and widths of its columns. One without a width takes what is left.
    pub(super) fn columns(self) -> &'static [(&'static str, u16)] {
        match self {
            Self::Requests => &[
                ("age", 7),
                ("peer", 10),
                ("dir", 3),
                ("protocol", 9),
                ("kind", 16),
                ("step", 10),
                ("wait", 7),
                ("state", 0),
                ("id", 10),
            ],
            Self::Actors => &[("actor", 22), ("peer", 10), ("age", 7), ("busy for", 8), ("state", 0)],
            Self::Peers => &[
                ("peer", 10),
                ("dir", 3),
                ("age", 7),
                ("in", 7),
                ("out", 7),
                ("last byte", 9),
                ("open", 5),
                ("state", 0),
            ],
        }
    }
}

/// What a row is about, whatever its place: the selection follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Request(EventId),
    Actor(u32),
    Conn(u32),
}

/// Why something waits, which decides the colour of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tint {
    /// Nothing to say.
    Plain,
    /// Over.
    Over,
    /// Over, and not well.
    Failed,
    /// A mailbox of ours, or our own turn.
    Ours,
    /// A window, a socket, our outbox: the peer does not read.
    Window,
    /// The peer's answer.
    Peer,
    /// A protocol's handler.
    Handler,
    /// Our limits on what the peer may ask.
    Limiter,
}

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) cells: Vec<String>,
    pub(super) tint: Tint,
}

/// The rows of a table, what matters most on top.
pub(super) fn rows(tab: Tab, model: &Model, now: u64) -> Vec<Row> {
    match tab {
        Tab::Requests => requests(model, now),
        Tab::Actors => model.actors.values().map(|actor| of_actor(model, actor, now)).collect(),
        Tab::Peers => peers(model, now),
    }
}

/// Open ones first, the oldest on top; then those that ended, the last one on top.
fn requests(model: &Model, now: u64) -> Vec<Row> {
    let mut lives: Vec<&Life> = model.lives.values().collect();
    lives.sort_by_key(|life| match &life.end {
        None => (0, began(life), life.key),
        Some(end) => (1, u64::MAX - end.mark.at, life.key),
    });
    lives.into_iter().map(|life| of_request(model, life, now)).collect()
}

fn of_request(model: &Model, life: &Life, now: u64) -> Row {
    let last = last_step(life);
    let until = life.end.as_ref().map_or(now, |end| end.mark.at);
    let waited = last.map_or(0, |(_, mark)| until.saturating_sub(mark.at));
    let (state, tint) = match &life.end {
        None => {
            let (what, tint) = waits_for(life);
            (format!("waits for {what}"), tint)
        }
        Some(end) if &*end.how == "ok" => ("ok".to_owned(), Tint::Over),
        Some(end) => (escape(&end.how), Tint::Failed),
    };
    let uncertain = if life.uncertain { "?" } else { "" };
    let cells = vec![
        span(until.saturating_sub(began(life))),
        peer_of(model, life.conn),
        direction(life.dir).to_owned(),
        word(&life.proto),
        word(&life.name),
        last.map_or("", |(last, _)| step(last)).to_owned(),
        span(waited),
        format!("{state}{uncertain}"),
        life.wire.map_or(String::new(), |wire| wire.to_string()),
    ];
    Row { key: Key::Request(life.key), cells, tint }
}

/// What an open request waits for, by the last step it has gone through.
pub(super) fn waits_for(life: &Life) -> (&'static str, Tint) {
    let Some((last, _)) = last_step(life) else { return ("", Tint::Plain) };
    match (life.dir, last) {
        (Direction::Outbound, Step::Created) => ("our session's mailbox", Tint::Ours),
        (Direction::Outbound, Step::Queued) => ("our outbox", Tint::Window),
        (Direction::Outbound, Step::Encoded) => ("the peer to read", Tint::Window),
        (Direction::Outbound, Step::Written) => ("the peer's answer", Tint::Peer),
        (Direction::Outbound, Step::FirstByte) => ("the rest of the answer", Tint::Peer),
        (Direction::Outbound, Step::Received) => ("our session", Tint::Ours),
        (Direction::Outbound, Step::Delivered | Step::Decoded) => ("its caller", Tint::Ours),
        (Direction::Inbound, Step::Queued) if life.queued_for.as_deref() == Some("owed") => {
            ("the peer to take its replies", Tint::Window)
        }
        (Direction::Inbound, Step::Queued) => ("a place to be served", Tint::Limiter),
        (Direction::Inbound, Step::Delivered) => ("the protocol's reply", Tint::Handler),
        (Direction::Inbound, Step::Encoded) => ("the peer to read", Tint::Window),
        (Direction::Inbound, _) => ("our session", Tint::Ours),
    }
}

fn of_actor(model: &Model, actor: &ActorInfo, now: u64) -> Row {
    let (started, stopped) = actor.life;
    let (state, tint) = match (&actor.panicked, stopped, &actor.busy) {
        (Some(name), ..) => (format!("panicked in {}", escape(name)), Tint::Failed),
        (None, Some(_), _) => ("stopped".to_owned(), Tint::Over),
        (None, None, Some((_, name, _))) => (format!("in {}", escape(name)), Tint::Handler),
        (None, None, None) => ("idle".to_owned(), Tint::Plain),
    };
    let busy = actor.busy.as_ref().map_or(String::new(), |(since, ..)| span(now.saturating_sub(*since)));
    let cells = vec![
        format!("{} {}", word(&actor.name), actor.number),
        peer_of(model, actor.conn),
        span(stopped.unwrap_or(now).saturating_sub(started)),
        busy,
        state,
    ];
    Row { key: Key::Actor(actor.number), cells, tint }
}

/// Live ones first, in the order in which they came; then the others, the last one on top.
fn peers(model: &Model, now: u64) -> Vec<Row> {
    let mut conns: Vec<&Conn> = model.conns.values().collect();
    conns.sort_by_key(|conn| match over_at(conn) {
        None => (0, u64::from(conn.number)),
        Some(at) => (1, u64::MAX - at),
    });
    conns.into_iter().map(|conn| of_conn(model, conn, now)).collect()
}

fn of_conn(model: &Model, conn: &Conn, now: u64) -> Row {
    let open = model.lives.values().filter(|life| life.conn == conn.number && life.end.is_none()).count();
    let over = over_at(conn);
    let (state, tint) = state(conn, now);
    let name = match &conn.peer {
        Some(peer) => short(peer),
        None => peer_of(model, conn.number),
    };
    let cells = vec![
        name,
        conn.dir.map_or("", direction).to_owned(),
        span(over.unwrap_or(now).saturating_sub(conn.began)),
        bytes(conn.bytes_in),
        bytes(conn.bytes_out),
        conn.last_in.map_or(String::new(), |at| span(over.unwrap_or(now).saturating_sub(at))),
        open.to_string(),
        state,
    ];
    Row { key: Key::Conn(conn.number), cells, tint }
}

/// How a connection is doing, worst first.
pub(super) fn state(conn: &Conn, now: u64) -> (String, Tint) {
    if let Some((_, side, reason)) = &conn.ended {
        return (format!("ended by {}: {}", escape(side), escape(reason)), Tint::Over);
    }
    if let Some((_, why)) = &conn.failed {
        return (format!("failed: {}", escape(why)), Tint::Failed);
    }
    if let Some((_, how)) = &conn.closed {
        return (format!("closed: {}", escape(how)), Tint::Over);
    }
    if let Some(since) = conn.blocked_since {
        let waited = span(now.saturating_sub(since));
        return (format!("socket takes no bytes for {waited}"), Tint::Window);
    }
    if let Some((proto, since)) = conn.window_blocked.iter().min_by_key(|(_, since)| **since) {
        let waited = span(now.saturating_sub(*since));
        return (format!("window of {} shut for {waited}", escape(proto)), Tint::Window);
    }
    match (&conn.session, &conn.peer) {
        (Some(_), _) => ("up".to_owned(), Tint::Plain),
        (None, Some(_)) => ("no session yet".to_owned(), Tint::Ours),
        (None, None) => ("connecting".to_owned(), Tint::Ours),
    }
}

fn over_at(conn: &Conn) -> Option<u64> {
    let ended = conn.ended.as_ref().map(|(at, ..)| *at);
    ended.or(conn.failed.as_ref().map(|(at, _)| *at)).or(conn.closed.as_ref().map(|(at, _)| *at))
}

/// When a request was first heard of.
pub(super) fn began(life: &Life) -> u64 {
    let marks = life.marks.iter().flatten().map(|mark| mark.at);
    marks.min().or(life.end.as_ref().map(|end| end.mark.at)).unwrap_or(0)
}

/// The steps a request has gone through, as they happened.
pub(super) fn steps(life: &Life) -> Vec<(Step, Mark)> {
    const STEPS: [Step; 8] = [
        Step::Created,
        Step::Queued,
        Step::Encoded,
        Step::Written,
        Step::FirstByte,
        Step::Received,
        Step::Delivered,
        Step::Decoded,
    ];
    // A request of the peer begins with `received`, which stands behind `queued` in the list.
    let order = |step: Step| match (life.dir, step) {
        (Direction::Inbound, Step::Received) => 0,
        (Direction::Inbound, Step::Delivered) => 2,
        (Direction::Inbound, Step::Encoded) => 3,
        (Direction::Inbound, Step::Written) => 4,
        (_, step) => step as u8,
    };
    let mut steps: Vec<(Step, Mark)> =
        STEPS.into_iter().zip(life.marks).filter_map(|(step, mark)| Some((step, mark?))).collect();
    steps.sort_by_key(|(step, mark)| (mark.at, order(*step)));
    steps
}

fn last_step(life: &Life) -> Option<(Step, Mark)> {
    steps(life).pop()
}

fn direction(dir: Direction) -> &'static str {
    match dir {
        Direction::Outbound => "out",
        Direction::Inbound => "in",
    }
}

fn word(name: &Option<Name>) -> String {
    name.as_deref().map_or(String::new(), escape)
}
