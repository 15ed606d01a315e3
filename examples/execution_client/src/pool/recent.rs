//! Transactions that need not be asked for again.

use std::num::NonZeroUsize;

use alloy_primitives::B256;
use lru::LruCache;

use super::refusal::Remember;

/// Hashes of transactions refused lately, or mined. Bounded: the oldest is forgotten.
#[derive(Debug)]
pub(super) struct Recent {
    /// With the head that the memory is for; `None` for all heads.
    hashes: LruCache<B256, Option<u64>>,
    /// Counts heads.
    head: u64,
}

impl Recent {
    pub(super) fn new(max: usize) -> Self {
        Self { hashes: LruCache::new(NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN)), head: 0 }
    }

    pub(super) fn remember(&mut self, hash: B256, how: Remember) {
        match how {
            Remember::Not => {}
            Remember::ForThisHead => drop(self.hashes.put(hash, Some(self.head))),
            Remember::ForEver => drop(self.hashes.put(hash, None)),
        }
    }

    pub(super) fn forget(&mut self, hash: &B256) {
        self.hashes.pop(hash);
    }

    pub(super) fn on_head(&mut self) {
        self.head = self.head.wrapping_add(1);
    }

    pub(super) fn contains(&self, hash: &B256) -> bool {
        self.hashes.peek(hash).is_some_and(|until| until.is_none_or(|head| head == self.head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u8) -> B256 {
        B256::repeat_byte(i)
    }

    #[test]
    fn what_may_become_right_is_forgotten_with_the_head() {
        let mut recent = Recent::new(8);
        recent.remember(hash(1), Remember::ForThisHead);
        recent.remember(hash(2), Remember::ForEver);
        recent.remember(hash(3), Remember::Not);
        assert!(recent.contains(&hash(1)) && recent.contains(&hash(2)) && !recent.contains(&hash(3)));
        recent.on_head();
        assert!(!recent.contains(&hash(1)) && recent.contains(&hash(2)));
        recent.forget(&hash(2));
        assert!(!recent.contains(&hash(2)));
    }

    #[test]
    fn one_over_the_bound_drops_the_oldest() {
        let mut recent = Recent::new(4);
        for i in 0..5 {
            recent.remember(hash(i), Remember::ForEver);
        }
        assert!(!recent.contains(&hash(0)));
        assert!((1..5).all(|i| recent.contains(&hash(i))));
    }
}
