//! discv5, by its crate (devp2p discv5): its settings, and what we make of its events.
//!
//! The crate brings tasks and queues of its own; ARCHITECTURE.md says how they are bounded. It reads
//! the UDP socket, because it can hand over what it does not understand, which is where discv4 gets
//! its packets from when both run on one port.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use discv5::{Config, ConfigBuilder, Discv5, Enr, Event, ListenConfig, RateLimiterBuilder};
use enr::CombinedKey;
use enr::NodeId as V5Id;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::node::is_local;

/// Packets that are looked at, both protocols together: at once and in a second. Not per address:
/// the crate would ban the address for an hour, and addresses can be forged.
const PACKETS_PER_S: u64 = 2_000;

/// A session that is not used is forgotten beyond so many.
const SESSIONS_MAX: usize = 1_000;

/// How long after a session has begun its node is asked whether it is still there. The crate by
/// itself asks after five minutes, and tells others of nodes that nobody has ever asked.
const CHECK_AFTER: Duration = Duration::from_secs(3);

/// Nodes that wait for that, and that are being asked; beyond, they wait for the crate's own ping.
const CHECKS_MAX: usize = 128;

/// The running crate.
pub(crate) struct V5 {
    discv5: Discv5,
    events: mpsc::Receiver<Event>,
    looking: Option<BoxFuture<'static, Vec<Enr>>>,
    /// The earliest first.
    to_check: VecDeque<(Instant, Enr)>,
    checking: FuturesUnordered<BoxFuture<'static, ()>>,
}

/// What it has to say.
pub(crate) enum News {
    /// Something has happened.
    Event(Box<Event>),
    /// A search has ended; these nodes have answered.
    Looked(Vec<Enr>),
}

/// Why discv5 does not run.
#[derive(Debug, thiserror::Error)]
#[error("discv5 cannot run: {0}")]
pub struct V5Error(String);

impl V5 {
    /// Starts it on a socket.
    pub(crate) async fn start(
        socket: Arc<UdpSocket>,
        listen: IpAddr,
        record: Enr,
        key: CombinedKey,
        learns_address: bool,
    ) -> Result<Self, V5Error> {
        let config = settings(socket, listen, learns_address)?;
        let mut discv5 = Discv5::new(record, key, config).map_err(|error| V5Error(error.to_owned()))?;
        discv5.start().await.map_err(|error| V5Error(format!("{error:?}")))?;
        let events = discv5.event_stream().await.map_err(|error| V5Error(format!("{error:?}")))?;
        let (to_check, checking) = (VecDeque::new(), FuturesUnordered::new());
        Ok(Self { discv5, events, looking: None, to_check, checking })
    }

    /// The crate itself.
    pub(crate) fn discv5(&self) -> &Discv5 {
        &self.discv5
    }

    /// What happens next; `None` when the crate has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<News> {
        loop {
            let looking = async {
                match self.looking.as_mut() {
                    Some(search) => search.await,
                    None => std::future::pending().await,
                }
            };
            let due = self.to_check.front().map(|(at, _)| *at);
            let check = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                found = looking => {
                    self.looking = None;
                    return Some(News::Looked(found));
                }
                Some(()) = self.checking.next(), if !self.checking.is_empty() => {}
                () = check => self.check(),
                event = self.events.recv() => {
                    if let Some(Event::SessionEstablished(record, _)) = &event
                        && self.discv5.ip_mode().get_contactable_addr(record).is_some()
                        && self.to_check.len() + self.checking.len() < CHECKS_MAX
                    {
                        self.to_check.push_back((Instant::now() + CHECK_AFTER, record.clone()));
                    }
                    return event.map(|event| News::Event(Box::new(event)));
                }
            }
        }
    }

    fn check(&mut self) {
        if let Some((_, record)) = self.to_check.pop_front() {
            let ping = self.discv5.send_ping(record);
            // Whether it answers is for the crate's table to know.
            self.checking.push(ping.map(drop).boxed());
        }
    }

    /// A node to start from. Told why not, at debug.
    pub(crate) fn add(&self, record: &Enr) {
        if let Err(why) = self.discv5.add_enr(record.clone()) {
            tracing::debug!(why, "a record is not taken into the discv5 table");
        }
    }

    /// Looks for nodes near a random id, unless such a search runs.
    pub(crate) fn look(&mut self) {
        if self.looking.is_none() && !self.discv5.table_entries_id().is_empty() {
            let search = self.discv5.find_node(V5Id::random());
            self.looking = Some(search.map(Result::unwrap_or_default).boxed());
        }
    }

    /// Ends it. Its tasks end by themselves soon after.
    pub(crate) fn shutdown(mut self) {
        self.discv5.shutdown();
    }
}

impl std::fmt::Debug for V5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("V5").finish_non_exhaustive()
    }
}

fn settings(socket: Arc<UdpSocket>, listen: IpAddr, learns_address: bool) -> Result<Config, V5Error> {
    let socket = Some(socket);
    let listen_config = match listen {
        IpAddr::V4(_) => ListenConfig::FromSockets { ipv4: socket, ipv6: None },
        IpAddr::V6(_) => ListenConfig::FromSockets { ipv4: None, ipv6: socket },
    };
    let limiter = RateLimiterBuilder::new().total_n_every(PACKETS_PER_S, Duration::from_secs(1));
    let limiter = limiter.build().map_err(|error| V5Error(error.to_owned()))?;
    let mut builder = ConfigBuilder::new(listen_config);
    builder
        .enable_packet_filter()
        .filter_rate_limiter(Some(limiter))
        .filter_max_nodes_per_ip(None)
        .filter_max_bans_per_ip(None)
        .session_cache_capacity(SESSIONS_MAX)
        .request_timeout(Duration::from_millis(700))
        .query_timeout(Duration::from_secs(20));
    // The crate knows no exception for networks of one's own, where one hand may hold them all.
    if !is_local(listen) {
        builder.ip_limit();
    }
    if !learns_address {
        builder.disable_enr_update();
    }
    Ok(builder.build())
}

#[cfg(test)]
#[path = "v5_tests.rs"]
pub(crate) mod tests;
