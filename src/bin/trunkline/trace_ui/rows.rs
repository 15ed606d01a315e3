//! What the tables say: a row per request, actor and peer, as text and a tint.

use trunkline::Direction;
use trunkline::trace::tools::Model;
use trunkline::trace::tools::filter::{Filter, Subject};
use trunkline::trace::tools::histogram::Histogram;
use trunkline::trace::tools::model::{ActorInfo, Conn, Life, Step};
use trunkline::trace::tools::show::{bytes, duration, escape, peer};
use trunkline::trace::{EventId, Name};

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

    /// Names and widths of its columns, in the order of their importance: on a narrow screen the
    /// last ones are left out. One without a width takes what is left.
    pub(super) fn columns(self) -> &'static [(&'static str, u16)] {
        match self {
            Self::Requests => &[
                ("age", 7),
                ("peer", 13),
                ("dir", 3),
                ("kind", 16),
                ("wait", 7),
                ("state", 0),
                ("step", 10),
                ("protocol", 9),
                ("id", 10),
            ],
            Self::Actors => &[
                ("actor", 20),
                ("peer", 13),
                ("box", 4),
                ("doing", 0),
                ("handled", 7),
                ("wait p50/p99/max", 20),
                ("handler p50/p99/max", 20),
            ],
            Self::Peers => &[
                ("peer", 13),
                ("dir", 3),
                ("age", 7),
                ("in", 7),
                ("out", 7),
                ("last byte", 9),
                ("open", 4),
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

/// The rows of a table that a filter lets through, what matters most on top.
pub(super) fn rows(tab: Tab, model: &Model, now: u64, filter: &Filter) -> Vec<Row> {
    match tab {
        Tab::Requests => requests(model, now, filter),
        Tab::Actors => actors(model, now, filter),
        Tab::Peers => peers(model, now, filter),
    }
}

/// Open ones first, the oldest on top; then those that ended, the last one on top.
fn requests(model: &Model, now: u64, filter: &Filter) -> Vec<Row> {
    let passes = |life: &&Life| {
        filter.matches(&Subject {
            peer: model.peer(life.conn).map(|peer| &**peer),
            proto: life.proto.as_deref(),
            kind: life.name.as_deref(),
            id: Some(&life.key.to_string()),
            dir: Some(direction(life.dir)),
            state: Some(life.state()),
            wait: Some(life.took(now)),
            conn: Some(life.conn),
        })
    };
    let mut lives: Vec<&Life> = model.lives.values().filter(passes).collect();
    lives.sort_by_key(|life| match &life.end {
        None => (0, life.began().unwrap_or(0), life.key),
        Some(end) => (1, u64::MAX - end.mark.at, life.key),
    });
    lives.into_iter().map(|life| of_request(model, life, now)).collect()
}

fn of_request(model: &Model, life: &Life, now: u64) -> Row {
    let last = life.path().pop();
    let until = life.end.as_ref().map_or(now, |end| end.mark.at);
    let waited = last.map_or(0, |(_, mark)| until.saturating_sub(mark.at));
    let went_well = life.end.as_ref().is_some_and(|end| &*end.how == "ok");
    let (state, tint) = match &life.end {
        None => {
            let (what, tint) = waits_for(life);
            (format!("waits for {what}"), tint)
        }
        Some(_) if went_well => ("ok".to_owned(), Tint::Over),
        Some(end) => (escape(&end.how), Tint::Failed),
    };
    let uncertain = if life.uncertain { "?" } else { "" };
    let cells = vec![
        duration(life.took(now)),
        peer_of(model, life.conn),
        direction(life.dir).to_owned(),
        word(&life.name),
        if went_well { String::new() } else { duration(waited) },
        format!("{state}{uncertain}"),
        last.map_or("", |(last, _)| last.name()).to_owned(),
        word(&life.proto),
        life.key.to_string(),
    ];
    Row { key: Key::Request(life.key), cells, tint }
}

/// What an open request waits for, by the last step it has gone through.
pub(super) fn waits_for(life: &Life) -> (&'static str, Tint) {
    let Some((last, _)) = life.path().pop() else { return ("", Tint::Plain) };
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

/// Those that run, then those that have ended.
fn actors(model: &Model, now: u64, filter: &Filter) -> Vec<Row> {
    let passes = |actor: &&ActorInfo| {
        filter.matches(&Subject {
            peer: model.peer(actor.conn).map(|peer| &**peer),
            kind: actor.name.as_deref(),
            id: Some(&actor.number.to_string()),
            conn: Some(actor.conn),
            wait: actor.busy.as_ref().map(|(since, ..)| now.saturating_sub(*since)),
            ..Subject::default()
        })
    };
    let mut actors: Vec<&ActorInfo> = model.actors.values().filter(passes).collect();
    actors.sort_by_key(|actor| (actor.life.1.is_some(), actor.number));
    actors.into_iter().map(|actor| of_actor(model, actor, now)).collect()
}

fn of_actor(model: &Model, actor: &ActorInfo, now: u64) -> Row {
    let (doing, tint) = match (&actor.panicked, actor.life.1, &actor.busy) {
        (Some(name), ..) => (format!("panicked in {}", escape(name)), Tint::Failed),
        (None, Some(_), _) => ("stopped".to_owned(), Tint::Over),
        (None, None, Some((since, name, _))) => {
            (format!("{} for {}", escape(name), duration(now.saturating_sub(*since))), Tint::Handler)
        }
        (None, None, None) => ("idle".to_owned(), Tint::Plain),
    };
    let depth = model.loads.get(&actor.number).map_or(0, |load| load.depth.max(0));
    let (wait, run) = of_type(model, actor);
    let cells = vec![
        format!("{} {}", word(&actor.name), actor.number),
        peer_of(model, actor.conn),
        depth.to_string(),
        doing,
        run.count().to_string(),
        three(&wait),
        three(&run),
    ];
    Row { key: Key::Actor(actor.number), cells, tint }
}

/// Times of all actors of the same type together: the trace keeps them by type.
fn of_type(model: &Model, actor: &ActorInfo) -> (Histogram, Histogram) {
    let (mut wait, mut run) = (Histogram::default(), Histogram::default());
    for ((kind, _), work) in &model.works {
        if Some(kind) == actor.name.as_ref() {
            wait.merge(&work.wait);
            run.merge(&work.run);
        }
    }
    (wait, run)
}

/// `p50/p99/max`.
pub(super) fn three(times: &Histogram) -> String {
    if times.count() == 0 {
        return String::new();
    }
    let times = times.quantiles();
    [times.p50_ns, times.p99_ns, times.max_ns].map(|ns| duration(ns).replace(' ', "")).join("/")
}

/// Live ones first, in the order in which they came; then the others, the last one on top.
fn peers(model: &Model, now: u64, filter: &Filter) -> Vec<Row> {
    let passes = |conn: &&Conn| {
        let over = over_at(conn).is_some();
        filter.matches(&Subject {
            peer: conn.peer.as_deref(),
            dir: conn.dir.map(direction),
            state: Some(if over { "ended" } else { "open" }),
            wait: conn.last_in.map(|at| now.saturating_sub(at)),
            id: Some(&conn.number.to_string()),
            conn: Some(conn.number),
            ..Subject::default()
        })
    };
    let mut conns: Vec<&Conn> = model.conns.values().filter(passes).collect();
    conns.sort_by_key(|conn| match over_at(conn) {
        None => (0, u64::from(conn.number)),
        Some(at) => (1, u64::MAX - at),
    });
    conns.into_iter().map(|conn| of_conn(model, conn, now)).collect()
}

fn of_conn(model: &Model, conn: &Conn, now: u64) -> Row {
    let open = model.lives.values().filter(|life| life.conn == conn.number && life.end.is_none()).count();
    let until = over_at(conn).unwrap_or(now);
    let (state, tint) = state(conn, now);
    let cells = vec![
        peer_of(model, conn.number),
        conn.dir.map_or("", direction).to_owned(),
        duration(until.saturating_sub(conn.began)),
        bytes(conn.bytes_in),
        bytes(conn.bytes_out),
        conn.last_in.map_or(String::new(), |at| duration(until.saturating_sub(at))),
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
        let waited = duration(now.saturating_sub(since));
        return (format!("socket takes no bytes for {waited}"), Tint::Window);
    }
    if let Some((proto, since)) = conn.window_blocked.iter().min_by_key(|(_, since)| **since) {
        let waited = duration(now.saturating_sub(*since));
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

/// Whose connection it is, as far as it is known.
pub(super) fn peer_of(model: &Model, conn: u32) -> String {
    match model.conns.get(&conn) {
        Some(Conn { peer: Some(id), .. }) => peer(id),
        Some(Conn { addr: Some(addr), .. }) => escape(addr.split(' ').next().unwrap_or_default()),
        _ if conn == 0 => String::new(),
        _ => format!("conn {conn}"),
    }
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
