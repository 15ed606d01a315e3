//! Trunkline through its public API, an actor at both ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use trunkline::protocols::ServeError;
use trunkline::protocols::simple::Protocol;
use trunkline::trace::TraceConfig;
use trunkline::wire::{Decode, DecodeError, Encode};
use trunkline::{Config, Keypair, Network, PeerAddr, PeerHandle, PeerId, ProtocolId};

use crate::harness::{Contender, Failure, Gate, Load, on_this_thread, on_two_workers, serve_beside};
use crate::message;
use crate::tally::{Tally, Window};

/// The variant whose callers run on the session's own thread. Its figures count.
pub const SESSION: &str = "session's thread";
/// The variant whose callers run on a tokio runtime of two workers.
pub const TWO_WORKERS: &str = "2-worker runtime";

/// Both variants, as everybody gets them: with the flight recorder on.
pub fn contenders() -> Vec<Box<dyn Contender>> {
    let trace = Tracing::Recorder;
    vec![Box::new(Ours { two_workers: false, trace }), Box::new(Ours { two_workers: true, trace })]
}

/// What both ends record of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// Nothing.
    Off,
    /// The flight recorder, as by default.
    Recorder,
    /// A live trace in a file as well, within its default budget.
    File,
}

impl Tracing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Recorder, Self::File];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "trace off",
            Self::Recorder => "recorder",
            Self::File => "live file",
        }
    }

    fn config(self) -> TraceConfig {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        match self {
            Self::Off => TraceConfig::off(),
            Self::Recorder => TraceConfig::default(),
            Self::File => {
                // A few names in turn, so that no measurement writes over its own other end.
                let number = NEXT.fetch_add(1, Ordering::Relaxed) % 4;
                let name = format!("rivals-trace-{}-{number}.jsonl", std::process::id());
                TraceConfig { file: Some(std::env::temp_dir().join(name)), ..TraceConfig::default() }
            }
        }
    }

    /// Removes the files of this process.
    pub fn tidy_up() {
        for number in 0..4 {
            let name = format!("rivals-trace-{}-{number}.jsonl", std::process::id());
            let _ = std::fs::remove_file(std::env::temp_dir().join(name));
        }
    }
}

/// The contenders of the overhead measurement.
pub fn traced() -> Vec<Box<dyn Contender>> {
    let contender = |trace| Box::new(Ours { two_workers: false, trace }) as Box<dyn Contender>;
    Tracing::ALL.into_iter().map(contender).collect()
}

/// The load as a one-question protocol.
struct Echo;

/// Bytes as they are, each way.
struct Blob(Bytes);

impl Encode for Blob {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.0);
    }
}

impl Decode for Blob {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self(bytes.split_to(bytes.len())))
    }
}

impl Protocol for Echo {
    const ID: ProtocolId = ProtocolId::new("/rivals/echo/1");
    type Request = Blob;
    type Response = Blob;

    async fn serve(&self, _: PeerId, request: Blob) -> Result<Blob, ServeError> {
        let answer = message::answer(&request.0).map_err(|_| ServeError::Unavailable)?;
        Ok(Blob(Bytes::copy_from_slice(&answer)))
    }
}

struct Ours {
    two_workers: bool,
    trace: Tracing,
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn variant(&self) -> &'static str {
        match self.trace {
            Tracing::Recorder if self.two_workers => TWO_WORKERS,
            Tracing::Recorder => SESSION,
            other => other.name(),
        }
    }

    fn run(&self, load: Load, gate: Gate) -> Result<Tally, Failure> {
        let trace = self.trace;
        serve_beside(
            async move |announce, stopped| {
                let mut networks = Vec::new();
                for _ in 0..load.peers {
                    networks.push(node(load, trace, Some("/ip4/127.0.0.1/tcp/0".parse()?)).await?);
                }
                let addrs: Vec<_> = networks.iter().flat_map(Network::listening).collect();
                let _ = announce.send(addrs);
                let _ = stopped.await;
                Ok(())
            },
            async |addrs| {
                let network = node(load, trace, None).await?;
                let mut callers = Vec::new();
                let mut peers = Vec::new();
                for addr in addrs {
                    peers.push(network.dial(PeerAddr::try_from(addr)?).await?);
                }
                let window = gate.open();
                for peer in peers {
                    for _ in 0..load.in_flight {
                        let first_tag = (callers.len() as u64) << 40;
                        callers.push(caller(peer.clone(), window, first_tag));
                    }
                }
                match self.two_workers {
                    true => on_two_workers(window, callers).await,
                    false => on_this_thread(window, callers).await,
                }
            },
        )
    }
}

/// What [`call_in_a_loop`](crate::harness::call_in_a_loop) does, as a future that may change threads
/// (an async closure over a handle is not provably `Send`).
async fn caller(peer: PeerHandle, window: Window, first_tag: u64) -> Result<Tally, Failure> {
    let mut tally = Tally::new(window);
    let mut tag = first_tag;
    loop {
        let asked = Instant::now();
        let request = Bytes::copy_from_slice(&message::request(tag));
        let answer = peer.ask::<Echo>(Blob(request)).await?;
        message::check(&answer.0, tag)?;
        if !tally.note(asked, Instant::now()) {
            return Ok(tally);
        }
        tag += 1;
    }
}

/// A node on this very thread, with as many request slots as the load has requests in flight.
async fn node(load: Load, trace: Tracing, listen: Option<PeerAddr>) -> Result<Network, Failure> {
    let slots = u16::try_from(load.in_flight.clamp(64, 4096))?;
    let config = Config::builder().max_peers(load.peers + 1).with(|config| {
        config.trace = trace.config();
        config.pending_requests_max = slots;
        config.session.waiting_max = usize::from(slots);
    });
    let config = match listen {
        Some(addr) => config.listen(addr),
        None => config,
    };
    Ok(Network::builder(config.build()?, Keypair::generate_ed25519()).protocol(Echo).start_local().await?)
}
