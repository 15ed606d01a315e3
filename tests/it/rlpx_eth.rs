//! eth over devp2p's wire against a raw peer: what geth.md section 4 says a strict peer answers.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use bytes::{Bytes, BytesMut};
use trunkline::chain::{BlockRef, ChainSpec};
use trunkline::protocols::eth::{BlockRangeUpdate, Eth, Status, StatusClaim, code};
use trunkline::sync::MemoryStore;
use trunkline::testing::rlpx::RawRlpx;
use trunkline::transport::addr::Endpoint;
use trunkline::transport::rlpx::{NodeId, NodeKey, p2p};
use trunkline::wire::{Encode, reason, snappy};
use trunkline::{Keypair, Network};

use crate::support::{Over, config, within};

const LISTEN: &str = "/ip4/127.0.0.1/tcp/0/rlpx";
const SOON: Duration = Duration::from_secs(10);
const ETH: u16 = p2p::BASE;

async fn node() -> Network {
    let store = Arc::new(MemoryStore::new(Arc::new(ChainSpec::mainnet())));
    let eth = Eth::new(store);
    let mut config = config(LISTEN);
    config.session.status_timeout = Duration::from_millis(300);
    let builder = Network::builder(config, Keypair::generate_secp256k1());
    builder.exchange(eth).start().await.expect("starts")
}

/// A raw peer, both Hellos through, and the Status of the node.
async fn met(node: &Network, capabilities: &[(&str, u32)]) -> (RawRlpx, Status) {
    let key = NodeKey::of(&Keypair::generate_secp256k1()).expect("a secp256k1 key");
    let Endpoint::Rlpx(addr) = node.listening()[0].endpoint else { panic!("not devp2p") };
    let id = NodeId::of_peer(&node.id()).expect("a secp256k1 key");
    let mut raw = RawRlpx::dial(addr, &key, id).await.expect("a handshake");
    let hello = raw.hello(capabilities);
    raw.greet(&hello).await.expect("a Hello");
    let (id, body) = next(&mut raw).await.expect("a Status");
    assert_eq!(id, ETH);
    (raw, Status::from_body(&body).expect("a Status"))
}

async fn next(raw: &mut RawRlpx) -> Option<(u16, Bytes)> {
    within(SOON, "a message", raw.receive()).await.expect("a message or the end")
}

async fn send(raw: &mut RawRlpx, code: u8, message: &impl Encode) {
    let mut plain = BytesMut::new();
    message.encode(&mut plain);
    raw.send_compressed(ETH + u16::from(code), &plain).await.expect("sent");
}

/// The very next message is a Disconnect: its reason.
async fn refused(raw: &mut RawRlpx) -> Option<u8> {
    match next(raw).await {
        Some((p2p::DISCONNECT, body)) => Some(reason::decode(&body)),
        other => panic!("not a Disconnect: {other:?}"),
    }
}

/// A Status that the node agrees with.
async fn agreed(node: &Network, version: u32) -> RawRlpx {
    let (mut raw, status) = met(node, &[("eth", version)]).await;
    assert_eq!(status.version, version);
    send(&mut raw, code::STATUS, &status).await;
    raw
}

/// G1: a Status of another chain, version, fork or range.
#[tokio::test]
async fn a_status_that_disagrees_is_answered_with_a_disconnect() {
    type Change = fn(&mut Status);
    let cases: [(Change, u8); 5] = [
        (|status| status.network_id += 1, 0x10),
        (|status| status.genesis = B256::repeat_byte(1), 0x10),
        (|status| status.fork_id.hash.0[0] ^= 1, 0x10),
        (|status| status.version -= 1, 0x06),
        (|status| status.claim = StatusClaim::Range { earliest: 2, latest: 1 }, 0x02),
    ];
    let node = node().await;
    for (index, (change, reason)) in cases.into_iter().enumerate() {
        let (mut raw, mut status) = met(&node, &[("eth", 68), ("eth", 69), ("eth", 70)]).await;
        assert_eq!(status.version, 70, "the highest that both have");
        change(&mut status);
        send(&mut raw, code::STATUS, &status).await;
        let said = refused(&mut raw).await;
        // A version below has another form of receipts, not of Status: it is malformed or incompatible.
        assert!(said == Some(reason) || index == 3 && said == Some(0x02), "{index}: {said:?}");
    }
    node.over().await;
}

