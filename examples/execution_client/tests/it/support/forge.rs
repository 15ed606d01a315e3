//! Chains that are well linked, and wrong: headers are changed, and those above linked anew.

use alloy_consensus::Header;
use alloy_consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_WITHDRAWALS};
use alloy_trie::EMPTY_ROOT_HASH;
use trunkline::chain::RawBlock;

use super::chains::header_of;

/// The body of a block without transactions, ommers and withdrawals.
const EMPTY_BODY: [u8; 4] = [0xc3, 0xc0, 0xc0, 0xc0];

/// The same blocks with a change in the header of one of them, and so many made up behind the last.
pub(crate) fn forged(
    blocks: &[RawBlock],
    number: u64,
    change: impl Fn(&mut Header),
    more: usize,
) -> Vec<RawBlock> {
    let mut forged: Vec<RawBlock> = Vec::with_capacity(blocks.len() + more);
    for block in blocks {
        if block.number < number {
            forged.push(block.clone());
            continue;
        }
        let mut header = header_of(block);
        header.parent_hash = forged.last().map_or(header.parent_hash, |parent| parent.hash);
        if block.number == number {
            change(&mut header);
        }
        forged.push(sealed(&header, &block.body));
    }
    for _ in 0..more {
        let parent = forged.last().expect("blocks to build on");
        let below = header_of(parent);
        let header = Header {
            parent_hash: parent.hash,
            number: below.number + 1,
            timestamp: below.timestamp + 10,
            gas_used: 0,
            transactions_root: EMPTY_ROOT_HASH,
            receipts_root: EMPTY_ROOT_HASH,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            logs_bloom: Default::default(),
            ..below
        };
        forged.push(sealed(&header, &EMPTY_BODY));
    }
    forged
}

/// Header and body as a block, with the hash that the header has.
pub(crate) fn sealed(header: &Header, body: &[u8]) -> RawBlock {
    RawBlock::from_parts(&alloy_rlp::encode(header), body).expect("a block").0
}
