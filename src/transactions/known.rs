//! Which transactions a peer knows: what it sent, announced or was told.

use std::collections::{HashSet, VecDeque};

use alloy_primitives::B256;

/// How many are remembered of a peer. When full, the oldest is forgotten: the peer may be told again.
pub(super) const KNOWN_MAX: usize = 4_096;

/// Hashes in the order in which they were learnt.
#[derive(Debug, Default)]
pub(super) struct KnownHashes {
    hashes: HashSet<B256>,
    order: VecDeque<B256>,
}

impl KnownHashes {
    /// Remembers a hash; `false` if it was known.
    pub(super) fn insert(&mut self, hash: B256) -> bool {
        if !self.hashes.insert(hash) {
            return false;
        }
        if self.order.len() >= KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let hash = |at: usize| B256::left_padding_from(&at.to_be_bytes());
        let mut known = KnownHashes::default();
        assert!((0..KNOWN_MAX).all(|at| known.insert(hash(at))));
        assert!(!known.insert(hash(0)) && !known.insert(hash(KNOWN_MAX - 1)));
        assert!(known.insert(hash(KNOWN_MAX)), "one over");
        assert!(!known.insert(hash(1)), "still known");
        assert!(known.insert(hash(0)), "forgotten");
        assert_eq!((known.hashes.len(), known.order.len()), (KNOWN_MAX, KNOWN_MAX));
    }
}
