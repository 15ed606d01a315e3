//! Two connections between the same two peers, or to oneself: which one stays (L1, L2, L3).

use std::time::Duration;

use futures::future::join;
use trunkline::disconnect::{DisconnectReason, Disconnected};
use trunkline::{Config, DialError, Keypair, Network, NetworkEvent, PeerAddr, SessionId};

use crate::chat::{Chat, Say};
use crate::support::Over;
use crate::support::{config, within};

fn address(node: &Network) -> PeerAddr {
    node.listening()[0].clone()
}

/// An address that does not say who is there.
fn nameless(node: &Network) -> PeerAddr {
    PeerAddr { peer: None, ..address(node) }
}

async fn one_connection_survives(listen: &str) {
    for round in 0..25 {
        let (chat_a, chat_b) = (Chat::new(), Chat::new());
        let a = chat_a.start(config(listen)).await;
        let b = chat_b.start(config(listen)).await;
        let (to_a, to_b) = (nameless(&a), nameless(&b));
        let dials = join(a.dial(to_b), b.dial(to_a));
        let (from_a, from_b) = within(Duration::from_secs(10), "both dials", dials).await;
        // A dial that lost to the other may say so; the peer is there all the same, on both sides.
        let agreed = async {
            loop {
                let (peers_a, peers_b) = (a.peers(), b.peers());
                if let ([to_b], [to_a]) = (&peers_a[..], &peers_b[..])
                    && to_b.direction() != to_a.direction()
                    && to_b.ended().is_none()
                    && to_a.ended().is_none()
                    && to_b.request(Say::new("from a")).await.is_ok()
                    && to_a.request(Say::new("from b")).await.is_ok()
                {
                    return (to_b.clone(), to_a.clone());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let (to_b, to_a) = within(Duration::from_secs(10), "one session", agreed).await;
        for dialled in [&from_a, &from_b] {
            let refused = Disconnected::local(DisconnectReason::AlreadyConnected);
            let told = Disconnected::remote(DisconnectReason::AlreadyConnected);
            match dialled {
                Ok(_) => {}
                Err(DialError::Refused(ended)) => {
                    let fits = [refused, told, Disconnected::lost()].contains(ended)
                        || *ended == Disconnected::remote(DisconnectReason::SubstreamClosed);
                    assert!(fits, "round {round}: {ended}");
                }
                Err(other) => panic!("round {round}: {other}"),
            }
        }
        assert!(from_a.is_ok() || from_b.is_ok(), "round {round}: nobody got a session");
        // Nobody is blamed, and the session that stays is not replaced any more.
        assert_eq!((a.record(b.id()).await, b.record(a.id()).await), (None, None), "round {round}");
        let still = (a.peer(&b.id()).unwrap().session(), b.peer(&a.id()).unwrap().session());
        assert_eq!(still, (to_b.session(), to_a.session()), "round {round}");
        a.over().await;
        b.over().await;
    }
}

/// L1: both dial at once; one connection stays, the same one on both sides.
#[tokio::test]
async fn of_two_simultaneous_dials_one_connection_survives_over_memory() {
    one_connection_survives("/memory/0").await;
}

#[tokio::test]
async fn of_two_simultaneous_dials_one_connection_survives_over_tcp() {
    one_connection_survives("/ip4/127.0.0.1/tcp/0").await;
}

/// L2: by name it is refused before a socket is opened, by address once it is known who answers.
#[tokio::test]
async fn nobody_connects_to_himself() {
    for listen in ["/memory/0", "/ip4/127.0.0.1/tcp/0"] {
        let chat = Chat::new();
        let node = chat.start(config(listen)).await;
        for to in [address(&node), nameless(&node)] {
            let result = within(Duration::from_secs(10), "the refusal", node.dial(to)).await;
            assert!(matches!(result, Err(DialError::SelfDial)), "{listen}: {result:?}");
        }
        assert!(node.peers().is_empty() && chat.log().is_empty());
        assert_eq!(node.record(node.id()).await, None);
        node.over().await;
    }
}

/// L3: dialling a peer that is connected gives its session, by name and by address.
#[tokio::test]
async fn dialling_a_connected_peer_gives_its_session() {
    let (chat, theirs) = (Chat::new(), Chat::new());
    let server = chat.start(config("/ip4/127.0.0.1/tcp/0")).await;
    let client = theirs.start(config("")).await;
    let first = client.dial(address(&server)).await.unwrap();
    for to in [address(&server), nameless(&server)] {
        let again = within(Duration::from_secs(10), "the session", client.dial(to)).await.unwrap();
        assert_eq!(again.session(), first.session());
    }
    assert_eq!((first.ended(), client.peers().len(), server.peers().len()), (None, 1, 1));
    assert_eq!(first.request(Say::new("hi")).await.unwrap(), "hi");
    client.over().await;
    server.over().await;
}

async fn node_with(chat: &std::sync::Arc<Chat>, config: Config, key: &Keypair) -> Network {
    let builder = Network::builder(config, key.clone());
    builder.exchange(std::sync::Arc::clone(chat) as _).start().await.unwrap()
}

/// L3: somebody with the same identity does not evict a session that is alive.
#[tokio::test]
async fn a_second_node_with_the_same_identity_does_not_evict_the_first() {
    let (chat, first_chat, second_chat) = (Chat::new(), Chat::new(), Chat::new());
    let server = chat.start(config("/ip4/127.0.0.1/tcp/0")).await;
    let key = Keypair::generate_ed25519();
    let first = node_with(&first_chat, config(""), &key).await;
    let second = node_with(&second_chat, config(""), &key).await;
    let session = first.dial(address(&server)).await.unwrap();
    let mut events = server.events();
    let is_up = async { while !matches!(events.next().await, Some(NetworkEvent::PeerUp { .. })) {} };
    within(Duration::from_secs(5), "the session", is_up).await;
    let before: Vec<SessionId> = server.peers().iter().map(|peer| peer.session()).collect();
    let refused = within(Duration::from_secs(10), "the refusal", second.dial(address(&server))).await;
    let told = Disconnected::remote(DisconnectReason::AlreadyConnected);
    assert!(matches!(&refused, Err(DialError::Refused(ended)) if *ended == told), "{refused:?}");
    assert_eq!(server.peers().iter().map(|peer| peer.session()).collect::<Vec<_>>(), before);
    assert_eq!(session.request(Say::new("still here")).await.unwrap(), "still here");
    for node in [&first, &second, &server] {
        node.over().await;
    }
}
