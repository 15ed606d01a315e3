//! Rows as bytes. What is read may be damaged: every length is looked at, nothing panics.

use std::ops::Range;

use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{BufMut, Decodable, EMPTY_STRING_CODE, Encodable, Header, RlpDecodable, RlpEncodable};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY};
use bytes::Bytes;
use trunkline::chain::{BlockRef, HeaderFacts};
use trunkline::wire::rlp::List;

use super::error::StoreFailure;
use super::heads::Executed;
use crate::state::{Account, AccountDiff, BlockDiff, NodeKey};

/// A header with what is looked up more often than its fields: hash, total difficulty, RLP, end to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeaderRow<'a> {
    pub hash: B256,
    /// Up to this block and with it.
    pub total_difficulty: U256,
    pub rlp: &'a [u8],
}

impl<'a> HeaderRow<'a> {
    pub(super) fn read(row: &'a [u8]) -> Result<Self, StoreFailure> {
        let cut = || StoreFailure::damaged("header cut");
        let (hash, rest) = row.split_first_chunk::<32>().ok_or_else(cut)?;
        let (total_difficulty, rlp) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
        Ok(Self { hash: hash.into(), total_difficulty: U256::from_be_bytes(*total_difficulty), rlp })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        [&self.hash[..], &self.total_difficulty.to_be_bytes::<32>(), self.rlp].concat()
    }

    pub(super) fn facts(&self) -> Result<HeaderFacts, StoreFailure> {
        HeaderFacts::read_hashed(self.rlp, self.hash)
            .map_err(|error| StoreFailure::Damaged(format!("header of block {}: {error}", self.hash)))
    }

    /// What is kept of this block once it is executed.
    pub(super) fn executed(&self, facts: &HeaderFacts) -> Result<Executed, StoreFailure> {
        let state_root = state_root(self.rlp)
            .ok_or_else(|| StoreFailure::Damaged(format!("header of block {}", self.hash)))?;
        let total_difficulty = self.total_difficulty;
        Ok(Executed { block: BlockRef::from(facts), time: facts.timestamp, total_difficulty, state_root })
    }
}

/// The fourth field of a header.
fn state_root(header: &[u8]) -> Option<B256> {
    let mut fields = List::whole(header).ok()?;
    for _ in 0..3 {
        fields.item().ok()?;
    }
    fields.item().ok()?.fixed::<32>().ok().map(B256::from)
}

pub(super) fn write_executed(executed: &Executed) -> Vec<u8> {
    let Executed { block, time, total_difficulty, state_root } = executed;
    let numbers = [block.number.to_be_bytes(), time.to_be_bytes()].concat();
    [&numbers, &block.hash[..], &total_difficulty.to_be_bytes::<32>(), &state_root[..]].concat()
}

pub(super) fn read_executed(row: &[u8]) -> Result<Executed, StoreFailure> {
    let read = || {
        let (number, rest) = row.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (total_difficulty, rest) = rest.split_first_chunk::<32>()?;
        let state_root = <[u8; 32]>::try_from(rest).ok()?;
        Some(Executed {
            block: BlockRef { number: u64::from_be_bytes(*number), hash: hash.into() },
            time: u64::from_be_bytes(*time),
            total_difficulty: U256::from_be_bytes(*total_difficulty),
            state_root: state_root.into(),
        })
    };
    read().ok_or_else(|| StoreFailure::damaged("executed head"))
}

/// RLP `[nonce, balance, code hash, storage root]`, where an empty string stands for no code and for no
/// storage: most accounts have neither.
pub(super) fn write_account(account: &Account) -> Vec<u8> {
    let Account { nonce, balance, code_hash, storage_root } = account;
    let mut fields = Vec::with_capacity(80);
    nonce.encode(&mut fields);
    balance.encode(&mut fields);
    put_hash(code_hash, KECCAK_EMPTY, &mut fields);
    put_hash(storage_root, EMPTY_ROOT_HASH, &mut fields);
    let mut row = Vec::with_capacity(fields.len() + 2);
    Header { list: true, payload_length: fields.len() }.encode(&mut row);
    row.extend_from_slice(&fields);
    row
}

pub(super) fn read_account(mut row: &[u8]) -> Result<Account, StoreFailure> {
    let mut fields = Header::decode_bytes(&mut row, true)?;
    let account = Account {
        nonce: u64::decode(&mut fields)?,
        balance: U256::decode(&mut fields)?,
        code_hash: take_hash(&mut fields, KECCAK_EMPTY)?,
        storage_root: take_hash(&mut fields, EMPTY_ROOT_HASH)?,
    };
    match row.is_empty() && fields.is_empty() {
        true => Ok(account),
        false => Err(StoreFailure::damaged("account with more than an account has")),
    }
}

