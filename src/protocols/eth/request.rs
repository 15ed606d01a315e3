//! The questions we ask, as [`Request`]s: encoded by the session, their answers decoded by the
//! caller.

use alloy_consensus::{BlockBody, Header, ReceiptEnvelope};
use bytes::Bytes;

use super::message::{HEADER_BYTES_MIN, Transaction, check_body, code, each, inflate, typed};
use super::query::{
    GetBlockBodies, GetBlockHeaders, GetReceipts, answer_items, encode_hashes, encode_headers,
};
use super::receipts;
use crate::protocols::Request;
use crate::wire::rlp::Item;
use crate::wire::{DecodeError, snappy};

/// The [`Exchange::name`](crate::protocols::Exchange::name) of eth.
pub const NAME: &str = "eth";

/// A question whose answer is a list, so that its items can be had without being decoded.
pub trait ListRequest: Request {
    /// The least an item of the answer takes, in bytes.
    const ITEM_BYTES_MIN: usize;

    /// How many items were asked for.
    fn asked(&self) -> u64;
}

/// The same question; its answer is cut into its RLP items, which are not decoded.
///
/// The items share the memory of the whole answer. Of each of them only its outermost head is
/// known to be canonical, and that it is a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Raw<R>(pub R);

impl<R: ListRequest> Request for Raw<R> {
    type Response = Vec<Bytes>;
    const CODE: u8 = R::CODE;
    const ANSWER: u8 = R::ANSWER;

    fn exchange() -> &'static str {
        R::exchange()
    }

    fn encode(&self, version: u32, id: u64) -> Bytes {
        self.0.encode(version, id)
    }

    fn decode_answer(&self, _version: u32, body: Bytes) -> Result<Vec<Bytes>, DecodeError> {
        let plain = inflate(&body)?;
        decode_items(&plain, self.0.asked(), R::ITEM_BYTES_MIN, |item| {
            item.list().map(|_| plain.slice_ref(item.encoded()))
        })
    }
}

impl Request for GetBlockHeaders {
    type Response = Vec<Header>;
    const CODE: u8 = code::GET_BLOCK_HEADERS;
    const ANSWER: u8 = code::BLOCK_HEADERS;

    fn exchange() -> &'static str {
        NAME
    }

    fn encode(&self, _version: u32, id: u64) -> Bytes {
        snappy::compress(&encode_headers(id, self))
    }

    /// A header takes about 800 bytes in memory: less than twice its RLP.
    fn decode_answer(&self, _version: u32, body: Bytes) -> Result<Vec<Header>, DecodeError> {
        let plain = inflate(&body)?;
        decode_items(&plain, self.asked(), Self::ITEM_BYTES_MIN, |item| typed(item.encoded(), "header"))
    }
}

impl ListRequest for GetBlockHeaders {
    const ITEM_BYTES_MIN: usize = HEADER_BYTES_MIN;

    fn asked(&self) -> u64 {
        self.limit
    }
}

impl GetBlockHeaders {
    /// Asks for the headers' RLP rather than for values.
    pub fn raw(self) -> Raw<Self> {
        Raw(self)
    }
}

impl Request for GetBlockBodies {
    type Response = Vec<BlockBody<Transaction>>;
    const CODE: u8 = code::GET_BLOCK_BODIES;
    const ANSWER: u8 = code::BLOCK_BODIES;

    fn exchange() -> &'static str {
        NAME
    }

    fn encode(&self, _version: u32, id: u64) -> Bytes {
        snappy::compress(&encode_hashes(id, &self.hashes))
    }

    /// Fewer bodies than were asked for are no error: the caller matches them to headers by their
    /// roots. A body takes at most about five times its RLP in memory.
    fn decode_answer(&self, _version: u32, body: Bytes) -> Result<Self::Response, DecodeError> {
        let plain = inflate(&body)?;
        decode_items(&plain, self.asked(), Self::ITEM_BYTES_MIN, |item| {
            check_body(item.list()?)?;
            typed(item.encoded(), "body")
        })
    }
}

impl ListRequest for GetBlockBodies {
    /// Two empty lists.
    const ITEM_BYTES_MIN: usize = 3;

