//! Receipts that a peer did not have when it was asked.
//!
//! A peer that relays a chain gets its receipts later than its blocks, so what it lacks is asked for
//! again soon; a peer that has none at all is asked ever less. New blocks are another matter than old
//! ones: who imported a chain without receipts may still have those of the blocks it hears of.

use std::time::{Duration, Instant};

/// How long a peer is not asked again for what it did not have: at first, and at most.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often in a row a peer had nothing, and until when it is not asked.
#[derive(Debug, Clone, Copy)]
struct Misses {
    count: u32,
    until: Instant,
}

impl Misses {
    fn more(before: Option<Self>, now: Instant) -> Self {
        let count = before.map_or(0, |misses| misses.count);
        let pause = PAUSE * 2_u32.pow(count.min(8));
        Self { count: count + 1, until: now + pause.min(PAUSE_MAX) }
    }
}

/// The blocks whose receipts a peer does not have.
#[derive(Debug, Default)]
pub(super) struct Lacks {
    gap: Option<Gap>,
}

#[derive(Debug)]
struct Gap {
    from: u64,
    /// The highest block there was when the peer was asked.
    to: u64,
    misses: Misses,
    /// The same for blocks above.
    above: Option<Misses>,
}

impl Lacks {
    /// Whether a peer can be asked for the receipts of block `number`; if not, from where on it may be.
    pub(super) fn allows(&self, now: Instant, number: u64) -> Result<(), Option<u64>> {
        match &self.gap {
            Some(gap) if number > gap.to => match gap.above {
                Some(above) if above.until > now => Err(None),
                _ => Ok(()),
            },
            Some(gap) if number >= gap.from && gap.misses.until > now => Err(gap.to.checked_add(1)),
            _ => Ok(()),
        }
    }

    /// Whether there is anything the peer did not have: then one question at a time is enough.
    pub(super) fn any(&self) -> bool {
        self.gap.is_some()
    }

    /// The peer had nothing from block `from` on; the highest block that anybody could be asked for
    /// is `to`.
    pub(super) fn on_nothing(&mut self, now: Instant, from: u64, to: u64) {
        let to = to.max(from);
        let Some(gap) = &mut self.gap else {
            self.gap = Some(Gap { from, to, misses: Misses::more(None, now), above: None });
            return;
        };
        // Of several questions in flight at a time, one counts.
        if from > gap.to {
            if gap.above.is_none_or(|above| above.until <= now) {
                gap.above = Some(Misses::more(gap.above, now));
                gap.to = to;
            }
        } else {
            gap.from = gap.from.min(from);
            if gap.misses.until <= now {
                gap.from = from;
                gap.misses = Misses::more(Some(gap.misses), now);
            }
        }
    }

    /// The peer had the receipts of block `number`.
    pub(super) fn on_receipts(&mut self, number: u64) {
        match &mut self.gap {
            Some(gap) if number > gap.to => gap.above = None,
            Some(gap) if number >= gap.from => self.gap = None,
            _ => {}
        }
    }

    /// When it may be asked for more than now.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let gap = self.gap.as_ref()?;
        let pauses = [Some(gap.misses), gap.above].into_iter().flatten();
        pauses.map(|misses| misses.until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_lacks_is_asked_again_after_longer_and_longer_pauses() {
        let (mut lacks, mut now) = (Lacks::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            lacks.on_nothing(now, 40, 100);
            lacks.on_nothing(now, 60, 100);
            assert_eq!((lacks.allows(now, 39), lacks.allows(now, 40)), (Ok(()), Err(Some(101))));
            let wake = lacks.next_wake(now).unwrap();
            pauses.push(wake.duration_since(now).as_millis());
            now = wake;
            assert_eq!((lacks.allows(now, 40), lacks.next_wake(now)), (Ok(()), None));
        }
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        lacks.on_receipts(40);
        assert!(!lacks.any());
    }

    #[test]
    fn blocks_that_came_later_are_asked_for_although_older_ones_are_lacking() {
        let (mut lacks, now) = (Lacks::default(), Instant::now());
        lacks.on_nothing(now, 1, 600);
        assert_eq!(lacks.allows(now, 601), Ok(()));
        lacks.on_receipts(601);
        assert_eq!((lacks.allows(now, 600), lacks.allows(now, 602)), (Err(Some(601)), Ok(())));
        lacks.on_nothing(now, 602, 610);
        assert_eq!((lacks.allows(now, 602), lacks.allows(now, 611)), (Err(Some(611)), Err(None)));
        let later = now + PAUSE;
        assert_eq!((lacks.allows(later, 1), lacks.allows(later, 611)), (Ok(()), Ok(())));
    }
}
