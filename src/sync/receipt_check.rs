//! Are these the receipts that were asked for? Pure hashing, done away from the network thread.

use bytes::Bytes;

use super::bad_data::BadData;
use super::store::MissingReceipts;
use crate::chain::verify::{Part, VerifyError};
use crate::protocols::eth::receipts;
use crate::wire::DecodeError;

/// An answer of receipts, and what it should be.
#[derive(Debug)]
pub(super) struct ReceiptCheck {
    /// The blocks asked for.
    pub(super) wanted: Vec<MissingReceipts>,
    /// Of the first block, the parts that came before, and how many receipts they have.
    pub(super) begun: Option<(Vec<Bytes>, usize)>,
    pub(super) answer: Vec<Bytes>,
    pub(super) last_incomplete: bool,
    /// The most bytes that the receipts of one block may have.
    pub(super) bytes_max: usize,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct ReceiptVerdict {
    /// Complete and verified, in consensus form, each with its place among those asked for.
    pub(super) found: Vec<(usize, Bytes)>,
    /// A part of a block behind those, which cannot be verified yet, and how many receipts it has.
    pub(super) part: Option<(usize, Bytes, usize)>,
    /// What is wrong with what came after them.
    pub(super) bad: Option<BadData>,
}

impl ReceiptCheck {
    /// Does the work.
    ///
    /// Unknown blocks are left out by some peers, so each list is looked for further on; never further
    /// back, because answers keep the order of the question.
    pub(super) fn run(mut self) -> ReceiptVerdict {
        let mut verdict = ReceiptVerdict { found: Vec::new(), part: None, bad: None };
        verdict.bad = self.go_on(&mut verdict.found, &mut verdict.part).err();
        verdict
    }

    fn go_on(
        &mut self,
        found: &mut Vec<(usize, Bytes)>,
        part: &mut Option<(usize, Bytes, usize)>,
    ) -> Result<(), BadData> {
        let last = if self.last_incomplete { self.answer.pop() } else { None };
        let mut at = 0;
        for list in std::mem::take(&mut self.answer) {
            let (place, consensus) = match self.begun.take() {
                Some((mut parts, _)) => {
                    parts.push(list);
                    (0, self.joined(&parts)?)
                }
                None => place(self.wanted.get(at..).unwrap_or_default(), &list)?,
            };
            found.push((at + place, consensus));
            at += place + 1;
        }
        if let Some(last) = last {
            match self.part(at, last)? {
                Rest::Missing(list, count) => *part = Some((at, list, count)),
                Rest::None(consensus) => found.push((at, consensus)),
            }
        }
        Ok(())
    }

    /// The parts of the first block, as the whole that they should be.
    fn joined(&self, parts: &[Bytes]) -> Result<Bytes, BadData> {
        let first = self.wanted.first().ok_or(BadData::StrayReceipts)?;
        let list = receipts::join(parts, self.bytes_max(first)).map_err(malformed)?;
        place(std::slice::from_ref(first), &list).map(|(_, consensus)| consensus)
    }

    /// A list that is said to be incomplete, of the block at `at`.
    fn part(&mut self, at: usize, list: Bytes) -> Result<Rest, BadData> {
        let wanted = *self.wanted.get(at).ok_or(BadData::StrayReceipts)?;
        let count = receipts::count(&list).map_err(malformed)?;
        let (mut parts, before) = self.begun.take().filter(|_| at == 0).unwrap_or_default();
        let bytes = parts.iter().map(Bytes::len).sum::<usize>() + list.len();
        if count == 0 {
            return Err(BadData::NoMoreReceipts);
        }
        if before + count > wanted.transactions || bytes > self.bytes_max(&wanted) {
            return Err(BadData::Excess { got: before + count, asked: wanted.transactions });
        }
        if before + count == wanted.transactions {
            parts.push(list);
            let list = receipts::join(&parts, self.bytes_max(&wanted)).map_err(malformed)?;
            return place(&[wanted], &list).map(|(_, consensus)| Rest::None(consensus));
        }
        // The rest may be long in coming, and must not keep the whole message alive.
        Ok(Rest::Missing(Bytes::copy_from_slice(&list), count))
    }