/// G2: no Status in time, and anything else before it.
#[tokio::test]
async fn a_status_that_is_missing_or_late_ends_it() {
    let node = node().await;
    let (mut late, _) = met(&node, &[("eth", 69)]).await;
    assert_eq!(refused(&mut late).await, Some(0x0b));
    let (mut early, status) = met(&node, &[("eth", 69)]).await;
    // GetBlockHeaders with id 7: c607c401028080.
    let question = [0xc6, 0x07, 0xc4, 0x01, 0x02, 0x80, 0x80];
    early.send_compressed(ETH + u16::from(code::GET_BLOCK_HEADERS), &question).await.expect("sent");
    assert_eq!(refused(&mut early).await, Some(0x02));
    let (mut twice, _) = met(&node, &[("eth", 69)]).await;
    send(&mut twice, code::STATUS, &status).await;
    send(&mut twice, code::STATUS, &status).await;
    assert_eq!(refused(&mut twice).await, Some(0x02));
    node.over().await;
}

/// E8: codes that the version does not have, and those of a capability that is not shared.
#[tokio::test]
async fn codes_are_those_of_the_negotiated_version() {
    let node = node().await;
    for (version, code) in [(68, code::BLOCK_RANGE_UPDATE), (69, 0x12), (70, 0x0d), (70, 0x12)] {
        let mut raw = agreed(&node, version).await;
        raw.send_compressed(ETH + u16::from(code), &[0xc0]).await.expect("sent");
        assert_eq!(refused(&mut raw).await, Some(0x02), "eth/{version} {code:#x}");
    }
    // snap/1 behind eth/69 would be 0x22: it is not shared, so the id is nobody's.
    let (mut raw, status) = met(&node, &[("eth", 69), ("snap", 1)]).await;
    send(&mut raw, code::STATUS, &status).await;
    raw.send_compressed(0x22, &[0xc0]).await.expect("sent");
    assert_eq!(refused(&mut raw).await, Some(0x02));
    node.over().await;
}

/// The message behind a range that cannot be is the Disconnect, and nothing else.
#[tokio::test]
async fn a_range_that_cannot_be_is_answered_with_a_disconnect() {
    let node = node().await;
    let hash = B256::repeat_byte(7);
    for (earliest, latest, hash) in [(10, 8, hash), (0, 8, B256::ZERO)] {
        let mut raw = agreed(&node, 69).await;
        let range = BlockRangeUpdate { earliest, latest: BlockRef { number: latest, hash } };
        send(&mut raw, code::BLOCK_RANGE_UPDATE, &range).await;
        assert_eq!(refused(&mut raw).await, Some(0x02), "{earliest}..{latest}");
    }
    // One beyond our head is the peer's own business.
    let mut raw = agreed(&node, 69).await;
    let range = BlockRangeUpdate { earliest: 0, latest: BlockRef { number: 600, hash } };
    send(&mut raw, code::BLOCK_RANGE_UPDATE, &range).await;
    raw.send_compressed(p2p::PING, &[0xc0]).await.expect("sent");
    assert_eq!(next(&mut raw).await, Some((p2p::PONG, snappy::compress(&[0xc0]))));
    node.over().await;
}

/// Undecodable RLP in a question, an empty list of transactions, the same request id twice.
#[tokio::test]
async fn questions_are_read_strictly_and_ids_are_the_peers_own() {
    let node = node().await;
    let headers = ETH + u16::from(code::GET_BLOCK_HEADERS);
    for junk in [&[0xc7, 0x07, 0xc4, 0x01][..], &[0x80], &[0xc6, 0x07, 0xc4, 0x01, 0x02, 0x80, 0x02]] {
        let mut raw = agreed(&node, 70).await;
        raw.send_compressed(headers, junk).await.expect("sent");
        assert_eq!(refused(&mut raw).await, Some(0x02), "{junk:02x?}");
    }
    let mut raw = agreed(&node, 70).await;
    raw.send_compressed(ETH + u16::from(code::TRANSACTIONS), &[0xc0]).await.expect("sent");
    let question = [0xc6, 0x07, 0xc4, 0x80, 0x01, 0x80, 0x80];
    for _ in 0..2 {
        raw.send_compressed(headers, &question).await.expect("sent");
    }
    for _ in 0..2 {
        let (id, answer) = next(&mut raw).await.expect("an answer");
        assert_eq!(id, ETH + u16::from(code::BLOCK_HEADERS));
        let plain = snappy::inflate(&answer, 1 << 20).expect("snappy");
        assert_eq!(plain[3], 0x07, "the id that was asked with");
    }
    node.over().await;
}
