//! How findings name things.

use super::{Asked, Cause, Finding};
use crate::ids::Direction;
use crate::trace::record::{EventId, Name};
use crate::trace::tools::model::{Conn, Life, Model, Step};
use crate::trace::tools::show::{self, duration};

/// `actor 3 (PeerSession)`.
pub(super) fn actor(model: &Model, actor: u32) -> String {
    match model.actor_name(actor) {
        Some(name) => format!("actor {actor} ({})", show::escape(name)),
        None => format!("actor {actor}"),
    }
}

/// `eth GetBlockHeaders`, as far as it is known.
pub(super) fn kind(life: &Life) -> String {
    let words = [&life.proto, &life.name].into_iter().flatten().map(|word| show::escape(word));
    words.collect::<Vec<_>>().join(" ")
}

/// `request 1.42 (eth GetBlockHeaders to 16Uiu2…abcdef)`.
pub(super) fn request(model: &Model, life: &Life) -> String {
    let way = if life.dir == Direction::Outbound { "to" } else { "from" };
    let peer = match model.peer(life.conn) {
        Some(peer) => format!(" {way} {}", show::peer(peer)),
        None => String::new(),
    };
    format!("request {} ({}{peer})", life.key, kind(life))
}

/// `peer 16Uiu2…abcdef (connection 3)`.
pub(super) fn peer(model: &Model, conn: u32) -> String {
    match model.peer(conn) {
        Some(peer) => format!("peer {} (connection {conn})", show::peer(peer)),
        None => format!("the peer of connection {conn}"),
    }
}

/// Which protocol it was that kept a handler: the one that was given a request and came back so
/// much later. Of several, the last one: those before it had returned.
pub(super) fn served_meanwhile(
    model: &Model,
    finding: &Finding,
    requests: &[(u64, EventId)],
) -> Option<String> {
    if finding.cause != Cause::Handler {
        return None;
    }
    let span = |life: &Life| {
        let from = life.mark(Step::Delivered)?.at;
        let end = life.end.as_ref().map(|end| end.mark);
        let until = life.mark(Step::Encoded).or(end).map_or(finding.until_ns, |mark| mark.at);
        let within = from >= finding.from_ns && from <= finding.until_ns;
        let most = until.min(finding.until_ns).saturating_sub(from) > finding.duration_ns / 2;
        (within && most).then_some((from, until))
    };
    let lives = requests.iter().filter_map(|(_, key)| model.lives.get(key));
    let served = lives.filter(|life| life.dir == Direction::Inbound);
    let (life, (from, until)) =
        served.filter_map(|life| Some((life, span(life)?))).max_by_key(|(life, span)| (*span, life.key))?;
    let took = duration(until.saturating_sub(from));
    Some(format!("; in it the protocol was given {} and kept the thread for {took}", request(model, life)))
}

/// A word that may be missing.
pub(super) fn name(name: Option<&Name>) -> String {
    name.map_or_else(|| "something".to_owned(), |name| show::escape(name))
}

/// A connection by its address.
pub(super) fn conn(model: &Model, number: u32) -> String {
    let addr = model.conns.get(&number).and_then(|conn| conn.addr.as_ref());
    match addr {
        Some(addr) => format!("connection {number} ({})", show::escape(addr)),
        None => format!("connection {number}"),
    }
}

/// How far a connection came.
pub(super) fn last_step(conn: &Conn) -> String {
    match conn.steps.last() {
        Some((_, name, how, _)) => {
            format!("the last step was {} ({})", show::escape(name), show::escape(how))
        }
        None => "no step of the upgrade is through".to_owned(),
    }
}

/// `; 12 messages wait`, or nothing.
pub(super) fn waiting(n: u64) -> String {
    match n {
        0 => String::new(),
        1 => "; 1 message waits".to_owned(),
        n => format!("; {n} messages wait"),
    }
}

/// What a finding says of a request.
pub(super) fn asked(life: &Life) -> Asked {
    Asked {
        id: life.key.to_string(),
        proto: life.proto.clone(),
        kind: life.name.clone(),
        dir: if life.dir == Direction::Outbound { "out" } else { "in" },
        wire: life.wire,
        step: life.path().last().map(|(step, _)| step.name()),
        state: life.state().to_owned(),
    }
}
