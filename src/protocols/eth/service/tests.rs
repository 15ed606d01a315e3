//! The eth service against a session that is played by the test.

use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_eip2124::{ForkHash, ForkId};

use super::super::chain::ChainStatus;
use super::super::fixtures::{
    FakeChain, FakeOutlet, blob_transaction, elsewhere, list_of, peer, pooled_transactions, raw_block,
    transactions,
};
use super::super::gossip::Transactions;
use super::super::message::Transaction;
use super::super::query::{GetBlockHeaders, GetPooledTransactions, HashOrNumber, encode_headers};
use super::super::status::StatusClaim;
use super::*;
use crate::offload::{Inline, Job};
use crate::protocols::Request;
use crate::wire::fixtures::Junk;
use crate::wire::{DecodeError, Encode};

/// Runs jobs in place and counts them.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Offload for Counted {
    fn start(&self, job: Job) {
        self.0.fetch_add(1, Ordering::Relaxed);
        job();
    }
}

pub(super) fn eth(chain: FakeChain) -> (Arc<Eth>, Arc<FakeChain>) {
    let chain = Arc::new(chain);
    (Eth::builder(chain.clone()).offload(Arc::new(Inline)).build(), chain)
}

pub(super) fn body(message: &impl Encode) -> Bytes {
    payload(0, message).body
}

/// A Status that agrees with the chain, for a version.
pub(super) fn status(chain: &FakeChain, version: u32) -> Status {
    Status::of(chain, version)
}

/// Brings a peer up on a service.
pub(super) fn join(
    eth: &Eth,
    chain: &FakeChain,
    number: u8,
    version: u32,
) -> (protocols::From, Arc<FakeOutlet>) {
    let from = protocols::From { version, ..peer(number) };
    let outlet = Arc::new(FakeOutlet::default());
    eth.on_up(from, Direction::Inbound, Some(body(&status(chain, version))), outlet.clone());
    (from, outlet)
}

async fn tell(
    eth: &Arc<Eth>,
    from: protocols::From,
    code: u8,
    message: &impl Encode,
) -> Result<(), ServeError> {
    eth.clone().on_message(from, payload(code, message)).await
}

#[test]
fn our_own_status_is_accepted_and_the_highest_version_is_proposed_first() {
    let (eth, _) = eth(FakeChain::of(5));
    let names: Vec<_> = eth.ids().iter().map(|(id, version)| (id.as_str(), *version)).collect();
    assert_eq!(names, [("/eth/70/1.0.0", 70), ("/eth/69/1.0.0", 69), ("/eth/68/1.0.0", 68)]);
    for (_, version) in eth.ids() {
        let ours = eth.handshake(*version).unwrap();
        assert_eq!(ours.code, code::STATUS);
        assert_eq!(eth.accept(*version, ours.body), Ok(()));
    }
}

#[test]
fn versions_can_be_left_out_and_the_others_keep_their_order() {
    for wanted in [vec![68], vec![69, 68], vec![70, 68], vec![70, 69, 68]] {
        let speaks = |version| wanted.contains(&version);
        let eth = Eth::builder(Arc::new(FakeChain::of(1))).versions(speaks).build();
        let versions: Vec<_> = eth.ids().iter().map(|(_, version)| *version).collect();
        assert_eq!(versions, wanted);
    }
}

/// caps/eth.md: BlockRangeUpdate is the message that eth/69 has more.
#[test]
fn a_version_takes_as_many_codes_of_rlpx_as_it_has_messages() {
    let (eth, _) = eth(FakeChain::of(1));
    for (version, messages) in [(68, 17), (69, 18), (70, 18)] {
        assert_eq!(eth.capability(version), Some(Capability { name: "eth", version, messages }));
    }
}

