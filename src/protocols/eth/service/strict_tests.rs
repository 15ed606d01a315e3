//! geth.md section 4, "we send", row by row from the other side: what a strict peer such as geth makes
//! of a message, we make of it as well, or something milder that is our profile.
//!
//! What belongs to a session whatever it carries is tested with the session machine: answers with an
//! unknown, used or late id, anything before Status, a Status that does not come. What belongs to the
//! wire (codes beyond all capabilities, Hello, ping) is tested there.

use alloy_eip2124::{ForkHash, ForkId};

use super::super::fixtures::{FakeChain, elsewhere, peer, raw_block};
use super::super::message::ETH_69;
use super::super::query::{GetBlockBodies, GetBlockHeaders, GetReceipts};
use super::super::status::StatusClaim;
use super::tests::{body, eth, join, status};
use super::*;
use crate::protocols::Request;
use crate::wire::fixtures::unhex;
use crate::wire::{DecodeError, Encode};

const VERSIONS: [u32; 3] = [68, 69, 70];

/// What a session does with a message that comes after Status: `Ok` if it lives on.
async fn verdict(eth: &Arc<Eth>, version: u32, code: u8, plain: &[u8]) -> Result<(), DisconnectReason> {
    let from = protocols::From { version, ..peer(1) };
    let message = Payload { code, body: snappy::compress(plain) };
    let prefix = &plain[..plain.len().min(snappy::PREFIX_BYTES)];
    let done = match eth.classify(version, code, prefix) {
        Err(breach) => return Err(DisconnectReason::Breach(breach)),
        Ok(Class::Request(_)) => eth.clone().serve(from, message).await.map(drop),
        Ok(Class::OneWay) => eth.clone().on_message(from, message).await,
        // Whom it answers is the session's to know.
        Ok(Class::Answer(_)) => Ok(()),
    };
    done.map_err(|error| match error {
        ServeError::Malformed(_) => DisconnectReason::Breach(Breach::Malformed),
        ServeError::Breach(breach) => DisconnectReason::Breach(breach),
        ServeError::Disconnect(reason) => reason,
        ServeError::Unavailable => unreachable!("everything is made in place"),
    })
}

fn rlp(message: &impl Encode) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    message.encode(&mut out);
    out.to_vec()
}

const fn breach(breach: Breach) -> Result<(), DisconnectReason> {
    Err(DisconnectReason::Breach(breach))
}

/// G1: wrong network, genesis, fork id; a range from above its end; each in every version.
#[test]
fn a_status_that_geth_refuses_is_refused() {
    let (eth, chain) = eth(FakeChain::of(600));
    for version in VERSIONS {
        let refusal = |change: &dyn Fn(&mut Status)| {
            let mut theirs = status(&chain, version);
            change(&mut theirs);
            eth.accept(version, body(&theirs))
        };
        assert_eq!(refusal(&|_| {}), Ok(()));
        assert_eq!(refusal(&|s| s.network_id += 1), Err(DisconnectReason::NetworkMismatch));
        assert_eq!(refusal(&|s| s.genesis = B256::ZERO), Err(DisconnectReason::GenesisMismatch));
        let fork_id = ForkId { hash: ForkHash([1, 2, 3, 4]), next: 0 };
        assert_eq!(refusal(&|s| s.fork_id = fork_id), Err(DisconnectReason::ForkMismatch));
        if version >= ETH_69 {
            let range = |earliest, latest| StatusClaim::Range { earliest, latest };
            assert_eq!(refusal(&|s| s.claim = range(601, 600)), Err(DisconnectReason::InvalidRange));
            assert_eq!(refusal(&|s| s.claim = range(600, 600)), Ok(()));
            assert_eq!(refusal(&|s| s.claim = range(0, u64::MAX)), Ok(()), "ahead of us");
        } else {
            // geth says 0 whatever its chain weighs, and checks nothing.
            assert_eq!(refusal(&|s| s.claim = StatusClaim::TotalDifficulty(U256::ZERO)), Ok(()));
        }
    }
}

/// The rows that end a session: a second Status, what only older or other chains have, a range that is
/// none.
#[tokio::test]
async fn messages_that_geth_ends_a_session_for_end_it() {
    let (eth, chain) = eth(FakeChain::of(600));
    chain.set(|status| status.merged = true);
    for version in VERSIONS {
        let (ours, id) = (rlp(&status(&chain, version)), unhex("c20780"));
        let verdict = |code, plain: Vec<u8>| {
            let eth = eth.clone();
            async move { verdict(&eth, version, code, &plain).await }
        };
        assert_eq!(verdict(code::STATUS, ours).await, breach(Breach::StatusTwice));
        let hashes = rlp(&NewBlockHashes(vec![elsewhere(601)]));
        assert_eq!(verdict(code::NEW_BLOCK_HASHES, hashes).await, breach(Breach::Unexpected));
        let block = NewBlock { block: raw_block(601, 0), total_difficulty: U256::from(1) };
        assert_eq!(verdict(code::NEW_BLOCK, rlp(&block)).await, breach(Breach::Unexpected));
        // GetNodeData and NodeData; access lists and cells, which are eth/71's and eth/72's.
        for code in [0x0d, 0x0e, 0x12, 0x13, 0x14, 0x15] {
            assert_eq!(verdict(code, id.clone()).await, breach(Breach::UnknownCode), "{code}");
        }
        let update = |earliest, latest| rlp(&BlockRangeUpdate { earliest, latest });
        let zero = crate::chain::BlockRef { number: 8, hash: B256::ZERO };
        for bad in [update(10, elsewhere(8)), update(0, zero)] {
            let expected = match version {
                68 => breach(Breach::UnknownCode),
                _ => Err(DisconnectReason::InvalidRange),
            };
            assert_eq!(verdict(code::BLOCK_RANGE_UPDATE, bad).await, expected);
        }
    }
}

