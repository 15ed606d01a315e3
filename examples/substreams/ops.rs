//! What the dialler tries. Each operation says in its error what the peer got wrong.

use std::io;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::Rng;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trunkline::error::SubstreamError;
use trunkline::protocols::{RawSubstream, perf};
use trunkline::{PeerHandle, ProtocolId};

use crate::serve::{ECHO, RESET, SINK};

/// How long one operation may take.
const WITHIN: Duration = Duration::from_secs(10);
const NOBODY_HAS: ProtocolId = ProtocolId::new("/nobody-has-this/1.0.0");

const ECHO_BYTES: usize = 1 << 20;
const HALF_CLOSE_BYTES: usize = 100_000;
const PERF_BYTES: u64 = 1 << 20;
/// Messages over the long-lived substream, one after the other.
const ROUNDS: usize = 200;
/// Substreams at the same time, and the bytes echoed over each.
const MANY: usize = 100;
const MANY_BYTES: usize = 1000;

/// One thing to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Op {
    /// Three round trips of the ping protocol.
    Ping,
    /// The peer says who it is and what it speaks.
    Identify,
    /// 1 MiB to `/echo/1.0.0` and back.
    Echo,
    /// 200 messages over one substream, each answered before the next.
    LongLived,
    /// 100 substreams at the same time.
    Many,
    /// We close our side; everything the peer still sends must arrive.
    HalfClose,
    /// The peer resets: that is an error, not an end of file, and spoils nothing else.
    Reset,
    /// A protocol nobody has is refused as such.
    Unsupported,
    /// 1 MiB up and 1 MiB down over `/perf/1.0.0`.
    Perf,
}

impl Op {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Identify => "identify",
            Self::Echo => "echo",
            Self::LongLived => "longlived",
            Self::Many => "many",
            Self::HalfClose => "halfclose",
            Self::Reset => "reset",
            Self::Unsupported => "unsupported",
            Self::Perf => "perf",
        }
    }

    /// Tries it. How long it took, or what was wrong.
    pub(crate) async fn run(self, peer: &PeerHandle) -> Result<Duration, String> {
        let start = Instant::now();
        let op = async {
            match self {
                Self::Ping => ping(peer).await,
                Self::Identify => identify(peer),
                Self::Echo => echo(peer, ECHO_BYTES).await,
                Self::LongLived => long_lived(peer).await,
                Self::Many => many(peer).await,
                Self::HalfClose => half_close(peer).await,
                Self::Reset => reset(peer).await,
                Self::Unsupported => unsupported(peer).await,
                Self::Perf => perf(peer).await,
            }
        };
        match tokio::time::timeout(WITHIN, op).await {
            Ok(Ok(())) => Ok(start.elapsed()),
            Ok(Err(Wrong(why))) => Err(why),
            Err(_) => Err(format!("not done within {WITHIN:?}")),
        }
    }
}

/// What the peer got wrong.
struct Wrong(String);

impl<E: std::error::Error> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

type Outcome = Result<(), Wrong>;

fn need(right: bool, why: impl FnOnce() -> String) -> Outcome {
    if right { Ok(()) } else { Err(Wrong(why())) }
}

async fn ping(peer: &PeerHandle) -> Outcome {
    let round_trips = peer.ping(3, Duration::from_secs(5)).await;
    need(round_trips.len() == 3, || format!("{} of 3 round trips", round_trips.len()))?;
    for round_trip in round_trips {
        round_trip?;
    }
    Ok(())
}

fn identify(peer: &PeerHandle) -> Outcome {
    let identity = peer.identity().ok_or_else(|| Wrong("the peer says nothing about itself".into()))?;
    need(!identity.protocols.is_empty(), || "the peer names no protocol".into())
}

async fn echo(peer: &PeerHandle, len: usize) -> Outcome {
    let sent = random(len);
    let echoed = exchange(peer.open_substream(ECHO).await?, &sent).await?;
    need(echoed == sent, || format!("{len} bytes went, {} came back, or they differ", echoed.len()))
}

async fn long_lived(peer: &PeerHandle) -> Outcome {
    let mut substream = peer.open_substream(ECHO).await?;
    for round in 0..ROUNDS {
        let sent = random(1 + round % 600);
        substream.write_all(&sent).await?;
        substream.flush().await?;
        let mut echoed = vec![0; sent.len()];
        substream.read_exact(&mut echoed).await?;
        need(echoed == sent, || format!("round {round}: another answer"))?;
    }
    substream.shutdown().await?;
    need(substream.read(&mut [0]).await? == 0, || "bytes after the last answer".into())
}

async fn many(peer: &PeerHandle) -> Outcome {
    let outcomes = join_all((0..MANY).map(|_| echo(peer, MANY_BYTES))).await;
    let wrong: Vec<String> = outcomes.into_iter().filter_map(Result::err).map(|Wrong(why)| why).collect();
    let first = wrong.first().cloned().unwrap_or_default();
    need(wrong.is_empty(), || format!("{} of {MANY} failed, the first: {first}", wrong.len()))
}

/// Over `/sink/1.0.0`, whose answer can only be made after our end of file; over `/echo/1.0.0` with
/// a peer that does not have it.
async fn half_close(peer: &PeerHandle) -> Outcome {
    let sent = random(HALF_CLOSE_BYTES);
    let (mut substream, expected) = match peer.open_substream(SINK).await {
        Err(SubstreamError::Unsupported(_)) => (peer.open_substream(ECHO).await?, sent.clone()),
        opened => (opened?, Sha256::digest(&sent).to_vec()),
    };
    substream.write_all(&sent).await?;
    substream.shutdown().await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut answer = Vec::new();
    substream.take(2 * HALF_CLOSE_BYTES as u64).read_to_end(&mut answer).await?;
    need(answer == expected, || format!("{} bytes after the half-close, or others", answer.len()))
}

async fn reset(peer: &PeerHandle) -> Outcome {
    let mut substream = peer.open_substream(RESET).await?;
    substream.write_all(&[1]).await?;
    substream.flush().await?;
    match substream.read(&mut [0]).await {
        Ok(0) => return Err(Wrong("an end of file instead of a reset".into())),
        Ok(_) => return Err(Wrong("bytes instead of a reset".into())),
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error.into()),
        Err(_) => {}
    }
    echo(peer, MANY_BYTES).await
}

async fn unsupported(peer: &PeerHandle) -> Outcome {
    match peer.open_substream(NOBODY_HAS).await {
        Err(SubstreamError::Unsupported(_)) => Ok(()),
        Err(error) => Err(Wrong(format!("refused in another way: {error}"))),
        Ok(_) => Err(Wrong("accepted".into())),
    }
}

async fn perf(peer: &PeerHandle) -> Outcome {
    let mut substream = peer.open_substream(perf::ID).await?;
    Ok(perf::measure(&mut substream, PERF_BYTES, PERF_BYTES).await?)
}

/// Writes everything and half-closes while reading to the end.
async fn exchange(substream: RawSubstream, sent: &[u8]) -> io::Result<Vec<u8>> {
    let (reader, mut writer) = tokio::io::split(substream);
    let write = async {
        writer.write_all(sent).await?;
        writer.shutdown().await
    };
    let mut answer = Vec::new();
    let mut reader = reader.take(2 * sent.len() as u64 + 1);
    tokio::try_join!(write, reader.read_to_end(&mut answer))?;
    Ok(answer)
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