/// G1: a reason for each way in which a Status disagrees.
#[test]
fn a_status_that_disagrees_is_refused_for_its_own_reason() {
    let (eth, chain) = eth(FakeChain::of(5));
    let refusal = |version, change: &dyn Fn(&mut Status)| {
        let mut theirs = status(&chain, version);
        change(&mut theirs);
        eth.accept(version, body(&theirs))
    };
    for version in [68, 69, 70] {
        let fork_id = ForkId { hash: ForkHash([1, 2, 3, 4]), next: 0 };
        assert_eq!(refusal(version, &|_| {}), Ok(()));
        assert_eq!(refusal(version, &|s| s.network_id += 1), Err(DisconnectReason::NetworkMismatch));
        assert_eq!(refusal(version, &|s| s.genesis = B256::ZERO), Err(DisconnectReason::GenesisMismatch));
        assert_eq!(refusal(version, &|s| s.fork_id = fork_id), Err(DisconnectReason::ForkMismatch));
    }
    let range = |earliest, latest| move |s: &mut Status| s.claim = StatusClaim::Range { earliest, latest };
    assert_eq!(refusal(69, &range(6, 5)), Err(DisconnectReason::InvalidRange));
    assert_eq!(refusal(69, &range(5, 5)), Ok(()));
    assert_eq!(refusal(69, &|s| s.version = 70), Err(DisconnectReason::IncompatibleVersion));
    assert_eq!(eth.accept(69, body(&status(&chain, 68))), Err(DisconnectReason::IncompatibleVersion));
    assert_eq!(eth.accept(68, body(&status(&chain, 69))), Err(DisconnectReason::IncompatibleVersion));
    let malformed = Err(DisconnectReason::Breach(Breach::Malformed));
    assert_eq!(eth.accept(69, snappy::compress(&[0xc0])), malformed);
    let corrupt = Err(DisconnectReason::Breach(Breach::Compression));
    assert_eq!(eth.accept(69, Bytes::from_static(&[9, 0, 0])), corrupt);
}

#[tokio::test]
async fn peers_come_and_go_with_their_claims() {
    let (eth, chain) = eth(FakeChain::of(5));
    let mut events = eth.subscribe();
    let (old, _) = join(&eth, &chain, 1, 68);
    let (new, _) = join(&eth, &chain, 2, 69);
    let peers = eth.peers();
    assert_eq!(peers.iter().map(|peer| peer.session).collect::<Vec<_>>(), [old.session, new.session]);
    assert_eq!((peers[0].claim.latest, peers[0].claim.total_difficulty), (None, Some(U256::from(6))));
    assert_eq!((peers[1].claim.latest, peers[1].claim.earliest), (Some(5), Some(0)));
    eth.on_down(old, Disconnected::lost());
    eth.on_down(old, Disconnected::lost());
    assert_eq!(eth.peers(), peers[1..]);
    for expected in ["PeerUp", "PeerUp", "PeerDown"] {
        let event = format!("{:?}", events.try_next().unwrap());
        assert!(event.starts_with(expected), "{event}");
    }
    assert!(events.try_next().is_none());
}

#[test]
fn a_peer_without_a_status_is_turned_away() {
    let (eth, _) = eth(FakeChain::of(1));
    let outlet = Arc::new(FakeOutlet::default());
    eth.on_up(peer(1), Direction::Outbound, None, outlet.clone());
    let reason = DisconnectReason::Breach(Breach::StatusMissing);
    assert_eq!(*outlet.ended.lock().unwrap(), [reason]);
    assert_eq!(eth.peers(), []);
}

#[tokio::test]
async fn an_announced_block_reaches_every_peer_that_lacks_it_as_the_same_bytes() {
    let (eth, chain) = eth(FakeChain::of(5));
    let before = chain.block(4).block_ref();
    chain.set(|status| status.latest = before);
    let outlets = [join(&eth, &chain, 1, 68).1, join(&eth, &chain, 2, 69).1];
    assert_eq!(eth.announce_block(chain.block(5), U256::from(6)), 2);
    let [first, second] = outlets.map(|outlet| outlet.sent.lock().unwrap().remove(0));
    assert_eq!(first, second);
    assert_eq!(first.body.as_ptr(), second.body.as_ptr());

    let mut events = eth.subscribe();
    let from = protocols::From { version: 69, ..peer(2) };
    eth.clone().on_message(from, first).await.unwrap();
    let Some(EthEvent::NewBlock { block, total_difficulty, .. }) = events.try_next() else {
        panic!("no block")
    };
    assert_eq!((&block, total_difficulty), (chain.block(5), U256::from(6)));
    assert_eq!(eth.peers()[1].claim.latest, Some(5));
    assert_eq!(eth.announce_block(chain.block(5), U256::from(6)), 1, "the second one has sent it");
}

