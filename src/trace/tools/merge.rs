//! The nodes of a request joined: links, pairs, and how far their clocks are apart.
//!
//! A connection is the same if the socket addresses of its two ends are each other's mirror; failing
//! that, the two peer ids and the order of their sessions decide. Its requests are joined by
//! exchange, opposite direction and id on the wire. The clocks are compared as NTP does it: of all
//! requests those with the least time on the wire say most.

mod clock;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::Serialize;

use super::filter::Filter;
use super::model::{Conn, Life, Model, Step};
use super::picture::{Node, Pair, Picture};
use super::requests;
use super::show::{self, Table, duration};
use crate::ids::Direction;
use crate::trace::record::{EventId, Name};

pub use clock::Offset;
pub use view::write_view;

/// What joining found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// How far the clock of each node is from that of the first one.
    pub clocks: Vec<Offset>,
    /// Connections that two nodes share.
    pub links: usize,
    /// Requests that both of their nodes have seen.
    pub pairs: usize,
    /// Requests on shared connections that the other node has not seen.
    pub unmatched: usize,
}

/// Where the time of a request went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Split {
    /// The requester: index of its file, and its peer id.
    pub asked_by: (usize, Option<Name>),
    /// The server.
    pub served_by: (usize, Option<Name>),
    /// The request's id at the requester.
    pub id: String,
    /// Its id at the server.
    pub served_id: String,
    /// The exchange.
    pub proto: Option<Name>,
    /// Its kind.
    pub kind: Option<Name>,
    /// `open`, or how it ended for the requester.
    pub state: String,
    /// When it began, on the first node's clock.
    pub at_ns: i64,
    /// How long it took.
    pub took_ns: u64,
    /// Spent in the requester: before it was written and after the answer was there.
    pub ours_ns: Option<u64>,
    /// Spent on the wire, both ways.
    pub wire_ns: Option<u64>,
    /// Spent in the server.
    pub theirs_ns: Option<u64>,
    /// Of that: waiting for a place, being answered, waiting to be written.
    pub theirs_split_ns: [Option<u64>; 3],
}

/// Finds links and pairs of a picture, and sets the offsets of its nodes.
pub fn join(picture: &mut Picture) -> Joined {
    picture.links = links(&picture.nodes);
    picture.pairs = pairs(&picture.nodes, &picture.links);
    let clocks = clock::offsets(picture);
    for (node, clock) in picture.nodes.iter_mut().zip(&clocks) {
        node.offset_ns = clock.offset_ns;
    }
    let on_links = picture.links.iter().flatten().copied().collect::<HashSet<_>>();
    let sent = picture.nodes.iter().enumerate().flat_map(|(index, node)| {
        let lives = node.model.lives.values();
        lives
            .filter(move |life| life.dir == Direction::Outbound && life.mark(Step::Written).is_some())
            .map(move |life| (index, life.conn))
    });
    let sent = sent.filter(|end| on_links.contains(end)).count();
    Joined {
        clocks,
        links: picture.links.len(),
        pairs: picture.pairs.len(),
        unmatched: sent.saturating_sub(picture.pairs.len()),
    }
}

fn links(nodes: &[Node]) -> Vec<[(usize, u32); 2]> {
    let mut links = Vec::new();
    for a in 0..nodes.len() {
        for b in a + 1..nodes.len() {
            let (ours, theirs) = (&nodes[a].model, &nodes[b].model);
            let mut free: BTreeMap<u32, &Conn> = ours.conns.iter().map(|(n, conn)| (*n, conn)).collect();
            let mut taken = HashSet::new();
            for (x, y) in by_addresses(ours, theirs) {
                free.remove(&x);
                taken.insert(y);
                links.push([(a, x), (b, y)]);
            }
            let theirs_free = theirs.conns.values().filter(|conn| !taken.contains(&conn.number));
            for (x, y) in by_peers(ours, theirs, free.into_values(), theirs_free) {
                links.push([(a, x), (b, y)]);
            }
        }
    }
    links
}

/// Connections whose two addresses are each other's mirror. A port may have been used twice: then
/// in the order of their beginning.
fn by_addresses(ours: &Model, theirs: &Model) -> Vec<(u32, u32)> {
    let mut mirrored: HashMap<(&str, &str), VecDeque<u32>> = HashMap::new();
    for conn in theirs.conns.values() {
        if let Some((remote, local)) = conn.addr.as_deref().and_then(|addr| addr.split_once(' ')) {
            mirrored.entry((local, remote)).or_default().push_back(conn.number);
        }
    }
    let mut found = Vec::new();
    for conn in ours.conns.values() {
        let Some(addrs) = conn.addr.as_deref().and_then(|addr| addr.split_once(' ')) else { continue };
        found.extend(
            mirrored.get_mut(&addrs).and_then(VecDeque::pop_front).map(|theirs| (conn.number, theirs)),
        );
    }
    found
}

/// Connections between the two nodes by their peer ids and the order of their sessions.
fn by_peers<'a>(
    ours: &Model,
    theirs: &Model,
    our_free: impl Iterator<Item = &'a Conn>,
    their_free: impl Iterator<Item = &'a Conn>,
) -> Vec<(u32, u32)> {
    let (Some(us), Some(them)) = (&ours.header, &theirs.header) else { return Vec::new() };
    if us.node == them.node {
        return Vec::new();
    }
    let with = |conns: &mut dyn Iterator<Item = &'a Conn>, peer: &Name, dir: Direction| {
        let mut found: Vec<&Conn> = conns
            .filter(|conn| {
                conn.session.is_some() && conn.peer.as_ref() == Some(peer) && conn.dir == Some(dir)
            })
            .collect();
        found.sort_by_key(|conn| (conn.session_at, conn.number));
        found.into_iter().map(|conn| conn.number).collect::<Vec<_>>()
    };
    let (our_free, their_free) = (our_free.collect::<Vec<_>>(), their_free.collect::<Vec<_>>());
    let mut found = Vec::new();
    for (dir, other) in [(Direction::Outbound, Direction::Inbound), (Direction::Inbound, Direction::Outbound)]
    {
        let x = with(&mut our_free.iter().copied(), &them.node, dir);
        let y = with(&mut their_free.iter().copied(), &us.node, other);
        found.extend(x.into_iter().zip(y));
    }
    found
}

