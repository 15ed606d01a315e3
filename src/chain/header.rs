//! A header's fields straight from its RLP: the whole shape is checked, nothing is copied out that
//! nobody asked for.

use alloy_primitives::{B256, U256, keccak256};

use super::values::{self, u256};
use crate::wire::DecodeError;
use crate::wire::rlp::{Item, List};

/// The longest extra data of a header in bytes. Proof of work allows 32, proof of authority more;
/// this is geth's bound.
pub const EXTRA_DATA_BYTES_MAX: usize = 100 * 1024;

const NUMBER_OF_FIELDS: DecodeError = DecodeError::Invalid("number of header fields");

/// What linking and checking a block needs to know of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFacts {
    /// The keccak-256 of the header's RLP.
    pub hash: B256,
    /// The block's number.
    pub number: u64,
    /// The hash of the block before it.
    pub parent_hash: B256,
    /// The keccak-256 of the RLP list of ommers.
    pub ommers_hash: B256,
    /// The root of the transactions.
    pub transactions_root: B256,
    /// The root of the receipts.
    pub receipts_root: B256,
    /// The root of the withdrawals, from Shanghai on.
    pub withdrawals_root: Option<B256>,
    /// The gas that the transactions used, which bounds how large their receipts can be.
    pub gas_used: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// The difficulty; zero past the merge.
    pub difficulty: U256,
}

impl HeaderFacts {
    /// Reads and hashes a header that fills `rlp` to the end.
    pub fn read(rlp: &[u8]) -> Result<Self, DecodeError> {
        let facts = Self::read_hashed(rlp, B256::ZERO)?;
        Ok(Self { hash: keccak256(rlp), ..facts })
    }

    /// Reads a header whose hash is known already.
    ///
    /// Every field is checked for its form, and the number of fields must be that of some fork
    /// (15, 16 London, 17 Shanghai, 20 Cancun, 21 Prague, 22 or 23 Amsterdam).
    pub fn read_hashed(rlp: &[u8], hash: B256) -> Result<Self, DecodeError> {
        let mut list = List::whole(rlp)?;
        let fields = &mut list;
        let parent_hash = next(fields, "parent hash", values::hash)?;
        let ommers_hash = next(fields, "ommers hash", values::hash)?;
        next(fields, "coinbase", Item::fixed::<20>)?;
        next(fields, "state root", values::hash)?;
        let transactions_root = next(fields, "transactions root", values::hash)?;
        let receipts_root = next(fields, "receipts root", values::hash)?;
        next(fields, "logs bloom", Item::fixed::<256>)?;
        let difficulty = next(fields, "difficulty", u256)?;
        let number = next(fields, "block number", Item::u64)?;
        next(fields, "gas limit", Item::u64)?;
        let gas_used = next(fields, "gas used", Item::u64)?;
        let timestamp = next(fields, "timestamp", Item::u64)?;
        if next(fields, "extra data", Item::string)?.len() > EXTRA_DATA_BYTES_MAX {
            return Err(DecodeError::Invalid("extra data"));
        }
        next(fields, "mix hash", values::hash)?;
        next(fields, "nonce", Item::fixed::<8>)?;
        let mut withdrawals_root = None;
        if !fields.is_empty() {
            next(fields, "base fee", u256)?;
        }
        if !fields.is_empty() {
            withdrawals_root = Some(next(fields, "withdrawals root", values::hash)?);
        }
        if !fields.is_empty() {
            next(fields, "blob gas used", Item::u64)?;
            next(fields, "excess blob gas", Item::u64)?;
            next(fields, "parent beacon root", values::hash)?;
        }
        if !fields.is_empty() {
            next(fields, "requests hash", values::hash)?;
        }
        if !fields.is_empty() {
            next(fields, "block access list hash", values::hash)?;
        }
        if !fields.is_empty() {
            next(fields, "slot number", Item::u64)?;
        }
        if !fields.is_empty() {
            return Err(NUMBER_OF_FIELDS);
        }
        Ok(Self {
            hash,
            number,
            parent_hash,
            ommers_hash,
            transactions_root,
            receipts_root,
            withdrawals_root,
            gas_used,
            timestamp,
            difficulty,
        })
    }
}

