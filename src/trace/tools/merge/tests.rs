use super::*;
use crate::trace::kind::Kind;
use crate::trace::record::Line;
use crate::trace::tools::fixtures::{MS, Story, name_of};
use crate::trace::tools::read::Reader;
use crate::trace::tools::stuck::{self, Cause, Options};

const CLIENT: &str = "16Uiu2HAmClientClientClient";
const SERVER: &str = "16Uiu2HAmServerServerServer";
/// The server's trace began so much earlier.
const AHEAD: u64 = 5_000;

/// A node with one connection to the other one.
fn node(name: &str, other: &str, at: u64, dir: Direction, addr: Option<&str>) -> Story {
    let mut story = Story::new();
    if let Line::Header(header) = &mut story.lines[0] {
        header.node = name.into();
    }
    let kind = if dir == Direction::Outbound { Kind::ConnConnected } else { Kind::ConnAccepted };
    if let Some(addr) = addr {
        story.event(at, kind, |r| (r.conn, r.text) = (1, name_of(addr)));
    }
    story.event(at, Kind::SessionStarted, |r| {
        (r.conn, r.text, r.dir, r.actor) = (1, name_of(other), Some(dir), 101);
    });
    story.event(at, Kind::SessionSettled, |r| r.conn = 1);
    story
}

fn two(addrs: Option<(&str, &str)>) -> (Story, Story) {
    let client = node(CLIENT, SERVER, 0, Direction::Outbound, addrs.map(|addrs| addrs.0));
    let server = node(SERVER, CLIENT, AHEAD, Direction::Inbound, addrs.map(|addrs| addrs.1));
    (client, server)
}

const ADDRS: Option<(&str, &str)> = Some(("127.0.0.1:1 127.0.0.1:2", "127.0.0.1:2 127.0.0.1:1"));

/// A request of the client: 1 ms out, `wire` ms each way, `serve` ms in the server.
fn request(client: &mut Story, server: &mut Story, at: u64, wire_id: u64, wire: u64, serve: u64) {
    let key = client.ask(at, 1, "GetBlockBodies");
    client.steps(key, wire_id, &[(at, Kind::ReqQueued), (at + 1, Kind::ReqWritten)]);
    let there = at + 1 + wire + AHEAD;
    let served = server.asked(there, 1, "GetBlockBodies", wire_id);
    let done = there + serve;
    server.steps(
        served,
        wire_id,
        &[(there, Kind::ReqDelivered), (done, Kind::ReqEncoded), (done, Kind::ReqWritten)],
    );
    server.end(done, served, wire_id, "ok");
    let back = done - AHEAD + wire;
    client.read(back, 1);
    client.steps(key, wire_id, &[(back, Kind::ReqFirstByte), (back, Kind::ReqReceived)]);
    client.end(back, key, wire_id, "ok");
}

fn picture(stories: &[&Story]) -> Picture {
    let nodes = stories.iter().map(|story| Node { model: story.model(), ..Node::default() });
    Picture { nodes: nodes.collect(), ..Picture::default() }
}

#[test]
fn two_nodes_are_joined_by_mirrored_addresses_and_their_clocks_compared() {
    let (mut client, mut server) = two(ADDRS);
    for n in 0..20 {
        // The more is on the wire, the less it says; one way is slower than the other one then.
        request(&mut client, &mut server, 100 + 100 * n, n, if n == 7 { 2 } else { 20 + n }, 10);
    }
    let mut picture = picture(&[&client, &server]);
    let joined = join(&mut picture);
    assert_eq!((joined.links, joined.pairs, joined.unmatched), (1, 20, 0));
    assert_eq!(picture.links, [[(0, 1), (1, 1)]]);
    assert_eq!(picture.nodes[1].offset_ns, -((AHEAD * MS) as i64));
    assert_eq!((joined.clocks[1].delay_ns, joined.clocks[1].samples), (Some(4 * MS), 20));
    let splits = splits(&picture, &Filter::default());
    let split = &splits[7];
    assert_eq!((split.ours_ns, split.wire_ns, split.theirs_ns), (Some(MS), Some(4 * MS), Some(10 * MS)));
    assert_eq!(split.theirs_split_ns, [Some(0), Some(10 * MS), Some(0)]);
    let text = text(&joined, &splits, 5);
    assert!(
        text.contains("clock of file 2: -5.00 s, give or take 4.00 ms") && text.contains("… 15 more"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= show::WIDTH), "{text}");
}

#[test]
fn peer_ids_and_the_order_of_sessions_join_where_addresses_are_not_known() {
    let (mut client, mut server) = two(None);
    request(&mut client, &mut server, 100, 3, 2, 10);
    let mut joined = picture(&[&client, &server]);
    assert_eq!((join(&mut joined).links, joined.pairs.len()), (1, 1));
    let stranger = node("16Uiu2HAmStranger", CLIENT, 0, Direction::Inbound, None);
    let mut apart = picture(&[&client, &stranger]);
    let found = join(&mut apart);
    assert_eq!((found.links, found.pairs), (0, 0));
    assert_eq!(found.clocks[1].delay_ns, None);
    assert_eq!(join(&mut Picture::default()).clocks, []);
}