/// Undecodable RLP in each question: geth says 0x02, and so do we.
#[tokio::test]
async fn a_question_that_cannot_be_read_is_a_breach() {
    let (eth, _) = eth(FakeChain::of(5));
    let questions =
        [code::GET_BLOCK_HEADERS, code::GET_BLOCK_BODIES, code::GET_RECEIPTS, code::GET_POOLED_TRANSACTIONS];
    for version in VERSIONS {
        for code in questions {
            for malformed in ["c20701", "c107", "c307c180", "c407c20102", "c20780", "c307c0c0", "80"] {
                let verdict = verdict(&eth, version, code, &unhex(malformed)).await;
                assert_eq!(verdict, breach(Breach::Malformed), "{version} {code} {malformed}");
            }
        }
    }
    assert_eq!(DisconnectReason::Breach(Breach::Malformed).code(), 0x02);
}

/// The rows that geth ignores: a range beyond our head or behind it, no transactions at all.
#[tokio::test]
async fn what_geth_ignores_does_not_end_a_session() {
    let (eth, chain) = eth(FakeChain::of(600));
    for version in VERSIONS {
        let (from, outlet) = join(&eth, &chain, version as u8, version);
        let _events = eth.subscribe();
        for (earliest, latest) in [(590, 600), (610, 650), (0, u64::MAX), (7, 7)] {
            if version < ETH_69 {
                continue;
            }
            let update = BlockRangeUpdate { earliest, latest: elsewhere(latest) };
            let told = eth.clone().on_message(from, payload(code::BLOCK_RANGE_UPDATE, &update)).await;
            assert_eq!(told, Ok(()));
            let held = eth.peers().into_iter().find(|peer| peer.session == from.session).unwrap();
            assert_eq!((held.claim.earliest, held.claim.latest), (Some(earliest), Some(latest)));
        }
        assert_eq!(verdict(&eth, version, code::TRANSACTIONS, &[0xc0]).await, Ok(()));
        let nothing = rlp(&NewPooledTransactionHashes(Vec::new()));
        assert_eq!(verdict(&eth, version, code::NEW_POOLED_TRANSACTION_HASHES, &nothing).await, Ok(()));
        assert!(outlet.ended.lock().unwrap().is_empty() && outlet.sent.lock().unwrap().is_empty());
    }
}

/// "response is larger than request allows": of every kind of answer, in every version.
#[test]
fn an_answer_with_more_items_than_were_asked_for_is_refused() {
    let (hash, items) = (B256::repeat_byte(1), [0xc0, 0xc0, 0xc0]);
    let answer = |version: u32, kind| {
        let flag: &[u8] = if version >= 70 && kind == code::RECEIPTS { &[0x80] } else { &[] };
        let list = super::super::fixtures::list_of(&[&items]);
        snappy::compress(&super::super::fixtures::list_of(&[&[7], flag, &list]))
    };
    for version in VERSIONS {
        let refused = Some(DecodeError::Excess { got: 3, asked: 2 });
        let receipts = GetReceipts::new(vec![hash; 2]);
        let got = receipts.decode_answer(version, answer(version, code::RECEIPTS));
        assert_eq!(got.err(), refused);
        let got = receipts.raw().decode_answer(version, answer(version, code::RECEIPTS));
        assert_eq!(got.err(), refused);
        // Headers and bodies of one byte are refused for that first.
        let got = GetBlockHeaders::range(1, 2).decode_answer(version, answer(version, code::BLOCK_HEADERS));
        assert!(got.is_err());
        let got =
            GetBlockBodies::new(vec![hash; 2]).decode_answer(version, answer(version, code::BLOCK_BODIES));
        assert!(got.is_err());
    }
}

/// "SameRequestID", "ZeroRequestID", and the continuation of receipts, which has its first part's id:
/// an id is the asker's business, each question is answered.
#[tokio::test]
async fn questions_with_the_same_id_are_each_answered() {
    let (eth, chain) = eth(FakeChain::of(20));
    for id in [0, 7, u64::MAX] {
        for start in [1, 5] {
            let asked = GetBlockHeaders::range(start, 2);
            let question = Payload { code: code::GET_BLOCK_HEADERS, body: asked.encode(70, id) };
            let answer = eth.clone().serve(peer(1), question).await.unwrap();
            let plain = inflate(&answer.body).unwrap();
            let prefix = &plain[..plain.len().min(snappy::PREFIX_BYTES)];
            assert_eq!(eth.classify(70, answer.code, prefix), Ok(Class::Answer(id)));
            let headers = asked.decode_answer(70, answer.body).unwrap();
            assert_eq!(headers[0].number, start);
        }
        for first in [0, 2, 100] {
            let asked = GetReceipts::new(vec![chain.hash(1)]).from_index(first);
            let question = Payload { code: code::GET_RECEIPTS, body: asked.encode(70, id) };
            let from = protocols::From { version: 70, ..peer(1) };
            let answer = eth.clone().serve(from, question).await.unwrap();
            assert!(!asked.decode_answer(70, answer.body).unwrap().last_incomplete);
        }
    }
}
