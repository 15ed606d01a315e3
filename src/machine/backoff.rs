//! When to dial a static peer again: doubling, with jitter, capped, reset by a long life.

use std::time::Duration;

/// The shape of a backoff.
#[derive(Debug, Clone, Copy)]
pub struct BackoffConfig {
    /// The first pause.
    pub first: Duration,
    /// No pause is longer, jitter apart.
    pub cap: Duration,
    /// A pause is stretched or shortened by up to this share of itself.
    pub jitter: f64,
    /// A session that lived this long starts the pauses from the first again.
    pub reset_after: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            jitter: 0.2,
            reset_after: Duration::from_secs(30),
        }
    }
}

/// The pauses of one static peer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next dial. `unit` is a random number in 0..1.
    pub fn next_pause(&mut self, config: &BackoffConfig, unit: f64) -> Duration {
        let doubled = config.first.saturating_mul(1u32 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let base = doubled.min(config.cap);
        base.mul_f64(1.0 + config.jitter * (2.0 * unit.clamp(0.0, 1.0) - 1.0))
    }

    /// A session has ended after `lived`.
    pub fn on_session_ended(&mut self, config: &BackoffConfig, lived: Duration) {
        if lived >= config.reset_after {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_a_long_life_resets_them() {
        let config = BackoffConfig::default();
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next_pause(&config, 0.5).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
        backoff.on_session_ended(&config, Duration::from_secs(29));
        assert_eq!(backoff.next_pause(&config, 0.5).as_secs(), 15);
        backoff.on_session_ended(&config, Duration::from_secs(30));
        assert_eq!(backoff.next_pause(&config, 0.5).as_millis(), 500);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let config = BackoffConfig::default();
        assert_eq!(Backoff::default().next_pause(&config, 0.0).as_millis(), 400);
        assert_eq!(Backoff::default().next_pause(&config, 1.0).as_millis(), 600);
        assert_eq!(Backoff::default().next_pause(&config, 7.0).as_millis(), 600);
    }
}
