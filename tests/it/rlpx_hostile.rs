//! What a peer on devp2p's wire gets for breaking its rules: what geth gives it, or no less.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpListener;
use trunkline::testing::rlpx::RawRlpx;
use trunkline::transport::addr::Endpoint;
use trunkline::transport::rlpx::{Hello, NodeId, NodeKey, p2p};
use trunkline::wire::{reason, snappy};
use trunkline::{DisconnectReason, Disconnected, Keypair, Network, NetworkEvent, PeerAddr};

use crate::support::{self, Over, config, within};

const LISTEN: &str = "/ip4/127.0.0.1/tcp/0/rlpx";
const SOON: Duration = Duration::from_secs(10);
/// The first id of the only shared capability.
const OFFSET: u16 = 0x10;

fn key() -> NodeKey {
    NodeKey::of(&Keypair::generate_secp256k1()).expect("a secp256k1 key")
}

/// A node and a raw peer that has done the handshake with it.
async fn shaken() -> (Network, RawRlpx) {
    let node = support::start(config(LISTEN)).await;
    let raw = dial(&node, &key()).await;
    (node, raw)
}

async fn dial(node: &Network, key: &NodeKey) -> RawRlpx {
    let listening = &node.listening()[0];
    let Endpoint::Rlpx(addr) = listening.endpoint else { panic!("not devp2p: {listening}") };
    let id = NodeId::of_peer(&node.id()).expect("a secp256k1 key");
    RawRlpx::dial(addr, key, id).await.expect("a handshake")
}

/// The same, with both Hellos through.
async fn greeted() -> (Network, RawRlpx) {
    let (node, mut raw) = shaken().await;
    let hello = raw.hello(&[("blob", 1)]);
    raw.greet(&hello).await.expect("a Hello");
    (node, raw)
}

/// What the raw peer is told before the connection closes; the node lives and serves others.
async fn told(node: Network, raw: &mut RawRlpx) -> Option<u8> {
    let said = within(SOON, "the end", raw.closed()).await.expect("an end");
    let mut other = dial(&node, &key()).await;
    let hello = other.hello(&[("blob", 1)]);
    other.greet(&hello).await.expect("the node serves on");
    drop(other);
    node.over().await;
    said
}

/// B15, section 9: what is no Hello where one is due.
#[tokio::test]
async fn whoever_does_not_begin_with_a_fit_hello_is_told_why() {
    type Change = fn(&mut Hello);
    let cases: [(Change, u8); 3] = [
        (|hello| hello.capabilities.clear(), 0x03),
        (|hello| hello.capabilities = vec![("blob".into(), 2), ("Blob".into(), 1), ("snap".into(), 1)], 0x03),
        (|hello| hello.node_id = key().node_id(), 0x09),
    ];
    for (change, reason) in cases {
        let (node, mut raw) = shaken().await;
        let mut hello = raw.hello(&[("blob", 1)]);
        change(&mut hello);
        raw.send(p2p::HELLO, &hello.encode()).await.expect("sent");
        assert_eq!(told(node, &mut raw).await, Some(reason), "{hello:?}");
    }
    let malformed: [&[u8]; 4] = [&[], &[0xc0], b"rubbish", &[0xf8, 0x60]];
    for payload in malformed {
        let (node, mut raw) = shaken().await;
        raw.send(p2p::HELLO, payload).await.expect("sent");
        assert_eq!(told(node, &mut raw).await, Some(0x02), "{payload:02x?}");
    }
    // The key of zeros.
    let (node, mut raw) = shaken().await;
    let mut hello = BytesMut::from(&raw.hello(&[("blob", 1)]).encode()[..]);
    let at = hello.len() - 64;
    hello[at..].fill(0);
    raw.send(p2p::HELLO, &hello).await.expect("sent");
    assert_eq!(told(node, &mut raw).await, Some(0x07));
    // Something else first (the tool of geth sends id 0x10), and a Hello that is too long.
    for (id, payload) in [(0x10, vec![0; 100]), (p2p::PING, vec![0xc0]), (p2p::HELLO, vec![0xc0; 3000])] {
        let (node, mut raw) = shaken().await;
        raw.send(id, &payload).await.expect("sent");
        assert_eq!(told(node, &mut raw).await, Some(0x02), "{id:#x}");
    }
}

