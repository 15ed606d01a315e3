//! Does this header follow that block, is this body this header's? Pure: bytes in, verdict out.
//!
//! Everything is checked over the bytes as they came: roots are computed over slices of the body,
//! and then each transaction, ommer and withdrawal is decoded once, because a root alone does not
//! tell a transaction from the same bytes wrapped in a string. Signatures are not recovered and
//! nothing is executed.

use std::fmt;

use alloy_consensus::transaction::RlpEcdsaDecodableTx;
use alloy_consensus::{TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_primitives::{B256, keccak256};
use alloy_trie::root::ordered_trie_root_encoded;

use super::block::BlockRef;
use super::header::HeaderFacts;
use super::rlp_slice::{Item, decode_error, items, whole_list};
use crate::wire::DecodeError;

/// The least plausible size of a transaction in bytes.
pub const TRANSACTION_BYTES_MIN: usize = 80;
/// The least plausible size of an ommer header in bytes.
pub const HEADER_BYTES_MIN: usize = 450;
/// The least plausible size of a withdrawal in bytes.
pub const WITHDRAWAL_BYTES_MIN: usize = 24;
/// The least plausible size of a receipt in bytes: its bloom alone has 256.
pub const RECEIPT_BYTES_MIN: usize = 256;

/// Part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The header.
    Header,
    /// The body as a whole.
    Body,
    /// The transactions.
    Transactions,
    /// The ommers.
    Ommers,
    /// The withdrawals.
    Withdrawals,
    /// The receipts.
    Receipts,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Body => "body",
            Self::Transactions => "transactions",
            Self::Ommers => "ommers",
            Self::Withdrawals => "withdrawals",
            Self::Receipts => "receipts",
        })
    }
}

/// What is wrong with a header, a body or receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The bytes are not an encoding of such a part.
    #[error("malformed {part}: {cause}")]
    Malformed {
        /// The part.
        part: Part,
        /// What is wrong with it.
        cause: DecodeError,
    },
    /// The number is not that of the parent plus one.
    #[error("block number {got} where {expected} should follow")]
    Number {
        /// The number that should follow.
        expected: u64,
        /// The number in the header.
        got: u64,
    },
    /// The parent hash is not that of the block before.
    #[error("parent hash {got} where the block before is {expected}")]
    Parent {
        /// The hash of the block before.
        expected: B256,
        /// The parent hash in the header.
        got: B256,
    },
    /// Hash or root of this part is not the one in the header.
    #[error("the {0} are not those that the header commits to")]
    Mismatch(Part),
}

/// Reads a header and checks that it follows `parent`.
pub fn check_header_link(parent: BlockRef, header: &[u8]) -> Result<HeaderFacts, VerifyError> {
    let facts = HeaderFacts::read(header).map_err(malformed(Part::Header))?;
    check_link(parent, &facts)?;
    Ok(facts)
}

/// Checks that a header read before follows `parent`.
pub fn check_link(parent: BlockRef, facts: &HeaderFacts) -> Result<(), VerifyError> {
    // A block after u64::MAX cannot exist: its number would have to be the parent's.
    let expected = parent.number.saturating_add(1);
    if facts.number != expected || facts.number == parent.number {
        return Err(VerifyError::Number { expected, got: facts.number });
    }
    if facts.parent_hash != parent.hash {
        return Err(VerifyError::Parent { expected: parent.hash, got: facts.parent_hash });
    }
    Ok(())
}

/// Checks a body, the RLP list `[transactions, ommers, withdrawals?]`, against its header: every
/// root and hash, then every item for its form.
pub fn check_body(facts: &HeaderFacts, body: &[u8]) -> Result<(), VerifyError> {
    let parts = BodyParts::take_apart(body)?;
    parts.roots().check(facts)?;
    parts.transactions.iter().try_for_each(check_transaction).map_err(malformed(Part::Transactions))?;
    parts.ommers.iter().try_for_each(check_ommer).map_err(malformed(Part::Ommers))?;
    let withdrawals = parts.withdrawals.as_deref().unwrap_or_default();
    withdrawals.iter().try_for_each(check_withdrawal).map_err(malformed(Part::Withdrawals))
}

