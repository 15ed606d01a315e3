//! What a caller counts: answers within the measured window, and how long each took.

use std::time::{Duration, Instant};

/// The part of a run that counts. What ends before `from` is the warm-up; at `until` callers stop.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// From here on answers count.
    pub from: Instant,
    /// From here on nothing counts.
    pub until: Instant,
}

/// Answers and latencies of one caller, or of several after [`merge`](Self::merge).
#[derive(Debug, Clone)]
pub struct Tally {
    window: Window,
    answers: u64,
    latencies: Latencies,
}

impl Tally {
    /// Nothing yet.
    pub fn new(window: Window) -> Self {
        Self { window, answers: 0, latencies: Latencies::new() }
    }

    /// Notes an answer that arrived at `now`. `false`: the window is over, stop asking.
    pub fn note(&mut self, asked: Instant, now: Instant) -> bool {
        if now >= self.window.until {
            return false;
        }
        if now >= self.window.from {
            self.answers += 1;
            self.latencies.note(now - asked);
        }
        true
    }

    /// Adds what another caller counted.
    pub fn merge(&mut self, other: &Self) {
        self.answers += other.answers;
        self.latencies.merge(&other.latencies);
    }

    /// How many answers arrived within the window.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// The latency that `share` of the answers did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        self.latencies.quantile(share)
    }
}

/// Sub-buckets per power of two: a bucket is at most 1/32 wide, relative to its value.
const SUB: u64 = 32;
/// log2 of [`SUB`].
const SUB_BITS: u32 = 5;
/// Latencies from 2^37 ns (137 s) on share the last bucket.
const BUCKETS: usize = (SUB as usize) * 33;

/// Counts by latency, in buckets whose width grows with the latency.
#[derive(Debug, Clone)]
struct Latencies {
    counts: Box<[u32]>,
}

impl Latencies {
    fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into() }
    }

    fn note(&mut self, latency: Duration) {
        self.counts[bucket(latency.as_nanos() as u64)] += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *ours += theirs;
        }
    }

    fn quantile(&self, share: f64) -> Duration {
        let total: u64 = self.counts.iter().map(|&n| u64::from(n)).sum();
        let rank = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &n) in self.counts.iter().enumerate() {
            seen += u64::from(n);
            if seen >= rank {
                return Duration::from_nanos(middle(bucket));
            }
        }
        Duration::ZERO
    }
}

fn bucket(ns: u64) -> usize {
    if ns < SUB {
        return ns as usize;
    }
    let shift = ns.ilog2() - SUB_BITS;
    let index = u64::from(shift + 1) * SUB + ((ns >> shift) - SUB);
    (index as usize).min(BUCKETS - 1)
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let low = (SUB + bucket % SUB) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_a_thirtieth_of_its_latencies() {
        for ns in (0..64).chain((6..37).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 12345])) {
            let middle = middle(bucket(ns));
            assert!(middle.abs_diff(ns) <= ns / 30, "{ns} became {middle}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn only_answers_within_the_window_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tally = Tally::new(Window { from: at(10), until: at(20) });
        assert!(tally.note(at(0), at(9)));
        assert!(tally.note(at(9), at(10)));
        assert!(tally.note(at(9), at(19)));
        assert!(!tally.note(at(9), at(20)));
        assert_eq!(tally.answers(), 2);
        let (low, high) = (tally.quantile(0.5), tally.quantile(0.99));
        assert!(
            low.as_micros().abs_diff(1000) < 40 && high.as_micros().abs_diff(10_000) < 400,
            "{low:?} {high:?}"
        );
    }
}
