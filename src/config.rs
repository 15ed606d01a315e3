//! Configuration: real types, documented defaults, checked once in `build()`.

use std::time::Duration;

use crate::machine::admission::SlotLimits;
use crate::machine::backoff::BackoffConfig;
use crate::machine::pace::PaceConfig;
use crate::machine::session::SessionLimits;
use crate::trace::TraceConfig;
use crate::transport::TransportLimits;
use crate::transport::addr::PeerAddr;

/// Everything that bounds or shapes a network. Made by [`Config::builder`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen, on either wire or both. Empty: the node does not listen. Port 0 picks a free one.
    pub listen: Vec<PeerAddr>,
    /// Peers to stay connected to: redialled with backoff, outside the slots.
    pub static_peers: Vec<PeerAddr>,
    /// Slots for peers and pending connections. Full: new ones are refused as "too many peers".
    pub slots: SlotLimits,
    /// Requests of ours in flight per peer and protocol; one more gets `Busy`. Default 64, at
    /// most 4,096.
    pub pending_requests_max: u16,
    /// How long answers may take, adapted to each peer. Default 2 to 20 s, starting with 15 s.
    pub pace: PaceConfig,
    /// Bounds of each long-lived exchange.
    pub session: SessionLimits,
    /// Bounds of sockets, negotiations and substreams.
    pub transport: TransportLimits,
    /// Pauses between dials of static peers.
    pub backoff: BackoffConfig,
    /// How often a quiet connection is pinged. Default 15 s.
    pub ping_interval: Duration,
    /// How long an echo may take before the connection counts as dead. Default 20 s.
    pub ping_timeout: Duration,
    /// How long a peer is avoided after a breach or bad data. Default 60 s.
    pub avoid: Duration,
    /// Peers remembered for blame; the least recently seen is forgotten. Default 1,000.
    pub peer_records_max: usize,
    /// Arbiters (threads) that sessions are pinned to. Default 1.
    pub network_threads: usize,
    /// Events a subscriber may lag behind before it is told that it missed some. Default 1,024.
    pub events_max: usize,
    /// How long sessions get to say goodbye in a shutdown. Default 2 s.
    pub shutdown_timeout: Duration,
    /// What identify says we are.
    pub agent: String,
    /// Serve `/perf/1.0.0`. Off by default: it hands out bandwidth to anybody.
    pub perf: bool,
    /// Seed for jitter and ping bytes. `None` (default): from the system.
    pub seed: Option<u64>,
    /// Delay of memory links to our listeners. Default zero.
    pub memory_latency: Duration,
    /// What is recorded of the actors and requests, and where it goes. Default: a flight recorder of
    /// 8,192 events per thread, no file.
    pub trace: TraceConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            static_peers: Vec::new(),
            slots: SlotLimits::for_peers(50),
            pending_requests_max: 64,
            pace: PaceConfig::default(),
            session: SessionLimits::default(),
            transport: TransportLimits::default(),
            backoff: BackoffConfig::default(),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(20),
            avoid: Duration::from_secs(60),
            peer_records_max: 1000,
            network_threads: 1,
            events_max: 1024,
            shutdown_timeout: Duration::from_secs(2),
            agent: concat!("trunkline/", env!("CARGO_PKG_VERSION")).to_owned(),
            perf: false,
            seed: None,
            memory_latency: Duration::ZERO,
            trace: TraceConfig::default(),
        }
    }
}

/// Why a configuration is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder { config: Self::default() }
    }

    /// Every limit in force: name, value, unit and meaning, for people.
    pub fn limits(&self) -> Vec<(&'static str, String)> {
        let t = &self.transport;
        let s = &self.session;
        let seconds = |d: Duration| format!("{} s", d.as_secs_f64());
        #[cfg_attr(not(feature = "rlpx"), allow(unused_mut))]
        let mut limits = vec![
            ("peers", self.slots.peers_max.to_string()),
            ("inbound peers", self.slots.inbound_max.to_string()),
            ("pending inbound connections", self.slots.pending_inbound_max.to_string()),
            ("pending dials", self.slots.pending_outbound_max.to_string()),
            ("requests in flight per peer", self.pending_requests_max.to_string()),
            ("request time-out, first", seconds(self.pace.start)),
            ("request time-out, shortest", seconds(self.pace.min)),
            ("request time-out, longest", seconds(self.pace.max)),
            ("late answers excused for", seconds(s.late_grace)),
            ("requests of a peer served at once", s.serving_max.to_string()),
            ("requests of a peer waiting", s.waiting_max.to_string()),
            ("bytes of requests of a peer waiting", format!("{} B", s.waiting_bytes_max)),
            ("replies owed to a peer before another starts", s.owed_replies_max.to_string()),
            ("bytes owed to a peer before a reply starts", format!("{} B", s.owed_bytes_max)),
            ("announcements of a peer waiting", s.inbox_max.to_string()),
            ("bytes of announcements of a peer waiting", format!("{} B", s.inbox_bytes_max)),
            ("bytes of requests waiting to be sent", format!("{} B", s.outbox.request_bytes_max)),
            ("announcements waiting to be sent", s.outbox.announcements_max.to_string()),
            ("bytes of announcements waiting to be sent", format!("{} B", s.outbox.announcement_bytes_max)),
            ("open messages per direction", s.outbox.open_max.to_string()),
            ("bytes of open messages", format!("{} B", s.outbox.open_bytes_max)),
            ("status within", seconds(s.status_timeout)),
            ("silence while a message is open", seconds(s.segment_timeout)),
            ("no progress while writing", seconds(s.write_timeout)),
            ("first byte of a socket within", seconds(t.first_byte_timeout)),
            ("upgrade within", seconds(t.upgrade_timeout)),
            ("bytes before authentication", format!("{} B", t.upgrade_bytes_max)),
            ("connect within", seconds(t.connect_timeout)),
            ("negotiation within", seconds(t.negotiation_timeout)),
            ("proposals per negotiation", t.proposals_max.to_string()),
            ("bytes per negotiation", format!("{} B", t.negotiation_bytes_max)),
            ("inbound substreams", t.inbound_substreams_max.to_string()),
            ("outbound substreams", t.outbound_substreams_max.to_string()),
            ("refused substreams per minute", t.refused_substreams_max.to_string()),
            ("receive window per connection", format!("{} B", t.connection_window_bytes)),
            ("close within", seconds(t.close_timeout)),
            ("ping every", seconds(self.ping_interval)),
            ("ping answered within", seconds(self.ping_timeout)),
            ("static redial, first pause", seconds(self.backoff.first)),
            ("static redial, longest pause", seconds(self.backoff.cap)),
            ("avoided after a breach for", seconds(self.avoid)),
            ("peer records", self.peer_records_max.to_string()),
            ("events a subscriber may lag", self.events_max.to_string()),
            ("trace events kept per thread", self.trace.ring_events.to_string()),
            ("trace events written to a file", self.trace.budget.events_max.to_string()),
            ("trace events written per second", self.trace.budget.events_per_second.to_string()),
            ("network threads", self.network_threads.to_string()),
            ("shutdown within", seconds(self.shutdown_timeout)),
        ];
        #[cfg(feature = "rlpx")]
        limits.extend(crate::transport::rlpx::limits());
        limits
    }
}