/// Blocks are no longer announced once the merge is behind us; a peer that does is in breach.
#[tokio::test]
async fn past_the_merge_blocks_are_neither_announced_nor_taken() {
    let (eth, chain) = eth(FakeChain::of(5));
    let (from, outlet) = join(&eth, &chain, 1, 68);
    let hashes = NewBlockHashes(vec![elsewhere(6)]);
    assert_eq!(tell(&eth, from, code::NEW_BLOCK_HASHES, &hashes).await, Ok(()));
    chain.set(|status| status.merged = true);
    let breach = Err(ServeError::Breach(Breach::Unexpected));
    assert_eq!(tell(&eth, from, code::NEW_BLOCK_HASHES, &hashes).await, breach);
    let block = NewBlock { block: raw_block(6, 0), total_difficulty: U256::from(7) };
    assert_eq!(tell(&eth, from, code::NEW_BLOCK, &block).await, breach);
    assert_eq!(eth.announce_block(chain.block(5), U256::from(6)), 0);
    assert!(outlet.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_range_is_announced_from_eth_69_on_when_it_is_due() {
    let (eth, chain) = eth(FakeChain::of(5));
    let (_, old) = join(&eth, &chain, 1, 68);
    let (_, new) = join(&eth, &chain, 2, 69);
    let (_, newest) = join(&eth, &chain, 3, 70);
    let move_to = |number| chain.set(|status: &mut ChainStatus| status.latest = elsewhere(number));
    for (number, due) in [(36, 0), (37, 2), (68, 0), (69, 2), (68, 2), (68, 0)] {
        move_to(number);
        assert_eq!(eth.announce_range_if_due(), due, "at {number}");
    }
    assert_eq!(eth.announce_range(), 2);
    assert!(old.sent.lock().unwrap().is_empty());
    for outlet in [new, newest] {
        let sent = outlet.sent.lock().unwrap();
        assert_eq!(sent.len(), 4);
        assert!(sent.iter().all(|message| message.code == code::BLOCK_RANGE_UPDATE));
    }
}

/// devp2p section 9: the session ends and the claim stays as it was.
#[tokio::test]
async fn an_invalid_range_ends_the_session_and_changes_nothing() {
    let (eth, chain) = eth(FakeChain::of(5));
    let (from, _) = join(&eth, &chain, 1, 69);
    let before = eth.peers();
    let refused = Err(ServeError::Disconnect(DisconnectReason::InvalidRange));
    let mut range = BlockRangeUpdate { earliest: 8, latest: elsewhere(7) };
    assert_eq!(tell(&eth, from, code::BLOCK_RANGE_UPDATE, &range).await, refused);
    range = BlockRangeUpdate { earliest: 0, latest: crate::chain::BlockRef { number: 7, hash: B256::ZERO } };
    assert_eq!(tell(&eth, from, code::BLOCK_RANGE_UPDATE, &range).await, refused);
    assert_eq!(eth.peers(), before);
    range = BlockRangeUpdate { earliest: 7, latest: elsewhere(7) };
    assert_eq!(tell(&eth, from, code::BLOCK_RANGE_UPDATE, &range).await, Ok(()));
    assert_eq!(eth.peers()[0].claim.latest, Some(7));
}

#[tokio::test]
async fn transactions_and_their_hashes_reach_the_subscribers() {
    let (eth, chain) = eth(FakeChain::of(5));
    let (from, _) = join(&eth, &chain, 1, 69);
    let mut events = eth.subscribe();
    let sent = Transactions(transactions(4));
    tell(&eth, from, code::TRANSACTIONS, &sent).await.unwrap();
    let Some(EthEvent::Transactions { transactions, .. }) = events.try_next() else { panic!("none") };
    let hashes = |of: &[Transaction]| of.iter().map(|one| *one.tx_hash()).collect::<Vec<_>>();
    assert_eq!(transactions.iter().map(|one| one.hash).collect::<Vec<_>>(), hashes(&sent.0));
    let hash = PooledHash { kind: 3, size: 131_072, hash: B256::repeat_byte(1) };
    tell(&eth, from, code::NEW_POOLED_TRANSACTION_HASHES, &NewPooledTransactionHashes(vec![hash]))
        .await
        .unwrap();
    let Some(EthEvent::PooledHashes { hashes, .. }) = events.try_next() else { panic!("none") };
    assert_eq!(hashes[..], [hash]);
}

#[tokio::test]
async fn blobs_are_not_broadcast() {
    let (eth, chain) = eth(FakeChain::of(5));
    let (from, _) = join(&eth, &chain, 1, 69);
    let _events = eth.subscribe();
    let sent = Transactions(vec![blob_transaction()]);
    let refused = Err(ServeError::Breach(Breach::Unexpected));
    assert_eq!(tell(&eth, from, code::TRANSACTIONS, &sent).await, refused);
}

/// E7, E8, E3 as a session sees them.
#[tokio::test]
async fn what_is_malformed_is_a_fault_of_its_kind() {
    let (eth, _) = eth(FakeChain::of(5));
    let mut events = eth.subscribe();
    let tell = |code, body| eth.clone().on_message(peer(1), Payload { code, body });
    let bomb = Bytes::from_static(&[0x81, 0x80, 0x80, 0x08, 0x00, 0xc0]);
    assert_eq!(tell(code::TRANSACTIONS, bomb.clone()).await, Err(ServeError::Breach(Breach::TooLarge)));
    let corrupt = Bytes::from_static(&[4, 0, 1]);
    assert_eq!(tell(code::TRANSACTIONS, corrupt).await, Err(ServeError::Breach(Breach::Compression)));
    let trailing = snappy::compress(&[0xc0, 0xc0]);
    let malformed = Err(ServeError::Malformed(DecodeError::Trailing));
    assert_eq!(tell(code::TRANSACTIONS, trailing).await, malformed);
    let unknown = Err(ServeError::Breach(Breach::UnknownCode));
    assert_eq!(tell(0x7e, snappy::compress(&[0xc0])).await, unknown);
    assert!(events.try_next().is_none());

    let serve = |code, body| eth.clone().serve(peer(1), Payload { code, body });
    assert_eq!(serve(code::GET_RECEIPTS, bomb).await, Err(ServeError::Breach(Breach::TooLarge)));
    let not_a_question = snappy::compress(&[0xc0]);
    let truncated = Err(ServeError::Malformed(DecodeError::Truncated));
    assert_eq!(serve(code::GET_RECEIPTS, not_a_question).await, truncated);
}

#[tokio::test]
async fn large_answers_and_messages_go_through_the_offload_and_small_ones_do_not() {
    let chain = Arc::new(FakeChain::of(100));
    let offload = Arc::new(Counted::default());
    let eth = Eth::builder(chain).offload(offload.clone()).build();
    let _events = eth.subscribe();
    for (limit, jobs) in [(16, 0), (17, 1)] {
        let asked = GetBlockHeaders::range(1, limit);
        let question = Payload { code: code::GET_BLOCK_HEADERS, body: asked.encode(69, 3) };
        let answer = eth.clone().serve(peer(1), question).await.unwrap();
        assert_eq!(asked.decode_answer(69, answer.body).unwrap().len() as u64, limit);
        assert_eq!(offload.0.load(Ordering::Relaxed), jobs);
    }
    tell(&eth, peer(1), code::TRANSACTIONS, &Transactions(transactions(1_000))).await.unwrap();
    assert_eq!(offload.0.load(Ordering::Relaxed), 2);
}

/// A peer that asks for nothing it can get, with a question of a megabyte, costs no thread of ours.
#[tokio::test]
async fn a_large_question_is_read_through_the_offload() {
    let offload = Arc::new(Counted::default());
    let eth = Eth::builder(Arc::new(FakeChain::of(1))).offload(offload.clone()).build();
    let hashes = list_of(&vec![&[&[0xa0][..], &[7; 32]].concat()[..]; 30_000]);
    let question = Payload { code: code::GET_RECEIPTS, body: snappy::compress(&list_of(&[&[1], &hashes])) };
    let answer = eth.serve(peer(1), question).await.unwrap();
    assert_eq!(inflate(&answer.body).unwrap()[..], [0xc2, 0x01, 0xc0]);
    assert_eq!(offload.0.load(Ordering::Relaxed), 1);
}

/// A chain on a disk may make nobody wait: even one small item is looked up elsewhere.
#[tokio::test]
async fn a_chain_on_disk_is_read_through_the_offload_only() {
    struct OnDisk(FakeChain);
    impl Chain for OnDisk {
        fn spec(&self) -> &Arc<crate::chain::ChainSpec> {
            self.0.spec()
        }
        fn is_on_disk(&self) -> bool {
            true
        }
        fn status(&self) -> ChainStatus {
            self.0.status()
        }
        fn header(&self, number: u64) -> Option<Bytes> {
            self.0.header(number)
        }
        fn number(&self, hash: &B256) -> Option<u64> {
            self.0.number(hash)
        }
        fn body(&self, hash: &B256) -> Option<Bytes> {
            self.0.body(hash)
        }
        fn receipts(&self, hash: &B256) -> Option<Bytes> {
            self.0.receipts(hash)
        }
    }
    let offload = Arc::new(Counted::default());
    let eth = Eth::builder(Arc::new(OnDisk(FakeChain::of(3)))).offload(offload.clone()).build();
    let asked = GetBlockHeaders::range(1, 1);
    let question = Payload { code: code::GET_BLOCK_HEADERS, body: asked.encode(69, 3) };
    let answer = eth.clone().serve(peer(1), question).await.unwrap();
    assert_eq!(asked.decode_answer(69, answer.body).unwrap().len(), 1);
    assert_eq!(offload.0.load(Ordering::Relaxed), 1);
}

/// Pools may be given as what they are or as trait objects.
#[tokio::test]
async fn questions_for_transactions_are_answered_from_the_pool() {
    struct Pool(Vec<PooledTransaction>);
    impl PooledSource for Pool {
        fn encoded(&self, hash: &B256) -> Option<Bytes> {
            self.0.iter().find(|held| held.hash == *hash).map(|held| held.encoded.clone())
        }
    }
    let held = pooled_transactions(4);
    let pool: Arc<dyn PooledSource> = Arc::new(Pool(held.clone()));
    let offload = Arc::new(Counted::default());
    let chain = Arc::new(FakeChain::of(1));
    let eth = Eth::builder(chain).offload(offload.clone()).pool(pool).build();
    let missing = B256::repeat_byte(9);
    let asked = GetPooledTransactions::new(vec![held[3].hash, missing, held[0].hash, held[1].hash]);
    let question = Payload { code: code::GET_POOLED_TRANSACTIONS, body: asked.encode(69, 3) };
    let answer = eth.serve(peer(1), question).await.unwrap();
    let came = asked.decode_answer(69, answer.body).unwrap();
    assert_eq!(came, [held[3].clone(), held[0].clone(), held[1].clone()]);
    assert_eq!(offload.0.load(Ordering::Relaxed), 1, "they may be large");
}

/// Encoded once, and only for those who are named.
#[test]
fn transactions_go_to_the_sessions_that_are_named() {
    let (eth, chain) = eth(FakeChain::of(5));
    let outlets = [1, 2, 3].map(|number| join(&eth, &chain, number, 69));
    let to = [outlets[0].0.session, SessionId(77), outlets[2].0.session];
    let held = pooled_transactions(4);
    assert_eq!(eth.send_transactions(&to, held.clone()), 2);
    assert_eq!(eth.announce_transactions(&to, held.iter().map(PooledTransaction::announcement).collect()), 2);
    assert!(outlets[1].1.sent.lock().unwrap().is_empty());
    let [first, last] = [0, 2].map(|at: usize| outlets[at].1.sent.lock().unwrap().clone());
    assert_eq!(first, last);
    assert_eq!(first[0].body.as_ptr(), last[0].body.as_ptr());
    assert_eq!(first[0], payload(code::TRANSACTIONS, &Transactions(transactions(4))));
}

#[tokio::test]
async fn a_job_that_panics_leaves_the_question_unanswered() {
    struct Lost;
    impl Offload for Lost {
        fn start(&self, _: Job) {}
    }
    let eth = Eth::builder(Arc::new(FakeChain::of(1))).offload(Arc::new(Lost)).build();
    let asked = GetBlockHeaders { start: HashOrNumber::Number(0), limit: 100, skip: 0, reverse: false };
    let body = snappy::compress(&encode_headers(1, &asked));
    let question = Payload { code: code::GET_BLOCK_HEADERS, body };
    assert_eq!(eth.serve(peer(1), question).await, Err(ServeError::Unavailable));
}

#[tokio::test]
async fn junk_is_answered_or_refused_and_never_panics() {
    let (eth, _) = eth(FakeChain::of(20));
    let _events = eth.subscribe();
    let mut junk = Junk::seeded(13);
    for round in 0..20_000 {
        let mut plain = junk.bytes(60);
        if round % 2 == 0
            && let Some(first) = plain.first_mut()
        {
            *first = 0xc0 | (*first & 0x3f);
        }
        let code = junk.below(0x13) as u8;
        let message = Payload { code, body: snappy::compress(&plain) };
        let _ = eth.classify(69, code, &plain[..plain.len().min(16)]);
        let _ = eth.accept(69, message.body.clone());
        let _ = eth.clone().serve(peer(1), message.clone()).await;
        let _ = eth.clone().on_message(peer(1), message).await;
    }
}
