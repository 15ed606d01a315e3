//! How fast is a peer: how much to ask of it at once, how many times, and how long to wait.

use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

use super::config::SyncConfig;

/// The weight of a new round trip in the average.
const ROUND_TRIP_WEIGHT: f64 = 0.1;
/// The weight of a new rate in the average.
const RATE_WEIGHT: f64 = 0.3;
/// Requests that wait for each other less than this may become more.
const QUEUEING_FINE: Duration = Duration::from_millis(300);
/// Requests that wait for each other longer than this become fewer.
const QUEUEING_MUCH: Duration = Duration::from_secs(1);
/// The least time before somebody else is asked for what everything waits for.
const LATE_MIN: Duration = Duration::from_millis(500);
/// The same for a peer that has not answered yet.
const LATE_UNKNOWN: Duration = Duration::from_secs(3);

/// Which kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Headers,
    Bodies,
    Receipts,
}

/// One value for each kind of answer.
#[derive(Debug, Default)]
pub(super) struct PerKind<T> {
    headers: T,
    bodies: T,
    receipts: T,
}

impl<T> Index<Kind> for PerKind<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        match kind {
            Kind::Headers => &self.headers,
            Kind::Bodies => &self.bodies,
            Kind::Receipts => &self.receipts,
        }
    }
}

impl<T> IndexMut<Kind> for PerKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Headers => &mut self.headers,
            Kind::Bodies => &mut self.bodies,
            Kind::Receipts => &mut self.receipts,
        }
    }
}

/// The measured pace of one peer.
#[derive(Debug)]
pub(super) struct Pace {
    round_trip: Option<Duration>,
    shortest: Duration,
    last_answer: Option<Instant>,
    batches: PerKind<Batch>,
    allowance: usize,
    /// Requests in a row that were not answered in time; those for receipts apart, because a peer
    /// that has none worth telling may be good for everything else.
    timeouts: u32,
    receipt_timeouts: u32,
}

/// How many items of a kind are asked for at once.
#[derive(Debug)]
struct Batch {
    size: usize,
    least: usize,
    most: usize,
    per_second: Option<f64>,
}

impl Pace {
    pub(super) fn new(config: &SyncConfig) -> Self {
        let most = config.headers_per_request_max;
        let headers = Batch { size: most.min(192), least: 16, most, per_second: None };
        let most = config.bodies_per_request_max;
        let bodies = Batch { size: most.min(64), least: most.min(4), most, per_second: None };
        let most = config.receipts_per_request_max;
        let receipts = Batch { size: most.min(32), least: 1, most, per_second: None };
        let batches = PerKind { headers, bodies, receipts };
        let allowance = config.in_flight_max.min(2);
        let shortest = Duration::MAX;
        Self {
            round_trip: None,
            shortest,
            last_answer: None,
            batches,
            allowance,
            timeouts: 0,
            receipt_timeouts: 0,
        }
    }

    /// How many requests may be in flight.
    pub(super) fn allowance(&self) -> usize {
        self.allowance
    }

    /// How many items to ask for.
    pub(super) fn batch(&self, kind: Kind) -> usize {
        self.batches[kind].size
    }

    /// How many requests in a row were not answered in time.
    pub(super) fn timeouts(&self) -> u32 {
        self.timeouts
    }

    /// How many requests for receipts in a row were not answered in time.
    pub(super) fn receipt_timeouts(&self) -> u32 {
        self.receipt_timeouts
    }

    /// How long to wait for an answer.
    pub(super) fn timeout(&self, config: &SyncConfig, kind: Kind) -> Duration {
        let timeouts = if kind == Kind::Receipts { self.receipt_timeouts } else { self.timeouts };
        let measured = self.round_trip.map_or(config.timeout_start, |trip| trip * 3);
        let patient = measured.max(config.timeout_min) * 2_u32.pow(timeouts.min(8));
        patient.clamp(config.timeout_min, config.timeout_max)
    }

    /// After what time an answer is late enough to ask somebody else as well.
    pub(super) fn late_after(&self) -> Duration {
        self.round_trip.map_or(LATE_UNKNOWN, |trip| (trip * 2).max(LATE_MIN))
    }

