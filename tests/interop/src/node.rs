//! A rust-libp2p node: TCP, noise, yamux, identify, ping and raw substreams, driven by one task.
//!
//! What the swarm reports is collected in a log that cases wait on; substreams that peers open go
//! to the [`services`](crate::services).

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, NetworkBehaviour, Stream, StreamProtocol, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, noise, ping, tcp, yamux};
use libp2p_stream::{Control, OpenStreamError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::check::{Failure, Outcome, failed, within};
use crate::inbound;
use crate::services::{self, Service};

/// How long a node waits for one step of its peer.
pub const STEP: Duration = Duration::from_secs(15);

/// What a node is and serves.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its identity.
    pub key: Keypair,
    /// Its agent version in identify.
    pub agent: String,
    /// How often it pings each peer.
    pub ping_interval: Duration,
    /// What it does with the substreams of which protocol.
    pub services: Vec<(&'static str, Service)>,
    /// Where it listens, if it does.
    pub listen: Option<Multiaddr>,
}

impl NodeConfig {
    /// Serves the whole `substreams` contract on a fresh ed25519 identity, and listens nowhere.
    pub fn new() -> Self {
        Self {
            key: Keypair::generate_ed25519(),
            agent: "interop/0.0.0".into(),
            ping_interval: Duration::from_secs(15),
            services: services::all(),
            listen: None,
        }
    }

    /// Listens on a free port of the loopback interface.
    #[must_use]
    pub fn listening(mut self) -> Self {
        self.listen = Some("/ip4/127.0.0.1/tcp/0".parse().expect("a valid multiaddr"));
        self
    }

    /// With this identity.
    #[must_use]
    pub fn key(mut self, key: Keypair) -> Self {
        self.key = key;
        self
    }

    /// Pings this often.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// Serves `protocol` differently from the contract, or not at all.
    #[must_use]
    pub fn serving(mut self, protocol: &'static str, service: Option<Service>) -> Self {
        self.services.retain(|(name, _)| *name != protocol);
        self.services.extend(service.map(|s| (protocol, s)));
        self
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What has been seen of peers so far.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Open connections by peer.
    pub connected: HashMap<PeerId, usize>,
    /// The last identify message of each peer.
    pub identified: HashMap<PeerId, identify::Info>,
    /// Round trips of answered pings.
    pub pongs: HashMap<PeerId, Vec<Duration>>,
    /// Pings and identify exchanges that failed, as text.
    pub faults: Vec<String>,
}

/// A running node. It stops when dropped.
#[derive(Debug)]
pub struct Node {
    /// Its identity.
    pub peer: PeerId,
    /// Where it listens, with `/p2p`, if it does.
    pub addr: Option<Multiaddr>,
    control: ControlCell,
    commands: mpsc::UnboundedSender<Command>,
    log: watch::Receiver<Log>,
    task: JoinHandle<()>,
}

/// Opens substreams; cheap to clone, each clone opens one at a time.
#[derive(Clone)]
pub struct ControlCell(Control);

impl std::fmt::Debug for ControlCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl ControlCell {
    /// Opens a substream, or says why not.
    pub async fn open(&mut self, peer: PeerId, protocol: &str) -> Result<Stream, OpenStreamError> {
        let protocol = StreamProtocol::try_from_owned(protocol.to_owned())
            .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidInput, e))?;
        self.0.open_stream(peer, protocol).await
    }
}

impl Node {
    /// Starts a node and waits until it listens, if it shall.
    pub async fn start(config: NodeConfig) -> Outcome<Self> {
        let (inbound, mut substreams) =
            inbound::Behaviour::new(config.services.iter().map(|(p, _)| StreamProtocol::new(p)).collect());
        let mut swarm = swarm(&config, inbound)?;
        let peer = *swarm.local_peer_id();
        let control = ControlCell(swarm.behaviour().streams.new_control());
        let mut addr = None;
        if let Some(listen) = config.listen {
            swarm.listen_on(listen)?;
            addr = Some(
                within(STEP, "listen", first_listen_addr(&mut swarm)).await?.with_p2p(peer).expect("ours"),
            );
        }

        let services: HashMap<&'static str, Service> = config.services.into_iter().collect();
        let for_services = control.clone();
        tokio::spawn(async move {
            while let Some(inbound::Inbound { peer, protocol, stream }) = substreams.recv().await {
                if let Some(service) = services.get(protocol.as_ref()) {
                    tokio::spawn(service.clone().serve(peer, stream, for_services.clone()));
                }
            }
        });

        let (commands, inbox) = mpsc::unbounded_channel();
        let (log_writer, log) = watch::channel(Log::default());
        let task = tokio::spawn(drive(swarm, inbox, log_writer));
        Ok(Self { peer, addr, control, commands, log, task })
    }

    /// A node that only dials.
    pub async fn dialer() -> Outcome<Self> {
        Self::start(NodeConfig::new()).await
    }