/// The next field. A list that ends before it is a header of no fork.
fn next<'a, T>(
    fields: &mut List<'a>,
    what: &'static str,
    read: impl FnOnce(Item<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    if fields.is_empty() { Err(NUMBER_OF_FIELDS) } else { fields.field(what, read) }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Header;
    use alloy_primitives::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::rlp::put_list_head;

    /// Headers of every fork, each with one more group of fields.
    fn headers() -> Vec<Header> {
        let mut header = Header {
            number: 77,
            parent_hash: B256::repeat_byte(1),
            timestamp: 1234,
            difficulty: U256::from(1_000_000),
            receipts_root: B256::repeat_byte(9),
            ..Header::default()
        };
        let mut all = vec![header.clone()];
        header.base_fee_per_gas = Some(7);
        all.push(header.clone());
        header.withdrawals_root = Some(B256::repeat_byte(2));
        all.push(header.clone());
        header.blob_gas_used = Some(0);
        header.excess_blob_gas = Some(131_072);
        header.parent_beacon_block_root = Some(B256::repeat_byte(3));
        all.push(header.clone());
        header.requests_hash = Some(B256::repeat_byte(4));
        all.push(header.clone());
        header.block_access_list_hash = Some(B256::repeat_byte(5));
        all.push(header.clone());
        header.slot_number = Some(99);
        all.push(header);
        all
    }

    #[test]
    fn headers_of_every_fork_give_their_fields() {
        for header in headers() {
            let facts = HeaderFacts::read(&alloy_rlp::encode(&header)).unwrap();
            assert_eq!(facts.hash, header.hash_slow());
            assert_eq!((facts.number, facts.timestamp), (77, 1234));
            assert_eq!(facts.parent_hash, header.parent_hash);
            assert_eq!(facts.difficulty, header.difficulty);
            assert_eq!(facts.ommers_hash, header.ommers_hash);
            assert_eq!(facts.transactions_root, header.transactions_root);
            assert_eq!(facts.receipts_root, header.receipts_root);
            assert_eq!(facts.withdrawals_root, header.withdrawals_root);
        }
    }

    #[test]
    fn a_header_cut_anywhere_or_followed_by_a_byte_is_refused() {
        for header in headers() {
            let mut rlp = alloy_rlp::encode(&header);
            for len in 0..rlp.len() {
                assert!(HeaderFacts::read(&rlp[..len]).is_err(), "{len} bytes");
            }
            rlp.push(0);
            assert_eq!(HeaderFacts::read(&rlp), Err(DecodeError::Trailing));
        }
    }

    #[test]
    fn one_field_too_few_or_too_many_is_refused() {
        let rlp = alloy_rlp::encode(headers().last().unwrap());
        let payload = List::whole(&rlp).unwrap().rest();
        let relist = |payload: &[u8]| {
            let mut out = Vec::new();
            put_list_head(payload.len(), &mut out);
            out.extend_from_slice(payload);
            out
        };
        let error = Err(NUMBER_OF_FIELDS);
        assert_eq!(HeaderFacts::read(&relist(&[payload, &[0x80]].concat())), error);
        let cancun = alloy_rlp::encode(&headers()[3]);
        let payload = List::whole(&cancun).unwrap().rest();
        assert_eq!(HeaderFacts::read(&relist(&payload[..payload.len() - 33])), error, "19 fields");
        assert_eq!(HeaderFacts::read(&relist(&[])), error);
    }

    #[test]
    fn extra_data_is_bounded() {
        let mut header =
            Header { extra_data: Bytes::from(vec![0; EXTRA_DATA_BYTES_MAX]), ..Header::default() };
        assert!(HeaderFacts::read(&alloy_rlp::encode(&header)).is_ok());
        header.extra_data = Bytes::from(vec![0; EXTRA_DATA_BYTES_MAX + 1]);
        assert!(HeaderFacts::read(&alloy_rlp::encode(&header)).is_err());
    }

    proptest! {
        #[test]
        fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = HeaderFacts::read(&bytes);
        }

        #[test]
        fn what_we_take_alloy_takes_too(at in 0usize..600, byte in any::<u8>()) {
            // Without the base fee, of which alloy takes fewer bits than we do.
            let mut rlp = alloy_rlp::encode(&headers()[0]);
            let at = at % rlp.len();
            rlp[at] = byte;
            if HeaderFacts::read(&rlp).is_ok() {
                prop_assert!(alloy_rlp::decode_exact::<Header>(&rlp).is_ok());
            }
        }
    }
}
