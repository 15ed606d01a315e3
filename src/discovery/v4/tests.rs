use std::net::{IpAddr, Ipv4Addr};

use enr::CombinedKey;

use super::*;
use crate::discovery::fixtures::{key, node, node_at, nodes};

const UNIX: u64 = 1_700_000_000;

/// Machines joined by a network that loses nothing, and a clock.
struct Net {
    now: Now,
    machines: BTreeMap<SocketAddr, V4>,
    events: Vec<(SocketAddr, Event)>,
    /// Packets to addresses where no machine is.
    stray: Vec<Outgoing>,
    /// The next pong to this address gets lost.
    loses_pong_to: Option<SocketAddr>,
}

fn local(node: &Node, number: u32) -> Local {
    let mut secret = key(number).secret_bytes();
    let secret = CombinedKey::secp256k1_from_bytes(&mut secret).unwrap();
    let record = Enr::builder().ip(node.ip).udp4(node.udp).tcp4(node.tcp).build(&secret).unwrap();
    Local { endpoint: Endpoint::from(node), record }
}

impl Net {
    fn new() -> Self {
        let now = Now { at: Instant::now() + Duration::from_secs(1000), unix_s: UNIX };
        Self { now, machines: BTreeMap::new(), events: Vec::new(), stray: Vec::new(), loses_pong_to: None }
    }

    /// The machine of `number`, at an address of its own.
    fn add(&mut self, number: u32, bootnodes: Vec<Node>) -> SocketAddr {
        let config = V4Config { settle: Duration::ZERO, ..V4Config::default() };
        self.add_with(number, bootnodes, config)
    }

    fn add_with(&mut self, number: u32, bootnodes: Vec<Node>, config: V4Config) -> SocketAddr {
        let node = node(number);
        let machine = V4::new(self.now, config, key(number), local(&node, number), bootnodes, number.into());
        self.machines.insert(udp_addr(&node), machine);
        udp_addr(&node)
    }

    fn at(&mut self, addr: SocketAddr) -> &mut V4 {
        self.machines.get_mut(&addr).unwrap()
    }

    /// Delivers until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let mut sent = Vec::new();
            for (from, machine) in &mut self.machines {
                sent.extend(std::iter::from_fn(|| machine.poll_send()).map(|packet| (*from, packet)));
                let events = std::iter::from_fn(|| machine.poll_event());
                self.events.extend(events.map(|event| (*from, event)));
            }
            if sent.is_empty() {
                return;
            }
            for (from, packet) in sent {
                let is_pong = packet.bytes.get(97) == Some(&2);
                if is_pong && self.loses_pong_to == Some(packet.to) {
                    self.loses_pong_to = None;
                    continue;
                }
                match self.machines.get_mut(&packet.to) {
                    Some(machine) => machine.on_packet(self.now, from, &packet.bytes),
                    None => self.stray.push(packet),
                }
            }
        }
    }

    /// Lets time pass in small steps.
    fn run(&mut self, time: Duration) {
        let end = self.now.at + time;
        while self.now.at < end {
            self.machines.values_mut().for_each(|machine| machine.on_tick(self.now));
            self.settle();
            self.now.at += Duration::from_millis(50);
        }
    }

    /// What the machine answers to a packet of a stranger. What it says to others goes astray.
    fn replies(&mut self, to: SocketAddr, from: &Node, bytes: &[u8]) -> Vec<Packet> {
        let now = self.now;
        let machine = self.at(to);
        machine.on_packet(now, udp_addr(from), bytes);
        let out: Vec<Outgoing> = std::iter::from_fn(|| machine.poll_send()).collect();
        let (replies, others): (Vec<_>, Vec<_>) = out.into_iter().partition(|out| out.to == udp_addr(from));
        self.stray.extend(others);
        replies.iter().map(|packet| packet::decode(&packet.bytes).unwrap().packet).collect()
    }
}

fn ping(from: &Node, to: &Node) -> Packet {
    let expiration = UNIX + 20;
    Packet::Ping { from: from.into(), to: to.into(), expiration, enr_seq: None }
}

