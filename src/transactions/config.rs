//! What may be set about the handing on of transactions, with its defaults and bounds.

use std::time::Duration;

/// Settings of [`Transactions`](super::Transactions). Values outside the bounds named here are moved
/// to the nearest bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionsConfig {
    /// Time for an answer. Default 5 s, at least 100 ms. A peer that needs longer loses its place: what
    /// it announced is asked of others.
    pub timeout: Duration,
    /// Transactions per request. Default 256, 1 to 1,024. Others wait for the next.
    pub request_hashes_max: usize,
    /// What the transactions of a request may have together, in bytes, as they were announced; one
    /// alone may have more. Default 128 KiB, at least 1 KiB.
    pub request_bytes_max: usize,
    /// Bytes of transactions that wait for the pool, are with it, or are expected from requests in
    /// flight, counting 256 more for each. Default 16 MiB, at least 1 MiB. When full, nothing is asked
    /// for, and announcements and transactions that come unasked are dropped and counted; the latter
    /// also when those of one peer take a quarter of it.
    pub waiting_bytes_max: usize,
    /// Peers known at a time. Default 256, at least 1. More are not used until one leaves.
    pub peers_max: usize,
}

impl Default for TransactionsConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            request_hashes_max: 256,
            request_bytes_max: 128 << 10,
            waiting_bytes_max: 16 << 20,
            peers_max: 256,
        }
    }
}

impl TransactionsConfig {
    /// The same within the bounds.
    pub(super) fn bounded(mut self) -> Self {
        self.timeout = self.timeout.max(Duration::from_millis(100));
        self.request_hashes_max = self.request_hashes_max.clamp(1, 1_024);
        self.request_bytes_max = self.request_bytes_max.max(1 << 10);
        self.waiting_bytes_max = self.waiting_bytes_max.max(1 << 20);
        self.peers_max = self.peers_max.max(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_lie_within_their_bounds_and_others_are_moved_there() {
        assert_eq!(TransactionsConfig::default().bounded(), TransactionsConfig::default());
        let wild = TransactionsConfig {
            timeout: Duration::ZERO,
            request_hashes_max: 5_000,
            request_bytes_max: 0,
            waiting_bytes_max: 0,
            peers_max: 0,
        };
        let tame = TransactionsConfig {
            timeout: Duration::from_millis(100),
            request_hashes_max: 1_024,
            request_bytes_max: 1_024,
            waiting_bytes_max: 1 << 20,
            peers_max: 1,
        };
        assert_eq!(wild.bounded(), tame);
    }
}
