//! Counters through the `metrics` facade: what has been added since the last time is published now
//! and then, so that the request path pays nothing for it. Without the `metrics` feature this is
//! nothing at all.
//!
//! | name | type | labels | meaning |
//! |---|---|---|---|
//! | `trunkline_requests_total` | counter | `outcome` | requests of ours that have ended: `ok`, `cancelled` or the name of a `RequestError` |
//! | `trunkline_request_seconds` | histogram | | from a request to its decoded answer, answered ones only, to about 10 % |
//! | `trunkline_requests_in_flight` | gauge | | requests of ours that have not ended |
//! | `trunkline_requests_served_open` | gauge | | requests of peers that have begun and not ended |
//! | `trunkline_peers` | gauge | `direction` | sessions, by who dialled: `inbound`, `outbound` |
//! | `trunkline_traffic_bytes_total` | counter | `direction` | bytes on the sockets of sessions: `in`, `out` |
//! | `trunkline_trace_events_total` | counter | | events recorded |
//! | `trunkline_trace_events_lost_total` | counter | | events that were overwritten before the live trace could write them |
//! | `trunkline_trace_events_skipped_total` | counter | | events that the live trace left out: over budget, or the disk took no more |
//!
//! Counters and gauges of several networks in one process add up. A session that lives for less than
//! the interval may be missed by the peers and their traffic. An orphan, a request that outlives its
//! network, stays in the two gauges of open requests; with the trace off those of peers are not counted.

use std::time::Duration;

/// How often totals are published.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_secs(1);

#[cfg(feature = "metrics")]
pub(crate) use enabled::Publisher;

#[cfg(feature = "metrics")]
mod enabled {
    use std::collections::HashMap;
    use std::sync::Arc;

    use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

    use crate::ids::{Direction, SessionId};
    use crate::manager::table::PeerTable;
    use crate::session::PeerHandle;
    use crate::stats::RequestStats;
    use crate::trace::{Trace, TraceCounts};

    /// Publishes what has changed since it last did. Dropped, it takes its gauges back.
    pub(crate) struct Publisher {
        stats: Arc<RequestStats>,
        table: PeerTable,
        outcomes: HashMap<&'static str, u64>,
        times: Vec<u64>,
        gauges: Gauges,
        /// Sessions, and how many of their bytes are published. Bound: the sessions there are.
        traffic: HashMap<SessionId, (PeerHandle, (u64, u64))>,
        trace: Trace,
        traced: TraceCounts,
    }

    /// What the gauges of this network stand at.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
    struct Gauges {
        in_flight: u64,
        served_open: u64,
        inbound: u64,
        outbound: u64,
    }

    impl Publisher {
        /// Publishes what these say.
        pub(crate) fn new(stats: Arc<RequestStats>, table: PeerTable, trace: Trace) -> Self {
            describe();
            Self {
                stats,
                table,
                outcomes: HashMap::new(),
                times: Vec::new(),
                gauges: Gauges::default(),
                traffic: HashMap::new(),
                trace,
                traced: TraceCounts::default(),
            }
        }

        /// Publishes what has been added since the last call.
        pub(crate) fn publish(&mut self) {
            for (outcome, now) in self.stats.counts() {
                let before = self.outcomes.insert(outcome, now).unwrap_or(0);
                counter!("trunkline_requests_total", "outcome" => outcome)
                    .increment(now.saturating_sub(before));
            }
            self.publish_times();
            let peers = self.table.all();
            let count = |direction| peers.iter().filter(|peer| peer.direction() == direction).count() as u64;
            let (in_flight, traced) = (self.stats.in_flight(), self.trace.counts());
            self.publish_gauges(Gauges {
                in_flight,
                served_open: traced.open.saturating_sub(in_flight),
                inbound: count(Direction::Inbound),
                outbound: count(Direction::Outbound),
            });
            self.publish_traffic(peers);
            self.publish_trace(traced);
        }

        fn publish_trace(&mut self, now: TraceCounts) {
            let before = std::mem::replace(&mut self.traced, now);
            let more = |now: u64, before: u64| now.saturating_sub(before);
            counter!("trunkline_trace_events_total").increment(more(now.recorded, before.recorded));
            counter!("trunkline_trace_events_lost_total").increment(more(now.lost, before.lost));
            counter!("trunkline_trace_events_skipped_total").increment(more(now.skipped, before.skipped));
        }

        fn publish_times(&mut self) {
            let seconds = histogram!("trunkline_request_seconds");
            let now: Vec<u64> = self.stats.times().map(|(_, count)| count).collect();
            self.times.resize(now.len(), 0);
            for ((middle, now), before) in self.stats.times().zip(&mut self.times) {
                let new = now.saturating_sub(std::mem::replace(before, now));
                if new > 0 {
                    seconds.record_many(middle, usize::try_from(new).unwrap_or(usize::MAX));
                }
            }
        }

        fn publish_gauges(&mut self, now: Gauges) {
            let before = std::mem::replace(&mut self.gauges, now);
            let change = |now: u64, before: u64| now as f64 - before as f64;
            gauge!("trunkline_requests_in_flight").increment(change(now.in_flight, before.in_flight));
            gauge!("trunkline_requests_served_open").increment(change(now.served_open, before.served_open));
            gauge!("trunkline_peers", "direction" => "inbound")
                .increment(change(now.inbound, before.inbound));
            gauge!("trunkline_peers", "direction" => "outbound")
                .increment(change(now.outbound, before.outbound));
        }

