//! How far a sync is: what hosts and progress bars read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::chain::BlockRef;
use crate::error::RequestError;

/// Rates are measured over this time.
const RATE_SPAN: Duration = Duration::from_secs(5);
/// At most one sample in this time is kept, so that their number is bounded.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// How the requests of a sync ended, counted by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RequestCounts {
    /// Answered with at least one item.
    pub ok: u64,
    /// Answered with nothing.
    pub empty: u64,
    /// Answered, and what came did not verify; these are among `ok` as well.
    pub bad_data: u64,
    /// Answered, and thrown away because there was no room; these are among `ok` as well.
    pub dropped: u64,
    /// Refused on our side.
    pub busy: u64,
    /// Not spoken by the peer.
    pub unsupported: u64,
    /// Not answered in time.
    pub timed_out: u64,
    /// The session ended before the answer.
    pub disconnected: u64,
    /// Answered with another kind of message.
    pub wrong_kind: u64,
    /// Answered with something that cannot be decoded, or with too much.
    pub malformed: u64,
    /// The session's actor panicked.
    pub panicked: u64,
    /// The network went down.
    pub shutdown: u64,
    /// Given up by the sync itself.
    pub cancelled: u64,
}

impl RequestCounts {
    /// Every outcome with its name and count, in a fixed order. Each request is in one of them.
    pub fn outcomes(&self) -> [(&'static str, u64); 11] {
        [
            ("ok", self.ok),
            ("empty", self.empty),
            ("busy", self.busy),
            ("unsupported", self.unsupported),
            ("timed_out", self.timed_out),
            ("disconnected", self.disconnected),
            ("wrong_kind", self.wrong_kind),
            ("malformed", self.malformed),
            ("panicked", self.panicked),
            ("shutdown", self.shutdown),
            ("cancelled", self.cancelled),
        ]
    }

    pub(super) fn on_error(&mut self, error: &RequestError) {
        let count = match error {
            RequestError::Busy => &mut self.busy,
            RequestError::Unsupported(_) => &mut self.unsupported,
            RequestError::TimedOut(_) => &mut self.timed_out,
            RequestError::Disconnected(_) => &mut self.disconnected,
            RequestError::WrongKind => &mut self.wrong_kind,
            RequestError::Malformed(_) => &mut self.malformed,
            RequestError::Panicked => &mut self.panicked,
            RequestError::Shutdown => &mut self.shutdown,
        };
        *count += 1;
    }
}

/// What there is to say about the receipts of the blocks stored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptsState {
    /// They are not fetched.
    #[default]
    Off,
    /// Some are missing, and are asked for or about to be.
    Fetching,
    /// Some are missing, and for the lowest of them there is nobody to ask: no peer has the block, or
    /// all that have it have answered that they lack its receipts, or do not answer. They are asked
    /// again, less and less often.
    Unavailable,
    /// None are missing.
    Complete,
}

/// What a sync has fetched and found to be sound, counted item by item. What had to be fetched again,
/// from somebody else or because there was no room, counts again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Headers, those included that only showed that others link.
    pub headers: u64,
    /// Bodies that were asked for; those of empty blocks are not.
    pub bodies: u64,
    /// Blocks whose receipts came whole.
    pub receipts: u64,
}

/// How far a sync is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The head of the store when the sync began.
    pub start: u64,
    /// The number of the highest header that links to our chain.
    pub headers: u64,
    /// The number of the highest block in the store: header and body verified, without a gap.
    pub bodies: u64,
    /// The store has the receipts of all its blocks up to this number. Zero when they are not fetched.
    pub receipts: u64,
    /// Whether they are fetched, and whether anybody has them.
    pub receipts_state: ReceiptsState,
    /// The number of the block to get to: the trusted head, or the highest head claimed.
    pub target: u64,
    /// The head of the store; nothing while the anchor's block is missing.
    pub head: Option<BlockRef>,
    /// Whether the head is the target, and nothing is under way. With
    /// [`Receipts::Required`](super::Receipts::Required) not before the receipts are complete;
    /// otherwise they may still be under way.
    pub at_target: bool,
    /// Blocks stored per second, over the last seconds.
    pub rate_blocks_per_s: f64,
    /// The time left at that rate; nothing when there is no telling.
    pub eta: Option<Duration>,
    /// Requests by outcome.
    pub requests: RequestCounts,
    /// What came and verified.
    pub fetched: Fetched,
    /// Requests in flight.
    pub in_flight: usize,
    /// Peers that are used.
    pub peers: usize,
}

/// Measures the rate at which a number grows.
#[derive(Debug, Default)]
pub(super) struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// The number now; returns its growth per second.
    pub(super) fn on_number(&mut self, now: Instant, number: u64) -> f64 {
        match self.samples.back() {
            Some((at, last)) if now.saturating_duration_since(*at) < SAMPLE_EVERY && number >= *last => {}
            // After a truncation there is nothing to compare with.
            Some((_, last)) if number < *last => {
                self.samples.clear();
                self.samples.push_back((now, number));
            }
            _ => self.samples.push_back((now, number)),
        }
        while self.samples.len() > 2
            && self.samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= RATE_SPAN)
        {
            self.samples.pop_front();
        }
        let Some((at, first)) = self.samples.front() else { return 0.0 };
        let seconds = now.saturating_duration_since(*at).as_secs_f64();
        if seconds > 0.0 { (number - first) as f64 / seconds } else { 0.0 }
    }
}

/// The time for what is left at a rate.
pub(super) fn eta(left: u64, rate: f64) -> Option<Duration> {
    if left == 0 {
        return Some(Duration::ZERO);
    }
    // Beyond a year nobody plans by it.
    let seconds = left as f64 / rate;
    (seconds.is_finite() && seconds < 31_536_000.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_the_samples_are_bounded() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut rate = 0.0;
        for i in 0..10_000_u64 {
            let number = if i < 5_000 { i } else { 5_000 + (i - 5_000) * 10 };
            rate = meter.on_number(start + Duration::from_millis(i), number);
        }
        assert!((9_500.0..10_500.0).contains(&rate), "{rate}");
        assert!(meter.samples.len() <= 52, "{}", meter.samples.len());
        assert_eq!(meter.on_number(start + Duration::from_secs(11), 3), 0.0);
        assert_eq!(eta(100, 0.0), None);
        assert_eq!(eta(100, 50.0), Some(Duration::from_secs(2)));
        assert_eq!(eta(0, 0.0), Some(Duration::ZERO));
    }
}