    fn asked(&self) -> u64 {
        self.hashes.len() as u64
    }
}

impl GetBlockBodies {
    /// Asks for the bodies' RLP rather than for values.
    pub fn raw(self) -> Raw<Self> {
        Raw(self)
    }
}

impl Request for GetReceipts {
    /// For each block its receipts. Blooms come from the peer up to eth/68, and are computed from
    /// the logs from eth/69.
    type Response = Vec<Vec<ReceiptEnvelope>>;
    const CODE: u8 = code::GET_RECEIPTS;
    const ANSWER: u8 = code::RECEIPTS;

    fn exchange() -> &'static str {
        NAME
    }

    fn encode(&self, _version: u32, id: u64) -> Bytes {
        snappy::compress(&encode_hashes(id, &self.hashes))
    }

    /// Of more than 262,144 receipts in one answer no values are made.
    fn decode_answer(&self, version: u32, body: Bytes) -> Result<Self::Response, DecodeError> {
        let plain = inflate(&body)?;
        let mut room = receipts::RECEIPTS_MAX;
        decode_items(&plain, self.asked(), Self::ITEM_BYTES_MIN, |item| {
            receipts::decode(version, item.list()?, &mut room)
        })
    }
}

impl ListRequest for GetReceipts {
    /// An empty list.
    const ITEM_BYTES_MIN: usize = 1;

    fn asked(&self) -> u64 {
        self.hashes.len() as u64
    }
}

impl GetReceipts {
    /// Asks for the RLP of each block's receipts rather than for values: in consensus form up to
    /// eth/68, flat from eth/69; [`receipts::root`] takes both.
    pub fn raw(self) -> Raw<Self> {
        Raw(self)
    }
}

