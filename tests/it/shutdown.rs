//! Shutdown: everybody is told, nothing hangs, nothing stays (K7).

use std::time::{Duration, Instant};

use futures::future::join_all;
use trunkline::disconnect::{DisconnectReason, Disconnected};
use trunkline::{DialError, Network, NetworkEvent, PeerAddr, RequestError};

use crate::chat::{Chat, Heard, Say};
use crate::support::Over;
use crate::support::{config, within};

fn address(node: &Network) -> PeerAddr {
    node.listening()[0].clone()
}

/// K7: forty peers, each with questions open both ways.
#[tokio::test]
async fn a_shutdown_with_many_peers_is_over_within_its_time_and_tells_everybody() {
    let chat = Chat::new();
    let mut many = config("/ip4/127.0.0.1/tcp/0");
    many.slots = trunkline::machine::admission::SlotLimits::for_peers(100);
    let server = chat.start(many).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        let theirs = Chat::new();
        let client = theirs.start(config("")).await;
        let peer = client.dial(address(&server)).await.unwrap();
        clients.push((theirs, client, peer));
    }
    let all_up = |log: &[Heard]| log.iter().filter(|heard| matches!(heard, Heard::Up(_))).count() == 40;
    within(Duration::from_secs(10), "40 sessions", chat.until(all_up)).await;
    let ask = |peer: trunkline::PeerHandle| tokio::spawn(async move { peer.request(Say::new(".")).await });
    let ours: Vec<_> = server.peers().into_iter().map(ask).collect();
    let theirs: Vec<_> = clients.iter().map(|(_, _, peer)| ask(peer.clone())).collect();
    within(Duration::from_secs(10), "questions", chat.until_asked(40)).await;
    for (theirs, ..) in &clients {
        within(Duration::from_secs(10), "a question", theirs.until_asked(1)).await;
    }

    let start = Instant::now();
    within(Duration::from_secs(5), "the shutdown", server.over()).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    for result in join_all(ours).await {
        assert!(matches!(result.unwrap(), Err(RequestError::Shutdown)));
    }
    let quitting = Disconnected::remote(DisconnectReason::ClientQuitting);
    for result in within(Duration::from_secs(5), "their results", join_all(theirs)).await {
        let result = result.unwrap();
        assert!(
            matches!(&result, Err(RequestError::Disconnected(ended)) if *ended == quitting),
            "{result:?}"
        );
    }
    for (theirs, client, _) in &clients {
        assert_eq!(within(Duration::from_secs(5), "the end", theirs.down(server.id())).await, quitting);
        assert_eq!(client.record(server.id()).await, None, "leaving is no fault");
    }
    assert_eq!((server.stats().in_flight(), server.peers().len(), chat.serving()), (0, 0, 0));
    // Twice is as good as once, and nothing can be begun any more.
    within(Duration::from_secs(1), "a second shutdown", server.over()).await;
    let refused = server.dial("/memory/1".parse().unwrap()).await;
    assert!(matches!(refused, Err(DialError::Shutdown)), "{refused:?}");
    for (_, client, _) in &clients {
        client.over().await;
    }
}

/// K7: a peer that reads nothing does not hold a shutdown up.
#[tokio::test]
async fn a_peer_that_never_reads_does_not_hold_up_a_shutdown() {
    use trunkline::testing::raw_peer::{RawMux, message};
    let chat = Chat::new();
    let server = chat.start(config("/ip4/127.0.0.1/tcp/0")).await;
    let trunkline::transport::addr::Endpoint::Tcp(to) = address(&server).endpoint else { panic!("not TCP") };
    let key = trunkline::Keypair::generate_ed25519();
    let mut mux = RawMux::connect(to, &key).await.unwrap();
    let mut behind = message(0, crate::chat::HELLO, b"hello");
    for number in 1..=8 {
        behind.extend(message(number, crate::chat::QUESTION, &crate::chat::question(number, b"*")));
    }
    mux.open(1, crate::chat::CHAT, &behind).await.unwrap();
    within(Duration::from_secs(5), "the questions", chat.until_asked(8)).await;
    within(Duration::from_secs(5), "the shutdown", server.over()).await;
    drop(mux);
}

/// Dropping the last clone of a network ends it: the thread, the listener, the sessions, the events.
#[tokio::test]
async fn dropping_the_last_clone_ends_everything() {
    let (chat, theirs) = (Chat::new(), Chat::new());
    let server = chat.start(config("/ip4/127.0.0.1/tcp/0")).await;
    let client = theirs.start(config("")).await;
    let to = address(&server);
    let peer = client.dial(to.clone()).await.unwrap();
    let mut events = server.events();
    let id = server.id();
    let another = server.clone();
    drop(server);
    assert_eq!(peer.request(Say::new("alive")).await.unwrap(), "alive");
    drop(another);
    let quitting = Disconnected::remote(DisconnectReason::ClientQuitting);
    assert_eq!(within(Duration::from_secs(5), "the end", theirs.down(id)).await, quitting);
    let silence = async { while events.next().await.is_some() {} };
    within(Duration::from_secs(5), "the end of events", silence).await;
    let refused = client.dial(to).await;
    assert!(matches!(refused, Err(DialError::Unreachable(_))), "{refused:?}");
    // The protocol was let go with the thread that used it.
    let freed = async {
        while std::sync::Arc::strong_count(&chat) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(Duration::from_secs(5), "the last reference", freed).await;
    client.over().await;
}

/// A node that was only started, and one that is dialling, shut down as well.
#[tokio::test]
async fn nodes_without_peers_shut_down_at_once() {
    let node = Chat::new().start(config("/memory/0")).await;
    within(Duration::from_secs(1), "the shutdown", node.over()).await;
    // Nobody answers behind this socket.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to: PeerAddr = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let node = Chat::new().start(config("")).await;
    let dialling = tokio::spawn({
        let node = node.clone();
        async move { node.dial(to).await }
    });
    tokio::task::yield_now().await;
    within(Duration::from_secs(5), "the shutdown", node.over()).await;
    let result = within(Duration::from_secs(5), "the dial", dialling).await.unwrap();
    assert!(matches!(result, Err(DialError::Shutdown)), "{result:?}");
}

/// L8: a session is announced before it ends, ends once, and nothing comes after it.
#[tokio::test]
async fn events_come_in_their_order() {
    let (chat, theirs) = (Chat::new(), Chat::new());
    let server = chat.start(config("/memory/0")).await;
    let mut events = server.events();
    let client = theirs.start(config("")).await;
    client.dial(address(&server)).await.unwrap();
    let mut names = Vec::new();
    let name = |event: NetworkEvent| match event {
        NetworkEvent::Listening { .. } => "listening",
        NetworkEvent::PeerUp { .. } => "up",
        NetworkEvent::PeerDown { .. } => "down",
        _ => "other",
    };
    while names.last() != Some(&"up") {
        names.push(name(within(Duration::from_secs(5), "an event", events.next()).await.unwrap()));
    }
    client.over().await;
    let down = within(Duration::from_secs(5), "the end", chat.down(client.id())).await;
    assert_eq!(down, Disconnected::remote(DisconnectReason::ClientQuitting));
    server.over().await;
    drop(server);
    while let Some(event) = within(Duration::from_secs(5), "an event", events.next()).await {
        names.push(name(event));
    }
    assert_eq!(names, ["listening", "up", "down"]);
}
