//! The task that owns the UDP socket: feeds the machines, sends what they say, tells what was found.
//!
//! One socket for both protocols. With discv5 its crate reads the socket and hands over what it
//! does not understand; without it this task reads. All sending of discv4 is here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use discv5::{Enr, Event as V5Event};
use enr::CombinedKey;
use lru::LruCache;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::config::{DiscoveryConfig, DiscoveryError};
use super::node::{Bootnode, Node, NodeHash, node_of};
use super::packet::{Endpoint, PACKET_BYTES_MAX};
use super::record::{self, Facts, ForkEntry};
use super::source::{Finds, Found, Via};
use super::v4::{Event, Local, Now, V4};
use super::v5::{News, V5};
use crate::transport::rlpx::NodeKey;

/// Finds that a slow listener may lag behind before it misses some.
const FINDS_MAX: usize = 1_024;
/// Orders to the task that wait.
const ORDERS_MAX: usize = 16;
/// Nodes that a crawl remembers having asked; the least recent one may be asked again.
const ASKED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// When a crawl asks a node again that has been named again.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Running discovery. It ends when this is dropped or shut down.
#[derive(Debug)]
pub struct Discovery {
    us: Node,
    record: Arc<Mutex<Enr>>,
    found: broadcast::Sender<Found>,
    wanted: mpsc::Sender<()>,
    orders: mpsc::Sender<ForkEntry>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Discovery {
    /// Binds the socket and starts. To be called within a tokio runtime.
    pub async fn start(config: DiscoveryConfig, key: NodeKey) -> Result<Self, DiscoveryError> {
        if !config.v4 && !config.v5 {
            return Err(DiscoveryError::Nothing);
        }
        let bind = |source| DiscoveryError::Bind { addr: config.listen, source };
        let socket = Arc::new(UdpSocket::bind(config.listen).await.map_err(bind)?);
        let bound = socket.local_addr().map_err(bind)?;
        let ip = config.external_ip.or((!bound.ip().is_unspecified()).then(|| bound.ip()));
        // Higher at every start, as nobody remembers the last one.
        let seq = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let seq = u64::try_from(seq).unwrap_or(u64::MAX);
        let facts = Facts { seq, ip, udp: bound.port(), tcp: config.tcp, fork: config.fork };
        let no_record = |error: String| DiscoveryError::Record(error);
        let secret = record::combined(&key).ok_or_else(|| no_record("unusable key".to_owned()))?;
        let ours = record::sign(&secret, facts).map_err(|error| no_record(error.to_string()))?;
        let v5 = match config.v5 {
            true => {
                let secret = record::combined(&key).ok_or_else(|| no_record("unusable key".to_owned()))?;
                let learns_address = ip.is_none();
                Some(V5::start(socket.clone(), bound.ip(), ours.clone(), secret, learns_address).await?)
            }
            false => None,
        };
        // Unspecified where it is not known: some clients stumble over an address that is left out.
        let endpoint =
            Endpoint { ip: ip.or(Some(bound.ip())), udp: bound.port(), tcp: config.tcp.unwrap_or(0) };
        let nodes: Vec<Node> = config.bootnodes.iter().filter_map(Bootnode::node).collect();
        let v4 = config.v4.then(|| {
            let local = Local { endpoint, record: ours.clone() };
            V4::new(clocks(), config.v4_config.clone(), key.clone(), local, nodes, rand::random())
        });
        let (found, _) = broadcast::channel(FINDS_MAX);
        let (wanted, wants) = mpsc::channel(1);
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (stop, stopped) = oneshot::channel();
        let record = Arc::new(Mutex::new(ours));
        let service = Service {
            crawl: config.crawl,
            asked: LruCache::new(ASKED_MAX),
            search_every: config.search_every,
            next_search: Instant::now(),
            is_wanted: false,
            bootnodes: config.bootnodes,
            secret,
            socket,
            v4,
            v5,
            endpoint,
            record: record.clone(),
            found: found.clone(),
        };
        let task = tokio::spawn(service.run(wants, ordered, stopped));
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let us = Node { id: key.node_id(), ip, udp: bound.port(), tcp: config.tcp.unwrap_or(0) };
        Ok(Self { us, record, found, wanted, orders, stop: Some(stop), task })
    }

    /// Ourselves, as an `enode://` tells it; loopback where our address is not known.
    pub fn local_node(&self) -> Node {
        self.us
    }

    /// Our record as it is now.
    pub fn local_record(&self) -> Enr {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is found from now on. Searches run while somebody waits for the next one.
    pub fn finds(&self) -> Finds {
        Finds { found: self.found.subscribe(), wanted: self.wanted.clone() }
    }

    /// Our chain has passed a fork: our record says so from now on.
    pub async fn set_fork(&self, fork: ForkEntry) {
        // Gone: then nobody reads the record any more.
        let _ = self.orders.send(fork).await;
    }

    /// Ends it and waits until the socket is let go of.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        // The task sees the other end of `stop` go.
        drop(self.stop.take());
    }
}

struct Service {
    crawl: bool,
    asked: LruCache<NodeHash, Instant>,
    search_every: Duration,
    next_search: Instant,
    is_wanted: bool,
    bootnodes: Vec<Bootnode>,
    secret: CombinedKey,
    socket: Arc<UdpSocket>,
    v4: Option<V4>,
    v5: Option<V5>,
    endpoint: Endpoint,
    record: Arc<Mutex<Enr>>,
    found: broadcast::Sender<Found>,
}

/// What made the task turn.
enum Input {
    Packet(SocketAddr, Vec<u8>),
    V5(News),
    Nothing,
    Wanted,
    Fork(ForkEntry),
    Time,
    Ended,
}

impl Service {
    async fn run(
        mut self,
        mut wants: mpsc::Receiver<()>,
        mut orders: mpsc::Receiver<ForkEntry>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        if let Some(v5) = &self.v5 {
            for bootnode in &self.bootnodes {
                if let Bootnode::Record(record) = bootnode {
                    v5.add(record);
                }
            }
        }
        let mut buffer = [0; PACKET_BYTES_MAX + 1];
        loop {
            let due = self.due();
            let input = tokio::select! {
                biased;
                _ = &mut stopped => Input::Ended,
                // Before packets: a flood must not keep time-outs from ending.
                () = sleep_until(due) => Input::Time,
                Some(fork) = orders.recv() => Input::Fork(fork),
                Some(()) = wants.recv(), if !self.is_wanted => Input::Wanted,
                input = read(&self.socket, self.v5.as_mut(), &mut buffer) => input,
            };
            match input {
                Input::Packet(from, bytes) => self.on_packet(from, &bytes),
                Input::V5(News::Event(event)) => self.on_v5(*event),
                Input::V5(News::Looked(records)) => self.on_looked(records),
                Input::Nothing => {}
                Input::Wanted => self.is_wanted = true,
                Input::Fork(fork) => self.on_fork(fork),
                Input::Time => self.on_time(),
                Input::Ended => break,
            }
            self.turn().await;
        }
        if let Some(v5) = self.v5.take() {
            v5.shutdown();
        }
        let socket = Arc::downgrade(&self.socket);
        drop(self);
        // The crate's tasks hold the socket, too, and tell nobody when they let go of it.
        for _ in 0..100 {
            if socket.strong_count() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn due(&self) -> Instant {
        let v4 = self.v4.as_ref().map(|v4| Instant::from_std(v4.poll_timeout()));
        let search = self.is_wanted.then_some(self.next_search);
        let far = Instant::now() + Duration::from_secs(3600);
        [v4, search].into_iter().flatten().min().unwrap_or(far)
    }

    fn on_packet(&mut self, from: SocketAddr, bytes: &[u8]) {
        // An IPv4 node seen through an IPv6 socket is the IPv4 node.
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if let Some(v4) = &mut self.v4 {
            v4.on_packet(clocks(), from, bytes);
        }
    }

    fn on_time(&mut self) {
        if let Some(v4) = &mut self.v4 {
            v4.on_tick(clocks());
        }
        let now = Instant::now();
        if self.is_wanted && now >= self.next_search {
            self.is_wanted = false;
            self.next_search = now + self.search_every;
            if let Some(v4) = &mut self.v4 {
                v4.lookup_random(clocks());
            }
            if let Some(v5) = &mut self.v5 {
                v5.look();
            }
        }
    }

    fn on_v5(&mut self, event: V5Event) {
        match event {
            V5Event::UnrecognizedFrame(frame) => self.on_packet(frame.src_address, &frame.packet),
            V5Event::SessionEstablished(record, addr) => {
                // Its record may not know where it is; we do.
                let node = node_of(&record).filter(|node| node.udp != 0).or_else(|| {
                    let id = super::node::record_id(&record)?;
                    Some(Node { id, ip: addr.ip(), udp: addr.port(), tcp: record.tcp4().unwrap_or(0) })
                });
                self.tell(node, Some(Box::new(record)), Via::V5, true);
            }
            V5Event::Discovered(record) if self.crawl => {
                self.tell(node_of(&record), Some(Box::new(record)), Via::V5, false);
            }
            V5Event::SocketUpdated(addr) => {
                if let (Some(v5), Some(v4)) = (&self.v5, &mut self.v4) {
                    self.endpoint.ip = Some(addr.ip());
                    v4.set_local(Local { endpoint: self.endpoint, record: v5.discv5().local_enr() });
                }
                self.publish_record();
            }
            // A TALKREQ is answered by its drop: with nothing, as nobody here speaks through it.
            _ => {}
        }
    }

    /// Told again, because a listener that was not there when they were met wants to hear of them.
    fn on_looked(&mut self, records: Vec<Enr>) {
        for record in records {
            self.tell(node_of(&record), Some(Box::new(record)), Via::V5, true);
        }
    }

    fn on_fork(&mut self, fork: ForkEntry) {
        let changed = match &self.v5 {
            Some(v5) => v5.discv5().enr_insert("eth", &fork).map(|_| v5.discv5().local_enr()),
            None => {
                let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
                record::set_fork(&mut record, &self.secret, fork).map(|()| record)
            }
        };
        match changed {
            Ok(record) => {
                if let Some(v4) = &mut self.v4 {
                    v4.set_local(Local { endpoint: self.endpoint, record: record.clone() });
                }
                *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record;
            }
            Err(error) => tracing::warn!(%error, "our record keeps its old fork id"),
        }
    }

    fn publish_record(&self) {
        if let Some(v5) = &self.v5 {
            *self.record.lock().unwrap_or_else(PoisonError::into_inner) = v5.discv5().local_enr();
        }
    }

    /// Sends and tells what discv4 has decided.
    async fn turn(&mut self) {
        while let Some(out) = self.v4.as_mut().and_then(V4::poll_send) {
            // UDP promises nothing; a packet that cannot go is one that got lost.
            if let Err(error) = self.socket.send_to(&out.bytes, out.to).await {
                tracing::debug!(to = %out.to, %error, "a packet could not be sent");
            }
        }
        while let Some(event) = self.v4.as_mut().and_then(V4::poll_event) {
            match event {
                Event::Met(node) => self.tell(Some(node), None, Via::V4, true),
                Event::Heard(node) if self.crawl => {
                    self.tell(Some(node), None, Via::V4, false);
                    self.ask(node);
                }
                Event::Record(node, record) => {
                    let is_bootnode =
                        |bootnode: &Bootnode| bootnode.node().is_some_and(|bootnode| bootnode.id == node.id);
                    if let Some(v5) = &self.v5
                        && (self.crawl || self.bootnodes.iter().any(is_bootnode))
                    {
                        v5.add(&record);
                    }
                    self.tell(Some(node), Some(record), Via::V4, true);
                }
                Event::LookupDone(nodes) => {
                    for node in nodes {
                        let record = self.v4.as_ref().and_then(|v4| v4.record(&node)).cloned();
                        self.tell(Some(node), record.map(Box::new), Via::V4, true);
                    }
                }
                Event::Heard(_) => {}
            }
        }
    }

    /// Asks a node that another one has named, unless that was done a moment ago.
    fn ask(&mut self, node: Node) {
        let (now, hash) = (Instant::now(), node.id.hash());
        let is_due = self.asked.get(&hash).is_none_or(|at| now - *at >= ASK_AGAIN);
        if let Some(v4) = self.v4.as_mut().filter(|_| is_due)
            && v4.check(clocks(), node)
        {
            self.asked.put(hash, now);
        }
    }

    fn tell(&self, node: Option<Node>, record: Option<Box<Enr>>, via: Via, is_alive: bool) {
        let Some(node) = node else { return };
        // Nobody listens: then nobody is told.
        drop(self.found.send(Found { node, record, via, is_alive }));
    }
}

/// The next thing from the network. Cancel safe.
async fn read(socket: &UdpSocket, v5: Option<&mut V5>, buffer: &mut [u8]) -> Input {
    if let Some(v5) = v5 {
        return match v5.next().await {
            Some(news) => Input::V5(news),
            None => Input::Ended,
        };
    }
    match socket.recv_from(buffer).await {
        Ok((len, from)) => Input::Packet(from, buffer.get(..len).unwrap_or_default().to_vec()),
        // Such as a port that was closed: it says nothing about the next packet.
        Err(error) => {
            tracing::debug!(%error, "a packet could not be received");
            tokio::time::sleep(Duration::from_millis(10)).await;
            Input::Nothing
        }
    }
}

fn clocks() -> Now {
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Now { at: Instant::now().into_std(), unix_s }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
