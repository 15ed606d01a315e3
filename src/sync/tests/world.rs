//! Chains to sync, and how peers answer from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_consensus::transaction::SignableTransaction;
use alloy_consensus::{Header, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::receipt_world;
use crate::chain::verify::BodyRoots;
use crate::chain::{BlockRef, RawBlock};
use crate::sync::source::{BlockId, HeadersQuery};
use crate::wire::rlp::List;

/// A chain of blocks, the genesis first.
#[derive(Debug, Clone)]
pub(super) struct TestChain {
    pub(super) blocks: Vec<RawBlock>,
    /// The receipts of each block in consensus form, if the blocks have any.
    receipts: Option<BTreeMap<B256, Bytes>>,
}

impl TestChain {
    /// A genesis and `len` blocks, about every seventh of them empty.
    pub(super) fn new(seed: u64, len: u64) -> Self {
        let genesis = Header { gas_limit: seed, ..Header::default() };
        let mut chain = Self::from(vec![block(&genesis, empty())]);
        chain.grow(seed, len);
        chain
    }

    /// The same, and every transaction leaves a receipt.
    pub(super) fn with_receipts(seed: u64, len: u64) -> Self {
        let mut chain = Self::full(Self::new(seed, 0).blocks);
        chain.grow(seed, len);
        chain
    }

    /// These blocks without transactions; those that are added later leave receipts.
    pub(super) fn full(blocks: Vec<RawBlock>) -> Self {
        Self { blocks, receipts: Some(BTreeMap::new()) }
    }

    /// The receipts of a block.
    pub(super) fn receipts(&self, number: u64) -> Bytes {
        let receipts = self.receipts.as_ref().and_then(|receipts| receipts.get(&self.at(number).hash));
        receipts.cloned().unwrap_or(Bytes::from_static(&[0xc0]))
    }

    /// Adds `len` blocks, which depend on the seed.
    pub(super) fn grow(&mut self, seed: u64, len: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..len {
            let txs = if rng.random_range(0..7) == 0 { 0 } else { rng.random_range(1..4) };
            self.push(&mut rng, txs, 1);
        }
    }

    /// Adds a block.
    pub(super) fn push(&mut self, rng: &mut StdRng, txs: usize, difficulty: u64) {
        let body = body(rng, txs, 0);
        self.append(body, difficulty, rng.random::<[u8; 8]>().to_vec());
    }

    fn append(&mut self, body: Bytes, difficulty: u64, extra_data: Vec<u8>) {
        let parent = self.head();
        let roots = BodyRoots::of(&body).unwrap();
        let receipts = self.receipts.is_some().then(|| {
            let transactions = List::whole(&body).unwrap().item().unwrap().list().unwrap().count(1).unwrap();
            receipt_world::made(&mut StdRng::seed_from_u64(parent.number), transactions)
        });
        let header = Header {
            receipts_root: receipts
                .as_ref()
                .map_or(EMPTY_ROOT_HASH, |list| crate::protocols::eth::receipts::root(list).unwrap()),
            gas_used: 30_000_000,
            number: parent.number + 1,
            parent_hash: parent.hash,
            transactions_root: roots.transactions,
            ommers_hash: roots.ommers,
            difficulty: U256::from(difficulty),
            timestamp: parent.number * 12 + 12,
            extra_data: extra_data.into(),
            base_fee_per_gas: Some(7),
            ..Header::default()
        };
        let block = block(&header, body);
        if let (Some(receipts), Some(list)) = (&mut self.receipts, receipts) {
            receipts.insert(block.hash, list);
        }
        self.blocks.push(block);
    }

    /// Adds blocks whose headers and bodies are as large as this.
    pub(super) fn grow_large(&mut self, seed: u64, len: u64, header_bytes: usize, body_bytes: usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..len {
            let body = body(&mut rng, 1, body_bytes);
            self.append(body, 1, vec![7; header_bytes]);
        }
    }

    /// Adds blocks with so many transactions each.
    pub(super) fn grow_wide(&mut self, seed: u64, len: u64, txs: usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..len).for_each(|_| self.push(&mut rng, txs, 1));
    }

    /// The same blocks up to `at`, then others.
    pub(super) fn branch(&self, at: u64, seed: u64, len: u64) -> Self {
        let blocks = self.blocks[..=at as usize].to_vec();
        let mut chain = Self { blocks, receipts: self.receipts.clone() };
        chain.grow(seed, len);
        chain
    }

    pub(super) fn head(&self) -> BlockRef {
        self.blocks.last().unwrap().block_ref()
    }

    pub(super) fn at(&self, number: u64) -> &RawBlock {
        &self.blocks[number as usize]
    }

    fn number(&self, hash: B256) -> Option<u64> {
        self.blocks.iter().find(|block| block.hash == hash).map(|block| block.number)
    }

    /// Answers as a peer does that has the blocks `earliest..=latest`.
    pub(super) fn headers(&self, query: HeadersQuery, earliest: u64, latest: u64) -> Vec<Bytes> {
        let start = match query.start {
            BlockId::Number(number) => Some(number),
            BlockId::Hash(hash) => self.number(hash),
        };
        let Some(start) = start.filter(|start| (earliest..=latest).contains(start)) else {
            return Vec::new();
        };
        let offsets = 0..query.amount;
        let numbers =
            offsets.map_while(|i| if query.reverse { start.checked_sub(i) } else { Some(start + i) });
        let served = numbers.take_while(|number| (earliest..=latest).contains(number));
        let mut bytes = 0;
        let headers = served.map(|number| self.at(number).header.clone());
        headers.take_while(|header| (bytes < 2 << 20, bytes += header.len()).0).collect()
    }

    /// The bodies of these blocks, as far as they are known; the soft limit of a reply holds.
    pub(super) fn bodies(&self, hashes: &[B256], earliest: u64, latest: u64) -> Vec<Bytes> {
        let mut bytes = 0;
        let mut bodies = Vec::new();
        // Asked for in rising order: each is looked for after the one before.
        let mut rest = &self.blocks[..];
        for hash in hashes {
            let Some(at) = rest.iter().position(|block| block.hash == *hash) else { continue };
            let block = &rest[at];
            rest = &rest[at..];
            if (earliest..=latest).contains(&block.number) && bytes < 2 << 20 {
                bytes += block.body.len();
                bodies.push(block.body.clone());
            }
        }
        bodies
    }
}

