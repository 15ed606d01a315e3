//! One block as it is stored and served: encoded once, shared by all its readers.

use alloy_consensus::Header;
use alloy_primitives::{B256, keccak256};
use bytes::Bytes;

use super::header::HeaderFacts;
use crate::wire::rlp::{Item, List};
use crate::wire::{DecodeError, rlp};

/// Number and hash of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// The keccak-256 of its header's RLP.
    pub hash: B256,
}

impl From<&HeaderFacts> for BlockRef {
    fn from(facts: &HeaderFacts) -> Self {
        Self { number: facts.number, hash: facts.hash }
    }
}

/// One block as it is stored and served. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBlock {
    /// Its number.
    pub number: u64,
    /// The keccak-256 of `header`.
    pub hash: B256,
    /// The RLP list of the header.
    pub header: Bytes,
    /// The RLP list `[transactions, ommers, withdrawals?]`, as eth's BlockBodies carries it.
    pub body: Bytes,
}

impl RawBlock {
    /// Number and hash.
    pub fn block_ref(&self) -> BlockRef {
        BlockRef { number: self.number, hash: self.hash }
    }

    /// Takes a block apart: RLP `[header, transactions, ommers, withdrawals?]`, to the end of `rlp`.
    ///
    /// The bytes are copied, header and body into one allocation of the right size. The shape is
    /// checked; whether the body is the header's is not (`verify::check_body`).
    pub fn from_rlp(rlp: &[u8]) -> Result<(Self, HeaderFacts), DecodeError> {
        let mut block = List::whole(rlp)?;
        let header = block.item()?.encoded();
        check_lists(block)?;
        let lists = block.rest();
        let facts = HeaderFacts::read(header)?;
        let mut bytes = Vec::with_capacity(header.len() + rlp::item_len(lists.len()));
        bytes.extend_from_slice(header);
        rlp::put_list_head(lists.len(), &mut bytes);
        bytes.extend_from_slice(lists);
        Ok((Self::joined(&facts, bytes, header.len()), facts))
    }

    /// Puts a block together from header and body, copied into one allocation of the right size.
    ///
    /// The shape is checked; whether the body is the header's is not (`verify::check_body`).
    pub fn from_parts(header: &[u8], body: &[u8]) -> Result<(Self, HeaderFacts), DecodeError> {
        let facts = HeaderFacts::read(header)?;
        check_lists(List::whole(body)?)?;
        Ok((Self::joined(&facts, [header, body].concat(), header.len()), facts))
    }

    /// Appends RLP `[header, transactions, ommers, withdrawals?]`: the bytes that
    /// [`from_rlp`](Self::from_rlp) read. Fails, with nothing appended, if `body` is not a list.
    pub fn write_rlp(&self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let lists = List::whole(&self.body)?.rest();
        let payload_len = self.header.len() + lists.len();
        out.reserve(rlp::item_len(payload_len));
        rlp::put_list_head(payload_len, out);
        out.extend_from_slice(&self.header);
        out.extend_from_slice(lists);
        Ok(())
    }

    /// The same block in one allocation of its own, so that it keeps no larger buffer alive.
    pub fn compact(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.header.len() + self.body.len());
        bytes.extend_from_slice(&self.header);
        bytes.extend_from_slice(&self.body);
        let mut header = Bytes::from(bytes);
        let body = header.split_off(self.header.len());
        Self { header, body, ..*self }
    }

    /// A block without transactions, ommers and withdrawals, as a genesis is.
    pub(crate) fn empty(header: &Header) -> Self {
        Self::sealed(header, Self::empty_body(header.withdrawals_root.is_some()))
    }

    /// The body of a block without transactions and ommers, with an empty list of withdrawals from
    /// Shanghai on.
    pub(crate) fn empty_body(withdrawals: bool) -> &'static [u8] {
        if withdrawals { &[0xc3, 0xc0, 0xc0, 0xc0] } else { &[0xc2, 0xc0, 0xc0] }
    }

    /// A block made here: `body` is the list that `header` commits to.
    pub(crate) fn sealed(header: &Header, body: &[u8]) -> Self {
        let rlp = alloy_rlp::encode(header);
        let mut bytes = Bytes::from([&rlp, body].concat());
        let body = bytes.split_off(rlp.len());
        Self { number: header.number, hash: keccak256(&rlp), header: bytes, body }
    }

    fn joined(facts: &HeaderFacts, bytes: Vec<u8>, header_bytes: usize) -> Self {
        let mut header = Bytes::from(bytes);
        let body = header.split_off(header_bytes);
        Self { number: facts.number, hash: facts.hash, header, body }
    }
}

/// A body's content: two lists, or three from Shanghai on.
fn check_lists(mut lists: List<'_>) -> Result<(), DecodeError> {
    lists.field("transactions", Item::list)?;
    lists.field("ommers", Item::list)?;
    if !lists.is_empty() {
        lists.field("withdrawals", Item::list)?;
    }
    if lists.is_empty() { Ok(()) } else { Err(DecodeError::Invalid("number of lists in a body")) }
}

#[cfg(test)]
mod tests {
    use super::super::testdata;
    use super::*;

    fn block(lists: &[u8]) -> Vec<u8> {
        let header = alloy_rlp::encode(Header { number: 5, ..Header::default() });
        let mut rlp = Vec::new();
        rlp::put_list_head(header.len() + lists.len(), &mut rlp);
        rlp.extend_from_slice(&header);
        rlp.extend_from_slice(lists);
        rlp
    }

    #[test]
    fn a_block_comes_back_byte_identical() {
        for lists in [&[0xc0, 0xc0][..], &[0xc1, 0x05, 0xc0, 0xc1, 0xc0]] {
            let rlp = block(lists);
            let (raw, facts) = RawBlock::from_rlp(&rlp).unwrap();
            assert_eq!((raw.number, raw.block_ref()), (5, BlockRef::from(&facts)));
            assert_eq!(raw.hash, keccak256(&raw.header));
            let mut out = Vec::new();
            raw.write_rlp(&mut out).unwrap();
            assert_eq!(out, rlp);
            assert_eq!(RawBlock::from_parts(&raw.header, &raw.body).unwrap().0, raw);
            assert_eq!(raw.compact(), raw);
        }
    }

    #[test]
    fn a_cut_or_extended_block_is_refused() {
        let rlp = block(&[0xc0, 0xc0, 0xc0]);
        for len in 0..rlp.len() {
            assert!(RawBlock::from_rlp(&rlp[..len]).is_err(), "{len} bytes");
        }
        for lists in
            [&[][..], &[0xc0], &[0xc0, 0xc0, 0xc0, 0xc0], &[0x80, 0xc0], &[0xc0, 0x80], &[0xc0, 0xc0, 0x01]]
        {
            assert!(RawBlock::from_rlp(&block(lists)).is_err(), "{lists:?}");
        }
    }

    #[test]
    fn a_body_that_is_no_list_is_not_written() {
        let (mut raw, _) = RawBlock::from_rlp(&block(&[0xc0, 0xc0])).unwrap();
        raw.body = Bytes::from_static(&[0x82, 0xc0]);
        let mut out = Vec::new();
        assert!(raw.write_rlp(&mut out).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn real_blocks_come_back_byte_identical() {
        let Some(file) = testdata::read("geth-ethtest/chain.rlp") else { return };
        let mut rest = &file[..];
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (block, _) = RawBlock::from_rlp(Item::read(&mut rest).unwrap().encoded()).unwrap();
            block.write_rlp(&mut out).unwrap();
        }
        assert!(out == file);
    }
}