    fn bytes_max(&self, wanted: &MissingReceipts) -> usize {
        receipts::bytes_max(&wanted.facts).min(self.bytes_max)
    }
}

enum Rest {
    /// There are more receipts than these.
    Missing(Bytes, usize),
    /// These are all, whatever the peer says.
    None(Bytes),
}

/// Where a list belongs, and the list in consensus form. A header commits to every byte of it, so of
/// two blocks with the same root it does not matter which one is taken.
fn place(wanted: &[MissingReceipts], list: &Bytes) -> Result<(usize, Bytes), BadData> {
    let count = receipts::count(list).map_err(malformed)?;
    // First the count: only then is it clear how much the list can grow.
    if !wanted.iter().any(|block| block.transactions == count) {
        return Err(BadData::StrayReceipts);
    }
    let consensus = receipts::to_consensus(list).map_err(malformed)?;
    let root = receipts::root(&consensus).map_err(malformed)?;
    let fits = |block: &MissingReceipts| block.transactions == count && block.facts.receipts_root == root;
    let place = wanted.iter().position(fits).ok_or(BadData::StrayReceipts)?;
    Ok((place, consensus))
}

fn malformed(cause: DecodeError) -> BadData {
    VerifyError::Malformed { part: Part::Receipts, cause }.into()
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Header;

    use super::*;
    use crate::chain::HeaderFacts;
    use crate::protocols::eth::fixtures::{consensus_receipts, receipts as some};
    use crate::wire::rlp::{self, List};

    /// A block with the first `count` of the fixture's receipts.
    fn sealed(number: u64, count: usize) -> (MissingReceipts, Bytes) {
        let list = consensus_receipts(&some()[..count]);
        let receipts_root = receipts::root(&list).unwrap();
        let header = Header { number, receipts_root, gas_used: 30_000_000, ..Header::default() };
        let facts = HeaderFacts::read(&alloy_rlp::encode(header)).unwrap();
        (MissingReceipts { facts, transactions: count }, list)
    }

    fn part(list: &[u8], range: std::ops::Range<usize>) -> Bytes {
        let mut items = List::whole(list).unwrap();
        let next = || items.next_item().unwrap().map(|item| item.encoded().to_vec());
        let all: Vec<_> = std::iter::from_fn(next).collect();
        let payload = all[range].concat();
        let mut out = bytes::BytesMut::new();
        rlp::put_list_head(payload.len(), &mut out);
        out.extend_from_slice(&payload);
        out.freeze()
    }

    fn check(wanted: &[MissingReceipts], answer: &[&Bytes], last_incomplete: bool) -> ReceiptCheck {
        let answer = answer.iter().copied().cloned().collect();
        ReceiptCheck { wanted: wanted.to_vec(), begun: None, answer, last_incomplete, bytes_max: 1 << 20 }
    }

    fn places(verdict: &ReceiptVerdict) -> Vec<usize> {
        verdict.found.iter().map(|(place, _)| *place).collect()
    }

    #[test]
    fn lists_of_either_form_are_matched_by_their_root_in_the_order_of_the_question() {
        let blocks: Vec<_> = (1..=5).map(|count| sealed(count, count as usize)).collect();
        let wanted: Vec<_> = blocks.iter().map(|(wanted, _)| *wanted).collect();
        let flat: Vec<_> = blocks.iter().map(|(_, list)| receipts::flatten(list).unwrap()).collect();
        let verdict = check(&wanted, &[&blocks[0].1, &flat[1], &flat[2]], false).run();
        assert_eq!((places(&verdict), verdict.bad), (vec![0, 1, 2], None));
        assert!(verdict.found.iter().all(|(place, list)| *list == blocks[*place].1), "in consensus form");
        let skipping = check(&wanted, &[&flat[1], &flat[4]], false).run();
        assert_eq!((places(&skipping), skipping.bad), (vec![1, 4], None));
        let backwards = check(&wanted, &[&flat[0], &flat[2], &flat[1]], false).run();
        assert_eq!((places(&backwards), backwards.bad), (vec![0, 2], Some(BadData::StrayReceipts)));
        let junk = check(&wanted, &[&flat[0], &Bytes::from_static(b"junk")], false).run();
        assert!(places(&junk) == [0] && junk.bad.is_some());
    }

    #[test]
    fn a_part_is_kept_until_the_rest_makes_it_the_block() {
        let (one, two) = (sealed(1, 1), sealed(2, 5));
        let wanted = [one.0, two.0];
        let flat = receipts::flatten(&two.1).unwrap();
        let (first, rest) = (part(&flat, 0..3), part(&flat, 3..5));
        let verdict = check(&wanted, &[&one.1, &first], true).run();
        assert_eq!((places(&verdict), verdict.bad), (vec![0], None));
        let (place, list, count) = verdict.part.unwrap();
        assert_eq!((place, &list, count), (1, &first, 3));
        let begun = |parts: &[&Bytes], count| {
            let parts = parts.iter().copied().cloned().collect();
            move |check: ReceiptCheck| ReceiptCheck { begun: Some((parts, count)), ..check }
        };
        let whole = begun(&[&first], 3)(check(&wanted[1..], &[&rest], false)).run();
        assert_eq!((whole.found, whole.bad), (vec![(0, two.1.clone())], None));
        // In three parts, the last of which says that there is more.
        let more = begun(&[&first], 3)(check(&wanted[1..], &[&part(&flat, 3..4)], true)).run();
        assert_eq!(more.part.map(|(_, _, count)| count), Some(1));
        let parts = [&first, &part(&flat, 3..4)];
        let last = begun(&parts, 4)(check(&wanted[1..], &[&part(&flat, 4..5)], true)).run();
        assert_eq!((last.found, last.bad), (vec![(0, two.1.clone())], None));
        // The peer says that the first part was all.
        let empty = Bytes::from_static(&[rlp::EMPTY_LIST]);
        let short = begun(&[&first], 3)(check(&wanted[1..], &[&empty], false)).run();
        assert_eq!(short.bad, Some(BadData::StrayReceipts));
    }

    /// G5.
    #[test]
    fn parts_that_cannot_become_the_block_are_bad_at_once() {
        let (wanted, list) = sealed(1, 5);
        let flat = receipts::flatten(&list).unwrap();
        let again = ReceiptCheck {
            begun: Some((vec![part(&flat, 0..4)], 4)),
            ..check(&[wanted], &[&part(&flat, 0..4)], true)
        };
        assert_eq!(again.run().bad, Some(BadData::Excess { got: 8, asked: 5 }));
        let empty = Bytes::from_static(&[rlp::EMPTY_LIST]);
        assert_eq!(check(&[wanted], &[&empty], true).run().bad, Some(BadData::NoMoreReceipts));
        let small = ReceiptCheck { bytes_max: 100, ..check(&[wanted], &[&part(&flat, 0..4)], true) };
        assert!(matches!(small.run().bad, Some(BadData::Excess { .. })));
        assert_eq!(check(&[], &[&flat], true).run().bad, Some(BadData::StrayReceipts));
        assert_eq!(check(&[wanted], &[&flat, &flat], false).run().bad, Some(BadData::StrayReceipts));
    }
}
