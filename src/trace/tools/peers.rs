//! The connections of a trace: how each came up, and why it closed.

use serde::Serialize;

use super::filter::{Filter, Subject};
use super::model::{Conn, Model, Recent};
use super::requests::dir;
use super::show::{self, Table, bytes, duration};
use crate::trace::record::Name;

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its number.
    pub conn: u32,
    /// The peer, once known.
    pub peer: Option<Name>,
    /// The dialled address, or `remote local`.
    pub addr: Option<Name>,
    /// `out`: we dialled.
    pub dir: Option<&'static str>,
    /// `coming_up`, `open`, `failed` or `closed`.
    pub state: &'static str,
    /// When it was first heard of, in nanoseconds since the trace began.
    pub from_ns: u64,
    /// When it ended; absent: it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<u64>,
    /// Who ended it: `local`, `remote` or `transport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Name>,
    /// Why it ended, or did not become a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Name>,
    /// How its muxer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muxer: Option<Name>,
    /// The steps of its upgrade.
    pub steps: Vec<PeerStep>,
    /// Exchanges.
    pub lanes: Vec<PeerLane>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// When the last byte came.
    pub last_in_ns: Option<u64>,
    /// Its last events, oldest first.
    pub last_events: Vec<PeerEvent>,
}

/// A step of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerStep {
    /// Which.
    pub name: Name,
    /// `ok` or `failed`.
    pub how: Name,
    /// How long it took.
    pub took_ns: u64,
}

/// An exchange on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerLane {
    /// Which.
    pub proto: Name,
    /// Its version.
    pub version: Option<u64>,
    /// Who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Name>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Name>,
}

/// An event of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerEvent {
    /// When.
    pub at_ns: u64,
    /// Its kind.
    pub ev: &'static str,
    /// What it says.
    pub says: String,
}

/// The connections that a filter lets through; `state` is that of the connection, `wait` how long it
/// has lasted.
pub fn peers(model: &Model, filter: &Filter) -> Vec<Peer> {
    let chosen = model.conns.values().filter(|conn| {
        let until = conn.over_at().unwrap_or(model.span.1);
        let id = conn.number.to_string();
        filter.matches(&Subject {
            peer: conn.peer.as_deref(),
            proto: None,
            kind: None,
            id: Some(&id),
            dir: conn.dir.map(dir),
            state: Some(state(conn)),
            wait: Some(until.saturating_sub(conn.began)),
            conn: Some(conn.number),
        })
    });
    chosen.map(peer).collect()
}

fn state(conn: &Conn) -> &'static str {
    match (&conn.failed, &conn.ended, &conn.closed, conn.session) {
        (Some(_), ..) => "failed",
        (None, Some(_), ..) | (None, None, Some(_), _) => "closed",
        (None, None, None, Some(_)) => "open",
        (None, None, None, None) => "coming_up",
    }
}

fn peer(conn: &Conn) -> Peer {
    let (side, reason) = match (&conn.ended, &conn.failed) {
        (Some((_, side, reason)), _) => (Some(side.clone()), Some(reason.clone())),
        (None, Some((_, reason))) => (None, Some(reason.clone())),
        (None, None) => (None, None),
    };
    let lane = |(proto, lane): (&Name, &super::model::Lane)| PeerLane {
        proto: proto.clone(),
        version: lane.version,
        side: lane.down.as_ref().map(|(_, side, _)| side.clone()),
        reason: lane.down.as_ref().map(|(.., reason)| reason.clone()),
    };
    let step = |(_, name, how, took): &(u64, Name, Name, u64)| PeerStep {
        name: name.clone(),
        how: how.clone(),
        took_ns: *took,
    };
    Peer {
        conn: conn.number,
        peer: conn.peer.clone(),
        addr: conn.addr.clone(),
        dir: conn.dir.map(dir),
        state: state(conn),
        from_ns: conn.began,
        until_ns: conn.over_at(),
        side,
        reason,
        muxer: conn.closed.as_ref().map(|(_, how)| how.clone()),
        steps: conn.steps.iter().map(step).collect(),
        lanes: conn.lanes.iter().map(lane).collect(),
        bytes_in: conn.bytes_in,
        bytes_out: conn.bytes_out,
        last_in_ns: conn.last_in,
        last_events: conn.recent.iter().map(event).collect(),
    }
}

fn event(recent: &Recent) -> PeerEvent {
    let mut words: Vec<String> = Vec::new();
    words.extend(recent.dir.map(|way| dir(way).to_owned()));
    words
        .extend([&recent.name, &recent.how, &recent.text].into_iter().flatten().map(|word| word.to_string()));
    if recent.n > 0 {
        words.push(recent.n.to_string());
    }
    PeerEvent { at_ns: recent.at, ev: recent.kind.name(), says: words.join(" ") }
}

