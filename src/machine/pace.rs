//! How long an answer may take: adapted to how long answers took.

use std::time::Duration;

/// Bounds of adaptive request time-outs.
#[derive(Debug, Clone, Copy)]
pub struct PaceConfig {
    /// Before the first answer.
    pub start: Duration,
    /// Never shorter.
    pub min: Duration,
    /// Never longer.
    pub max: Duration,
}

impl Default for PaceConfig {
    fn default() -> Self {
        Self { start: Duration::from_secs(15), min: Duration::from_secs(2), max: Duration::from_secs(20) }
    }
}

/// A moving average of answer times (weight 0.1), in microseconds; 0 before the first answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    average_us: u64,
}

impl Pace {
    /// An average that was kept elsewhere.
    pub fn from_micros(average_us: u64) -> Self {
        Self { average_us }
    }

    /// The average, in microseconds.
    pub fn as_micros(self) -> u64 {
        self.average_us
    }

    /// An answer took this long.
    pub fn on_answer(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::MAX / 16);
        self.average_us = match self.average_us {
            0 => took,
            average => (average * 9 + took) / 10,
        };
    }

    /// An answer did not come: the next one gets more time.
    pub fn on_timeout(&mut self) {
        self.average_us = self.average_us.saturating_mul(3) / 2;
    }

    /// Three times the average, within the bounds.
    pub fn timeout(self, config: &PaceConfig) -> Duration {
        match self.average_us {
            0 => config.start,
            average => Duration::from_micros(average.saturating_mul(3)).clamp(config.min, config.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_out_follows_the_answers_within_its_bounds() {
        let config = PaceConfig::default();
        let mut pace = Pace::default();
        assert_eq!(pace.timeout(&config), config.start);
        pace.on_answer(Duration::from_millis(1));
        assert_eq!(pace.timeout(&config), config.min);
        for _ in 0..200 {
            pace.on_answer(Duration::from_secs(4));
        }
        let timeout = pace.timeout(&config);
        assert!(timeout > Duration::from_secs(11) && timeout <= Duration::from_secs(12), "{timeout:?}");
        for _ in 0..20 {
            pace.on_timeout();
        }
        assert_eq!(pace.timeout(&config), config.max);
    }
}
