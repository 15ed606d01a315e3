//! Sockets that are silent, slow, cut or reset at any byte of a good session (A1 to A5, C1, C6).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use trunkline::testing::fault_io::{Cuts, End, FaultIo, FaultPlan, Step, Way};
use trunkline::testing::raw_peer::{MULTISTREAM, NA, RawConnection, RawSocket, message, proposal};
use trunkline::{Config, Keypair};

use crate::chat::{CHAT, Chat, HELLO, QUESTION, question};
use crate::scene::{SOON, Scene, strict};
use crate::support::within;

/// By when a node with the limits of [`config`] must have hung up on anybody who does not go on.
const PATIENCE: Duration = Duration::from_secs(4);

fn config() -> Config {
    let mut config = strict();
    config.ping_interval = Duration::from_millis(200);
    config.ping_timeout = Duration::from_millis(300);
    config.session.write_timeout = Duration::from_millis(500);
    config.slots = trunkline::machine::admission::SlotLimits::for_peers(500);
    config.slots.pending_inbound_max = 500;
    config
}

async fn socket(addr: SocketAddr, reset: bool) -> Compat<TcpStream> {
    let socket = TcpStream::connect(addr).await.unwrap();
    socket.set_nodelay(true).unwrap();
    if reset {
        socket.set_zero_linger().unwrap();
    }
    socket.compat()
}

/// A good session of somebody who means well, over a faulty socket: selection, handshake, one
/// question, its answer, half-close. Returns the bytes it sent when it went well.
async fn session(socket: FaultIo<Compat<TcpStream>>, key: &Keypair) -> Option<()> {
    let connection = RawConnection::dial(socket, key).await.ok()?;
    let asking = async {
        let mut io = connection.open().await.ok()?;
        let asked = message(1, QUESTION, &question(1, b"hello?"));
        let all = [MULTISTREAM, &proposal(CHAT), &message(0, HELLO, b"hello"), &asked].concat();
        io.write_all(&all).await.ok()?;
        io.flush().await.ok()?;
        let mut answer = vec![0; all.len()];
        io.read_exact(&mut answer).await.ok()?;
        io.close().await.ok()
    };
    let well = asking.await;
    if well.is_some() {
        return well;
    }
    // Not well: the node must end it.
    connection.ended().await;
    None
}

/// How many bytes a good session takes, as the dialer's socket counts them. Noise pads nothing and
/// keys have one length, so that every session takes about as many.
async fn good_length(scene: &Scene) -> u64 {
    let key = Keypair::generate_ed25519();
    let plan = FaultPlan::default();
    let io = FaultIo::new(socket(scene.addr, false).await, plan);
    within(SOON, "a good session", session(io, &key)).await.expect("nothing is wrong with it");
    // The node has counted them, too.
    let peer = scene.node.peer(&key.public().to_peer_id()).expect("just now");
    peer.traffic().0
}

