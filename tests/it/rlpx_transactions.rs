//! Transactions over devp2p's wire against raw peers: the cases that geth's `devp2p rlpx eth-test` has.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use bytes::{BufMut, Bytes, BytesMut};
use trunkline::offload::BlockingThreads;
use trunkline::protocols::Request;
use trunkline::protocols::eth::{
    Eth, GetPooledTransactions, NewPooledTransactionHashes, PooledHash, PooledTransaction, RawTransactions,
    Status, code, inflate,
};
use trunkline::testing::rlpx::RawRlpx;
use trunkline::transactions::{EthPeers, Transactions, TransactionsConfig, TransactionsHandle};
use trunkline::transport::addr::Endpoint;
use trunkline::transport::rlpx::{NodeId, NodeKey, p2p};
use trunkline::wire::rlp::List;
use trunkline::wire::{Encode, decode_all, reason, rlp, snappy};
use trunkline::{Keypair, Network};

use crate::support::{Over, config, within};
use crate::transactions::{Pool, fields, store, transaction, transactions, with_blob};

const SOON: Duration = Duration::from_secs(10);
const ETH: u16 = p2p::BASE;
const BAD_DATA: u8 = 0x02;

struct Node {
    network: Network,
    pool: Arc<Pool>,
    handle: TransactionsHandle,
}

impl Node {
    async fn start() -> Self {
        let pool = Arc::new(Pool::default());
        let eth = Eth::builder(store()).pool(pool.clone()).build();
        let builder = Network::builder(config("/ip4/127.0.0.1/tcp/0/rlpx"), Keypair::generate_secp256k1());
        let network = builder.exchange(eth.clone()).start().await.expect("starts");
        let source = Arc::new(EthPeers::new(network.peer_table(), eth));
        let config = TransactionsConfig::default();
        let service = Transactions::new(source, pool.clone(), Arc::new(BlockingThreads), config);
        let handle = service.handle();
        tokio::spawn(service.run());
        Self { network, pool, handle }
    }

    async fn added(&self, count: u64) {
        let mut counts = self.handle.subscribe();
        within(SOON, "what was delivered", counts.wait_for(|counts| counts.added == count))
            .await
            .expect("runs");
    }
}

/// A raw peer that has sent and received a Status.
struct Raw(RawRlpx);

impl Raw {
    async fn meet(node: &Node) -> Self {
        let key = NodeKey::of(&Keypair::generate_secp256k1()).expect("a secp256k1 key");
        let Endpoint::Rlpx(addr) = node.network.listening()[0].endpoint else { panic!("not devp2p") };
        let id = NodeId::of_peer(&node.network.id()).expect("a secp256k1 key");
        let mut raw = Self(RawRlpx::dial(addr, &key, id).await.expect("a handshake"));
        let hello = raw.0.hello(&[("eth", 69)]);
        raw.0.greet(&hello).await.expect("a Hello");
        let body = raw.next(code::STATUS).await;
        let status = Status::from_body(&body).expect("a Status");
        raw.send(code::STATUS, &status).await;
        raw
    }

    async fn send(&mut self, code: u8, message: &impl Encode) {
        let mut plain = BytesMut::new();
        message.encode(&mut plain);
        self.0.send_compressed(ETH + u16::from(code), &plain).await.expect("sent");
    }

    async fn announce(&mut self, hashes: Vec<PooledHash>) {
        self.send(code::NEW_POOLED_TRANSACTION_HASHES, &NewPooledTransactionHashes(hashes)).await;
    }

    /// The body of the very next message, which has this code.
    async fn next(&mut self, code: u8) -> Bytes {
        match within(SOON, "a message", self.0.receive()).await.expect("a message or the end") {
            Some((id, body)) if id == ETH + u16::from(code) => body,
            other => panic!("not {}: {other:?}", code::name(code).unwrap_or("it")),
        }
    }

    /// The very next message is a question for these: its id.
    async fn asked_for(&mut self, hashes: &[B256]) -> u64 {
        let plain = inflate(&self.next(code::GET_POOLED_TRANSACTIONS).await).expect("snappy");
        let mut fields = List::whole(&plain).expect("a list");
        let id = fields.item().and_then(|item| item.u64()).expect("an id");
        let mut items = fields.item().and_then(|item| item.list()).expect("a list");
        let mut asked = Vec::new();
        while let Some(item) = items.next_item().expect("an item") {
            asked.push(B256::from(item.fixed::<32>().expect("a hash")));
        }
        assert_eq!(asked, hashes);
        id
    }