    /// Connects and returns who answered.
    pub async fn dial(&self, addr: &Multiaddr) -> Outcome<PeerId> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Dial(addr.clone(), reply))?;
        within(STEP, "dial", answer).await??.map_err(Failure::Failed)
    }

    /// A way to open substreams; clones open in parallel.
    pub fn control(&self) -> ControlCell {
        self.control.clone()
    }

    /// Opens one substream.
    pub async fn open(&self, peer: PeerId, protocol: &str) -> Outcome<Stream> {
        let mut control = self.control();
        let opened = within(STEP, "open a substream", control.open(peer, protocol)).await?;
        Ok(opened?)
    }

    /// Sends our identify message unasked.
    pub fn push_identify(&self, peer: PeerId) -> Outcome {
        self.command(Command::Push(peer))
    }

    /// Closes all connections with this peer.
    pub fn disconnect(&self, peer: PeerId) -> Outcome {
        self.command(Command::Disconnect(peer))
    }

    /// What has been seen so far.
    pub fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    /// Waits until the log holds what `find` looks for.
    pub async fn wait_for<T>(
        &self,
        limit: Duration,
        what: &str,
        mut find: impl FnMut(&Log) -> Option<T>,
    ) -> Outcome<T> {
        let mut log = self.log.clone();
        within(limit, what, async {
            loop {
                if let Some(found) = find(&log.borrow_and_update()) {
                    return Ok(found);
                }
                if log.changed().await.is_err() {
                    return failed("the node has stopped");
                }
            }
        })
        .await?
    }

    /// Waits for the peer's identify message.
    pub async fn identified(&self, peer: PeerId) -> Outcome<identify::Info> {
        self.wait_for(STEP, "identify", |log| log.identified.get(&peer).cloned()).await
    }

    /// Waits until `n` pings were answered.
    pub async fn pongs(&self, peer: PeerId, n: usize) -> Outcome<Vec<Duration>> {
        self.wait_for(STEP, "ping", |log| log.pongs.get(&peer).filter(|p| p.len() >= n).cloned()).await
    }

    fn command(&self, command: Command) -> Outcome {
        self.commands.send(command).or_else(|_| failed("the node has stopped"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
    inbound: inbound::Behaviour,
}

enum Command {
    Dial(Multiaddr, oneshot::Sender<Result<PeerId, String>>),
    Push(PeerId),
    Disconnect(PeerId),
}

fn swarm(config: &NodeConfig, inbound: inbound::Behaviour) -> Outcome<Swarm<Behaviour>> {
    let muxer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(1024);
        config
    };
    let swarm = libp2p::SwarmBuilder::with_existing_identity(config.key.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, muxer)?
        .with_behaviour(|key| Behaviour {
            identify: identify::Behaviour::new(
                identify::Config::new("ipfs/0.1.0".into(), key.public())
                    .with_agent_version(config.agent.clone()),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(config.ping_interval)),
            streams: libp2p_stream::Behaviour::new(),
            inbound,
        })
        .expect("the closure cannot fail")
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_secs(120))
                .with_max_negotiating_inbound_streams(1024)
        })
        .build();
    Ok(swarm)
}

async fn first_listen_addr(swarm: &mut Swarm<Behaviour>) -> Multiaddr {
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

/// The task that owns the swarm. It ends with the node that holds the other end of `inbox`.
async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    log: watch::Sender<Log>,
) {
    let mut dials: HashMap<ConnectionId, oneshot::Sender<Result<PeerId, String>>> = HashMap::new();
    loop {
        tokio::select! {
            biased;
            command = inbox.recv() => match command {
                None => return,
                Some(Command::Dial(addr, reply)) => {
                    let opts = DialOpts::from(addr);
                    let id = opts.connection_id();
                    match swarm.dial(opts) {
                        Ok(()) => { dials.insert(id, reply); }
                        // The dialler may have given up; then nobody wants to know.
                        Err(error) => { let _ = reply.send(Err(error.to_string())); }
                    }
                }
                Some(Command::Push(peer)) => swarm.behaviour_mut().identify.push([peer]),
                Some(Command::Disconnect(peer)) => { let _ = swarm.disconnect_peer_id(peer); }
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                    log.send_modify(|log| *log.connected.entry(peer_id).or_default() += 1);
                    if let Some(reply) = dials.remove(&connection_id) {
                        let _ = reply.send(Ok(peer_id));
                    }
                }
                SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => {
                    log.send_modify(|log| { log.connected.insert(peer_id, num_established as usize); });
                }
                SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                    if let Some(reply) = dials.remove(&connection_id) {
                        let _ = reply.send(Err(error.to_string()));
                    }
                }
                SwarmEvent::Behaviour(event) => log.send_modify(|log| note(log, event)),
                _ => {}
            },
        }
    }
}

fn note(log: &mut Log, event: BehaviourEvent) {
    match event {
        BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
            log.identified.insert(peer_id, info);
        }
        BehaviourEvent::Identify(identify::Event::Error { peer_id, error, .. }) => {
            log.faults.push(format!("identify with {peer_id}: {error}"));
        }
        BehaviourEvent::Ping(ping::Event { peer, result: Ok(rtt), .. }) => {
            log.pongs.entry(peer).or_default().push(rtt);
        }
        BehaviourEvent::Ping(ping::Event { peer, result: Err(error), .. }) => {
            log.faults.push(format!("ping of {peer}: {error}"));
        }
        _ => {}
    }
}
