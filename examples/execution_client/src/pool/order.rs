//! What a producer puts into the next block, and in which order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::chain::SenderChain;
use super::entry::Entry;

/// What there is in a block to be filled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) base_fee: u64,
    pub(super) blob_base_fee: u128,
    pub(super) gas_limit: u64,
    pub(super) blobs_max: u64,
}

/// The best by what each gas brings, a sender's own in the order of their nonces. A sender whose next
/// one does not fit, or does not pay the base fees, is passed over.
pub(super) fn best<'a>(chains: impl Iterator<Item = &'a SenderChain>, block: Block) -> Vec<Arc<Entry>> {
    let mut waiting: Vec<_> = chains.map(|chain| chain.view().pending()).collect();
    let mut heads = BinaryHeap::new();
    let offer = |i: usize, entry: Option<&'a Arc<Entry>>| {
        // A tie goes to the sender that comes first: the same pool gives the same block.
        entry
            .filter(|entry| pays(entry, &block))
            .map(|entry| Head(entry.tip_at(block.base_fee), Reverse(i), entry))
    };
    heads.extend(waiting.iter_mut().enumerate().filter_map(|(i, pending)| offer(i, pending.next())));

    let (mut gas_left, mut blobs_left) = (block.gas_limit, block.blobs_max);
    let mut chosen = Vec::new();
    while let Some(Head(_, Reverse(i), entry)) = heads.pop() {
        let (Some(gas), Some(blobs)) =
            (gas_left.checked_sub(entry.gas_limit), blobs_left.checked_sub(entry.blobs))
        else {
            continue;
        };
        (gas_left, blobs_left) = (gas, blobs);
        chosen.push(Arc::clone(entry));
        heads.extend(waiting.get_mut(i).and_then(|pending| offer(i, pending.next())));
    }
    chosen
}

fn pays(entry: &Entry, block: &Block) -> bool {
    entry.tip_at(block.base_fee) >= 0 && (!entry.has_blobs() || entry.blob_fee_max >= block.blob_base_fee)
}

/// The next of a sender: its tip, whose it is, itself.
struct Head<'a>(i128, Reverse<usize>, &'a Arc<Entry>);

impl Head<'_> {
    fn key(&self) -> (i128, Reverse<usize>) {
        (self.0, self.1)
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Head<'_> {}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