/// A paragraph for each, for people.
pub fn text(found: &[Peer]) -> String {
    let mut table =
        Table::new(&[">conn", "peer", "dir", "state", ">from s", ">lasted", ">in", ">out", "why it ended"]);
    for peer in found {
        let lasted = peer.until_ns.map(|until| duration(until.saturating_sub(peer.from_ns)));
        table.row(vec![
            peer.conn.to_string(),
            show::peer_or_dash(peer.peer.as_ref()),
            peer.dir.unwrap_or("-").to_owned(),
            peer.state.to_owned(),
            show::seconds(peer.from_ns),
            lasted.unwrap_or_else(|| "-".to_owned()),
            bytes(peer.bytes_in),
            bytes(peer.bytes_out),
            why(peer),
        ]);
    }
    let mut out = table.text();
    for peer in found.iter().filter(|peer| peer.until_ns.is_some() || peer.state == "coming_up") {
        let addr = show::escape(peer.addr.as_deref().unwrap_or("address not known"));
        out += &format!("\nconnection {} ({addr}): {}\n", peer.conn, why(peer));
        if !peer.steps.is_empty() {
            let step = |step: &PeerStep| {
                format!("{} {} {}", show::escape(&step.name), show::escape(&step.how), duration(step.took_ns))
            };
            let steps: Vec<String> = peer.steps.iter().map(step).collect();
            out += &format!("  upgrade: {}\n", steps.join(", "));
        }
        for lane in &peer.lanes {
            if let (Some(side), Some(reason)) = (&lane.side, &lane.reason) {
                let words = [&lane.proto, side, reason].map(|word| show::escape(word));
                out += &format!("  {} ended: {}: {}\n", words[0], words[1], words[2]);
            }
        }
        if let Some(last) = peer.last_in_ns {
            out += &format!("  last byte from it at {} s\n", show::moment(last));
        }
        for event in &peer.last_events {
            let line =
                format!("  {} s  {} {}", show::moment(event.at_ns), event.ev, show::escape(&event.says));
            out += &format!("{}\n", show::cut(&line, show::WIDTH));
        }
    }
    out
}

fn why(peer: &Peer) -> String {
    let reason = show::escape(peer.reason.as_deref().unwrap_or("reason not known"));
    match (peer.state, &peer.side) {
        ("open", _) => "-".to_owned(),
        ("coming_up", _) => match peer.steps.last() {
            Some(step) => format!("not a session yet; last step: {}", show::escape(&step.name)),
            None => "not a session yet; no step is through".to_owned(),
        },
        ("failed", _) => match peer.steps.last() {
            Some(step) => {
                format!("{reason} (last step: {} {})", show::escape(&step.name), show::escape(&step.how))
            }
            None => reason,
        },
        (_, Some(side)) => format!("{}: {reason}", show::escape(side)),
        (_, None) => show::escape(peer.muxer.as_deref().unwrap_or("not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::kind::Kind;
    use crate::trace::tools::fixtures::{Story, name_of};

    #[test]
    fn side_reason_and_last_events_of_a_closed_connection_are_told() {
        let mut story = Story::new();
        story.session(0, 1);
        for n in 0..20 {
            story.event(100 + n, Kind::SubstreamOpened, |r| (r.conn, r.x) = (1, n));
            story.read(100 + n, 1);
        }
        story.event(500, Kind::SessionEnded, |r| {
            (r.conn, r.how, r.text) = (1, name_of("remote"), name_of("too many peers\u{1b}[31m"));
        });
        story.event(501, Kind::ConnClosed, |r| (r.conn, r.text) = (1, name_of("closed by the peer")));
        story
            .event(600, Kind::ConnAccepted, |r| (r.conn, r.text) = (2, name_of("1.2.3.4:5 127.0.0.1:30303")));
        story.event(601, Kind::ConnStep, |r| {
            (r.conn, r.name, r.how) = (2, name_of("noise"), name_of("failed"))
        });
        story.event(602, Kind::ConnFailed, |r| (r.conn, r.text) = (2, name_of("decrypt error")));
        let found = peers(&story.model(), &Filter::default());
        let first = &found[0];
        assert_eq!((first.state, first.side.as_deref()), ("closed", Some("remote")));
        assert_eq!((first.bytes_in, first.last_events.len()), (2000, 8));
        let last: Vec<&str> = first.last_events[6..].iter().map(|event| event.ev).collect();
        assert_eq!(last, ["session.ended", "conn.closed"]);
        assert_eq!((found[1].state, found[1].reason.as_deref()), ("failed", Some("decrypt error")));
        let text = text(&found);
        assert!(text.contains("remote: too many peers\\u{1b}[31m") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("decrypt error (last step: noise failed)"), "{text}");
        assert!(text.lines().take(3).all(|line| line.chars().count() <= show::WIDTH), "{text}");
        assert_eq!(peers(&story.model(), &"state=failed".parse().expect("a filter")).len(), 1);
    }
}
