//! What a dialler does with a peer that keeps the `substreams` contract: each exercise says in its
//! error what the peer got wrong.

use std::time::Duration;

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::PeerId;
use libp2p::swarm::Stream;
use libp2p_stream::OpenStreamError;
use sha2::{Digest as _, Sha256};

use crate::check::{Outcome, failed, need, random_bytes, within};
use crate::node::{ControlCell, Node, STEP};
use crate::services::{CALL_BACK, ECHO, PERF, RESET, SINK};

/// How long a transfer of a few MiB may take.
const TRANSFER: Duration = Duration::from_secs(30);

/// Sends `n` random bytes and half-closes; the same bytes and an EOF must come back.
pub async fn echo(node: &Node, peer: PeerId, n: usize) -> Outcome {
    within(TRANSFER, "echo", echo_through(node.control(), peer, n)).await?
}

async fn echo_through(mut control: ControlCell, peer: PeerId, n: usize) -> Outcome {
    let stream = control.open(peer, ECHO).await?;
    let sent = random_bytes(n);
    let echoed = exchange(stream, &sent).await?;
    need(echoed == sent, || format!("{} bytes went, {} came back, or they differ", sent.len(), echoed.len()))
}

/// Hashes: `n` random bytes go in, their SHA-256 must come out, as 32 bytes or 64 hex digits.
pub async fn sink(node: &Node, peer: PeerId, n: usize) -> Outcome {
    let stream = node.open(peer, SINK).await?;
    let sent = random_bytes(n);
    let answer = within(TRANSFER, "sink", exchange(stream, &sent)).await??;
    let hash = Sha256::digest(&sent).to_vec();
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    let text = String::from_utf8_lossy(&answer);
    need(answer == hash || text.trim() == hex, || format!("{} bytes hashed to {answer:02x?}, not {hex}", n))
}

/// libp2p's perf: uploads `up` bytes, then must receive exactly `down`.
pub async fn perf(node: &Node, peer: PeerId, up: usize, down: u64) -> Outcome {
    let stream = node.open(peer, PERF).await?;
    let mut request = down.to_be_bytes().to_vec();
    request.resize(8 + up, 0x70);
    let answer = within(TRANSFER, "perf", exchange(stream, &request)).await??;
    need(answer.len() as u64 == down, || format!("asked for {down} bytes, got {}", answer.len()))
}

/// One substream, `rounds` messages one after the other, the answer awaited each time.
pub async fn long_lived(node: &Node, peer: PeerId, rounds: usize) -> Outcome {
    let mut stream = node.open(peer, ECHO).await?;
    within(TRANSFER, "long-lived substream", async {
        for round in 0..rounds {
            let sent = random_bytes(1 + round % 600);
            stream.write_all(&sent).await?;
            stream.flush().await?;
            let mut echoed = vec![0; sent.len()];
            stream.read_exact(&mut echoed).await?;
            need(echoed == sent, || format!("round {round}: another answer"))?;
        }
        stream.close().await?;
        need(stream.read(&mut [0]).await? == 0, || "bytes after the last answer".into())
    })
    .await?
}

/// `n` echoes of `bytes` each at the same time, each on its own substream.
pub async fn many(node: &Node, peer: PeerId, n: usize, bytes: usize) -> Outcome {
    let all = futures::future::join_all((0..n).map(|_| echo_through(node.control(), peer, bytes)));
    let failures: Vec<_> =
        within(TRANSFER, "many echoes", all).await?.into_iter().filter_map(Result::err).collect();
    need(failures.is_empty(), || format!("{} of {n} failed, first: {:?}", failures.len(), failures[0]))
}

/// `n` substreams open at the same time and silent; then each must still echo.
pub async fn held_open(node: &Node, peer: PeerId, n: usize) -> Outcome {
    within(TRANSFER, "substreams held open", async {
        let mut streams = Vec::new();
        for i in 0..n {
            let mut stream = node.open(peer, ECHO).await?;
            stream.write_all(&(i as u64).to_be_bytes()).await?;
            stream.flush().await?;
            streams.push(stream);
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            let mut echoed = [0; 8];
            stream.read_exact(&mut echoed).await?;
            need(echoed == (i as u64).to_be_bytes(), || format!("substream {i} answered for another"))?;
        }
        Ok(())
    })
    .await?
}