/// Checks a block's receipts, an RLP list of receipts in consensus form, against its header.
pub fn check_receipts(facts: &HeaderFacts, receipts: &[u8]) -> Result<(), VerifyError> {
    let malformed = malformed(Part::Receipts);
    let list = whole_list(receipts, "receipts").map_err(malformed)?;
    let receipts = items(list, "receipts", RECEIPT_BYTES_MIN).map_err(malformed)?;
    if ordered_root(&receipts) != facts.receipts_root {
        return Err(VerifyError::Mismatch(Part::Receipts));
    }
    receipts.iter().try_for_each(check_receipt).map_err(malformed)
}

/// What a header commits to about a body: two bodies with the same roots are the same body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyRoots {
    /// The root of the transactions.
    pub transactions: B256,
    /// The hash of the list of ommers.
    pub ommers: B256,
    /// The root of the withdrawals, if the body has a list of them.
    pub withdrawals: Option<B256>,
}

impl BodyRoots {
    /// Computes the roots of a body, to find the header it belongs to. Its items are not decoded:
    /// [`check_body`] does that.
    pub fn of(body: &[u8]) -> Result<Self, VerifyError> {
        Ok(BodyParts::take_apart(body)?.roots())
    }

    /// The first of the three that is not the header's.
    pub fn check(&self, facts: &HeaderFacts) -> Result<(), VerifyError> {
        if self.ommers != facts.ommers_hash {
            return Err(VerifyError::Mismatch(Part::Ommers));
        }
        if self.transactions != facts.transactions_root {
            return Err(VerifyError::Mismatch(Part::Transactions));
        }
        if self.withdrawals != facts.withdrawals_root {
            return Err(VerifyError::Mismatch(Part::Withdrawals));
        }
        Ok(())
    }
}

impl From<&HeaderFacts> for BodyRoots {
    fn from(facts: &HeaderFacts) -> Self {
        Self {
            transactions: facts.transactions_root,
            ommers: facts.ommers_hash,
            withdrawals: facts.withdrawals_root,
        }
    }
}

/// A body's items as slices. Counts are bounded by the bytes there are before a vector is made.
struct BodyParts<'a> {
    transactions: Vec<Item<'a>>,
    ommers_list: &'a [u8],
    ommers: Vec<Item<'a>>,
    withdrawals: Option<Vec<Item<'a>>>,
}

impl<'a> BodyParts<'a> {
    fn take_apart(body: &'a [u8]) -> Result<Self, VerifyError> {
        let mut lists = whole_list(body, "body").map_err(malformed(Part::Body))?;
        let mut next = |part: Part| {
            let item = Item::take(&mut lists).map_err(malformed(Part::Body))?;
            item.list("list").map_err(malformed(part))?;
            Ok(item)
        };
        let transactions = next(Part::Transactions)?;
        let ommers = next(Part::Ommers)?;
        let mut parts = Self {
            transactions: items(transactions.payload, "transactions", TRANSACTION_BYTES_MIN)
                .map_err(malformed(Part::Transactions))?,
            ommers_list: ommers.raw,
            ommers: items(ommers.payload, "ommers", HEADER_BYTES_MIN).map_err(malformed(Part::Ommers))?,
            withdrawals: None,
        };
        if !lists.is_empty() {
            let item = Item::take(&mut lists).map_err(malformed(Part::Body))?;
            let list = item.list("list").map_err(malformed(Part::Withdrawals))?;
            let withdrawals = items(list, "withdrawals", WITHDRAWAL_BYTES_MIN);
            parts.withdrawals = Some(withdrawals.map_err(malformed(Part::Withdrawals))?);
        }
        if !lists.is_empty() {
            return Err(malformed(Part::Body)(DecodeError::Trailing));
        }
        Ok(parts)
    }