impl From<Vec<RawBlock>> for TestChain {
    fn from(blocks: Vec<RawBlock>) -> Self {
        Self { blocks, receipts: None }
    }
}

fn block(header: &Header, body: Bytes) -> RawBlock {
    let rlp = Bytes::from(alloy_rlp::encode(header));
    RawBlock { number: header.number, hash: alloy_primitives::keccak256(&rlp), header: rlp, body }
}

fn empty() -> Bytes {
    Bytes::from_static(&[0xc2, 0xc0, 0xc0])
}

fn body(rng: &mut StdRng, txs: usize, input_bytes: usize) -> Bytes {
    let mut list = Vec::new();
    for _ in 0..txs {
        let tx = TxLegacy {
            chain_id: Some(5),
            nonce: rng.random(),
            gas_price: 1 << 40,
            gas_limit: 21_000,
            to: TxKind::Call(Address::repeat_byte(7)),
            value: U256::from(rng.random::<u64>()),
            input: vec![1; input_bytes].into(),
        };
        let signature = Signature::new(U256::from(1) << 250, U256::from(7) << 240, true);
        list.extend_from_slice(&tx.into_signed(signature).encoded_2718());
    }
    let mut txs = Vec::new();
    alloy_rlp::Header { list: true, payload_length: list.len() }.encode(&mut txs);
    txs.extend_from_slice(&list);
    txs.push(0xc0);
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: txs.len() }.encode(&mut out);
    out.extend_from_slice(&txs);
    out.into()
}

