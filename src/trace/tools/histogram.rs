//! Durations counted by size: quantiles in bounded memory.

use serde::Serialize;

/// Each power of two is divided into so many steps: an error of at most 1/32.
const STEPS_LOG2: u32 = 5;
const STEPS: u64 = 1 << STEPS_LOG2;

/// How often each duration occurred, to about three percent. At most 1,920 numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

/// A histogram in five numbers, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many there were.
    pub count: u64,
    /// Half of them were no longer.
    pub p50_ns: u64,
    /// Nine in ten were no longer.
    pub p90_ns: u64,
    /// 99 in a hundred were no longer.
    pub p99_ns: u64,
    /// The longest, exactly.
    pub max_ns: u64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, ns: u64) {
        let index = index(ns);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.count += 1;
        self.sum += u128::from(ns);
        self.max = self.max.max(ns);
    }

    /// Counts everything that another one has counted.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together, in nanoseconds.
    pub fn sum_ns(&self) -> u128 {
        self.sum
    }

    /// The longest.
    pub fn max_ns(&self) -> u64 {
        self.max
    }

    /// The duration that `part` (0 to 1) of all did not exceed; 0 if there is none.
    pub fn quantile(&self, part: f64) -> u64 {
        let rank = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top(index).min(self.max);
            }
        }
        self.max
    }

    /// The usual five numbers.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.count,
            p50_ns: self.quantile(0.5),
            p90_ns: self.quantile(0.9),
            p99_ns: self.quantile(0.99),
            max_ns: self.max,
        }
    }
}

fn index(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let log2 = 63 - ns.leading_zeros();
    let shift = log2 - STEPS_LOG2;
    (u64::from(shift + 1) * STEPS + ((ns >> shift) - STEPS)) as usize
}

/// The largest duration with this index.
fn top(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let low = (STEPS + index % STEPS) << shift;
    low + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_a_step_that_holds_it() {
        let mut last = 0;
        for ns in (0..5000).chain((0..64).map(|n| 1 << n)).chain([u64::MAX, u64::MAX - 1]) {
            let top = top(index(ns));
            assert!(top >= ns && top - ns <= ns / 32, "{ns} {top}");
        }
        for ns in 0..5000 {
            assert!(index(ns) >= last);
            last = index(ns);
        }
        assert_eq!(index(u64::MAX), 1919);
    }

    #[test]
    fn quantiles_are_near_and_the_maximum_is_exact() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), Quantiles::default());
        (1..=1000).for_each(|ms| histogram.record(ms * 1_000_000));
        let quantiles = histogram.quantiles();
        assert!((500_000_000..516_000_000).contains(&quantiles.p50_ns), "{quantiles:?}");
        assert!((990_000_000..=1_000_000_000).contains(&quantiles.p99_ns), "{quantiles:?}");
        assert_eq!((quantiles.max_ns, quantiles.count), (1_000_000_000, 1000));
    }
}