    /// Answers with transactions in the form of a pool, or whatever is given for one.
    async fn answer(&mut self, id: u64, encoded: &[Bytes]) {
        let mut items = BytesMut::new();
        encoded.iter().for_each(|one| rlp::put_bytes(one, &mut items));
        let mut plain = BytesMut::new();
        rlp::put_list_head(rlp::u64_len(id) + rlp::item_len(items.len()), &mut plain);
        rlp::put_u64(id, &mut plain);
        rlp::put_list_head(items.len(), &mut plain);
        plain.put_slice(&items);
        let code = ETH + u16::from(code::POOLED_TRANSACTIONS);
        self.0.send_compressed(code, &plain).await.expect("sent");
    }

    /// The very next message is a Disconnect: its reason.
    async fn refused(&mut self) -> u8 {
        match within(SOON, "a message", self.0.receive()).await.expect("a message or the end") {
            Some((p2p::DISCONNECT, body)) => reason::decode(&body),
            other => panic!("not a Disconnect: {other:?}"),
        }
    }
}

fn hashes(transactions: &[PooledTransaction]) -> Vec<B256> {
    transactions.iter().map(|transaction| transaction.hash).collect()
}

fn encoded(transactions: &[PooledTransaction]) -> Vec<Bytes> {
    transactions.iter().map(|transaction| transaction.encoded.clone()).collect()
}

fn said(transactions: &[PooledTransaction]) -> Vec<PooledHash> {
    transactions.iter().map(PooledTransaction::announcement).collect()
}

/// Announced ones are asked for in one question; broadcast ones reach others whole or by hash; all of
/// them can be asked for.
#[tokio::test]
async fn transactions_are_fetched_handed_on_and_served() {
    let node = Node::start().await;
    let mut first = Raw::meet(&node).await;
    let mut second = Raw::meet(&node).await;
    let announced = transactions(0..50);
    first.announce(said(&announced)).await;
    let id = first.asked_for(&hashes(&announced)).await;
    first.answer(id, &encoded(&announced)).await;
    let got: RawTransactions = decode_all(inflate(&second.next(code::TRANSACTIONS).await).unwrap()).unwrap();
    assert_eq!(got.0, announced, "of two peers one gets them whole");

    let sent = transactions(50..60);
    second.send(code::TRANSACTIONS, &RawTransactions(sent.clone())).await;
    let got: RawTransactions = decode_all(inflate(&first.next(code::TRANSACTIONS).await).unwrap()).unwrap();
    assert_eq!(got.0, sent);

    let blob = with_blob(99, 0);
    second.announce(said(std::slice::from_ref(&blob))).await;
    let id = second.asked_for(&[blob.hash]).await;
    second.answer(id, std::slice::from_ref(&blob.encoded)).await;
    let told = inflate(&first.next(code::NEW_POOLED_TRANSACTION_HASHES).await).unwrap();
    let told: NewPooledTransactionHashes = decode_all(told).unwrap();
    assert_eq!(told.0, said(std::slice::from_ref(&blob)), "by hash only");

    let wanted = [sent[3].hash, B256::repeat_byte(1), blob.hash, announced[7].hash];
    let question = GetPooledTransactions::new(wanted.to_vec());
    let body = question.encode(69, 7);
    let code = ETH + u16::from(code::GET_POOLED_TRANSACTIONS);
    first.0.send(code, &body).await.expect("sent");
    let answer = first.next(code::POOLED_TRANSACTIONS).await;
    let answer = question.decode_answer(69, answer).expect("an answer");
    assert_eq!(answer, [sent[3].clone(), blob, announced[7].clone()]);
    node.network.over().await;
}