/// What a request is known by on both sides: connection, exchange, id on the wire.
type WireKey = (u32, Option<Name>, u64);

fn pairs(nodes: &[Node], links: &[[(usize, u32); 2]]) -> Vec<Pair> {
    let mut served: Vec<HashMap<WireKey, VecDeque<EventId>>> = Vec::new();
    for node in nodes {
        let mut found: HashMap<WireKey, VecDeque<EventId>> = HashMap::new();
        for life in node.model.lives.values().filter(|life| life.dir == Direction::Inbound) {
            let Some(wire) = life.wire else { continue };
            found.entry((life.conn, life.proto.clone(), wire)).or_default().push_back(life.key);
        }
        served.push(found);
    }
    let others: HashMap<(usize, u32), (usize, u32)> =
        links.iter().flat_map(|[a, b]| [(*a, *b), (*b, *a)]).collect();
    let mut pairs = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        for life in node.model.lives.values().filter(|life| life.dir == Direction::Outbound) {
            let (Some(wire), Some((other, conn))) = (life.wire, others.get(&(index, life.conn))) else {
                continue;
            };
            let key = (*conn, life.proto.clone(), wire);
            if let Some(found) = served[*other].get_mut(&key).and_then(VecDeque::pop_front) {
                pairs.push(Pair { asked: (index, life.key), served: (*other, found) });
            }
        }
    }
    pairs
}

/// Where the time of each joined request went, the oldest first.
pub fn splits(picture: &Picture, filter: &Filter) -> Vec<Split> {
    let split = |pair: &Pair| {
        let (a, b) = (picture.nodes.get(pair.asked.0)?, picture.nodes.get(pair.served.0)?);
        let (asked, served) = (a.model.lives.get(&pair.asked.1)?, b.model.lives.get(&pair.served.1)?);
        requests::matches(&a.model, asked, filter).then(|| one(pair, a, b, asked, served))
    };
    let mut splits: Vec<Split> = picture.pairs.iter().filter_map(split).collect();
    splits.sort_by_key(|split| split.at_ns);
    splits
}

fn one(pair: &Pair, a: &Node, b: &Node, asked: &Life, served: &Life) -> Split {
    let between =
        |life: &Life, from: Step, until: Step| Some(life.mark(until)?.at.saturating_sub(life.mark(from)?.at));
    let took = asked.took(a.model.span.1);
    let away = between(asked, Step::Written, Step::Received);
    let theirs = between(served, Step::Received, Step::Written);
    let node =
        |index: usize, node: &Node| (index, node.model.header.as_ref().map(|header| header.node.clone()));
    Split {
        asked_by: node(pair.asked.0, a),
        served_by: node(pair.served.0, b),
        id: asked.key.to_string(),
        served_id: served.key.to_string(),
        proto: asked.proto.clone(),
        kind: asked.name.clone(),
        state: asked.state().to_owned(),
        at_ns: i64::try_from(asked.began().unwrap_or(0)).unwrap_or(i64::MAX).saturating_add(a.offset_ns),
        took_ns: took,
        ours_ns: away.map(|away| took.saturating_sub(away)),
        wire_ns: away.and_then(|away| Some(away.saturating_sub(theirs?))),
        theirs_ns: theirs,
        theirs_split_ns: [
            between(served, Step::Received, Step::Delivered),
            between(served, Step::Delivered, Step::Encoded),
            between(served, Step::Encoded, Step::Written),
        ],
    }
}

/// For people: how the nodes were joined, and so many requests.
pub fn text(joined: &Joined, splits: &[Split], rows_max: usize) -> String {
    let mut out = format!(
        "{}, {} seen by both sides, {} by one\n",
        show::count(joined.links as u64, "shared connection"),
        show::count(joined.pairs as u64, "request"),
        joined.unmatched,
    );
    for clock in joined.clocks.iter().skip(1) {
        out += &format!("{}\n", clock.words());
    }
    let mut table = Table::new(&[
        ">at s", "request", "id", "theirs", ">took", ">ours", ">wire", ">theirs", ">queue", ">serve", "state",
    ]);
    let some = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
    for split in splits.iter().take(rows_max) {
        let sign = if split.at_ns < 0 { "-" } else { "" };
        table.row(vec![
            format!("{sign}{}", show::seconds(split.at_ns.unsigned_abs())),
            show::cut(&show::escape(split.kind.as_deref().unwrap_or("-")), 15),
            split.id.clone(),
            split.served_id.clone(),
            duration(split.took_ns),
            some(split.ours_ns),
            some(split.wire_ns),
            some(split.theirs_ns),
            some(split.theirs_split_ns[0]),
            some(split.theirs_split_ns[1]),
            show::escape(&split.state),
        ]);
    }
    if !table.is_empty() {
        out.push('\n');
        out += &table.text();
    }
    if splits.len() > rows_max {
        out += &format!("… {} more\n", splits.len() - rows_max);
    }
    out
}

#[cfg(test)]
mod tests;
