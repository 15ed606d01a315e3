//! One request or one peer in full: what happened to it, hop by hop.

use trunkline::trace::EventId;
use trunkline::trace::tools::Model;
use trunkline::trace::tools::follow::{Chain, follow};
use trunkline::trace::tools::show::{Table, bytes, duration, escape};
use trunkline::trace::tools::stuck::Options;

use super::rows::{Key, peer_of, state, three, waits_for};

/// The lines of a detail; the first one is its title. Empty: the trace does not hold it any more.
pub(super) fn lines(key: Key, model: &Model, now: u64) -> Vec<String> {
    match key {
        Key::Request(key) => of_request(key, model, now),
        Key::Conn(number) => of_conn(number, model, now),
        Key::Actor(number) => of_actor(number, model, now),
    }
}

fn of_request(key: EventId, model: &Model, now: u64) -> Vec<String> {
    let Some(life) = model.lives.get(&key) else { return Vec::new() };
    let began = life.began().unwrap_or(0);
    let whose = match life.dir {
        trunkline::Direction::Outbound => "to",
        trunkline::Direction::Inbound => "from",
    };
    let named = |name: &Option<trunkline::trace::Name>| name.as_deref().map_or(String::new(), escape);
    let mut lines = vec![format!(
        "request {key}: {} of {} {whose} {}{}",
        named(&life.name),
        named(&life.proto),
        peer_of(model, life.conn),
        life.wire.map_or(String::new(), |wire| format!(", id {wire}")),
    )];
    // Without the chain of causes, which takes the events themselves.
    let followed = follow(model, life, &Chain::new(model, life), Options::default());
    for finding in &followed.findings {
        lines.push(format!("cause: {}: {}", finding.cause.name(), finding.sentence));
    }
    lines.push(format!("{:>10} {:>10}  step", "at", "wait"));
    let mut before = began;
    for (at, mark) in life.path() {
        let wait = duration(mark.at.saturating_sub(before));
        let actor = model.actors.get(&mark.actor).and_then(|actor| actor.name.as_deref());
        let place = actor.map_or(String::new(), |name| format!("in {} {}", escape(name), mark.actor));
        let line = format!("{:>10} {wait:>10}  {:<11} {place}", since(mark.at, began), at.name());
        lines.push(line.trim_end().to_owned());
        before = mark.at;
    }
    match &life.end {
        Some(end) => {
            let wait = duration(end.mark.at.saturating_sub(before));
            lines.push(format!("{:>10} {wait:>10}  ended: {}", since(end.mark.at, began), escape(&end.how)));
        }
        None => {
            let wait = duration(now.saturating_sub(before));
            lines.push(format!("{:>10} {wait:>10}  waits for {}", since(now, began), waits_for(life).0));
        }
    }
    let (question, answer) = life.bytes;
    lines.push(format!("question {}, answer {}", bytes(question), bytes(answer)));
    if life.uncertain {
        lines.push("events around it were lost: what is missing proves nothing".to_owned());
    }
    if let Some(conn) = model.conns.get(&life.conn) {
        lines.push(format!("peer: {}", state(conn, now).0));
        if let Some(last) = conn.last_in {
            lines.push(format!("last byte of the peer: {} ago", duration(now.saturating_sub(last))));
        }
    }
    lines
}

fn of_conn(number: u32, model: &Model, now: u64) -> Vec<String> {
    let Some(conn) = model.conns.get(&number) else { return Vec::new() };
    let text = |name: &Option<trunkline::trace::Name>| name.as_deref().map_or("not known".to_owned(), escape);
    let mut lines = vec![format!("connection {number}")];
    lines.push(format!("peer       {}", text(&conn.peer)));
    lines.push(format!("address    {}", text(&conn.addr)));
    if let Some((session, actor)) = conn.session {
        lines.push(format!("session    {session}, actor {actor}"));
    }
    for (at, name, how, took) in &conn.steps {
        let (name, how) = (escape(name), escape(how));
        lines.push(format!("upgrade    {name} {how} in {} at {}", duration(*took), since(*at, conn.began)));
    }
    lines.push(format!("state      {}", state(conn, now).0));
    lines
}

fn of_actor(number: u32, model: &Model, now: u64) -> Vec<String> {
    let Some(actor) = model.actors.get(&number) else { return Vec::new() };
    let kind = actor.name.as_deref().map_or(String::new(), escape);
    let mut lines = vec![format!("actor {number}: {kind}")];
    lines.push(format!("peer       {}", peer_of(model, actor.conn)));
    if let Some((at, name, event)) = &actor.busy {
        let busy = duration(now.saturating_sub(*at));
        lines.push(format!("busy       {} for {busy}, event {event}", escape(name)));
    }
    if let Some(load) = model.loads.get(&number) {
        let (depth, most) = (load.depth.max(0), load.depth_max.max(0));
        lines.push(format!("mailbox    {depth} messages, {most} at most"));
    }
    lines.push(format!("all actors of type {kind}, by what they handled:"));
    let mut table = Table::new(&["message", ">handled", "wait p50/p99/max", "handler p50/p99/max"]);
    for ((_, message), work) in model.works.iter().filter(|((of, _), _)| Some(of) == actor.name.as_ref()) {
        let handled = work.run.count().to_string();
        table.row(vec![escape(message), handled, three(&work.wait), three(&work.run)]);
    }
    lines.extend(table.text().lines().map(str::to_owned));
    lines
}

fn since(at: u64, began: u64) -> String {
    format!("+{}", duration(at.saturating_sub(began)))
}
