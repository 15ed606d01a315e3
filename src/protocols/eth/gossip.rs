//! The announcements of eth: what peers tell each other unasked.

use alloy_primitives::{B256, U256};
use alloy_rlp::Encodable;
use bytes::{BufMut, Bytes, BytesMut};

use super::message::{
    HASH_BYTES, TRANSACTION_BYTES_MIN, Transaction, check_body, each, hash, put_hashes, take_item, typed,
    u256,
};
use crate::chain::{BlockRef, RawBlock};
use crate::wire::rlp::List;
use crate::wire::{Decode, DecodeError, Encode, rlp};

/// `[[header, transactions, ommers, withdrawals?], total difficulty]`. Before the merge only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBlock {
    /// The block; its hash was computed from the header's bytes.
    pub block: RawBlock,
    /// The total difficulty up to and including it, as the sender says.
    pub total_difficulty: U256,
}

impl Encode for NewBlock {
    fn encode(&self, out: &mut BytesMut) {
        // A body that is no list cannot be announced; what is sent then is malformed as well, and
        // no chain of ours holds one.
        let body = List::whole(&self.block.body).map_or(&[][..], |list| list.rest());
        let block_len = self.block.header.len() + body.len();
        let total = self.total_difficulty.to_be_bytes::<32>();
        let total = rlp::trimmed(&total);
        let payload_len = rlp::item_len(block_len) + rlp::bytes_len(total);
        out.reserve(rlp::item_len(payload_len));
        rlp::put_list_head(payload_len, out);
        rlp::put_list_head(block_len, out);
        out.put_slice(&self.block.header);
        out.put_slice(body);
        rlp::put_bytes(total, out);
    }
}

impl Decode for NewBlock {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let encoded = take_item(bytes)?;
        rlp::check(&encoded)?;
        let mut fields = List::whole(&encoded)?;
        let block = fields.item()?;
        let total_difficulty = u256(fields.item()?)?;
        fields.end()?;

        let mut body = block.list()?;
        body.item()?;
        check_body(body)?;
        // Copied, so that the block does not hold on to the message it came in.
        let (block, _) = RawBlock::from_rlp(block.encoded())?;
        Ok(Self { block, total_difficulty })
    }
}

/// `[[hash, number], ...]`: blocks that the sender has imported. Before the merge only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBlockHashes(pub Vec<BlockRef>);

impl Encode for NewBlockHashes {
    fn encode(&self, out: &mut BytesMut) {
        let entry_len = |block: &BlockRef| HASH_BYTES + rlp::u64_len(block.number);
        rlp::put_list_head(self.0.iter().map(|block| rlp::item_len(entry_len(block))).sum(), out);
        for block in &self.0 {
            rlp::put_list_head(entry_len(block), out);
            rlp::put_bytes(block.hash.as_slice(), out);
            rlp::put_u64(block.number, out);
        }
    }
}

impl Decode for NewBlockHashes {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let encoded = take_item(bytes)?;
        each(List::whole(&encoded)?, rlp::item_len(HASH_BYTES + 1), |item| {
            let mut fields = item.list()?;
            let block = BlockRef { hash: hash(fields.item()?)?, number: fields.item()?.u64()? };
            fields.end()?;
            Ok(block)
        })
        .map(Self)
    }
}

/// `[transaction, ...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transactions(pub Vec<Transaction>);

impl Encode for Transactions {
    fn encode(&self, out: &mut BytesMut) {
        rlp::put_list_head(self.0.iter().map(Encodable::length).sum(), out);
        self.0.iter().for_each(|transaction| transaction.encode(out));
    }
}

impl Decode for Transactions {
    /// A transaction takes about 300 bytes in memory: at most five times its RLP.
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let encoded = take_item(bytes)?;
        each(List::whole(&encoded)?, TRANSACTION_BYTES_MIN, |item| typed(item.encoded(), "transaction"))
            .map(Self)
    }
}

/// A transaction that its announcer can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PooledHash {
    /// Its EIP-2718 type, 0 for legacy ones.
    pub kind: u8,
    /// The length of its consensus encoding, in bytes.
    pub size: u64,
    /// Its hash.
    pub hash: B256,
}

/// `[types, [size, ...], [hash, ...]]`, all three of the same length (EIP-5793).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPooledTransactionHashes(pub Vec<PooledHash>);

