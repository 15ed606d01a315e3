//! EIP-2481's vectors: every message with a request id, as bytes; request id 1111 throughout.

use alloy_consensus::{Receipt, ReceiptEnvelope, TxReceipt};
use alloy_primitives::{Address, B256, b256, keccak256};
use bytes::{Bytes, BytesMut};

use super::message::{classify, code};
use super::query::{
    GetBlockBodies, GetBlockHeaders, GetPooledTransactions, GetReceipts, HashOrNumber, Query, encode_answer,
    encode_hashes, encode_headers, encode_receipt_lists, encode_receipts,
};
use super::request::Receipts;
use super::{Transactions, receipts};
use crate::disconnect::Breach;
use crate::protocols::{Class, Request};
use crate::wire::fixtures::unhex;
use crate::wire::rlp::{self, List};
use crate::wire::{DecodeError, Encode, decode_all, snappy};

const ID: u64 = 1_111;
const VERSIONS: [u32; 3] = [68, 69, 70];

const HEADER_HASH: B256 = b256!("8c2f2af15b7b563b6ab1e09bed0e9caade7ed730aec98b70a993597a797579a9");
const DEADC0DE: B256 = b256!("00000000000000000000000000000000000000000000000000000000deadc0de");
const FEEDBEEF: B256 = b256!("00000000000000000000000000000000000000000000000000000000feedbeef");

/// Two hashes, behind the request id: the argument of four different questions.
const BY_HASHES: &str = "f847820457f842\
    a000000000000000000000000000000000000000000000000000000000deadc0de\
    a000000000000000000000000000000000000000000000000000000000feedbeef";

/// A list of two legacy transactions, with nonces 8 and 9.
const TRANSACTIONS: &str = "f8d2\
    f867088504a817c8088302e2489435353535353535353535353535353535353535358202008025\
    a064b1702d9298fee62dfeccc57d322a463ad55ca201256d01f62b45b2e1c21c12\
    a064b1702d9298fee62dfeccc57d322a463ad55ca201256d01f62b45b2e1c21c10\
    f867098504a817c809830334509435353535353535353535353535353535353535358202d98025\
    a052f8f61201b2b11a78d6e866abc9c3db2ae8631fa656bfe5cb53668255367afb\
    a052f8f61201b2b11a78d6e866abc9c3db2ae8631fa656bfe5cb53668255367afb";

fn zeros(count: usize) -> String {
    "00".repeat(count)
}

/// A header of 15 fields whose hashes are all zero.
fn header() -> Vec<u8> {
    let hash = format!("a0{}", zeros(32));
    let (coinbase, bloom) = (format!("94{}", zeros(20)), format!("b90100{}", zeros(256)));
    let numbers = "8208ae820d0582115c8215b3821a0a827788";
    let fields = [&hash, &hash, &coinbase, &hash, &hash, &hash, &bloom, numbers, &hash, "88", &zeros(8)];
    unhex(&format!("f901f9{}", fields.concat()))
}

/// A receipt of a transaction that failed, with cumulative gas 1 and a log; in consensus form.
fn receipt() -> Vec<u8> {
    let log = "f85ff85d940000000000000000000000000000000000000011f842\
        a0000000000000000000000000000000000000000000000000000000000000dead\
        a0000000000000000000000000000000000000000000000000000000000000beef830100ff";
    unhex(&format!("f901668001b90100{}{log}", zeros(256)))
}

fn list_of(items: &[&[u8]]) -> Bytes {
    super::fixtures::list_of(items)
}

/// Every message of the vectors that has a request id, with its code.
fn messages() -> Vec<(u8, Vec<u8>)> {
    let by_hashes = || unhex(BY_HASHES);
    vec![
        (code::GET_BLOCK_HEADERS, unhex(BY_HASH)),
        (code::GET_BLOCK_HEADERS, unhex(BY_NUMBER)),
        (code::BLOCK_HEADERS, block_headers()),
        (code::GET_BLOCK_BODIES, by_hashes()),
        (code::BLOCK_BODIES, block_bodies()),
        (code::GET_RECEIPTS, by_hashes()),
        (code::RECEIPTS, receipts_of_one_block()),
        (code::GET_POOLED_TRANSACTIONS, by_hashes()),
        (code::POOLED_TRANSACTIONS, unhex(&format!("f8d7820457{TRANSACTIONS}"))),
    ]
}

const BY_HASH: &str = "e8820457e4a000000000000000000000000000000000000000000000000000000000deadc0de050580";
const BY_NUMBER: &str = "ca820457c682270f050580";

fn block_headers() -> Vec<u8> {
    [unhex("f90202820457f901fc"), header()].concat()
}