    fn roots(&self) -> BodyRoots {
        BodyRoots {
            transactions: ordered_root(&self.transactions),
            ommers: keccak256(self.ommers_list),
            withdrawals: self.withdrawals.as_deref().map(ordered_root),
        }
    }
}

/// The root of a list in the form of EIP-2718: lists as they are, strings by their content.
fn ordered_root(items: &[Item<'_>]) -> B256 {
    let values: Vec<&[u8]> =
        items.iter().map(|item| if item.list { item.raw } else { item.payload }).collect();
    ordered_trie_root_encoded(&values)
}

/// A legacy transaction is a list, a typed one a string of type and list. Blob transactions come
/// without their blobs.
fn check_transaction(item: &Item<'_>) -> Result<(), DecodeError> {
    if item.list {
        return decode_transaction::<TxLegacy>(item.raw);
    }
    match item.payload {
        [1, rest @ ..] => decode_transaction::<TxEip2930>(rest),
        [2, rest @ ..] => decode_transaction::<TxEip1559>(rest),
        [3, rest @ ..] => decode_transaction::<TxEip4844>(rest),
        [4, rest @ ..] => decode_transaction::<TxEip7702>(rest),
        _ => Err(DecodeError::Invalid("transaction type")),
    }
}

fn decode_transaction<T: RlpEcdsaDecodableTx>(mut rlp: &[u8]) -> Result<(), DecodeError> {
    T::rlp_decode_with_signature(&mut rlp).map_err(decode_error)?;
    if rlp.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
}

fn check_ommer(item: &Item<'_>) -> Result<(), DecodeError> {
    HeaderFacts::read_hashed(item.raw, B256::ZERO).map(drop)
}

/// EIP-4895: index, validator index, address, amount.
fn check_withdrawal(item: &Item<'_>) -> Result<(), DecodeError> {
    let mut fields = item.list("withdrawal")?;
    Item::take(&mut fields)?.u64("withdrawal index")?;
    Item::take(&mut fields)?.u64("validator index")?;
    address(Item::take(&mut fields)?)?;
    Item::take(&mut fields)?.u64("withdrawal amount")?;
    if fields.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
}

/// Status or post-state, cumulative gas, bloom, logs; typed ones as a string of type and list.
fn check_receipt(item: &Item<'_>) -> Result<(), DecodeError> {
    let mut fields = match (item.list, item.payload) {
        (true, fields) => fields,
        (false, [1..=0x7f, rest @ ..]) => whole_list(rest, "receipt")?,
        (false, _) => return Err(DecodeError::Invalid("receipt type")),
    };
    match Item::take(&mut fields)?.string("status")? {
        [] | [1] => {}
        root if root.len() == 32 => {}
        _ => return Err(DecodeError::Invalid("status")),
    }
    Item::take(&mut fields)?.u64("cumulative gas")?;
    if Item::take(&mut fields)?.string("bloom")?.len() != 256 {
        return Err(DecodeError::Invalid("bloom"));
    }
    let mut logs = Item::take(&mut fields)?.list("logs")?;
    while !logs.is_empty() {
        check_log(Item::take(&mut logs)?)?;
    }
    if fields.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
}

fn check_log(log: Item<'_>) -> Result<(), DecodeError> {
    let mut fields = log.list("log")?;
    address(Item::take(&mut fields)?)?;
    let mut topics = Item::take(&mut fields)?.list("topics")?;
    while !topics.is_empty() {
        Item::take(&mut topics)?.hash("topic")?;
    }
    Item::take(&mut fields)?.string("log data")?;
    if fields.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
}

fn address(item: Item<'_>) -> Result<(), DecodeError> {
    if item.string("address")?.len() == 20 { Ok(()) } else { Err(DecodeError::Invalid("address")) }
}

fn malformed(part: Part) -> impl Fn(DecodeError) -> VerifyError + Copy {
    move |cause| VerifyError::Malformed { part, cause }
}

#[cfg(test)]
mod tests;