/// Closes our side first, waits, and must still get everything, then an EOF.
pub async fn half_close(node: &Node, peer: PeerId) -> Outcome {
    let mut stream = node.open(peer, ECHO).await?;
    let sent = random_bytes(100_000);
    within(TRANSFER, "half-close", async {
        stream.write_all(&sent).await?;
        stream.close().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut echoed = Vec::new();
        stream.read_to_end(&mut echoed).await?;
        need(echoed == sent, || format!("{} of {} bytes after the half-close", echoed.len(), sent.len()))
    })
    .await?
}

/// The peer must reset after our first byte: reading ends, and so does writing.
///
/// rust-yamux reads a reset as an EOF, so the write tells it from a half-close.
pub async fn reset(node: &Node, peer: PeerId) -> Outcome {
    let mut stream = node.open(peer, RESET).await?;
    within(STEP, "reset by the peer", async {
        stream.write_all(&[1]).await?;
        stream.flush().await?;
        if matches!(stream.read(&mut [0]).await, Ok(1..)) {
            return failed("bytes instead of a reset");
        }
        let written = async {
            stream.write_all(&[2]).await?;
            stream.flush().await
        };
        need(written.await.is_err(), || "still writable after the reset: it was a half-close".into())
    })
    .await?
}

/// The peer must refuse a protocol that nobody has.
pub async fn unsupported(node: &Node, peer: PeerId) -> Outcome {
    match within(STEP, "unsupported protocol", node.control().open(peer, "/nobody-has-this/1.0.0")).await? {
        Err(OpenStreamError::UnsupportedProtocol(_)) => Ok(()),
        Err(error) => failed(format!("refused in another way: {error}")),
        Ok(_) => failed("accepted"),
    }
}

/// Asks the peer to open `n` substreams back to us; returns how many it found right.
pub async fn call_back(node: &Node, peer: PeerId, n: usize, protocol: &str) -> Outcome<usize> {
    let stream = node.open(peer, CALL_BACK).await?;
    let answer =
        within(TRANSFER, "call-back", exchange(stream, format!("{n} {protocol}\n").as_bytes())).await??;
    let text = String::from_utf8_lossy(&answer);
    match text.trim().parse() {
        Ok(right) => Ok(right),
        Err(_) => failed(format!("answer {text:?} is no number")),
    }
}

/// Fills one substream without reading it: others must go on, and nothing may be lost.
pub async fn back_pressure(node: &Node, peer: PeerId) -> Outcome {
    const N: usize = 8 * 1024 * 1024;
    let sent = random_bytes(N);
    let (mut reader, writer) = node.open(peer, ECHO).await?.split();
    let copy = sent.clone();
    let writing = tokio::spawn(async move { write_and_close(writer, &copy).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    need(!writing.is_finished(), || format!("{N} bytes were taken although nobody reads the echo"))?;
    echo(node, peer, 1000).await.map_err(|f| f.during("beside a substream that nobody reads"))?;
    let echoed = within(TRANSFER, "read late", read_all(&mut reader)).await??;
    writing.await??;
    need(echoed == sent, || format!("{} of {N} bytes came back, or they differ", echoed.len()))
}

/// Writes everything and half-closes while reading to EOF.
async fn exchange(stream: Stream, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let (mut reader, writer): (ReadHalf<_>, WriteHalf<_>) = stream.split();
    let (written, answer) = futures::join!(write_and_close(writer, request), read_all(&mut reader));
    written?;
    answer
}

async fn write_and_close(mut writer: WriteHalf<Stream>, bytes: &[u8]) -> std::io::Result<()> {
    writer.write_all(bytes).await?;
    writer.close().await
}

async fn read_all(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    Ok(bytes)
}