fn block_bodies() -> Vec<u8> {
    [unhex("f902dc820457f902d6f902d3"), unhex(TRANSACTIONS), unhex("f901fc"), header()].concat()
}

fn receipts_of_one_block() -> Vec<u8> {
    [unhex("f90172820457f9016cf90169"), receipt()].concat()
}

/// E4: both questions about headers, both ways, in every version.
#[test]
fn questions_about_headers() {
    let question = |start| GetBlockHeaders { start, limit: 5, skip: 5, reverse: false };
    let by_hash = question(HashOrNumber::Hash(DEADC0DE));
    let by_number = question(HashOrNumber::Number(9_999));
    for (question, bytes) in [(by_hash, unhex(BY_HASH)), (by_number, unhex(BY_NUMBER))] {
        assert_eq!(encode_headers(ID, &question), bytes);
        for version in VERSIONS {
            let read = Query::decode(version, code::GET_BLOCK_HEADERS, &bytes);
            assert_eq!(read, Ok((ID, Query::Headers(question))));
        }
    }
}

/// E4: the three questions by hashes; that for receipts has another form from eth/70 on.
#[test]
fn questions_by_hashes() {
    let hashes = vec![DEADC0DE, FEEDBEEF];
    let bytes = unhex(BY_HASHES);
    assert_eq!(encode_hashes(ID, &hashes), bytes);
    let receipts = GetReceipts::new(hashes.clone());
    for version in VERSIONS {
        let read = |code| Query::decode(version, code, &bytes);
        let bodies = GetBlockBodies::new(hashes.clone());
        assert_eq!(read(code::GET_BLOCK_BODIES), Ok((ID, Query::Bodies(bodies))));
        let pooled = GetPooledTransactions::new(hashes.clone());
        assert_eq!(read(code::GET_POOLED_TRANSACTIONS), Ok((ID, Query::PooledTransactions(pooled))));
    }
    for version in [68, 69] {
        assert_eq!(encode_receipts(version, ID, &receipts), bytes);
        let read = Query::decode(version, code::GET_RECEIPTS, &bytes);
        assert_eq!(read, Ok((ID, Query::Receipts(receipts.clone()))));
    }
    assert!(Query::decode(70, code::GET_RECEIPTS, &bytes).is_err());
    // The same with the index 55 between: one byte more.
    let mut indexed = unhex("f848820457 37");
    indexed.extend_from_slice(&bytes[5..]);
    assert_eq!(encode_receipts(70, ID, &receipts.clone().from_index(55)), indexed);
    let read = Query::decode(70, code::GET_RECEIPTS, &indexed);
    assert_eq!(read, Ok((ID, Query::Receipts(receipts.from_index(55)))));
}

/// E4: headers and bodies, to values and back.
#[test]
fn headers_and_bodies() {
    assert_eq!(encode_answer(ID, &[Bytes::from(header())]), block_headers());
    let answer = snappy::compress(&block_headers());
    let headers = GetBlockHeaders::range(9_999, 5).decode_answer(68, answer).unwrap();
    let [header] = &headers[..] else { panic!("{headers:?}") };
    assert_eq!((header.hash_slow(), header.number, header.gas_limit), (HEADER_HASH, 0xd05, 0x115c));
    assert_eq!(keccak256(self::header()), HEADER_HASH);
    assert_eq!(alloy_rlp::encode(header), self::header());

    let answer = snappy::compress(&block_bodies());
    let bodies = GetBlockBodies::new(vec![DEADC0DE]).decode_answer(68, answer).unwrap();
    let [body] = &bodies[..] else { panic!("{bodies:?}") };
    assert_eq!(body.transactions.len(), 2);
    assert_eq!(body.ommers, headers);
    assert_eq!(body.withdrawals, None);
    let items = [Bytes::from(alloy_rlp::encode(body))];
    assert_eq!(encode_answer(ID, &items), block_bodies());
}