/// B15: a Disconnect instead of a Hello, in every spelling, is a refusal with its reason.
#[tokio::test]
async fn a_disconnect_before_hello_is_understood_in_every_spelling() {
    let client = support::start(config("")).await;
    let spellings = [
        reason::encode(0x04, false),
        reason::encode(0x04, true),
        Bytes::from_static(&[0x04]),
        snappy::compress(&[0x04]),
    ];
    for spelling in spellings {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let (theirs, addr) = (key(), listener.local_addr().expect("an address"));
        let to = PeerAddr { endpoint: Endpoint::Rlpx(addr), peer: Some(theirs.node_id().peer_id()) };
        let serving = tokio::spawn(async move {
            let mut raw = RawRlpx::accept(&listener, &theirs).await.expect("a handshake");
            raw.send(p2p::DISCONNECT, &spelling).await.expect("sent");
        });
        let error = within(SOON, "the refusal", client.dial(to)).await.expect_err("refused");
        assert!(error.to_string().contains("too many peers"), "{error}");
        serving.await.expect("no panic");
    }
    client.over().await;
}

/// E8, section 9 and geth.md section 4: ids of nobody, ids beyond all, a second Hello, bad snappy.
#[tokio::test]
async fn what_breaks_the_rules_behind_hello_is_told_so() {
    let bomb: &[u8] = &[0x81, 0x80, 0x80, 0x08, 0];
    let long = vec![0xc0; 3000];
    let cases: [(u16, &[u8], Option<u8>); 9] = [
        (p2p::PING, &long, Some(0x02)),
        (p2p::DISCONNECT, &long, Some(0x02)),
        (OFFSET + 3, &[], Some(0x02)),
        (0x7fff, &[], Some(0x02)),
        (p2p::HELLO, &[0xc0], Some(0x02)),
        (OFFSET + 1, bomb, Some(0x02)),
        (OFFSET + 1, b"\xff\xff\xff\xff\xff\xff", Some(0x02)),
        (OFFSET + 1, &[], Some(0x02)),
        // A message of the capability that it does not know.
        (OFFSET, &[0x02, 0x04, 1, 1], Some(0x02)),
    ];
    for (id, payload, expected) in cases {
        let (node, mut raw) = greeted().await;
        raw.send(id, payload).await.expect("sent");
        assert_eq!(told(node, &mut raw).await, expected, "{id:#x} {payload:02x?}");
    }
}

/// B8, B12, E9: a frame whose MAC is wrong ends the connection without a word.
#[tokio::test]
async fn a_changed_frame_ends_the_connection_in_silence() {
    for at in [0, 5, 16, 31, 32, 40, 50] {
        let (node, mut raw) = greeted().await;
        let mut frame = raw.frames.message(p2p::PING, &snappy::compress(&[0xc0]));
        frame[at] ^= 1;
        raw.send_bytes(&frame).await.expect("sent");
        assert_eq!(told(node, &mut raw).await, None, "byte {at}");
    }
    // E9: header data that is not [0, 0]; a frame of no bytes; the largest there is, never sent.
    let mut header = [0; 16];
    header[..6].copy_from_slice(&[0, 0, 2, 0xc2, 0x80, 0x01]);
    for header in [header, [0; 16]] {
        let (node, mut raw) = greeted().await;
        let frame = raw.frames.frame_with_header(header, &[p2p::PING as u8, 0xc0]);
        raw.send_bytes(&frame).await.expect("sent");
        // The peer holds the keys, so it is told.
        assert_eq!(told(node, &mut raw).await, Some(0x02), "{header:02x?}");
    }
}

