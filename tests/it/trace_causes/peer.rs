//! Causes at the peer: answers that are lost, late or strange, and its death.

use trunkline::protocols::simple::Ask;
use trunkline::trace::tools::stuck::Cause;
use trunkline::transport::addr::Endpoint;
use trunkline::{Direction, PeerAddr, RequestError};

use super::{SOON, Told, addr_of, ask, keep_talking, lasted, ms, socket_of, undisturbed};
use crate::chat::{Chat, Say};
use crate::kill_peer::{Bridge, Death};
use crate::support::{self, Blob, GetBlob, LATER, Over, SILENCE, within};

#[tokio::test]
async fn a_lost_answer_names_its_request_and_the_last_byte() {
    undisturbed(async || {
        let (server, client, peer) = support::two_nodes("/ip4/127.0.0.1/tcp/0").await;
        let asking = tokio::spawn({
            let peer = peer.clone();
            async move { peer.request_within(Ask::<Blob>(GetBlob(SILENCE, 0)), ms(700)).await.map(drop) }
        });
        keep_talking(&peer, ms(400)).await;
        let told = Told::by(&client, 200).await;
        let finding = told.only(Cause::PeerNotAnswering);
        lasted(&finding, 300);
        assert_eq!((finding.requests_total, finding.now), (1, true));
        let life = told.life(Direction::Outbound, "open");
        assert_eq!(finding.requests, [life.key.to_string()]);
        assert_eq!(finding.last_byte_ns, told.model.conns[&life.conn].last_in);
        assert!(finding.last_byte_ns.is_some_and(|last| last > finding.from_ns), "{finding:#?}");
        told.follows(life, &finding);

        keep_talking(&peer, ms(350)).await;
        let result = within(SOON, "a result", asking).await.expect("no panic");
        assert!(matches!(result, Err(RequestError::TimedOut(_))), "{result:?}");
        let told = Told::by(&client, 300).await;
        let finding = told.only(Cause::PeerNotAnswering);
        lasted(&finding, 700);
        assert!(finding.sentence.contains("timed_out after"), "{}", finding.sentence);
        assert!(finding.sentence.contains("though it sent other things"), "{}", finding.sentence);
        let life = told.life(Direction::Outbound, "timed_out");
        assert!(finding.last_byte_ns.is_some_and(|last| last > finding.from_ns && last <= finding.until_ns));
        told.follows(life, &finding);
        client.over().await;
        server.over().await;
    })
    .await;
}