/// E4: the bytes of eth/66 to 68, and what follows from them for eth/69 and eth/70.
#[test]
fn receipts_in_each_version() {
    let list = list_of(&[&receipt()]);
    let lists = std::slice::from_ref(&list);
    assert_eq!(encode_receipt_lists(68, ID, lists, false), receipts_of_one_block());
    let asked = GetReceipts::new(vec![DEADC0DE]);
    let decode = |version, bytes: &[u8]| asked.decode_answer(version, snappy::compress(bytes));
    let Receipts { blocks, last_incomplete } = decode(68, &receipts_of_one_block()).unwrap();
    let [ReceiptEnvelope::Legacy(receipt)] = &blocks[0][..] else { panic!("{blocks:?}") };
    assert!(!last_incomplete && !receipt.status() && receipt.logs_bloom.is_zero());
    let Receipt { cumulative_gas_used, logs, .. } = &receipt.receipt;
    assert_eq!((*cumulative_gas_used, logs[0].address), (1, Address::with_last_byte(0x11)));
    assert_eq!(logs[0].data.data[..], [1, 0, 0xff]);

    // Without its bloom the list is smaller by 259 bytes, and larger by the type.
    let flat = receipts::flatten(&list).unwrap();
    let flat_receipt = List::whole(&flat).unwrap().item().unwrap();
    assert_eq!(flat_receipt.encoded()[..5], [0xf8, 0x64, 0x80, 0x80, 0x01]);
    let flat = std::slice::from_ref(&flat);
    let answer = encode_receipt_lists(69, ID, flat, false);
    assert_eq!(answer, encode_answer(ID, flat));
    let of_69 = decode(69, &answer).unwrap();
    for (incomplete, flag) in [(false, 0x80), (true, 0x01)] {
        let answer = encode_receipt_lists(70, ID, flat, incomplete);
        assert_eq!(answer[..6], [0xf8, 0x6e, 0x82, 0x04, 0x57, flag]);
        let of_70 = decode(70, &answer).unwrap();
        assert_eq!((of_70.blocks, of_70.last_incomplete), (of_69.blocks.clone(), incomplete));
    }
    // The vector's bloom is not that of its log; the one that is computed is.
    let [ReceiptEnvelope::Legacy(computed)] = &of_69.blocks[0][..] else { panic!("{of_69:?}") };
    assert!(!computed.logs_bloom.is_zero());
    assert_eq!(computed.receipt, receipt.receipt);
}

/// Nobody here asks for pooled transactions; the list in the answer is that of a broadcast.
#[test]
fn pooled_transactions() {
    let transactions = unhex(TRANSACTIONS);
    let read: Transactions = decode_all(Bytes::from(transactions.clone())).unwrap();
    assert_eq!(read.0.len(), 2);
    let mut encoded = BytesMut::new();
    read.encode(&mut encoded);
    assert_eq!(encoded, transactions);
}

/// Who gets what, from the first bytes alone. GetNodeData and NodeData went with eth/66.
#[test]
fn every_message_is_routed_by_its_request_id() {
    for version in VERSIONS {
        for (code, bytes) in messages() {
            let class = classify(version, code, &bytes[..bytes.len().min(snappy::PREFIX_BYTES)]);
            let is_answer = matches!(
                code,
                code::BLOCK_HEADERS | code::BLOCK_BODIES | code::RECEIPTS | code::POOLED_TRANSACTIONS
            );
            assert_eq!(class, Ok(if is_answer { Class::Answer(ID) } else { Class::Request(ID) }));
        }
        let node_data = unhex("ce820457ca84deadc0de84feedbeef");
        assert_eq!(classify(version, 0x0d, &unhex(BY_HASHES)[..16]), Err(Breach::UnknownCode));
        assert_eq!(classify(version, 0x0e, &node_data), Err(Breach::UnknownCode));
    }
}

/// devp2p-vectors section 9: a request id with a leading zero, and bytes behind the outer list.
#[test]
fn a_vector_with_a_leading_zero_or_something_behind_it_is_malformed() {
    let read = |version, code, bytes: &[u8]| -> Result<(), DecodeError> {
        let body = || snappy::compress(bytes);
        let hashes = || vec![DEADC0DE; 2];
        match code {
            code::BLOCK_HEADERS => GetBlockHeaders::range(1, 5).decode_answer(version, body()).map(drop),
            code::BLOCK_BODIES => GetBlockBodies::new(hashes()).decode_answer(version, body()).map(drop),
            code::RECEIPTS => GetReceipts::new(hashes()).decode_answer(version, body()).map(drop),
            _ => Query::decode(version, code, bytes).map(drop),
        }
    };
    for (code, bytes) in messages() {
        if code == code::POOLED_TRANSACTIONS {
            continue;
        }
        assert_eq!(read(68, code, &bytes), Ok(()), "{code}");
        let mut behind = bytes.clone();
        behind.push(0x80);
        assert_eq!(read(68, code, &behind), Err(DecodeError::Trailing), "{code}");

        let argument = &List::whole(&bytes).unwrap().rest()[3..];
        let mut padded = BytesMut::new();
        rlp::put_list_head(4 + argument.len(), &mut padded);
        padded.extend_from_slice(&[0x83, 0x00, 0x04, 0x57]);
        padded.extend_from_slice(argument);
        assert!(read(68, code, &padded).is_err(), "{code}");
        assert_eq!(classify(68, code, &padded[..padded.len().min(16)]), Err(Breach::Malformed), "{code}");
    }
}