/// geth.md section 4: pings are answered, unassigned ids of the base protocol passed over.
#[tokio::test]
async fn pings_are_answered_and_a_flood_of_them_ends_it() {
    let (node, mut raw) = greeted().await;
    raw.send_compressed(0x04, &[0xc0]).await.expect("sent");
    for _ in 0..10 {
        raw.send_compressed(p2p::PING, &[0xc0]).await.expect("sent");
    }
    for _ in 0..10 {
        let pong = within(SOON, "a pong", raw.receive()).await.expect("a message");
        assert_eq!(pong, Some((p2p::PONG, snappy::compress(&[0xc0]))));
    }
    for _ in 0..200 {
        // The node may have closed already.
        let _ = raw.send_compressed(p2p::PING, &[0xc0]).await;
    }
    let said = told(node, &mut raw).await;
    assert!(matches!(said, Some(0x02) | None), "{said:?}");
}

/// Section 8: the same key twice, and a full node, are refused with their reasons.
#[tokio::test]
async fn a_duplicate_and_one_too_many_are_refused() {
    let mut one = config(LISTEN);
    one.slots.inbound_max = 1;
    let node = support::start(one).await;
    let ours = key();
    let mut first = dial(&node, &ours).await;
    let hello = first.hello(&[("blob", 1)]);
    first.greet(&hello).await.expect("a Hello");
    let alive = tokio::spawn(async move {
        // Answers the ping that decides about the duplicate.
        while let Ok(Some((id, _))) = first.receive().await {
            if id == p2p::PING {
                first.send_compressed(p2p::PONG, &[0xc0]).await.expect("sent");
            }
        }
    });
    within(SOON, "the first session", async {
        while node.peers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for (key, reason) in [(ours, 0x05), (key(), 0x04)] {
        let mut again = dial(&node, &key).await;
        let hello = again.hello(&[("blob", 1)]);
        again.greet(&hello).await.expect("a Hello");
        assert_eq!(within(SOON, "the refusal", again.closed()).await.expect("an end"), Some(reason));
    }
    assert_eq!(node.peers().len(), 1);
    node.over().await;
    alive.await.expect("no panic");
}

/// A peer that has gone silent is pinged and then left.
#[tokio::test]
async fn a_peer_that_answers_no_pings_is_left() {
    let mut quick = config(LISTEN);
    (quick.ping_interval, quick.ping_timeout) = (Duration::from_millis(50), Duration::from_millis(200));
    let node = support::start(quick).await;
    let mut events = node.events();
    let mut raw = dial(&node, &key()).await;
    let hello = raw.hello(&[("blob", 1)]);
    raw.greet(&hello).await.expect("a Hello");
    assert_eq!(within(SOON, "the end", raw.closed()).await.expect("an end"), Some(0x0b));
    let ended = within(SOON, "the event", async {
        loop {
            if let Some(NetworkEvent::PeerDown { ended, .. }) = events.next().await {
                return ended;
            }
        }
    });
    let ended: Disconnected = ended.await;
    assert!(matches!(ended.reason, DisconnectReason::TimedOut(_)), "{ended}");
    node.over().await;
}

/// B16: junk in the place of handshakes, from many sockets at once, keeps no honest peer out.
#[tokio::test]
async fn a_flood_of_junk_handshakes_keeps_no_honest_peer_out() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let node = support::start(config(LISTEN)).await;
    let to = node.listening()[0].clone();
    let Endpoint::Rlpx(addr) = to.endpoint else { panic!("not devp2p: {to}") };
    // As long as a real one, so that each costs a look at its point.
    let junk = |n: usize| {
        let mut auth = vec![(n % 251) as u8; 0x190];
        auth[..3].copy_from_slice(&[0x01, 0x8e, 0x04]);
        auth
    };
    let flood = futures::future::join_all((0..300).map(|n| async move {
        let Ok(mut socket) = tokio::net::TcpStream::connect(addr).await else { return };
        let _ = socket.write_all(&junk(n)).await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }));
    let mut honest = config("");
    // Refused while every place is taken by the flood: then it comes again, as static peers do.
    honest.backoff.first = Duration::from_millis(20);
    honest.static_peers.push(to);
    let client = support::start(honest).await;
    let connected = async {
        // Each end has a session a moment before the other knows.
        while client.peers().is_empty() || node.peers().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let both = futures::future::join(within(SOON, "the honest peer", connected), flood);
    within(SOON, "the end of the flood", both).await;
    assert_eq!(node.peers().len(), 1);
    client.over().await;
    node.over().await;
}
