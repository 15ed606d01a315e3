//! Receipts of made-up chains, and how peers answer questions for them.

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope};
use alloy_primitives::{Address, B256, Log};
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;

use super::world::TestChain;
use crate::protocols::eth::fixtures::consensus_receipts;
use crate::protocols::eth::receipts;
use crate::sync::action::Answer;
use crate::wire::rlp::{self, List};

/// The receipts of a block with so many transactions, in consensus form.
pub(super) fn made(rng: &mut StdRng, count: usize) -> Bytes {
    let receipt = |at: usize| {
        let log = |data: u8| {
            let data = alloy_primitives::Bytes::from(vec![data; 40]);
            Log::new_unchecked(Address::repeat_byte(data[0]), vec![B256::repeat_byte(3)], data)
        };
        let logs: Vec<Log> = (0..rng.random_range(0..2)).map(|_| log(rng.random())).collect();
        let receipt = Receipt {
            status: Eip658Value::Eip658(true),
            cumulative_gas_used: 21_000 * (at as u64 + 1),
            logs,
        };
        match rng.random_range(0..2) {
            0 => ReceiptEnvelope::Legacy(receipt.with_bloom()),
            _ => ReceiptEnvelope::Eip1559(receipt.with_bloom()),
        }
    };
    consensus_receipts(&(0..count).map(receipt).collect::<Vec<_>>())
}

/// How a peer answers questions for receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// All, with blooms as in eth/68.
    Blooms,
    /// All, as in eth/69.
    Flat,
    /// Those of the blocks up to this one.
    UpTo(u64),
    /// Those of the blocks from this one on.
    From(u64),
    /// At most so many per answer, as in eth/70.
    Parts(usize),
    /// None.
    Nothing,
    /// No answer.
    Silence,
    /// Leaves out every third block.
    Leaky,
    /// One list is another block's.
    Stray,
    /// One bit of one list is another.
    Wrong,
    /// More lists than were asked for.
    TooMany,
    /// Says that there are more receipts than these, and there are none.
    NoMore,
    /// The first receipt, and whatever is asked then, again the first.
    SamePart,
    /// Says that the receipts go on beyond the last one.
    Endless,
}

impl Gives {
    /// Whether a peer that does this has to be blamed for it.
    pub(super) fn is_bad(self) -> bool {
        use Gives::*;
        matches!(self, Stray | Wrong | TooMany | NoMore | SamePart | Endless)
    }

    /// Answers as a peer does that has the blocks `earliest..=latest`.
    pub(super) fn answer(
        self,
        chain: &TestChain,
        (hashes, first_index): (&[B256], u64),
        (earliest, latest): (u64, u64),
    ) -> Answer {
        let (earliest, latest) = match self {
            Gives::UpTo(most) => (earliest, latest.min(most)),
            Gives::From(least) => (earliest.max(least), latest),
            Gives::Nothing => (1, 0),
            _ => (earliest, latest),
        };
        let mut answer = Answer::default();
        let (mut bytes, mut room) = (0, usize::MAX);
        if let Gives::Parts(most) = self {
            room = most;
        }
        let mut rest = &chain.blocks[..];
        for (at, hash) in hashes.iter().enumerate() {
            let Some(found) = rest.iter().position(|block| block.hash == *hash) else { break };
            let number = rest[found].number;
            rest = &rest[found..];
            if !(earliest..=latest).contains(&number) || bytes >= 2 << 20 || room == 0 {
                break;
            }
            if self == Gives::Leaky && number.is_multiple_of(3) {
                continue;
            }
            let list = chain.receipts(number);
            let list = if self == Gives::Blooms { list } else { receipts::flatten(&list).unwrap() };
            let first = if at == 0 { first_index as usize } else { 0 };
            let (list, more) = cut(&list, first, room);
            room = room.saturating_sub(receipts::count(&list).unwrap());
            bytes += list.len();
            answer.items.push(list);
            answer.last_incomplete = more;
        }
        self.spoil(chain, hashes, &mut answer);
        answer
    }

    fn spoil(self, chain: &TestChain, hashes: &[B256], answer: &mut Answer) {
        let middle = answer.items.len() / 2;
        let Some(list) = answer.items.get(middle).cloned() else { return };
        match self {
            Gives::Stray => answer.items[middle] = made_elsewhere(),
            Gives::Wrong => {
                let mut wrong = list.to_vec();
                let at = wrong.len() - 1;
                wrong[at] ^= 1;
                answer.items[middle] = wrong.into();
            }
            Gives::TooMany => answer.items.resize(hashes.len() + 1, list),
            Gives::NoMore => {
                answer.items = vec![Bytes::from_static(&[rlp::EMPTY_LIST])];
                answer.last_incomplete = true;
            }
            Gives::SamePart => {
                let number = chain.blocks.iter().find(|block| block.hash == hashes[0]).unwrap().number;
                let list = receipts::flatten(&chain.receipts(number)).unwrap();
                answer.items = vec![cut(&list, 0, 1).0];
                answer.last_incomplete = true;
            }
            Gives::Endless => {
                let last = answer.items.len() - 1;
                let first = list_items(&answer.items[last]).into_iter().next().unwrap();
                let mut items = list_items(&answer.items[last]);
                items.push(first);
                answer.items[last] = list_of(&items);
                answer.last_incomplete = true;
            }
            _ => {}
        }
    }
}

fn made_elsewhere() -> Bytes {
    use rand::SeedableRng;
    receipts::flatten(&made(&mut StdRng::seed_from_u64(99), 2)).unwrap()
}

fn list_items(list: &[u8]) -> Vec<Bytes> {
    let mut items = List::whole(list).unwrap();
    let next = || items.next_item().unwrap().map(|item| Bytes::copy_from_slice(item.encoded()));
    std::iter::from_fn(next).collect()
}

fn list_of(items: &[Bytes]) -> Bytes {
    let mut out = bytes::BytesMut::new();
    rlp::put_list_head(items.iter().map(Bytes::len).sum(), &mut out);
    items.iter().for_each(|item| out.extend_from_slice(item));
    out.freeze()
}

/// At most so many receipts from this one on, and whether there are more.
fn cut(list: &[u8], first: usize, most: usize) -> (Bytes, bool) {
    let items = list_items(list);
    let rest = &items[first.min(items.len())..];
    (list_of(&rest[..most.min(rest.len())]), rest.len() > most)
}