/// How a peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// Never answers.
    Silent,
    /// Answers nothing that was asked before this many milliseconds.
    SilentUntil(u64),
    /// At most so many items per answer.
    Short(usize),
    /// Knows headers, and no body.
    NoBodies,
    /// Answers with nothing.
    Empty,
    /// Leaves out every third body that is asked for.
    Leaky,
    /// Ends its session after so many requests.
    Vanishes(u32),
    /// One header in the middle is another one.
    Unlinked,
    /// Headers in the wrong order.
    Reversed,
    /// Headers from the next number on.
    WrongStart,
    /// One header is missing.
    Gap,
    /// One header comes twice.
    Twice,
    /// Bytes that are no headers.
    Junk,
    /// One more than was asked for.
    TooMany,
    /// The last header of every answer is made up; it links.
    FakeTip,
    /// The same in its first answer, and no second answer.
    FakeTipOnce,
    /// One body is another one.
    WrongBody,
    /// Two bodies change places.
    Swapped,
    /// Bodies of blocks that were not asked for.
    OtherBodies,
}

impl Manner {
    /// Whether a peer that does this has to be blamed for it when it is caught.
    pub(super) fn is_bad(self) -> bool {
        use Manner::*;
        matches!(
            self,
            Unlinked
                | Reversed
                | WrongStart
                | Gap
                | Twice
                | Junk
                | TooMany
                | WrongBody
                | Swapped
                | OtherBodies
        )
    }

    pub(super) fn headers(
        self,
        chain: &Arc<TestChain>,
        query: HeadersQuery,
        range: (u64, u64),
    ) -> Vec<Bytes> {
        let mut list = chain.headers(query, range.0, range.1);
        let middle = list.len() / 2;
        match self {
            Manner::Short(most) => list.truncate(most.max(2)),
            Manner::Empty => list.clear(),
            _ if list.len() < 3 => {}
            Manner::Unlinked => list[middle] = mutated(&list[middle]),
            Manner::Reversed => list.reverse(),
            Manner::WrongStart => drop(list.remove(0)),
            Manner::Gap => drop(list.remove(middle)),
            Manner::Twice => list.insert(middle, list[middle].clone()),
            Manner::Junk => list.iter_mut().for_each(|header| *header = header.slice(1..)),
            Manner::TooMany => {
                let more = HeadersQuery { amount: query.amount + 1, ..query };
                list = chain.headers(more, range.0, range.1);
            }
            Manner::FakeTip | Manner::FakeTipOnce => {
                if let Some(last) = list.last_mut() {
                    *last = mutated(last);
                }
            }
            _ => {}
        }
        list
    }

    pub(super) fn bodies(self, chain: &Arc<TestChain>, hashes: &[B256], range: (u64, u64)) -> Vec<Bytes> {
        let mut list = chain.bodies(hashes, range.0, range.1);
        let middle = list.len() / 2;
        match self {
            Manner::Short(most) => list.truncate(most),
            Manner::NoBodies | Manner::Empty => list.clear(),
            Manner::Leaky => {
                let mut at = 0;
                list.retain(|_| {
                    at += 1;
                    at % 3 != 0
                });
            }
            Manner::OtherBodies => list = vec![chain.blocks.last().unwrap().body.clone(); list.len().max(1)],
            _ if list.len() < 3 => {}
            Manner::WrongBody => {
                let mut body = list[middle].to_vec();
                let at = body.len() / 2;
                body[at] ^= 1;
                list[middle] = body.into();
            }
            Manner::Swapped => list.swap(middle, middle - 1),
            _ => {}
        }
        list
    }
}

/// The same header with other extra data.
fn mutated(rlp: &[u8]) -> Bytes {
    let mut header: Header = alloy_rlp::decode_exact(rlp).unwrap();
    header.extra_data = vec![0xee; 3].into();
    alloy_rlp::encode(header).into()
}
