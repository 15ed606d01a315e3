//! Peers that take nothing: neither from the socket, nor from the substream.

use std::net::SocketAddr;

use trunkline::testing::raw_peer::{RawMux, WINDOW_UPDATE, data, frame, message};
use trunkline::trace::Kind;
use trunkline::trace::tools::stuck::Cause;
use trunkline::{Direction, Keypair, Network};

use super::{SOON, Told, lasted, ms, socket_of, undisturbed};
use crate::chat::{AT_LENGTH, CHAT, Chat, HELLO, QUESTION, question};
use crate::support::{self, Over, within};
use crate::trace_lines::recorded;

const STREAM: u32 = 101;

/// A peer that is honest up to its handshake.
async fn hello(addr: SocketAddr) -> RawMux {
    let mut mux = RawMux::connect(addr, &Keypair::generate_ed25519()).await.expect("connects");
    let hello = message(0, HELLO, b"hello");
    mux.open(STREAM, CHAT, &hello).await.expect("sent");
    within(SOON, "a handshake", mux.read_until(STREAM, &hello)).await;
    mux
}

/// Questions with long answers, by number.
async fn ask_at_length(mux: &mut RawMux, numbers: std::ops::RangeInclusive<u64>) {
    let asked = numbers.flat_map(|n| message(n, QUESTION, &question(n, &[AT_LENGTH])));
    mux.send(&data(0, STREAM, &asked.collect::<Vec<u8>>())).await.expect("sent");
}

async fn until(node: &Network, kind: Kind) {
    let blocked = async {
        while !recorded(node).iter().any(|record| record.kind == kind) {
            tokio::time::sleep(ms(5)).await;
        }
    };
    within(SOON, kind.name(), blocked).await;
    tokio::time::sleep(ms(400)).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_socket_is_named() {
    undisturbed(async || {
        let node = Chat::new().start(support::config("/ip4/127.0.0.1/tcp/0")).await;
        let mut mux = hello(socket_of(&node)).await;
        // Room on the substream without end; the socket is what takes no more.
        mux.send(&frame(WINDOW_UPDATE, 0, STREAM, 64 << 20)).await.expect("sent");
        ask_at_length(&mut mux, 1..=30).await;
        until(&node, Kind::SocketBlocked).await;
        let told = Told::by(&node, 300).await;
        let finding = told.only(Cause::PeerNotReading);
        assert_eq!(told.findings().len(), 1, "{}", told.text());
        lasted(&finding, 300);
        assert!(finding.now && finding.sentence.contains("its socket has taken no bytes"), "{finding:#?}");
        let waiting = told.lives(Direction::Inbound, "open");
        assert_eq!(finding.requests_total, waiting.len() as u64);
        told.follows(waiting[0], &finding);
        drop(mux);
        node.over().await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_gives_no_room_on_its_substream_is_named() {
    undisturbed(async || {
        let node = Chat::new().start(support::config("/ip4/127.0.0.1/tcp/0")).await;
        let mut mux = hello(socket_of(&node)).await;
        ask_at_length(&mut mux, 1..=1).await;
        // It reads whatever comes, and gives no credit for it.
        let reading = tokio::spawn(async move { mux.closed().await.is_some() });
        until(&node, Kind::WindowBlocked).await;
        let told = Told::by(&node, 300).await;
        let finding = told.only(Cause::Window);
        lasted(&finding, 300);
        assert!(finding.sentence.contains("no room on the substream of chat"), "{}", finding.sentence);
        let life = told.life(Direction::Inbound, "open");
        assert_eq!(finding.requests, [life.key.to_string()]);
        told.follows(life, &finding);
        reading.abort();
        node.over().await;
    })
    .await;
}

/// Replies that are not taken hold up the requests behind them: one cause, told once.
#[tokio::test]
async fn a_request_behind_replies_that_are_not_taken_waits_for_those() {
    undisturbed(async || {
        let mut config = support::config("/ip4/127.0.0.1/tcp/0");
        config.session.owed_bytes_max = 100_000;
        let node = Chat::new().start(config).await;
        let mut mux = hello(socket_of(&node)).await;
        ask_at_length(&mut mux, 1..=1).await;
        // The first answer has begun: too much is owed from now on.
        while mux.read().await.expect("it goes on").stream != STREAM {}
        ask_at_length(&mut mux, 2..=2).await;
        let reading = tokio::spawn(async move { mux.closed().await.is_some() });
        until(&node, Kind::WindowBlocked).await;
        let told = Told::by(&node, 300).await;
        let finding = told.only(Cause::Window);
        lasted(&finding, 300);
        assert_eq!((told.findings().len(), finding.requests_total), (1, 2), "{}", told.text());
        let behind = told.lives(Direction::Inbound, "open")[1];
        assert_eq!(behind.queued_for.as_deref(), Some("owed"));
        assert!(told.follows(behind, &finding).contains("owed"));
        reading.abort();
        node.over().await;
    })
    .await;
}
