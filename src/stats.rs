//! What requests came to: counts by outcome and a histogram of answer times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::RequestError;

/// Names of the outcomes, in the order of the counters.
const OUTCOMES: [&str; 10] = [
    "ok",
    "busy",
    "unsupported",
    "timed_out",
    "disconnected",
    "wrong_kind",
    "malformed",
    "panicked",
    "shutdown",
    "cancelled",
];
const OK: usize = 0;
const CANCELLED: usize = 9;

/// Answer times fall into four buckets per doubling, from a microsecond up.
const BUCKETS: usize = 4 * 32;

/// Counters of all requests of a network. Shared, updated without locks.
#[derive(Debug)]
pub struct RequestStats {
    created: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES.len()],
    times: [AtomicU64; BUCKETS],
}

impl Default for RequestStats {
    fn default() -> Self {
        Self {
            created: AtomicU64::new(0),
            outcomes: [const { AtomicU64::new(0) }; OUTCOMES.len()],
            times: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl RequestStats {
    pub(crate) fn on_created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn on_ok(&self, took: Duration) {
        self.outcomes[OK].fetch_add(1, Ordering::Relaxed);
        self.times[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn on_error(&self, error: &RequestError) {
        let index = OUTCOMES.iter().position(|name| *name == error.name()).unwrap_or(CANCELLED);
        self.outcomes[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn on_cancelled(&self) {
        self.outcomes[CANCELLED].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were made.
    pub fn created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    /// Requests that have neither ended nor been dropped. After a shutdown this must be 0: each
    /// one left is an orphan.
    pub fn in_flight(&self) -> u64 {
        let ended: u64 = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        self.created().saturating_sub(ended)
    }

    /// How requests ended, by the names of [`RequestError`] with `ok` and `cancelled`. Outcomes
    /// that did not occur are left out, except `ok` and `timed_out`.
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        self.counts().filter(|(name, count)| *count > 0 || matches!(*name, "ok" | "timed_out")).collect()
    }

    /// How requests ended, with the outcomes that did not occur.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        OUTCOMES.iter().zip(&self.outcomes).map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// The histogram of answer times: the middle of each bucket in seconds, and its count so far.
    #[cfg(feature = "metrics")]
    pub(crate) fn times(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let middle = |index: usize| 2f64.powf((index as f64 + 0.5) / 4.0) * 1e-6;
        self.times
            .iter()
            .enumerate()
            .map(move |(index, count)| (middle(index), count.load(Ordering::Relaxed)))
    }

    /// The answer time that the given share (0..1) of the answers did not exceed, to about 20 %.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let counts: Vec<u64> = self.times.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let index = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_secs_f64(2f64.powf((index as f64 + 1.0) / 4.0) * 1e-6))
    }
}

fn bucket(took: Duration) -> usize {
    let micros = took.as_secs_f64() * 1e6;
    if micros <= 1.0 { 0 } else { ((micros.log2() * 4.0) as usize).min(BUCKETS - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_true_ones() {
        let stats = RequestStats::default();
        for micros in 1..=1000u64 {
            stats.on_created();
            stats.on_ok(Duration::from_micros(micros));
        }
        let p50 = stats.quantile(0.5).unwrap().as_micros();
        let p99 = stats.quantile(0.99).unwrap().as_micros();
        assert!((480..=620).contains(&p50), "{p50}");
        assert!((950..=1200).contains(&p99), "{p99}");
        assert_eq!(stats.in_flight(), 0);
        assert_eq!(RequestStats::default().quantile(0.5), None);
    }
}
