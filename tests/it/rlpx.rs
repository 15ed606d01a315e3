//! Sessions over devp2p's wire: the same API, the same rules, one peer whichever wire it came on.

use std::net::SocketAddr;
use std::time::Duration;

use trunkline::error::{DialError, UpgradeError};
use trunkline::transport::addr::Endpoint;
use trunkline::{
    Config, Direction, DisconnectReason, Keypair, Network, NetworkEvent, PeerAddr, PeerHandle, Wire,
};

use crate::support::{self, Blob, ECHO, GetBlob, Over, SILENCE, config, pattern, two_nodes, within};

const LISTEN: &str = "/ip4/127.0.0.1/tcp/0/rlpx";
const SOON: Duration = Duration::from_secs(10);

fn listens_on(node: &Network, wire: Wire) -> PeerAddr {
    let of_wire = |addr: &PeerAddr| addr.endpoint.wire() == wire;
    node.listening().into_iter().find(of_wire).expect("listens on that wire")
}

fn socket_addr(addr: &PeerAddr) -> SocketAddr {
    match addr.endpoint {
        Endpoint::Rlpx(addr) => addr,
        other => panic!("not devp2p: {other:?}"),
    }
}

async fn blob(peer: &PeerHandle, size: u32) {
    assert_eq!(peer.ask::<Blob>(GetBlob(ECHO, size)).await.expect("an answer").0, pattern(size));
}

async fn serves(one: &PeerHandle, other: &PeerHandle) -> bool {
    let asked = [one, other].map(|peer| peer.ask::<Blob>(GetBlob(ECHO, 100)));
    futures::future::join_all(asked).await.iter().all(Result::is_ok)
}

#[tokio::test]
async fn a_session_over_devp2p_answers_pings_introduces_itself_and_says_goodbye() {
    let (server, client, peer) = two_nodes(LISTEN).await;
    assert_eq!((peer.wire(), peer.direction()), (Wire::Rlpx, Direction::Outbound));
    assert_eq!(peer.id(), server.id());
    assert_eq!(peer.identity().expect("a Hello").agent, Config::default().agent);
    assert_eq!(peer.protocols(), ["/test/blob/1", "blob/1"]);
    // Small, of many frames' worth, and larger than any buffer between the two.
    for size in [0, 1, 600, 70_000, 3 << 20] {
        blob(&peer, size).await;
    }
    let pings = within(SOON, "five echoes", peer.ping(5, SOON)).await;
    assert!(pings.len() == 5 && pings.iter().all(Result::is_ok), "{pings:?}");
    let mut events = client.events();
    let pending = tokio::spawn({
        let peer = peer.clone();
        async move { peer.ask::<Blob>(GetBlob(SILENCE, 1)).await }
    });
    while server.stats().in_flight() == 0 && client.stats().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    server.shutdown().await;
    let ended = async {
        loop {
            if let Some(NetworkEvent::PeerDown { ended, .. }) = events.next().await {
                return ended;
            }
        }
    };
    let ended = within(SOON, "the end", ended).await;
    assert_eq!(ended, trunkline::Disconnected::remote(DisconnectReason::ClientQuitting));
    assert!(pending.await.expect("no panic").is_err());
    client.over().await;
    server.over().await;
}

/// Substreams are libp2p's; whoever asks for one is told at once.
#[tokio::test]
async fn there_are_no_substreams_and_both_sides_may_ask() {
    let (server, client, peer) = two_nodes(LISTEN).await;
    let refused = peer.open_substream(trunkline::ids::ProtocolId::new("/test/none/1")).await;
    assert!(matches!(refused, Err(trunkline::error::SubstreamError::Unsupported(_))), "{refused:?}");
    let back = within(SOON, "the session of the listener", async {
        loop {
            match server.peer(&client.id()) {
                Some(peer) if peer.version_of("/test/blob/1").is_some() => return peer,
                _ => tokio::task::yield_now().await,
            }
        }
    });
    let back = back.await;
    assert_eq!((back.wire(), back.direction()), (Wire::Rlpx, Direction::Inbound));
    let asked: Vec<_> = (0..200).map(|n| async move { n }).collect();
    let both = futures::future::join_all(asked.into_iter().map(|n| {
        let (peer, back) = (peer.clone(), back.clone());
        async move {
            let n = n.await;
            let from = if n % 2 == 0 { peer } else { back };
            // Within the request slots of a peer.
            if n < 120 {
                blob(&from, n * 100).await
            }
        }
    }));
    within(SOON, "answers both ways", both).await;
    client.over().await;
    server.over().await;
}

/// One key, one peer: whoever is connected over one wire is not connected again over the other.
#[tokio::test]
async fn a_peer_met_on_both_wires_is_one_peer() {
    let listen = config("/ip4/127.0.0.1/tcp/0");
    let listen = Config { listen: vec![listen.listen[0].clone(), support::addr(LISTEN)], ..listen };
    let server = support::start(listen).await;
    assert_eq!(server.listening().len(), 2);
    for (first, second) in [(Wire::Rlpx, Wire::Libp2p), (Wire::Libp2p, Wire::Rlpx)] {
        let client = support::start(config("")).await;
        let peer = client.dial(listens_on(&server, first)).await.expect("connects");
        let again = client.dial(listens_on(&server, second)).await.expect("gives the same session");
        assert_eq!((again.session(), again.wire()), (peer.session(), first));
        assert_eq!(client.peers().len(), 1);
        blob(&peer, 1000).await;
        client.over().await;
    }
    server.over().await;
}

