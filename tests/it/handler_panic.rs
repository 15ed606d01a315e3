//! K1: a panic in a handler ends the session it happened in, and nothing else.

use std::time::{Duration, Instant};

use futures::future::join_all;
use trunkline::disconnect::{DisconnectReason, Disconnected};
use trunkline::{NetworkEvent, RequestError};

use crate::chat::{Chat, Heard, Say};
use crate::support::Over;
use crate::support::{config, within};

/// What the bad peer does to make a handler panic.
#[derive(Debug, Clone, Copy)]
enum Trigger {
    Question,
    News,
}

async fn a_panic_stays_in_its_session(trigger: Trigger) {
    let (chat, bad_chat, good_chat) = (Chat::new(), Chat::new(), Chat::new());
    let server = chat.start(config("/ip4/127.0.0.1/tcp/0")).await;
    let (bad, good) = (bad_chat.start(config("")).await, good_chat.start(config("")).await);
    let to = server.listening()[0].clone();
    let from_bad = bad.dial(to.clone()).await.unwrap();
    let from_good = good.dial(to).await.unwrap();
    let mut events = server.events();
    let both_up = |log: &[Heard]| log.iter().filter(|heard| matches!(heard, Heard::Up(_))).count() == 2;
    within(Duration::from_secs(5), "both sessions", chat.until(both_up)).await;
    // The server has questions open to both.
    let [to_bad, to_good] = [&bad, &good].map(|node| {
        let peer = server.peer(&node.id()).unwrap();
        (0..20)
            .map(|_| {
                let peer = peer.clone();
                tokio::spawn(async move { peer.request(Say::new(".")).await })
            })
            .collect::<Vec<_>>()
    });
    within(Duration::from_secs(5), "questions", bad_chat.until_asked(20)).await;
    within(Duration::from_secs(5), "questions", good_chat.until_asked(20)).await;
    let waiting = tokio::spawn({
        let peer = from_bad.clone();
        async move { peer.request(Say::new(".")).await }
    });
    within(Duration::from_secs(5), "a question", chat.until_asked(1)).await;

    let panicked = Instant::now();
    match trigger {
        Trigger::Question => {
            let result = within(Duration::from_secs(5), "a result", from_bad.request(Say::new("!"))).await;
            assert!(matches!(result, Err(RequestError::Disconnected(_))), "{result:?}");
        }
        Trigger::News => assert!(bad_chat.tell(server.id(), b"!")),
    }
    // Callers on the side of the panic, and those on the other.
    for result in within(Duration::from_secs(5), "results", join_all(to_bad)).await {
        assert!(matches!(result.unwrap(), Err(RequestError::Panicked)));
    }
    let result = within(Duration::from_secs(5), "a result", waiting).await.unwrap();
    assert!(matches!(result, Err(RequestError::Disconnected(_))), "{result:?}");
    assert!(panicked.elapsed() < Duration::from_secs(1), "{:?}", panicked.elapsed());

    // The protocol and the subscribers are told, once; nobody is blamed.
    let ended = Disconnected::local(DisconnectReason::Panicked);
    assert_eq!(within(Duration::from_secs(5), "the end", chat.down(bad.id())).await, ended);
    let down = async {
        loop {
            match events.next().await.expect("events go on") {
                NetworkEvent::PeerDown { peer, ended, .. } if peer == bad.id() => return ended,
                _ => {}
            }
        }
    };
    assert_eq!(within(Duration::from_secs(5), "the event", down).await, ended);
    assert_eq!(server.record(bad.id()).await, None);

    // The other peer has noticed nothing, and the bad one may come again.
    assert!(to_good.iter().all(|task| !task.is_finished()));
    assert_eq!(from_good.request(Say::new("hi")).await.unwrap(), "hi");
    assert!(!chat.log().iter().any(|heard| matches!(heard, Heard::Down(peer, _) if *peer == good.id())));
    to_good.iter().for_each(|task| task.abort());
    let gone = async {
        while !bad.peers().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within(Duration::from_secs(5), "the end of the old session", gone).await;
    let again = bad.dial(server.listening()[0].clone()).await.unwrap();
    assert_eq!(again.request(Say::new("hi")).await.unwrap(), "hi");
    for node in [&bad, &good, &server] {
        node.over().await;
    }
}

/// K1: in `serve`.
#[tokio::test]
async fn a_panic_while_serving_ends_that_session_only() {
    a_panic_stays_in_its_session(Trigger::Question).await;
}

/// K1: in `on_message`.
#[tokio::test]
async fn a_panic_while_handling_news_ends_that_session_only() {
    a_panic_stays_in_its_session(Trigger::News).await;
}
