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
use super::values::{hash, typed_by};
use crate::wire::DecodeError;
use crate::wire::rlp::{Item, List};

/// The least plausible size of a transaction in bytes.
pub const TRANSACTION_BYTES_MIN: usize = 64;
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
    /// There are more or fewer of these than the block has transactions.
    #[error("{got} {part} where the block has {expected}")]
    Count {
        /// The part.
        part: Part,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        got: usize,
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
    let list = List::whole(receipts).map_err(malformed)?;
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
        let mut lists = List::whole(body).map_err(malformed(Part::Body))?;
        let transactions = lists.item().map_err(malformed(Part::Body))?;
        let ommers = lists.item().map_err(malformed(Part::Body))?;
        let withdrawals = lists.next_item().map_err(malformed(Part::Body))?;
        lists.end().map_err(malformed(Part::Body))?;
        let collect = |list: Item<'a>, part: Part, what, item_bytes_min| {
            list.list().and_then(|list| items(list, what, item_bytes_min)).map_err(malformed(part))
        };
        let withdrawals =
            withdrawals.map(|list| collect(list, Part::Withdrawals, "withdrawals", WITHDRAWAL_BYTES_MIN));
        Ok(Self {
            transactions: collect(transactions, Part::Transactions, "transactions", TRANSACTION_BYTES_MIN)?,
            ommers_list: ommers.encoded(),
            ommers: collect(ommers, Part::Ommers, "ommers", HEADER_BYTES_MIN)?,
            withdrawals: withdrawals.transpose()?,
        })
    }

    fn roots(&self) -> BodyRoots {
        BodyRoots {
            transactions: ordered_root(&self.transactions),
            ommers: keccak256(self.ommers_list),
            withdrawals: self.withdrawals.as_deref().map(ordered_root),
        }
    }
}

/// The items of a list, counted before they are collected: as many as its bytes could hold if each
/// had `item_bytes_min`, no more.
fn items<'a>(
    mut list: List<'a>,
    what: &'static str,
    item_bytes_min: usize,
) -> Result<Vec<Item<'a>>, DecodeError> {
    let count = list.count(1)?;
    let max = list.rest().len() / item_bytes_min;
    if count > max {
        return Err(DecodeError::TooLarge { what, got: count as u64, max: max as u64 });
    }
    let mut items = Vec::with_capacity(count);
    while let Some(item) = list.next_item()? {
        items.push(item);
    }
    Ok(items)
}

/// The root of a list in the form of EIP-2718: lists as they are, strings by their content.
fn ordered_root(items: &[Item<'_>]) -> B256 {
    let values: Vec<&[u8]> =
        items.iter().map(|item| if item.is_list() { item.encoded() } else { item.payload() }).collect();
    ordered_trie_root_encoded(&values)
}

/// A legacy transaction is a list, a typed one a string of type and list. Blob transactions come
/// without their blobs.
fn check_transaction(item: &Item<'_>) -> Result<(), DecodeError> {
    if item.is_list() {
        return decode_transaction::<TxLegacy>(item.encoded());
    }
    match item.payload() {
        [1, rest @ ..] => decode_transaction::<TxEip2930>(rest),
        [2, rest @ ..] => decode_transaction::<TxEip1559>(rest),
        [3, rest @ ..] => decode_transaction::<TxEip4844>(rest),
        [4, rest @ ..] => decode_transaction::<TxEip7702>(rest),
        _ => Err(DecodeError::Invalid("transaction type")),
    }
}

fn decode_transaction<T: RlpEcdsaDecodableTx>(rlp: &[u8]) -> Result<(), DecodeError> {
    typed_by(T::rlp_decode_with_signature, rlp, "transaction").map(drop)
}

fn check_ommer(item: &Item<'_>) -> Result<(), DecodeError> {
    HeaderFacts::read_hashed(item.encoded(), B256::ZERO).map(drop)
}

/// EIP-4895: index, validator index, address, amount.
fn check_withdrawal(item: &Item<'_>) -> Result<(), DecodeError> {
    let mut fields = item.list()?;
    fields.field("withdrawal index", Item::u64)?;
    fields.field("validator index", Item::u64)?;
    fields.field("address", Item::fixed::<20>)?;
    fields.field("withdrawal amount", Item::u64)?;
    fields.end()
}

/// Status or post-state, cumulative gas, bloom, logs; typed ones as a string of type and list.
fn check_receipt(item: &Item<'_>) -> Result<(), DecodeError> {
    let mut fields = match item.payload() {
        _ if item.is_list() => item.list()?,
        [1..=0x7f, list @ ..] => List::whole(list)?,
        _ => return Err(DecodeError::Invalid("receipt type")),
    };
    fields.field("status", |status| match status.string()? {
        [] | [1] => Ok(()),
        _ => hash(status).map(drop),
    })?;
    fields.field("cumulative gas", Item::u64)?;
    fields.field("bloom", Item::fixed::<256>)?;
    let mut logs = fields.field("logs", Item::list)?;
    while let Some(log) = logs.next_item()? {
        check_log(log)?;
    }
    fields.end()
}

fn check_log(log: Item<'_>) -> Result<(), DecodeError> {
    let mut fields = log.list()?;
    fields.field("address", Item::fixed::<20>)?;
    let mut topics = fields.field("topics", Item::list)?;
    while !topics.is_empty() {
        topics.field("topic", hash)?;
    }
    fields.field("log data", Item::string)?;
    fields.end()
}

fn malformed(part: Part) -> impl Fn(DecodeError) -> VerifyError + Copy {
    move |cause| VerifyError::Malformed { part, cause }
}

#[cfg(test)]
mod tests;