/// Runs one faulty session per offset, all at once. The node must end each, and blame nobody.
async fn at_offsets(
    scene: &Scene,
    offsets: impl Iterator<Item = u64>,
    reset: bool,
    plan: impl Fn(u64) -> FaultPlan,
) {
    let attempts = offsets.map(|offset| {
        let plan = plan(offset);
        async move {
            let key = Keypair::generate_ed25519();
            let io = FaultIo::new(socket(scene.addr, reset).await, plan);
            let start = Instant::now();
            let what = format!("the end of a session that goes wrong at byte {offset}");
            within(PATIENCE, &what, session(io, &key)).await;
            let record = scene.node.record(key.public().to_peer_id()).await.unwrap_or_default();
            assert_eq!((record.breaches, record.misdeeds), (0, 0), "byte {offset}");
            start.elapsed()
        }
    });
    let took = join_all(attempts).await;
    assert!(took.len() > 10);
    let only_honest = async {
        while scene.node.peers().len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(SOON, "the end of the last of them", only_honest).await;
    scene.still_serves("them all").await;
}

/// A1: a socket that says nothing is closed after the time its first byte may take.
#[tokio::test]
async fn silent_sockets_are_closed() {
    let scene = Scene::set(Chat::new(), config()).await;
    let silent = (0..100).map(|_| async {
        let mut socket = RawSocket::connect(scene.addr).await.unwrap();
        let start = Instant::now();
        assert_eq!(within(PATIENCE, "the close", socket.closed()).await, b"");
        start.elapsed()
    });
    for took in join_all(silent).await {
        let limit = config().transport.first_byte_timeout;
        assert!(
            took + Duration::from_millis(50) >= limit && took < limit + Duration::from_secs(2),
            "{took:?}"
        );
    }
    scene.still_serves("silence").await;
    scene.over().await;
}

/// A2: the deadline is for the whole way, not for each read.
#[tokio::test]
async fn dripping_peers_are_closed_in_every_phase() {
    let scene = Scene::set(Chat::new(), config()).await;
    let length = good_length(&scene).await;
    let drip = |offset: u64| {
        let mut steps = vec![Step::Pass(offset as usize)];
        for _ in 0..1000 {
            steps.extend([Step::Wait(Duration::from_millis(100)), Step::Pass(1)]);
        }
        FaultPlan { write: Way { cuts: Cuts::Steps(steps), end: None }, ..FaultPlan::default() }
    };
    // Nearer to its end than a drip per deadline, a slow session still comes about.
    at_offsets(&scene, (0..length - 60).step_by(23), false, drip).await;
    scene.over().await;
}

/// A3 C6: somebody who stops for ever, at any byte.
#[tokio::test]
async fn stalled_peers_are_closed_in_every_phase() {
    let scene = Scene::set(Chat::new(), config()).await;
    let length = good_length(&scene).await;
    at_offsets(&scene, (0..length - 12).step_by(11), false, |at| FaultPlan::write_ends(at, End::Silence))
        .await;
    scene.over().await;
}

/// A5: half-closed at any byte.
#[tokio::test]
async fn half_closed_peers_are_let_go_at_every_byte() {
    let scene = Scene::set(Chat::new(), config()).await;
    let length = good_length(&scene).await;
    at_offsets(&scene, (0..length).step_by(5), false, |at| FaultPlan::write_ends(at, End::Eof)).await;
    scene.over().await;
}

/// A4: reset at any byte.
#[tokio::test]
async fn reset_peers_are_let_go_at_every_byte() {
    let scene = Scene::set(Chat::new(), config()).await;
    let length = good_length(&scene).await;
    let end = End::Error(std::io::ErrorKind::ConnectionReset);
    at_offsets(&scene, (0..length).step_by(5), true, |at| FaultPlan::write_ends(at, end)).await;
    scene.over().await;
}

/// A6: a session delivered byte by byte, both ways, is as good as any other.
#[tokio::test]
async fn a_session_byte_by_byte_is_a_good_session() {
    let scene = Scene::set(Chat::new(), crate::support::config("/ip4/127.0.0.1/tcp/0")).await;
    let way = || Way { cuts: Cuts::Cycle(vec![Step::Pass(1)]), end: None };
    let io = FaultIo::new(socket(scene.addr, false).await, FaultPlan { read: way(), write: way() });
    within(SOON, "the session", session(io, &Keypair::generate_ed25519())).await.expect("a good session");
    scene.over().await;
}

/// C1: proposals without end are cut off after a few, and bytes without end after some.
#[tokio::test]
async fn endless_proposals_are_cut_off() {
    let scene = Scene::set(Chat::new(), config()).await;
    let mut socket = RawSocket::connect(scene.addr).await.unwrap();
    socket.send(&[MULTISTREAM, &proposal("/nope/1").repeat(40)].concat()).await.unwrap();
    let got = within(PATIENCE, "the close", socket.closed()).await;
    let refusals = got.windows(NA.len()).filter(|part| *part == NA).count();
    // The refusal that is one too many may still get out.
    assert!((16..=17).contains(&refusals), "{refusals} refusals");
    let mut socket = RawSocket::connect(scene.addr).await.unwrap();
    let long = proposal(&format!("/{}", "x".repeat(125)));
    // Refused on the way, so that not all of it may get out.
    let _ = socket.send(&[MULTISTREAM, &long.repeat(200)].concat()).await;
    within(PATIENCE, "the close", socket.closed()).await;
    // Nonsense of every kind, from the first byte.
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 64], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"]
    {
        let mut socket = RawSocket::connect(scene.addr).await.unwrap();
        socket.send(bytes).await.unwrap();
        within(PATIENCE, "the close", socket.closed()).await;
    }
    scene.still_serves("proposals").await;
    scene.over().await;
}
