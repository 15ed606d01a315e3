//! What waits for the pool's verdict, and how much of it there is.

use std::collections::VecDeque;

use crate::ids::SessionId;
use crate::protocols::eth::PooledTransaction;

/// Transactions and bytes of a lot that the pool is given at once; one transaction may have more.
const LOT_MAX: usize = 256;
const LOT_BYTES_MAX: usize = 1 << 20;

/// What a transaction takes besides its bytes, at least: so that many small ones are bounded too.
const OVERHEAD_BYTES: usize = 256;

/// What a transaction counts as.
pub(super) fn weight(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(OVERHEAD_BYTES)
}

/// A transaction and who sent it.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) session: SessionId,
    pub(super) transaction: PooledTransaction,
    /// Whether nobody had asked for it.
    pub(super) unasked: bool,
}

impl Sent {
    pub(super) fn weight(&self) -> usize {
        weight(self.transaction.encoded.len() as u64)
    }
}

/// First come, first checked; one lot at a time.
#[derive(Debug, Default)]
pub(super) struct Checking {
    waiting: VecDeque<Sent>,
    lot: Option<Vec<Sent>>,
    bytes: usize,
}

impl Checking {
    /// The weight of everything in here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, sent: Sent) {
        self.bytes += sent.weight();
        self.waiting.push_back(sent);
    }

    /// The next lot, unless there is one with the pool.
    pub(super) fn next_lot(&mut self) -> Option<Vec<PooledTransaction>> {
        if self.lot.is_some() || self.waiting.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fits = |sent: &&Sent| {
            bytes += sent.transaction.encoded.len();
            bytes <= LOT_BYTES_MAX
        };
        let count = self.waiting.iter().take(LOT_MAX).take_while(fits).count().max(1);
        let lot: Vec<Sent> = self.waiting.drain(..count).collect();
        let transactions = lot.iter().map(|sent| sent.transaction.clone()).collect();
        self.lot = Some(lot);
        Some(transactions)
    }

    /// The lot that the pool had.
    pub(super) fn take_lot(&mut self) -> Vec<Sent> {
        let lot = self.lot.take().unwrap_or_default();
        let bytes = lot.iter().map(Sent::weight).sum::<usize>();
        self.bytes = self.bytes.saturating_sub(bytes);
        lot
    }
}