fn find_node() -> Packet {
    Packet::FindNode { target: [7; 64], expiration: UNIX + 20 }
}

/// A stranger without a machine proves its place, and gives what it was asked.
fn bond(net: &mut Net, to: SocketAddr, stranger: u32, node: &Node) {
    let us = net.at(to).key.node_id();
    let target = Node { id: us, ip: to.ip(), udp: to.port(), tcp: 0 };
    let (bytes, _) = ping(node, &target).encode(&key(stranger));
    let replies = net.replies(to, node, &bytes);
    assert!(matches!(replies[..], [Packet::Pong { .. }, Packet::Ping { .. }]), "{replies:?}");
    let hash = net.at(to).pending[&(node.id.hash(), Kind::Ping)].hash;
    let pong = Packet::Pong { to: (&target).into(), ping_hash: hash, expiration: UNIX + 20, enr_seq: None };
    let replies = net.replies(to, node, &pong.encode(&key(stranger)).0);
    assert_eq!(replies, []);
}

#[test]
fn a_ping_gets_its_pong_and_a_ping_and_only_the_pong_once_its_place_is_proved() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    bond(&mut net, us, 1, &node(1));
    let (bytes, hash) = ping(&node(1), &node(0)).encode(&key(1));
    let replies = net.replies(us, &node(1), &bytes);
    let [Packet::Pong { to, ping_hash, expiration, enr_seq }] = replies[..] else { panic!("{replies:?}") };
    assert_eq!((to, ping_hash, expiration), (Endpoint::from(&node(1)), hash, UNIX + 20));
    assert_eq!(enr_seq, Some(1));
    assert_eq!(net.at(us).table.get(&node(1).id), Some(&node(1)));
}

#[test]
fn many_ids_from_one_address_are_all_answered_at_once() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    for number in 1..=60 {
        let node = Node { udp: 20_000 + number as u16, ..node_at(number, Ipv4Addr::LOCALHOST.into()) };
        bond(&mut net, us, number, &node);
    }
    assert_eq!(net.at(us).counts(), Counts { received: 120, limited: 0, ignored: 0 });
}

/// M3: what has expired, or claims to be good for years, is no packet.
#[test]
fn expired_and_far_future_packets_are_dropped() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    bond(&mut net, us, 1, &node(1));
    for expiration in [0, UNIX - 1, UNIX + FUTURE_MAX_S + 1, u64::MAX, (UNIX + 20).wrapping_neg()] {
        let (from, to) = (Endpoint::from(&node(1)), Endpoint::from(&node(0)));
        for packet in [
            Packet::Ping { from, to, expiration, enr_seq: None },
            Packet::FindNode { target: [7; 64], expiration },
            Packet::EnrRequest { expiration },
        ] {
            assert_eq!(net.replies(us, &node(1), &packet.encode(&key(1)).0), [], "{packet:?}");
        }
    }
    assert_eq!(net.at(us).counts().ignored, 15);
}

/// The published packets, all expired in 2006, at today's date.
#[test]
fn the_published_packets_are_expired_today_and_answered_in_their_time() {
    use crate::discovery::packet_vectors::{FINDNODE, NEIGHBORS, PING_V4, PING_V555, PONG};
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    let vectors = [PING_V4, PING_V555, PONG, FINDNODE, NEIGHBORS]
        .map(|text| alloy_primitives::hex::decode(text).unwrap());
    for bytes in &vectors {
        assert_eq!(net.replies(us, &node(1), bytes), []);
    }
    net.now.unix_s = 1_136_239_445;
    let answers: Vec<usize> = vectors.iter().map(|bytes| net.replies(us, &node(1), bytes).len()).collect();
    // A pong and a ping of ours; the pong alone, because that ping waits for its answer.
    assert_eq!(answers, [2, 1, 0, 0, 0]);
}

