//! Negotiations that never end: of a substream, of a connection, at either end.

use futures::io::AsyncWriteExt;
use tokio::net::TcpListener;
use trunkline::testing::raw_peer::{MULTISTREAM, RawListener, RawSocket, proposal};
use trunkline::trace::tools::stuck::{Cause, Finding};
use trunkline::transport::addr::Endpoint;
use trunkline::{Keypair, Network, PeerAddr};

use super::{SOON, Told, lasted, ms, socket_of, undisturbed};
use crate::chat::{CHAT, Chat};
use crate::scene::{Liar, strict};
use crate::support::{self, Over, within};

#[track_caller]
fn says(findings: &[Finding], what: &str) {
    assert!(findings.iter().any(|finding| finding.sentence.contains(what)), "no {what}: {findings:#?}");
}

/// Waits until a connection of this node has come to nothing.
async fn until_failed(node: &Network) {
    let failed = async {
        while !node.trace().snapshot().await.conns.values().any(|conn| conn.failed.is_some()) {
            tokio::time::sleep(ms(5)).await;
        }
    };
    within(SOON, "the end of the upgrade", failed).await;
}

#[tokio::test]
async fn a_dial_to_a_socket_that_says_nothing_names_the_upgrade() {
    undisturbed(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let mut config = strict();
        config.transport.negotiation_timeout = config.transport.upgrade_timeout;
        let client = Chat::new().start(config).await;
        let dialling = tokio::spawn({
            let (client, endpoint) = (client.clone(), Endpoint::Tcp(addr));
            async move { client.dial(PeerAddr { endpoint, peer: None }).await }
        });
        let (_socket, _) = within(SOON, "a socket", listener.accept()).await.expect("accepted");
        tokio::time::sleep(ms(350)).await;
        let told = Told::by(&client, 200).await;
        let finding = told.only(Cause::Negotiation);
        lasted(&finding, 300);
        assert!(finding.now && finding.conn.is_some() && finding.last_byte_ns.is_none(), "{finding:#?}");
        assert!(finding.sentence.contains("no step of the upgrade is through"), "{}", finding.sentence);
        assert!(finding.sentence.contains(&format!("/tcp/{}", addr.port())), "{}", finding.sentence);
        assert!(within(SOON, "the end", dialling).await.expect("no panic").is_err());
        let told = Told::by(&client, 300).await;
        let finding = told.only(Cause::Negotiation);
        assert!(!finding.now && finding.sentence.contains("never became a session"), "{finding:#?}");
        client.over().await;
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_that_stops_names_the_step_it_had_got_to() {
    undisturbed(async || {
        let node = Chat::new().start(strict()).await;
        let mut socket = RawSocket::connect(socket_of(&node)).await.expect("connects");
        socket.send(&[MULTISTREAM, &proposal("/noise")].concat()).await.expect("sent");
        tokio::time::sleep(ms(400)).await;
        let told = Told::by(&node, 200).await;
        let finding = told.only(Cause::Negotiation);
        lasted(&finding, 300);
        assert!(finding.sentence.contains("the last step was /noise (ok)"), "{}", finding.sentence);
        assert!(finding.last_byte_ns.is_some(), "{finding:#?}");
        until_failed(&node).await;
        let told = Told::by(&node, 300).await;
        let finding = told.only(Cause::Negotiation);
        lasted(&finding, 800);
        assert!(finding.sentence.contains("never became a session"), "{}", finding.sentence);
        assert!(finding.sentence.contains("the last step was "), "{}", finding.sentence);
        assert!(finding.sentence.contains("noise"), "which step: {}", finding.sentence);
        node.over().await;
    })
    .await;
}

#[tokio::test]
async fn a_substream_that_is_never_negotiated_names_what_was_proposed() {
    undisturbed(async || {
        let us = Keypair::generate_ed25519().public().to_peer_id();
        let mut listener = RawListener::memory(us).expect("a port");
        let client = Chat::new().start(support::config("")).await;
        let dialling = tokio::spawn({
            let (client, endpoint) = (client.clone(), listener.endpoint());
            async move { client.dial(PeerAddr { endpoint, peer: None }).await }
        });
        let mut connection = within(SOON, "a connection", listener.accept()).await.expect("accepted");
        let mut substreams = Vec::new();
        substreams.push(within(SOON, "a substream", connection.accept()).await.expect("opened"));
        tokio::time::sleep(ms(400)).await;
        let told = Told::by(&client, 200).await;
        let finding = told.only(Cause::Negotiation);
        lasted(&finding, 300);
        assert!(finding.now && finding.peer.as_deref() == Some(&*us.to_string()), "{finding:#?}");
        says(&told.findings(), "no protocols agreed on");
        says(&told.findings(), CHAT);
        drop(connection);
        drop(within(SOON, "the end", dialling).await);
        client.over().await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_opens_a_substream_and_proposes_nothing_is_named() {
    undisturbed(async || {
        let node = Chat::new().start(support::config("/ip4/127.0.0.1/tcp/0")).await;
        let liar = Liar::connect(socket_of(&node)).await;
        let (us, mut connection) = (liar.id, liar.connection);
        let mut io = connection.open().await.expect("a substream");
        io.write_all(MULTISTREAM).await.expect("sent");
        io.flush().await.expect("sent");
        // Whatever the node asks for is refused at once.
        let refusing = tokio::spawn(async move { while connection.accept().await.is_some() {} });
        tokio::time::sleep(ms(400)).await;
        let told = Told::by(&node, 200).await;
        let finding = told.only(Cause::Negotiation);
        lasted(&finding, 300);
        assert!(finding.now && finding.peer.as_deref() == Some(&*us.to_string()), "{finding:#?}");
        says(&told.findings(), "a substream with peer");
        says(&told.findings(), "the peer opened it and has proposed nothing");
        refusing.abort();
        node.over().await;
    })
    .await;
}