fn put_hash(hash: &B256, usual: B256, out: &mut Vec<u8>) {
    if *hash == usual { out.put_u8(EMPTY_STRING_CODE) } else { hash.encode(out) }
}

fn take_hash(fields: &mut &[u8], usual: B256) -> Result<B256, StoreFailure> {
    match Header::decode_bytes(fields, false)? {
        [] => Ok(usual),
        hash => B256::try_from(hash).map_err(|_| StoreFailure::damaged("hash of another length")),
    }
}

/// The value of a slot, which is not zero.
pub(super) fn read_value(row: &[u8]) -> Result<U256, StoreFailure> {
    U256::try_from_be_slice(row).ok_or_else(|| StoreFailure::damaged("slot longer than 32 bytes"))
}

pub(super) fn slot_key(address: &Address, slot: &U256) -> [u8; 52] {
    let mut key = [0; 52];
    key[..20].copy_from_slice(&address[..]);
    key[20..].copy_from_slice(&slot.to_be_bytes::<32>());
    key
}

/// The keys of the lowest and the highest slot that an account can have.
pub(super) fn slot_range(address: &Address) -> ([u8; 52], [u8; 52]) {
    (slot_key(address, &U256::ZERO), slot_key(address, &U256::MAX))
}

/// The slot in a key of the storage table.
pub(super) fn slot_of(key: &[u8; 52]) -> U256 {
    let mut slot = [0; 32];
    slot.copy_from_slice(&key[20..]);
    U256::from_be_bytes(slot)
}

/// `0 ‖ nibbles` in the trie of the accounts, `1 ‖ owner ‖ nibbles` in that of an account's storage.
pub(super) fn node_key(key: &NodeKey) -> Vec<u8> {
    let mut bytes = owner_prefix(&key.owner);
    bytes.extend(key.path.iter());
    bytes
}

/// The keys of all nodes of one trie: a nibble is less than 16.
pub(super) fn trie_range(owner: &B256) -> Range<Vec<u8>> {
    let start = owner_prefix(owner);
    let mut end = start.clone();
    end.push(16);
    start..end
}

fn owner_prefix(owner: &B256) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + 32 + 16);
    if owner.is_zero() {
        bytes.push(0);
    } else {
        bytes.push(1);
        bytes.extend_from_slice(&owner[..]);
    }
    bytes
}

/// How to get back from an executed block to the one before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UndoRow {
    pub block: B256,
    /// The head before.
    pub parent: Executed,
    pub diff: BlockDiff,
}

#[derive(RlpEncodable, RlpDecodable)]
struct UndoFields {
    block: B256,
    parent: Bytes,
    accounts: Vec<AccountFields>,
    codes: Vec<CodeFields>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct AccountFields {
    address: Address,
    /// Empty for none, else as in the table of accounts.
    after: Bytes,
    wiped: bool,
    slots: Vec<SlotFields>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct SlotFields {
    slot: U256,
    value: U256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct CodeFields {
    hash: B256,
    code: Bytes,
}

pub(super) fn write_undo(block: B256, parent: &Executed, diff: BlockDiff) -> Vec<u8> {
    let account = |(address, diff): (Address, AccountDiff)| AccountFields {
        address,
        after: diff.after.as_ref().map(write_account).unwrap_or_default().into(),
        wiped: diff.wiped,
        slots: diff.slots.into_iter().map(|(slot, value)| SlotFields { slot, value }).collect(),
    };
    let fields = UndoFields {
        block,
        parent: write_executed(parent).into(),
        accounts: diff.accounts.into_iter().map(account).collect(),
        codes: diff.codes.into_iter().map(|(hash, code)| CodeFields { hash, code }).collect(),
    };
    alloy_rlp::encode(fields)
}

pub(super) fn read_undo(mut row: &[u8]) -> Result<UndoRow, StoreFailure> {
    let fields = UndoFields::decode(&mut row)?;
    if !row.is_empty() {
        return Err(StoreFailure::damaged("bytes behind an undo record"));
    }
    let account = |fields: AccountFields| {
        let after = match fields.after.is_empty() {
            true => None,
            false => Some(read_account(&fields.after)?),
        };
        let slots = fields.slots.into_iter().map(|SlotFields { slot, value }| (slot, value)).collect();
        Ok((fields.address, AccountDiff { after, wiped: fields.wiped, slots }))
    };
    Ok(UndoRow {
        block: fields.block,
        parent: read_executed(&fields.parent)?,
        diff: BlockDiff {
            accounts: fields.accounts.into_iter().map(account).collect::<Result<_, StoreFailure>>()?,
            codes: fields.codes.into_iter().map(|CodeFields { hash, code }| (hash, code)).collect(),
        },
    })
}