/// Changes defaults one by one; [`ConfigBuilder::build`] checks them together.
#[derive(Debug, Clone)]
pub struct ConfigBuilder {
    config: Config,
}

impl ConfigBuilder {
    /// Listens on one more address.
    pub fn listen(mut self, addr: PeerAddr) -> Self {
        self.config.listen.push(addr);
        self
    }

    /// Stays connected to one more peer.
    pub fn static_peer(mut self, addr: PeerAddr) -> Self {
        self.config.static_peers.push(addr);
        self
    }

    /// Slots for so many peers, at most two thirds of them inbound.
    pub fn max_peers(mut self, peers: usize) -> Self {
        let pending = self.config.slots;
        self.config.slots = SlotLimits {
            pending_inbound_max: pending.pending_inbound_max,
            pending_outbound_max: pending.pending_outbound_max,
            ..SlotLimits::for_peers(peers)
        };
        self
    }

    /// What identify says we are.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.config.agent = agent.into();
        self
    }

    /// What is recorded, and where it goes.
    pub fn trace(mut self, trace: TraceConfig) -> Self {
        self.config.trace = trace;
        self
    }

    /// Serve `/perf/1.0.0`.
    pub fn perf(mut self, on: bool) -> Self {
        self.config.perf = on;
        self
    }

    /// Seed for jitter and ping bytes.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// Any other field.
    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Checks what fields say together.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        let refuse = |why: String| Err(ConfigError(why));
        if config.pending_requests_max == 0 || config.pending_requests_max > 4096 {
            return refuse(format!("pending_requests_max is {}, not 1..4096", config.pending_requests_max));
        }
        if config.network_threads == 0 || config.network_threads > 64 {
            return refuse(format!("network_threads is {}, not 1..64", config.network_threads));
        }
        if config.pace.min > config.pace.max {
            return refuse("pace.min is longer than pace.max".into());
        }
        let t = &config.transport;
        if t.inbound_substreams_max == 0 || t.outbound_substreams_max == 0 {
            return refuse("a connection needs at least one substream each way".into());
        }
        if t.inbound_substreams_max + t.outbound_substreams_max > 4096 {
            return refuse("more than 4096 substreams per connection".into());
        }
        if config.session.serving_max == 0 || config.session.outbox.open_max == 0 {
            return refuse("serving_max and open_max must be at least 1".into());
        }
        if config.agent.len() > 128 {
            return refuse("agent is longer than 128 bytes".into());
        }
        if config.events_max == 0 || config.peer_records_max == 0 {
            return refuse("events_max and peer_records_max must be at least 1".into());
        }
        if config.trace.ring_events > 1 << 22 {
            return refuse(format!("trace.ring_events is {}, more than 4194304", config.trace.ring_events));
        }
        if config.trace.ring_events == 0 && (config.trace.file.is_some() || config.trace.dump_dir.is_some()) {
            return refuse("a trace file or dump folder needs trace.ring_events above 0".into());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_build_and_each_rule_refuses_one_over() {
        Config::builder().build().unwrap();
        let refused = |change: fn(&mut Config)| Config::builder().with(change).build().unwrap_err();
        refused(|config| config.pending_requests_max = 4097);
        refused(|config| config.network_threads = 0);
        refused(|config| config.pace.min = Duration::from_secs(100));
        refused(|config| config.transport.inbound_substreams_max = 0);
        refused(|config| config.session.serving_max = 0);
        refused(|config| config.agent = "x".repeat(129));
        refused(|config| config.events_max = 0);
        refused(|config| config.trace.ring_events = (1 << 22) + 1);
        refused(|config| {
            config.trace.ring_events = 0;
            config.trace.file = Some("trace.jsonl".into());
        });
    }
}
