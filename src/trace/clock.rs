//! What time it is, thousands of times per request: the processor's counter between two looks at the
//! runtime's clock.
//!
//! A look at the clock costs as much as several events. So each thread looks at it once a millisecond
//! at most and reads the processor's counter in between, which is scaled for that millisecond only:
//! nothing drifts. Where time may be virtual (tests, simulations), every look is at the runtime's
//! clock.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the counter is trusted, in nanoseconds.
const TRUSTED_NS: u64 = 1_000_000;

/// Whether the runtime's clock may be paused: then it is the only one.
const VIRTUAL: bool = cfg!(any(test, feature = "test-util"));

static COUNTER: OnceLock<quanta::Clock> = OnceLock::new();

/// Calibrates the counter, once per process and in the background: it takes some ten milliseconds,
/// during which the runtime's clock is used.
pub(super) fn warm_up() {
    static BEGUN: OnceLock<()> = OnceLock::new();
    BEGUN.get_or_init(|| {
        if !VIRTUAL {
            let calibrate = || drop(COUNTER.set(quanta::Clock::new()));
            // Without a thread it stays as it is.
            drop(std::thread::Builder::new().name("trunkline-clock".into()).spawn(calibrate));
        }
    });
}

/// The clock of one thread, in nanoseconds since `epoch`.
#[derive(Debug)]
pub(super) struct Clock {
    epoch: Instant,
    /// The last look at the runtime's clock: its time, and the counter then.
    anchor: Cell<(u64, u64)>,
}

impl Clock {
    pub(super) fn since(epoch: Instant) -> Self {
        Self { epoch, anchor: Cell::new((0, 0)) }
    }

    /// Now.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        let Some(counter) = COUNTER.get() else { return self.look() };
        let raw = counter.raw();
        let (at, then) = self.anchor.get();
        let since = counter.delta_as_nanos(then, raw);
        if then > 0 && raw >= then && since < TRUSTED_NS {
            return at + since;
        }
        let at = self.look();
        self.anchor.set((at, raw));
        at
    }

    fn look(&self) -> u64 {
        self.at(tokio::time::Instant::now().into_std())
    }

    /// An instant of the runtime's clock.
    pub(super) fn at(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.epoch))
    }

    /// When the trace began.
    pub(super) fn epoch(&self) -> Instant {
        self.epoch
    }
}

/// A duration in nanoseconds; 584 years at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In tests there is no counter: this one is set up by hand, beside the paused clocks of others,
    /// which do not use it.
    #[test]
    fn the_counter_keeps_step_with_the_clock() {
        let counter = quanta::Clock::new();
        let clock = Clock::since(Instant::now());
        let begun = (counter.raw(), clock.look());
        while clock.look() - begun.1 < 20_000_000 {
            std::hint::spin_loop();
        }
        let (by_counter, by_clock) = (counter.delta_as_nanos(begun.0, counter.raw()), clock.look() - begun.1);
        assert!(
            by_counter.abs_diff(by_clock) < by_clock / 20,
            "{by_counter} ns by the counter, {by_clock} ns"
        );
    }
}