/// M4: without a proof nobody gets more bytes than it sent, whatever it asks.
#[test]
fn nothing_but_a_pong_and_a_ping_goes_to_an_unproved_place() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    bond(&mut net, us, 1, &node(1));
    for packet in [find_node(), Packet::EnrRequest { expiration: UNIX + 20 }] {
        let (bytes, _) = packet.encode(&key(2));
        assert_eq!(net.replies(us, &node(2), &bytes), [], "a stranger");
        // A proof counts for the id and the address together.
        let (bytes, _) = packet.encode(&key(1));
        assert_eq!(net.replies(us, &Node { udp: 99, ..node(1) }, &bytes), [], "another port");
        assert_eq!(net.replies(us, &node(2), &bytes), [], "another address");
        assert_eq!(net.replies(us, &node(1), &bytes).len(), 1, "the proved one");
    }
}

/// M4: over many spoofed pings, bytes out stay near bytes in, and stop at the source's rate.
#[test]
fn a_spoofed_source_is_sent_little_and_ever_less() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    let victim = node(1);
    let (mut sent, mut got) = (0, 0);
    for number in 1..1000 {
        let (bytes, _) = ping(&Node { id: key(number).node_id(), ..victim }, &node(0)).encode(&key(number));
        sent += bytes.len();
        let now = net.now;
        net.at(us).on_packet(now, udp_addr(&victim), &bytes);
        let out: Vec<usize> =
            std::iter::from_fn(|| net.at(us).poll_send()).map(|out| out.bytes.len()).collect();
        assert!(out.len() <= 2);
        got += out.iter().sum::<usize>();
    }
    assert!(got < sent, "{got} bytes for {sent}");
}

/// M7: a pong with another hash proves nothing.
#[test]
fn a_pong_that_names_another_ping_is_no_proof() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    let (bytes, _) = ping(&node(1), &node(0)).encode(&key(1));
    assert_eq!(net.replies(us, &node(1), &bytes).len(), 2);
    let to = Endpoint::from(&node(0));
    let pong = Packet::Pong { to, ping_hash: [0; 32], expiration: UNIX + 20, enr_seq: None };
    assert_eq!(net.replies(us, &node(1), &pong.encode(&key(1)).0), []);
    assert_eq!(net.replies(us, &node(1), &find_node().encode(&key(1)).0), []);
    assert!(net.at(us).table.is_empty());
}

/// M7: neighbours nobody asked for are not even heard of.
#[test]
fn unasked_for_neighbours_and_records_are_dropped() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    bond(&mut net, us, 1, &node(1));
    net.events.clear();
    let neighbors = Packet::Neighbors { nodes: nodes(5..9), expiration: UNIX + 20 };
    assert_eq!(net.replies(us, &node(1), &neighbors.encode(&key(1)).0), []);
    let record = Box::new(local(&node(1), 1).record);
    let response = Packet::EnrResponse { request_hash: [1; 32], record };
    assert_eq!(net.replies(us, &node(1), &response.encode(&key(1)).0), []);
    net.settle();
    assert!(!net.events.iter().any(|(_, event)| matches!(event, Event::Heard(_) | Event::Record(..))));
    assert_eq!(net.at(us).counts().ignored, 2);
}

#[test]
fn neighbours_come_twelve_to_a_packet_and_sixteen_at_most() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    let at = net.now.at;
    for node in nodes(10..80) {
        net.at(us).table.on_seen(at, node);
    }
    bond(&mut net, us, 1, &node(1));
    let replies = net.replies(us, &node(1), &find_node().encode(&key(1)).0);
    let counts: Vec<usize> = replies
        .iter()
        .map(|packet| match packet {
            Packet::Neighbors { nodes, expiration } if *expiration == UNIX + 20 => nodes.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [12, 4]);
}

#[test]
fn local_nodes_are_not_told_to_the_world() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    let at = net.now.at;
    net.at(us).table.on_seen(at, node_at(10, Ipv4Addr::LOCALHOST.into()));
    net.at(us).table.on_seen(at, node_at(11, IpAddr::from([192, 168, 0, 1])));
    bond(&mut net, us, 1, &node(1));
    let replies = net.replies(us, &node(1), &find_node().encode(&key(1)).0);
    assert!(matches!(&replies[..], [Packet::Neighbors { nodes, .. }] if nodes.is_empty()), "{replies:?}");
}