#[test]
fn the_other_side_says_that_it_stood_still() {
    let (mut client, mut server) = two(ADDRS);
    for n in 0..5 {
        request(&mut client, &mut server, 100 + 100 * n, n, 2, 1);
    }
    let key = client.ask(1000, 1, "GetBlockBodies");
    client.steps(key, 99, &[(1000, Kind::ReqQueued), (1000, Kind::ReqWritten)]);
    client.read(4010, 1);
    client.steps(key, 99, &[(4010, Kind::ReqFirstByte), (4010, Kind::ReqReceived)]);
    client.end(4010, key, 99, "ok");
    let served = server.asked(4005 + AHEAD, 1, "GetBlockBodies", 99);
    server.steps(
        served,
        99,
        &[
            (4006 + AHEAD, Kind::ReqDelivered),
            (4007 + AHEAD, Kind::ReqEncoded),
            (4008 + AHEAD, Kind::ReqWritten),
        ],
    );
    server.end(4008 + AHEAD, served, 99, "ok");
    let other = |server: &Story| {
        let mut picture = picture(&[&client, server]);
        join(&mut picture);
        let mut findings = stuck::find(&picture.nodes[0].model, Options::default());
        stuck::explain_by_other_side(&picture, 0, &mut findings);
        assert_eq!((findings.len(), findings[0].cause), (1, Cause::PeerNotAnswering));
        findings.remove(0).other_side.expect("the other side is known")
    };
    let guessed = other(&server);
    assert!(
        guessed.starts_with("it recorded nothing at all for 3.00 s meanwhile: it stood still"),
        "{guessed}"
    );
    assert!(guessed.contains(&format!("there it is request {served}")), "{guessed}");
    // It noticed when it went on: nothing is left to guess.
    server.event(4004 + AHEAD, Kind::Stalled, |r| r.y = 2990 * MS);
    let known = other(&server);
    assert!(known.starts_with("its process did not run for 2.99 s meanwhile; there"), "{known}");
}

#[test]
fn a_server_whose_protocol_thinks_did_not_stand_still() {
    let (mut client, mut server) = two(ADDRS);
    for n in 0..5 {
        request(&mut client, &mut server, 100 + 100 * n, n, 2, 1);
    }
    request(&mut client, &mut server, 1000, 99, 2, 3000);
    let mut picture = picture(&[&client, &server]);
    join(&mut picture);
    let mut findings = stuck::find(&picture.nodes[0].model, Options::default());
    stuck::explain_by_other_side(&picture, 0, &mut findings);
    let other = findings[0].other_side.as_deref().expect("the other side is known");
    assert!(other.starts_with("there it is request") && other.contains("after 3.00 s"), "{other}");
}

#[test]
fn a_request_that_never_arrived_is_told_as_such() {
    let (mut client, mut server) = two(ADDRS);
    request(&mut client, &mut server, 100, 1, 2, 1);
    let key = client.ask(1000, 1, "GetBlockBodies");
    client.steps(key, 99, &[(1000, Kind::ReqQueued), (1000, Kind::ReqWritten)]);
    client.until(4000);
    for n in 0..40 {
        server.until(1000 + AHEAD + 90 * n);
    }
    let mut picture = picture(&[&client, &server]);
    assert_eq!(join(&mut picture).unmatched, 1);
    let mut findings = stuck::find(&picture.nodes[0].model, Options::default());
    stuck::explain_by_other_side(&picture, 0, &mut findings);
    assert_eq!(findings[0].other_side.as_deref(), Some("it has not received the request"));
}

#[test]
fn the_merged_view_is_in_the_order_of_one_clock() {
    let (mut client, mut server) = two(ADDRS);
    request(&mut client, &mut server, 100, 1, 2, 1);
    let (a, b) = (client.file(), server.file());
    let readers = vec![Reader::new(a.as_slice()), Reader::new(b.as_slice())];
    let mut out = Vec::new();
    write_view(readers, &[0, -((AHEAD * MS) as i64)], &mut out).expect("room in memory");
    let lines: Vec<serde_json::Value> = out
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["nodes"][1]["node"], SERVER);
    assert_eq!(lines.len() - 1, client.records().count() + server.records().count());
    let times: Vec<i64> = lines[1..].iter().map(|line| line["at"].as_i64().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    let received = lines.iter().position(|line| line["ev"] == "req.received" && line["node"] == 1);
    let written = lines.iter().position(|line| line["ev"] == "req.written" && line["node"] == 0);
    assert!(written < received, "cause before effect");
}