    /// An answer with `items` of the `asked` items. Its share of the pipeline is the time since the
    /// answer before it.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        sent: Instant,
        kind: Kind,
        items: usize,
        asked: usize,
        in_flight_max: usize,
    ) {
        let took = now.saturating_duration_since(sent);
        let since = self.last_answer.map_or(sent, |last| last.max(sent));
        let share = now.saturating_duration_since(since).as_secs_f64().max(0.000_1);
        self.last_answer = Some(now);
        self.timeouts = 0;
        if kind == Kind::Receipts {
            self.receipt_timeouts = 0;
        }
        self.shortest = self.shortest.min(took);
        self.round_trip = Some(match self.round_trip {
            Some(trip) => trip.mul_f64(1.0 - ROUND_TRIP_WEIGHT) + took.mul_f64(ROUND_TRIP_WEIGHT),
            None => took,
        });
        let queueing = took - self.shortest;
        if queueing < QUEUEING_FINE {
            self.allowance = (self.allowance + 1).min(in_flight_max);
        } else if queueing > QUEUEING_MUCH {
            self.allowance = self.allowance.saturating_sub(1).max(1);
        }
        self.batches[kind].on_answer(share, items, asked);
    }

    /// A request ran out of time: less of everything from now on, until an answer comes.
    pub(super) fn on_timeout(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
        self.allowance = (self.allowance / 2).max(1);
        for batch in [&mut self.batches.headers, &mut self.batches.bodies] {
            batch.size = (batch.size / 2).max(batch.least);
        }
    }

    /// A request for receipts ran out of time: the next one is smaller, and has more time.
    pub(super) fn on_receipts_timeout(&mut self) {
        self.receipt_timeouts = self.receipt_timeouts.saturating_add(1);
        let batch = &mut self.batches.receipts;
        batch.size = (batch.size / 2).max(batch.least);
    }

    /// The peer has no room for more requests than this now.
    pub(super) fn on_busy(&mut self, in_flight: usize) {
        self.allowance = self.allowance.min(in_flight).max(1);
    }
}

impl Batch {
    /// A small question tells nothing about the rate: it measures the distance. A short answer
    /// tells that less should be asked for.
    fn on_answer(&mut self, seconds: f64, items: usize, asked: usize) {
        if asked * 2 < self.size {
            return;
        }
        if items < asked {
            self.size = (items * 2).clamp(self.least, self.size);
            return;
        }
        let rate = items as f64 / seconds;
        let average = match self.per_second {
            Some(average) => average + RATE_WEIGHT * (rate - average),
            None => rate,
        };
        self.per_second = Some(average);
        self.size = (average as usize).clamp(self.size / 2, self.size * 2).clamp(self.least, self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace() -> (Pace, SyncConfig, Instant) {
        let config = SyncConfig::default();
        (Pace::new(&config), config, Instant::now())
    }

    #[test]
    fn timeouts_follow_the_round_trip_within_their_bounds() {
        let (mut pace, config, start) = pace();
        assert_eq!(pace.timeout(&config, Kind::Headers), config.timeout_start);
        pace.on_answer(start + 10 * MS, start, Kind::Headers, 192, 192, 16);
        assert_eq!(pace.timeout(&config, Kind::Headers), config.timeout_min);
        for _ in 0..100 {
            pace.on_answer(start + 3000 * MS, start, Kind::Headers, 192, 192, 16);
        }
        let timeout = pace.timeout(&config, Kind::Headers);
        assert!(timeout > 8 * Duration::from_secs(1) && timeout < config.timeout_max, "{timeout:?}");
        for _ in 0..40 {
            pace.on_timeout();
        }
        assert_eq!(pace.timeout(&config, Kind::Headers), config.timeout_max);
        assert_eq!((pace.allowance(), pace.batch(Kind::Headers), pace.batch(Kind::Bodies)), (1, 16, 4));
    }

    #[test]
    fn a_fast_peer_is_asked_for_more_and_more_often_up_to_the_bounds() {
        let (mut pace, config, start) = pace();
        for i in 0..40 {
            let sent = start + i * 5 * MS;
            pace.on_answer(sent + 20 * MS, sent, Kind::Bodies, pace.batch(Kind::Bodies), 64, 16);
            let asked = pace.batch(Kind::Bodies);
            pace.on_answer(sent + 24 * MS, sent, Kind::Bodies, asked, asked, 16);
        }
        assert_eq!(pace.allowance(), config.in_flight_max);
        assert_eq!(pace.batch(Kind::Bodies), config.bodies_per_request_max);
    }

    #[test]
    fn a_slow_peer_is_asked_for_what_it_delivers_in_a_second() {
        let (mut pace, _, start) = pace();
        for i in 0..40 {
            let asked = pace.batch(Kind::Headers);
            let sent = start + i * Duration::from_secs(60);
            let took = Duration::from_secs_f64(asked as f64 / 30.0);
            pace.on_answer(sent + took, sent, Kind::Headers, asked, asked, 16);
        }
        assert!((25..=35).contains(&pace.batch(Kind::Headers)), "{}", pace.batch(Kind::Headers));
    }
}
