//! Counters through the `metrics` facade: totals published from time to time, so that the request
//! path pays nothing for them. Without the `metrics` feature this is nothing at all.

use std::time::Duration;

/// How often totals are published.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_secs(5);

#[cfg(feature = "metrics")]
pub(crate) use enabled::publish;

#[cfg(feature = "metrics")]
mod enabled {
    use metrics::{counter, gauge};

    use crate::manager::table::PeerTable;
    use crate::stats::RequestStats;

    /// Publishes `trunkline_requests_total{outcome}`, `trunkline_requests_in_flight`,
    /// `trunkline_request_seconds{quantile}` and `trunkline_peers`.
    pub(crate) fn publish(stats: &RequestStats, table: &PeerTable) {
        for (outcome, count) in stats.outcomes() {
            counter!("trunkline_requests_total", "outcome" => outcome).absolute(count);
        }
        gauge!("trunkline_requests_in_flight").set(stats.in_flight() as f64);
        for (label, share) in [("0.5", 0.5), ("0.99", 0.99)] {
            if let Some(time) = stats.quantile(share) {
                gauge!("trunkline_request_seconds", "quantile" => label).set(time.as_secs_f64());
            }
        }
        gauge!("trunkline_peers").set(table.len() as f64);
    }
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn publish(_: &crate::stats::RequestStats, _: &crate::manager::table::PeerTable) {}