fn decode_items<'a, T>(
    plain: &'a [u8],
    asked: u64,
    least: usize,
    decode: impl FnMut(Item<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let (_, items) = answer_items(plain, asked, least)?;
    each(items, least, decode)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use alloy_rlp::Encodable;

    use super::super::query::{Query, encode_answer};
    use super::*;
    use crate::protocols::eth::fixtures::{body, consensus_receipts, header, receipts as typed_receipts};
    use crate::wire::fixtures::Junk;

    fn answer(items: &[Bytes]) -> Bytes {
        snappy::compress(&encode_answer(9, items))
    }

    fn encoded(value: &impl Encodable) -> Bytes {
        Bytes::from(alloy_rlp::encode(value))
    }

    fn hashes(count: usize) -> Vec<B256> {
        vec![B256::repeat_byte(1); count]
    }

    #[test]
    fn a_question_arrives_as_it_was_asked() {
        let asked = GetBlockHeaders::range(1, 2);
        let plain = inflate(&asked.encode(69, 7)).unwrap();
        assert_eq!(Query::decode(GetBlockHeaders::CODE, &plain), Ok((7, Query::Headers(asked))));
        let asked = GetBlockBodies::new(hashes(3));
        let plain = inflate(&asked.clone().raw().encode(69, 8)).unwrap();
        assert_eq!(Query::decode(GetBlockBodies::CODE, &plain), Ok((8, Query::Bodies(asked))));
    }

    #[test]
    fn answers_are_decoded_to_values() {
        let headers: Vec<_> = (1..=3).map(header).collect();
        let items: Vec<_> = headers.iter().map(encoded).collect();
        let asked = GetBlockHeaders::range(1, 3);
        assert_eq!(asked.decode_answer(69, answer(&items)), Ok(headers));

        let bodies = vec![body(0), body(5)];
        let items: Vec<_> = bodies.iter().map(encoded).collect();
        assert_eq!(GetBlockBodies::new(hashes(2)).decode_answer(68, answer(&items)), Ok(bodies));

        let blocks = vec![typed_receipts(), Vec::new()];
        let consensus: Vec<_> = blocks.iter().map(|receipts| consensus_receipts(receipts)).collect();
        let flat: Vec<_> = consensus.iter().map(|list| receipts::flatten(list).unwrap()).collect();
        let asked = GetReceipts::new(hashes(3));
        assert_eq!(asked.decode_answer(68, answer(&consensus)).as_ref(), Ok(&blocks));
        assert_eq!(asked.decode_answer(69, answer(&flat)).as_ref(), Ok(&blocks));
        assert!(asked.decode_answer(68, answer(&flat)).is_err());
    }

    #[test]
    fn raw_items_are_slices_of_the_answer() {
        let items: Vec<_> = (1..=3).map(|number| encoded(&header(number))).collect();
        let raw = GetBlockHeaders::range(1, 3).raw().decode_answer(69, answer(&items)).unwrap();
        assert_eq!(raw, items);
        let gap = raw[1].as_ptr() as usize - raw[0].as_ptr() as usize;
        assert_eq!(gap, raw[0].len());
        assert_eq!(GetReceipts::new(hashes(1)).raw().decode_answer(69, answer(&[])), Ok(Vec::new()));
    }

    /// F18, G4: one more than asked, of each kind.
    #[test]
    fn more_items_than_asked_for_are_an_excess() {
        let items: Vec<_> = (1..=3).map(|number| encoded(&header(number))).collect();
        let excess = DecodeError::Excess { got: 3, asked: 2 };
        let headers = GetBlockHeaders::range(1, 2);
        assert_eq!(headers.decode_answer(69, answer(&items)), Err(excess));
        assert_eq!(headers.raw().decode_answer(69, answer(&items)), Err(excess));
        let items = vec![encoded(&body(0)); 3];
        assert_eq!(GetBlockBodies::new(hashes(2)).decode_answer(69, answer(&items)), Err(excess));
        let items = vec![Bytes::from_static(&[0xc0]); 3];
        assert_eq!(GetReceipts::new(hashes(2)).decode_answer(69, answer(&items)), Err(excess));
    }

    /// E5: millions of empty items are refused before a vector is made for them.
    #[test]
    fn items_too_small_to_be_real_are_refused() {
        let items = vec![Bytes::from_static(&[0xc0]); 1_000_000];
        let mut headers = GetBlockHeaders::range(1, 1);
        headers.limit = u64::MAX;
        let size = DecodeError::Invalid("item size");
        assert_eq!(headers.decode_answer(69, answer(&items)), Err(size));
        let mut body = vec![0xf9, 0x04, 0x04, 0xf9, 0x04, 0x00];
        body.extend([0xc0; 0x400]);
        body.push(0xc0);
        let items = [Bytes::from(body)];
        assert_eq!(GetBlockBodies::new(hashes(1)).decode_answer(69, answer(&items)), Err(size));
    }

    /// E7: an answer that claims to be larger than 16 MiB inflated.
    #[test]
    fn an_answer_above_the_inflated_cap_is_refused_unread() {
        let claim = Bytes::from_static(&[0x81, 0x80, 0x80, 0x08, 0x00, 0xc0]);
        let refusal = GetBlockHeaders::range(1, 1).decode_answer(69, claim);
        assert!(matches!(refusal, Err(DecodeError::TooLarge { what: "inflated length", .. })));
    }

    /// E1, E3: truncation and junk in every answer; G7: a header is never larger than its message.
    #[test]
    fn truncation_and_junk_are_refused_or_read_the_same_way_again() {
        let asked = GetBlockHeaders::range(1, 2);
        let plain = encode_answer(9, &[encoded(&header(1)), encoded(&header(2))]);
        for cut in 0..plain.len() {
            assert!(asked.decode_answer(69, snappy::compress(&plain[..cut])).is_err());
        }
        let mut junk = Junk::seeded(12);
        let bodies = encode_answer(9, &[encoded(&body(5))]);
        for _ in 0..3_000 {
            let mut bytes = plain.to_vec();
            let at = junk.below(bytes.len());
            bytes[at] = junk.next() as u8;
            if let Ok(headers) = asked.decode_answer(69, snappy::compress(&bytes)) {
                let items: Vec<_> = headers.iter().map(encoded).collect();
                let id = inflate(&answer(&items)).unwrap();
                assert_eq!(id[4..], bytes[4..], "byte {at}");
            }
            let mut bytes = bodies.to_vec();
            let at = junk.below(bytes.len());
            bytes[at] = junk.next() as u8;
            let _ = GetBlockBodies::new(hashes(1)).decode_answer(69, snappy::compress(&bytes));
        }
    }
}