/// Of two announced blob transactions both are delivered, whatever was asked for: the second is
/// larger than announced, or the first of another type.
#[tokio::test]
async fn a_violation_is_answered_with_a_disconnect_and_nothing_before_it() {
    let node = Node::start().await;
    let pair = [with_blob(1, 0), with_blob(2, 0)];
    for wrong_type in [false, true] {
        let mut announced = said(&pair);
        match wrong_type {
            false => announced[1].size += 10,
            true => announced[0].kind = 2,
        }
        let mut raw = Raw::meet(&node).await;
        raw.announce(announced).await;
        let id = raw.asked_for(&[pair[0].hash]).await;
        raw.answer(id, &encoded(&pair)).await;
        assert_eq!(raw.refused().await, BAD_DATA);
    }
    // Blob transactions are never sent unasked.
    let mut raw = Raw::meet(&node).await;
    raw.send(code::TRANSACTIONS, &RawTransactions(vec![with_blob(3, 0)])).await;
    assert_eq!(raw.refused().await, BAD_DATA);
    node.network.over().await;
}

/// The bad peer announces and is asked, the good one announces, the bad one delivers: it is
/// disconnected, and the good one is asked.
#[tokio::test]
async fn bad_blobs_end_the_session_and_the_good_ones_come_from_another_peer() {
    let node = Node::start().await;
    for (nonce, mangled) in [(1, false), (2, true)] {
        let good = with_blob(nonce, 0);
        let bad = match mangled {
            true => with_blob(nonce, 0xff).encoded,
            false => Bytes::from([vec![3], fields(nonce, 14)].concat()),
        };
        let (mut liar, mut honest) = (Raw::meet(&node).await, Raw::meet(&node).await);
        if nonce > 1 {
            // Who comes is told what is there.
            liar.next(code::NEW_POOLED_TRANSACTION_HASHES).await;
            honest.next(code::NEW_POOLED_TRANSACTION_HASHES).await;
        }
        liar.announce(vec![PooledHash { size: bad.len() as u64, ..good.announcement() }]).await;
        let id = liar.asked_for(&[good.hash]).await;
        honest.announce(vec![good.announcement()]).await;
        let mut counts = node.handle.subscribe();
        let heard = 3 * u64::from(nonce) - 1;
        within(SOON, "both", counts.wait_for(|counts| counts.heard == heard)).await.expect("it runs");
        liar.answer(id, &[bad]).await;
        assert_eq!(liar.refused().await, BAD_DATA);
        let id = honest.asked_for(&[good.hash]).await;
        honest.answer(id, std::slice::from_ref(&good.encoded)).await;
        node.added(2 * u64::from(nonce) - 1).await;
        assert!(node.pool.holds(std::slice::from_ref(&good)));
        // It stays.
        let next = transaction(100 + nonce);
        honest.announce(vec![next.announcement()]).await;
        let id = honest.asked_for(&[next.hash]).await;
        honest.answer(id, std::slice::from_ref(&next.encoded)).await;
        node.added(2 * u64::from(nonce)).await;
    }
    node.network.over().await;
}

/// Two thousand in one message, and then asked for by another peer.
#[tokio::test]
async fn two_thousand_transactions_go_through_in_one_message() {
    let node = Node::start().await;
    let (mut from, mut to) = (Raw::meet(&node).await, Raw::meet(&node).await);
    let all = transactions(0..2_000);
    from.send(code::TRANSACTIONS, &RawTransactions(all.clone())).await;
    node.added(2_000).await;
    let mut got = Vec::new();
    while got.len() < all.len() {
        let message = inflate(&to.next(code::TRANSACTIONS).await).unwrap();
        assert!(message.len() < 128 * 1024, "{} bytes", message.len());
        got.extend(decode_all::<RawTransactions>(message).unwrap().0);
    }
    assert_eq!(got, all);
    let question = GetPooledTransactions::new(hashes(&all));
    let id = ETH + u16::from(code::GET_POOLED_TRANSACTIONS);
    // Twice the number of an answer's items.
    let mut plain = BytesMut::new();
    let list: Vec<u8> = hashes(&all).iter().flat_map(|hash| [&[0xa0][..], &hash[..]].concat()).collect();
    rlp::put_list_head(1 + rlp::item_len(list.len()), &mut plain);
    rlp::put_u64(9, &mut plain);
    rlp::put_list_head(list.len(), &mut plain);
    plain.put_slice(&list);
    to.0.send(id, &snappy::compress(&plain)).await.expect("sent");
    let answer = to.next(code::POOLED_TRANSACTIONS).await;
    assert_eq!(question.decode_answer(69, answer).expect("an answer"), all[..1_024]);
    node.network.over().await;
}