#[test]
fn nodes_that_know_one_bootnode_find_each_other_and_their_records() {
    let mut net = Net::new();
    let boot = net.add(0, Vec::new());
    for number in 1..12 {
        net.add(number, vec![node(0)]);
    }
    net.run(Duration::from_secs(10));
    for number in 1..12 {
        let machine = net.at(udp_addr(&node(number)));
        machine.lookup_random(Now { at: Instant::now(), unix_s: UNIX });
    }
    net.run(Duration::from_secs(10));
    assert_eq!(net.at(boot).table.len(), 11);
    for number in 1..12 {
        let known = net.at(udp_addr(&node(number))).table.len();
        assert!(known >= 10, "node {number} knows {known}");
    }
    let records = net.events.iter().filter(|(at, event)| *at == boot && matches!(event, Event::Record(..)));
    assert_eq!(records.count(), 11);
    assert!(net.stray.is_empty());
    assert!(net.events.iter().any(|(_, event)| matches!(event, Event::LookupDone(nodes) if nodes.len() > 5)));
}

/// M8: a node that answers nothing, too little or too much ends as every other question.
#[test]
fn a_lookup_ends_whatever_the_asked_node_answers() {
    for answers in [0, 1, 255] {
        let mut net = Net::new();
        let us = net.add(0, vec![node(1)]);
        let now = net.now;
        net.at(us).on_tick(now);
        net.settle();
        let ping_hash = packet::decode(&net.stray[0].bytes).unwrap().hash;
        let pong = Packet::Pong { to: (&node(0)).into(), ping_hash, expiration: UNIX + 20, enr_seq: None };
        net.replies(us, &node(1), &pong.encode(&key(1)).0);
        let asked = net.replies(us, &node(1), &ping(&node(1), &node(0)).encode(&key(1)).0);
        assert!(matches!(asked[..], [Packet::Pong { .. }, Packet::FindNode { .. }]), "{asked:?}");
        for packet in 0..answers {
            let nodes = vec![node(1000 + packet), node(1)];
            let packet = Packet::Neighbors { nodes, expiration: UNIX + 20 };
            net.at(us).on_packet(now, udp_addr(&node(1)), &packet.encode(&key(1)).0);
        }
        net.run(Duration::from_secs(4));
        let heard = net.events.iter().filter(|(_, event)| matches!(event, Event::Heard(_))).count();
        assert!(heard <= BUCKET_NODES, "{heard}");
        assert!(net.events.iter().any(|(_, event)| matches!(event, Event::LookupDone(_))), "{answers}");
        assert!(net.at(us).searches.is_empty());
    }
}

/// M5: a flood of new ids from everywhere fills nothing beyond its bound, and who was asked is heard.
#[test]
fn a_flood_of_strangers_is_bounded_and_a_lookup_still_succeeds() {
    let mut net = Net::new();
    let config = V4Config {
        pending_max: 16,
        pings_back_max: 8,
        bonds_max: 32,
        sources_max: 64,
        total_rate: Rate { burst: 50, per_s: 1 },
        settle: Duration::ZERO,
        ..V4Config::default()
    };
    let us = net.add_with(0, vec![node(1)], config);
    net.add(1, Vec::new());
    for stranger in 100..300 {
        let (bytes, _) = ping(&node(stranger), &node(0)).encode(&key(stranger));
        let now = net.now;
        net.at(us).on_packet(now, udp_addr(&node(stranger)), &bytes);
        assert!(net.at(us).asked() <= 8);
    }
    net.run(Duration::from_secs(3));
    assert_eq!(net.at(us).counts().limited, 150);
    assert!(net.at(us).table.get(&node(1).id).is_some());
    assert!(net.events.iter().any(|(at, event)| *at == us && *event == Event::LookupDone(vec![node(1)])));
}