impl Encode for NewPooledTransactionHashes {
    fn encode(&self, out: &mut BytesMut) {
        let kinds: Vec<u8> = self.0.iter().map(|pooled| pooled.kind).collect();
        let sizes_len = self.0.iter().map(|pooled| rlp::u64_len(pooled.size)).sum();
        let hashes: Vec<B256> = self.0.iter().map(|pooled| pooled.hash).collect();
        let hashes_len = rlp::item_len(hashes.len() * HASH_BYTES);
        rlp::put_list_head(rlp::bytes_len(&kinds) + rlp::item_len(sizes_len) + hashes_len, out);
        rlp::put_bytes(&kinds, out);
        rlp::put_list_head(sizes_len, out);
        self.0.iter().for_each(|pooled| rlp::put_u64(pooled.size, out));
        put_hashes(&hashes, out);
    }
}

impl Decode for NewPooledTransactionHashes {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let encoded = take_item(bytes)?;
        let mut fields = List::whole(&encoded)?;
        let mut kinds = fields.item()?.string()?.iter();
        let mut sizes = fields.item()?.list()?;
        let hashes = fields.item()?.list()?;
        fields.end()?;
        if hashes.count(HASH_BYTES)? != kinds.len() || sizes.count(1)? != kinds.len() {
            return Err(DecodeError::Invalid("announcement lengths"));
        }
        each(hashes, HASH_BYTES, |item| {
            let &kind = kinds.next().ok_or(DecodeError::Invalid("announcement lengths"))?;
            Ok(PooledHash { kind, size: sizes.item()?.u64()?, hash: hash(item)? })
        })
        .map(Self)
    }
}

/// `[earliest, latest, latest hash]`: what can be asked for now. From eth/69.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRangeUpdate {
    /// The lowest block that can be asked for.
    pub earliest: u64,
    /// The highest.
    pub latest: BlockRef,
}

impl Encode for BlockRangeUpdate {
    fn encode(&self, out: &mut BytesMut) {
        let numbers_len = rlp::u64_len(self.earliest) + rlp::u64_len(self.latest.number);
        rlp::put_list_head(numbers_len + HASH_BYTES, out);
        rlp::put_u64(self.earliest, out);
        rlp::put_u64(self.latest.number, out);
        rlp::put_bytes(self.latest.hash.as_slice(), out);
    }
}

impl Decode for BlockRangeUpdate {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let encoded = take_item(bytes)?;
        let mut fields = List::whole(&encoded)?;
        let (earliest, number) = (fields.item()?.u64()?, fields.item()?.u64()?);
        let latest = BlockRef { number, hash: hash(fields.item()?)? };
        fields.end()?;
        Ok(Self { earliest, latest })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use alloy_primitives::keccak256;

    use super::*;
    use crate::protocols::eth::fixtures::{raw_block, transactions};
    use crate::wire::decode_all;
    use crate::wire::fixtures::{Junk, unhex};

    fn encoded(message: &impl Encode) -> Vec<u8> {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        out.to_vec()
    }