        /// A session that has gone is counted once more, for its last bytes.
        fn publish_traffic(&mut self, peers: Vec<PeerHandle>) {
            let live: Vec<SessionId> = peers.iter().map(PeerHandle::session).collect();
            for peer in peers {
                self.traffic.entry(peer.session()).or_insert((peer, (0, 0)));
            }
            let (mut bytes_in, mut bytes_out) = (0, 0);
            for (peer, published) in self.traffic.values_mut() {
                let now = peer.traffic();
                bytes_in += now.0.saturating_sub(published.0);
                bytes_out += now.1.saturating_sub(published.1);
                *published = now;
            }
            self.traffic.retain(|session, _| live.contains(session));
            counter!("trunkline_traffic_bytes_total", "direction" => "in").increment(bytes_in);
            counter!("trunkline_traffic_bytes_total", "direction" => "out").increment(bytes_out);
        }
    }

    impl Drop for Publisher {
        fn drop(&mut self) {
            self.publish();
            self.publish_gauges(Gauges::default());
        }
    }

    fn describe() {
        describe_counter!("trunkline_requests_total", "Requests of ours that have ended, by outcome.");
        describe_histogram!(
            "trunkline_request_seconds",
            Unit::Seconds,
            "From a request to its decoded answer, answered requests only."
        );
        describe_gauge!("trunkline_requests_in_flight", "Requests of ours that have not ended.");
        describe_gauge!("trunkline_requests_served_open", "Requests of peers that have begun and not ended.");
        describe_counter!("trunkline_trace_events_total", "Events recorded by the trace.");
        describe_counter!(
            "trunkline_trace_events_lost_total",
            "Events that were overwritten before the live trace could write them."
        );
        describe_counter!(
            "trunkline_trace_events_skipped_total",
            "Events that the live trace left out: over budget, or the disk took no more."
        );
        describe_gauge!("trunkline_peers", "Sessions, by who dialled.");
        describe_counter!("trunkline_traffic_bytes_total", Unit::Bytes, "Bytes on the sockets of sessions.");
    }
}

/// Publishes nothing.
#[cfg(not(feature = "metrics"))]
pub(crate) struct Publisher;

#[cfg(not(feature = "metrics"))]
impl Publisher {
    pub(crate) fn new(
        _: std::sync::Arc<crate::stats::RequestStats>,
        _: crate::manager::table::PeerTable,
        _: crate::trace::Trace,
    ) -> Self {
        Self
    }

    pub(crate) fn publish(&mut self) {}
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::Publisher;
    use crate::stats::RequestStats;
    use crate::trace::{Trace, TraceConfig};

    /// Keeps counters and gauges by name and first label, and the samples of histograms.
    #[derive(Default)]
    struct Book {
        counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
        gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
        samples: Arc<Samples>,
    }

    #[derive(Default)]
    struct Samples(Mutex<Vec<f64>>);

    impl HistogramFn for Samples {
        fn record(&self, value: f64) {
            self.0.lock().unwrap().push(value);
        }
    }

    impl Book {
        fn counter(&self, name: &str) -> u64 {
            self.counters.lock().unwrap().get(name).map_or(0, |value| value.load(Ordering::Relaxed))
        }

        fn gauge(&self, name: &str) -> f64 {
            let gauges = self.gauges.lock().unwrap();
            f64::from_bits(gauges.get(name).map_or(0, |value| value.load(Ordering::Relaxed)))
        }
    }

    fn name(key: &Key) -> String {
        let label = key.labels().next().map_or(String::new(), |label| format!("/{}", label.value()));
        format!("{}{label}", key.name())
    }

    impl Recorder for Book {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(name(key)).or_default()))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::clone(self.gauges.lock().unwrap().entry(name(key)).or_default()))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::clone(&self.samples))
        }
    }

    #[test]
    fn what_is_new_is_published_once_and_networks_add_up() {
        let book = Book::default();
        metrics::with_local_recorder(&book, || {
            let stats = [(); 2].map(|()| Arc::new(RequestStats::default()));
            let mut publishers = stats.clone().map(|stats| {
                let counted = Arc::clone(&stats);
                let in_flight = Box::new(move || counted.in_flight());
                let trace = Trace::start(&TraceConfig::default(), "node", in_flight).unwrap();
                Publisher::new(stats, crate::PeerTable::default(), trace)
            });
            for stats in &stats {
                (0..3).for_each(|_| stats.on_created());
                stats.on_ok(std::time::Duration::from_millis(10));
                stats.on_cancelled();
            }
            for _ in 0..2 {
                publishers.iter_mut().for_each(Publisher::publish);
                assert_eq!(book.counter("trunkline_requests_total/ok"), 2);
                assert_eq!(book.counter("trunkline_requests_total/cancelled"), 2);
                assert_eq!(book.gauge("trunkline_requests_in_flight"), 2.0);
            }
            assert!(book.counters.lock().unwrap().contains_key("trunkline_requests_total/malformed"));
            let samples = book.samples.0.lock().unwrap().clone();
            assert_eq!(samples.len(), 2);
            assert!(samples.iter().all(|seconds| (0.009..0.011).contains(seconds)), "{samples:?}");
            drop(publishers);
            assert_eq!(book.gauge("trunkline_requests_in_flight"), 0.0);
        });
    }
}