#[test]
fn a_node_is_asked_only_after_it_has_proof_of_us() {
    let mut net = Net::new();
    let us = net.add(0, vec![node(1)]);
    let now = net.now;
    net.at(us).on_tick(now);
    net.settle();
    let first: Vec<Packet> =
        net.stray.iter().map(|packet| packet::decode(&packet.bytes).unwrap().packet).collect();
    assert!(matches!(first[..], [Packet::Ping { .. }]), "{first:?}");
    // It answers but never pings: after a moment it is asked all the same.
    let ping_hash = packet::decode(&net.stray[0].bytes).unwrap().hash;
    let pong = Packet::Pong { to: (&node(0)).into(), ping_hash, expiration: UNIX + 20, enr_seq: None };
    assert_eq!(net.replies(us, &node(1), &pong.encode(&key(1)).0), []);
    net.stray.clear();
    net.run(Duration::from_millis(700));
    let later = net.stray.iter().map(|packet| packet::decode(&packet.bytes).unwrap().packet);
    assert!(later.into_iter().any(|packet| matches!(packet, Packet::FindNode { .. })));
}

#[test]
fn the_longest_silent_node_is_asked_again_and_dropped_if_it_stays_silent() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    bond(&mut net, us, 1, &node(1));
    assert_eq!(net.at(us).table.len(), 1);
    net.run(Duration::from_secs(12));
    assert!(net.at(us).table.is_empty());
}

/// M6: a node is not pushed out by naming it, or repeating its ping, at another address.
#[test]
fn silence_at_a_wrong_address_is_not_held_against_a_node() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    net.add(1, vec![node(0)]);
    net.run(Duration::from_secs(2));
    assert_eq!(net.at(us).table.get(&node(1).id), Some(&node(1)));
    let elsewhere = Node { udp: 99, ..node(1) };
    let (bytes, _) = ping(&node(1), &node(0)).encode(&key(1));
    assert_eq!(net.replies(us, &elsewhere, &bytes).len(), 2);
    net.run(Duration::from_secs(1));
    // A lookup that was told of it elsewhere asks it where it is known to be.
    net.stray.clear();
    let now = net.now;
    assert!(net.at(us).lookup(now, [1; 64]));
    let search = *net.at(us).searches.keys().next_back().unwrap();
    net.at(us).on_search_step(now, search, &node(1).id.hash(), Some(&[elsewhere]));
    net.run(Duration::from_secs(2));
    assert_eq!(net.at(us).table.get(&node(1).id), Some(&node(1)));
    assert!(net.stray.is_empty(), "{:?}", net.stray);
}

#[test]
fn who_came_to_us_is_asked_for_nothing_at_first() {
    let mut net = Net::new();
    let us = net.add_with(0, Vec::new(), V4Config::default());
    net.run(Duration::from_millis(500));
    bond(&mut net, us, 1, &node(1));
    net.run(Duration::from_millis(1900));
    assert_eq!(net.stray, []);
    net.run(Duration::from_secs(2));
    let asked: Vec<Packet> =
        net.stray.iter().map(|packet| packet::decode(&packet.bytes).unwrap().packet).collect();
    assert!(asked.iter().any(|packet| matches!(packet, Packet::EnrRequest { .. })), "{asked:?}");
}

/// The other side has no proof of us and drops what we ask, and we cannot know: so we begin anew.
#[test]
fn a_proof_that_got_lost_is_given_again() {
    let mut net = Net::new();
    let us = net.add(0, vec![node(1)]);
    let there = net.add(1, Vec::new());
    net.loses_pong_to = Some(there);
    net.run(Duration::from_secs(1));
    assert_eq!((net.loses_pong_to, net.at(there).bonds.len()), (None, 0));
    net.run(Duration::from_secs(5));
    assert_eq!(net.at(there).bonds.len(), 1);
    assert!(net.events.iter().any(|(at, event)| *at == us && matches!(event, Event::Record(..))));
}

/// M1: junk of every length is ignored, and changes nothing.
#[test]
fn junk_changes_nothing() {
    let mut net = Net::new();
    let us = net.add(0, Vec::new());
    let mut dice = Dice::new(3);
    for len in 0..=1500_u32 {
        let mut junk = vec![0; len as usize];
        dice.fill(&mut junk);
        assert_eq!(net.replies(us, &node(len), &junk), []);
    }
    assert_eq!(net.at(us).asked(), 0);
    assert!(net.at(us).table.is_empty());
}