    /// E1, E3, E4: the round trip, every truncation, something behind, an extra element, and bytes
    /// changed at random.
    fn is_read_exactly<T: Encode + Decode + PartialEq + Debug>(message: &T) {
        let bytes = encoded(message);
        assert_eq!(decode_all::<T>(Bytes::from(bytes.clone())).as_ref(), Ok(message));
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 2_000) {
            assert!(decode_all::<T>(Bytes::copy_from_slice(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        let mut behind = bytes.clone();
        behind.push(0x80);
        assert_eq!(decode_all::<T>(Bytes::from(behind)), Err(DecodeError::Trailing));
        let list = List::whole(&bytes).unwrap();
        let mut extra = BytesMut::new();
        rlp::put_list_head(list.rest().len() + 1, &mut extra);
        extra.put_slice(list.rest());
        extra.put_u8(0x80);
        assert!(decode_all::<T>(extra.freeze()).is_err());
        let mut junk = Junk::seeded(10);
        for _ in 0..2_000 {
            let mut bytes = bytes.clone();
            let at = junk.below(bytes.len());
            bytes[at] = junk.next() as u8;
            if let Ok(read) = decode_all::<T>(Bytes::copy_from_slice(&bytes)) {
                assert_eq!(encoded(&read), bytes, "byte {at}");
            }
        }
    }

    #[test]
    fn every_announcement_is_read_exactly() {
        is_read_exactly(&NewBlock { block: raw_block(300, 2), total_difficulty: U256::from(301) });
        is_read_exactly(&NewBlock { block: raw_block(0, 0), total_difficulty: U256::MAX });
        is_read_exactly(&NewBlockHashes(vec![raw_block(127, 0).block_ref(), raw_block(128, 0).block_ref()]));
        is_read_exactly(&Transactions(transactions(5)));
        let pooled = |kind| PooledHash { kind, size: 111 << (8 * kind), hash: B256::repeat_byte(kind) };
        is_read_exactly(&NewPooledTransactionHashes(vec![pooled(0)]));
        is_read_exactly(&NewPooledTransactionHashes((0..4).map(pooled).collect()));
        is_read_exactly(&BlockRangeUpdate { earliest: 1, latest: raw_block(600, 0).block_ref() });
    }

    /// E13: empty lists are valid where nothing forbids them.
    #[test]
    fn empty_announcements_are_valid() {
        assert_eq!(decode_all(Bytes::from_static(&[0xc0])), Ok(NewBlockHashes(Vec::new())));
        assert_eq!(decode_all(Bytes::from_static(&[0xc0])), Ok(Transactions(Vec::new())));
        let empty = Bytes::from(unhex("c380c0c0"));
        assert_eq!(decode_all(empty), Ok(NewPooledTransactionHashes(Vec::new())));
    }

    #[test]
    fn lists_of_different_lengths_are_malformed() {
        let hash = "a00707070707070707070707070707070707070707070707070707070707070707";
        let lengths = DecodeError::Invalid("announcement lengths");
        for (types_and_sizes, hashes) in [("8201 02", 1), ("01c20102", 1), ("01c101", 0), ("80c0", 1)] {
            let mut fields = unhex(types_and_sizes);
            if fields.len() == 3 && hashes == 1 && fields[0] == 0x82 {
                fields.extend(unhex("c20102"));
            }
            rlp_list(&mut fields, &unhex(hash).repeat(hashes));
            let mut message = BytesMut::new();
            rlp::put_list_head(fields.len(), &mut message);
            message.put_slice(&fields);
            assert_eq!(decode_all::<NewPooledTransactionHashes>(message.freeze()), Err(lengths));
        }
    }

    fn rlp_list(out: &mut Vec<u8>, payload: &[u8]) {
        let mut list = BytesMut::new();
        rlp::put_list_head(payload.len(), &mut list);
        list.put_slice(payload);
        out.extend_from_slice(&list);
    }

    /// E5: a million empty items are refused by their size, not collected.
    #[test]
    fn items_too_small_to_be_real_are_refused() {
        let mut many = Vec::new();
        rlp_list(&mut many, &vec![0xc0; 1_000_000]);
        let many = Bytes::from(many);
        assert_eq!(decode_all::<Transactions>(many.clone()), Err(DecodeError::Invalid("item size")));
        assert_eq!(decode_all::<NewBlockHashes>(many), Err(DecodeError::Invalid("item size")));
    }

    /// E5: the header has all fields of one, and the body's items are counted by their size.
    #[test]
    fn a_block_is_announced_with_a_header_and_a_body_of_real_size() {
        let refusal = |block: RawBlock| {
            let bytes = encoded(&NewBlock { block, total_difficulty: U256::from(10) });
            decode_all::<NewBlock>(Bytes::from(bytes)).unwrap_err()
        };
        let good = raw_block(9, 1);
        let mut header = Vec::new();
        rlp_list(&mut header, &[0x05; 600]);
        assert_eq!(
            refusal(RawBlock { header: header.into(), ..good.clone() }),
            DecodeError::Invalid("parent hash")
        );
        let mut tiny = Vec::new();
        rlp_list(&mut tiny, &[0xc0; 800]);
        let mut body = Vec::new();
        rlp_list(&mut body, &[&tiny[..], &[0xc0]].concat());
        assert_eq!(refusal(RawBlock { body: body.into(), ..good }), DecodeError::Invalid("item size"));
    }

    #[test]
    fn the_hash_of_an_announced_block_is_computed_from_its_header() {
        let block = raw_block(9, 1);
        let bytes = encoded(&NewBlock { block: block.clone(), total_difficulty: U256::from(10) });
        let read: NewBlock = decode_all(Bytes::from(bytes)).unwrap();
        assert_eq!(read.block.hash, keccak256(&block.header));
        assert_eq!(read.block, block);
    }
}