#[tokio::test]
async fn what_cannot_be_dialled_over_devp2p_is_said_so() {
    let server = support::start(config(LISTEN)).await;
    let listening = listens_on(&server, Wire::Rlpx);
    let client = support::start(config("")).await;
    // B6: the key in the address is not that of the node there, which cannot read a word.
    let other = Keypair::generate_secp256k1().public().to_peer_id();
    let wrong = client.dial(PeerAddr { peer: Some(other), ..listening.clone() }).await;
    assert!(matches!(wrong, Err(DialError::Upgrade(UpgradeError::Io(_)))), "{wrong:?}");
    // Without a key there is nothing to encrypt for.
    let nameless = client.dial(PeerAddr { peer: None, ..listening.clone() }).await;
    assert!(matches!(nameless, Err(DialError::UnsupportedAddress(_))), "{nameless:?}");
    let ed25519 = Network::builder(config(""), Keypair::generate_ed25519());
    let ed25519 = ed25519.protocol(Blob).start().await.expect("starts");
    let keyless = ed25519.dial(listening.clone()).await;
    assert!(matches!(keyless, Err(DialError::UnsupportedAddress(_))), "{keyless:?}");
    let listens = Network::builder(config(LISTEN), Keypair::generate_ed25519()).start().await;
    assert!(listens.is_err());
    // Nothing in common.
    let mute = Network::builder(config(""), Keypair::generate_secp256k1()).start().await.expect("starts");
    let useless = mute.dial(listening.clone()).await;
    assert!(
        matches!(useless, Err(DialError::Upgrade(UpgradeError::Unfit(DisconnectReason::UselessPeer)))),
        "{useless:?}"
    );
    let ourselves = server.dial(listening.clone()).await;
    assert!(matches!(ourselves, Err(DialError::SelfDial)), "{ourselves:?}");
    // None of this was held against anybody.
    let peer = client.dial(listening).await.expect("connects");
    blob(&peer, 10).await;
    for node in [client, ed25519, mute, server] {
        node.over().await;
    }
}

/// L: both dial at once, each over another wire; one session remains on both sides.
#[tokio::test]
async fn a_simultaneous_dial_over_two_wires_ends_with_one_session() {
    for _ in 0..10 {
        let (a, b) =
            (support::start(config(LISTEN)).await, support::start(config("/ip4/127.0.0.1/tcp/0")).await);
        let to_a = listens_on(&a, Wire::Rlpx);
        let to_b = listens_on(&b, Wire::Libp2p);
        let dials = futures::future::join(a.dial(to_b), b.dial(to_a));
        let (at_a, at_b) = within(SOON, "both dials", dials).await;
        at_a.expect("a reaches b");
        at_b.expect("b reaches a");
        // The session that was there first may have been the one that lost.
        let agreed = async {
            loop {
                match (a.peer(&b.id()), b.peer(&a.id())) {
                    (Some(at_a), Some(at_b)) if at_a.wire() == at_b.wire() && serves(&at_a, &at_b).await => {
                        break;
                    }
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        within(SOON, "one session", agreed).await;
        assert_eq!((a.peers().len(), b.peers().len()), (1, 1));
        a.over().await;
        b.over().await;
    }
}

/// A3: a socket that says nothing, or stops in the middle, is closed; nobody else waits for it.
#[tokio::test]
async fn sockets_that_stop_within_the_handshake_are_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let limits = |config: &mut Config| config.transport.upgrade_timeout = Duration::from_millis(300);
    let server = {
        let mut config = config(LISTEN);
        limits(&mut config);
        support::start(config).await
    };
    let addr = socket_addr(&listens_on(&server, Wire::Rlpx));
    for begun in [&[][..], &[1], &[1, 0x90], &[1, 0x90, 4, 4, 4]] {
        let mut socket = tokio::net::TcpStream::connect(addr).await.expect("connects");
        socket.write_all(begun).await.expect("is written");
        let mut rest = Vec::new();
        let closed = within(SOON, "the end of a stopped handshake", socket.read_to_end(&mut rest)).await;
        assert!(closed.is_err() || rest.is_empty());
    }
    server.over().await;
}

/// Whoever hears from an exchange that a peer is up finds its session, at once.
#[cfg(feature = "eth")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_eth_tells_of_is_in_the_table() {
    use crate::header_body_sync::Node;
    use trunkline::chain::ChainSpec;
    use trunkline::protocols::eth::EthEvent;
    use trunkline::sync::MemoryStore;
    let store = || MemoryStore::new(std::sync::Arc::new(ChainSpec::dev()));
    let server = Node::start(store(), LISTEN).await;
    for _ in 0..40 {
        let client = Node::start(store(), "").await;
        let mut events = client.eth.subscribe();
        let dial = client.network.dial(server.addr());
        let heard = async {
            loop {
                if let Some(EthEvent::PeerUp(peer)) = events.next().await {
                    return client.network.peer_table().find(peer.session).is_some();
                }
            }
        };
        // On a thread of its own, as a sync is.
        let (found, dialled) = futures::future::join(within(SOON, "eth", heard), dial).await;
        assert!(found && dialled.is_ok());
        client.network.over().await;
    }
    server.network.over().await;
}