#[tokio::test]
async fn a_late_answer_is_told_with_how_late_it_was() {
    undisturbed(async || {
        let (server, client, peer) = support::two_nodes("/ip4/127.0.0.1/tcp/0").await;
        let late = peer.request_within(Ask::<Blob>(GetBlob(LATER, 600)), ms(300));
        let (late, ()) = tokio::join!(late, keep_talking(&peer, ms(700)));
        assert!(matches!(late, Err(RequestError::TimedOut(_))));
        let told = Told::by(&client, 400).await;
        let finding = told.only(Cause::LateAnswer);
        assert!(finding.sentence.contains("timed_out after 30"), "{}", finding.sentence);
        assert!(finding.sentence.contains("too late and was dropped (late)"), "{}", finding.sentence);
        let life = told.life(Direction::Outbound, "timed_out");
        let late_ns = finding.last_byte_ns.expect("when it came") - life.end.as_ref().expect("ended").mark.at;
        assert!((200_000_000..2_000_000_000).contains(&late_ns), "{late_ns}");
        assert_eq!(finding.request.as_ref().and_then(|asked| asked.kind.as_deref()), Some("GetBlob"));
        told.follows(life, &finding);
        client.over().await;
        server.over().await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_of_the_wrong_kind_is_told() {
    undisturbed(async || {
        let server = Chat::new().start(support::config("/ip4/127.0.0.1/tcp/0")).await;
        let client = Chat::new().start(support::config("")).await;
        let peer = client.dial(addr_of(&server)).await.expect("connects");
        assert!(peer.request(Say::new("hello")).await.is_ok());
        let result = within(SOON, "a result", peer.request(Say::new("~"))).await;
        assert!(matches!(result, Err(RequestError::WrongKind)), "{result:?}");
        let told = Told::by(&client, 1000).await;
        let finding = told.only(Cause::WrongKind);
        let asked = finding.request.as_ref().expect("a request");
        assert_eq!((asked.proto.as_deref(), asked.kind.as_deref()), (Some("chat"), Some("Say")));
        assert_eq!(finding.peer.as_deref(), Some(&*server.id().to_string()));
        told.follows(told.life(Direction::Outbound, "wrong_kind"), &finding);
        client.over().await;
        server.over().await;
    })
    .await;
}

async fn a_killed_peer(death: Death) {
    let chat = Chat::new();
    let server = chat.start(support::config("/ip4/127.0.0.1/tcp/0")).await;
    let client = Chat::new().start(support::config("")).await;
    let bridge = Bridge::to(socket_of(&server), death, u64::MAX).await;
    let addr = PeerAddr { endpoint: Endpoint::Tcp(bridge.addr), peer: None };
    let peer = within(SOON, "a session", client.dial(addr)).await.expect("connects");
    assert!(peer.request(Say::new("hello")).await.is_ok());
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let peer = peer.clone();
            tokio::spawn(async move { peer.request(Say::new(".")).await })
        })
        .collect();
    within(SOON, "the questions", chat.until_asked(4)).await;
    bridge.carrying.abort();
    for result in asked {
        let result = within(SOON, "a result", result).await.expect("no panic");
        assert!(matches!(result, Err(RequestError::Disconnected(_))), "{result:?}");
    }
    let told = Told::by(&client, 1000).await;
    let finding = told.only(Cause::Disconnected);
    assert_eq!(told.findings().len(), 1, "{}", told.text());
    assert_eq!(finding.requests_total, 3);
    assert_eq!(finding.peer.as_deref(), Some(&*server.id().to_string()));
    let conn = &told.model.conns[&finding.conn.expect("a connection")];
    let (_, side, reason) = conn.ended.as_ref().expect("it has ended");
    assert_eq!(&**side, "transport");
    assert!(finding.sentence.contains(&format!("({side}: {reason})")), "{}", finding.sentence);
    for life in told.lives(Direction::Outbound, "disconnected") {
        assert!(finding.requests.contains(&life.key.to_string()));
        told.follows(life, &finding);
    }
    client.over().await;
    server.over().await;
}

#[tokio::test]
async fn a_peer_that_dies_is_told_with_side_and_requests() {
    undisturbed(async || {
        a_killed_peer(Death::Fin).await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_resets_is_told_with_side_and_requests() {
    undisturbed(async || {
        a_killed_peer(Death::Rst).await;
    })
    .await;
}

/// A caller that waits no longer is no fault of the peer, however silent that was.
#[tokio::test]
async fn a_caller_that_gave_up_is_named_and_nobody_else() {
    undisturbed(async || {
        let (server, client, peer) = support::two_nodes("/ip4/127.0.0.1/tcp/0").await;
        let waiting = tokio::time::timeout(ms(500), peer.ask::<Blob>(GetBlob(SILENCE, 0)));
        assert!(waiting.await.is_err());
        assert!(ask(&peer, support::ECHO, 5).await.is_ok());
        let told = Told::by(&client, 300).await;
        let finding = told.only(Cause::Caller);
        lasted(&finding, 500);
        assert!(finding.sentence.contains("the caller gave it up after 50"), "{}", finding.sentence);
        assert!(finding.sentence.contains("it had got to written"), "{}", finding.sentence);
        told.follows(told.life(Direction::Outbound, "cancelled"), &finding);
        client.over().await;
        server.over().await;
    })
    .await;
}
