//! What the listener serves. An error, or a dropped substream, is a reset for the peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::SetOnce;
use trunkline::protocols::RawSubstream;
use trunkline::{NetworkBuilder, PeerHandle, PeerId, PeerTable, ProtocolId};

use crate::SUBSTREAMS_MAX;

/// Echoes to the end of file.
pub(crate) const ECHO: ProtocolId = ProtocolId::new("/echo/1.0.0");
/// Reads to the end of file, then answers the SHA-256 of it: 32 bytes.
pub(crate) const SINK: ProtocolId = ProtocolId::new("/sink/1.0.0");
/// Resets after the first byte.
pub(crate) const RESET: ProtocolId = ProtocolId::new("/reset/1.0.0");
/// Reads a line `N PROTO` and opens N substreams back, 512 random bytes each; answers in a line how
/// many of them were echoed rightly.
const CALL_BACK: ProtocolId = ProtocolId::new("/call-back/1.0.0");

const CHUNK: usize = 16 << 10;
const CALL_BACK_BYTES: usize = 512;
const LINE_BYTES_MAX: u64 = 256;
/// How long a substream that we open back may take in all.
const CALL_BACK_WITHIN: Duration = Duration::from_secs(10);

/// The protocols of the listener.
#[derive(Debug, Default, Clone)]
pub(crate) struct Services {
    /// The sessions there are, for those who want to be called back.
    peers: Arc<SetOnce<PeerTable>>,
}

impl Services {
    /// Serves everything but `/perf/1.0.0`, which the library has.
    pub(crate) fn register(&self, builder: NetworkBuilder) -> NetworkBuilder {
        let services = self.clone();
        builder
            .substream_handler(ECHO, async |substream| drop(echo(substream).await))
            .substream_handler(SINK, async |substream| drop(sink(substream).await))
            .substream_handler(RESET, async |mut substream: RawSubstream| drop(substream.read_u8().await))
            .substream_handler(CALL_BACK, move |substream| {
                let services = services.clone();
                async move { drop(services.call_back(substream).await) }
            })
    }

    /// Where the sessions are found; those who ask before wait for it.
    pub(crate) fn opens_back_over(&self, peers: PeerTable) {
        // Called once, by `main`.
        drop(self.peers.set(peers));
    }

    async fn call_back(&self, substream: RawSubstream) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let caller = substream.peer();
        let (reader, mut writer) = tokio::io::split(substream);
        let mut line = String::new();
        BufReader::new(reader.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
        let (count, protocol) = line.trim_end().split_once(' ').ok_or_else(invalid)?;
        let count: usize = count.parse().map_err(|_| invalid())?;
        if count > SUBSTREAMS_MAX {
            return Err(invalid());
        }
        let protocol = ProtocolId::from_string(protocol.to_owned());
        let peer = self.session(caller).await.ok_or(io::ErrorKind::NotConnected)?;
        let calls: FuturesUnordered<_> = (0..count)
            .map(|_| tokio::time::timeout(CALL_BACK_WITHIN, called_back(&peer, &protocol)))
            .collect();
        let right = calls.filter(|echoed| std::future::ready(matches!(echoed, Ok(Ok(true))))).count().await;
        writer.write_all(format!("{right}\n").as_bytes()).await?;
        writer.shutdown().await
    }

    /// The session of a caller. Its substream may come a moment before it is in the table.
    async fn session(&self, caller: PeerId) -> Option<PeerHandle> {
        let peers = self.peers.wait().await;
        for _ in 0..100 {
            if let Some(peer) = peers.get(&caller) {
                return Some(peer);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

async fn echo(mut substream: RawSubstream) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = substream.read(&mut chunk).await?;
        if read == 0 {
            return substream.shutdown().await;
        }
        substream.write_all(&chunk[..read]).await?;
        substream.flush().await?;
    }
}

async fn sink(mut substream: RawSubstream) -> io::Result<()> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = substream.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
    }
    substream.write_all(&hash.finalize()).await?;
    substream.shutdown().await
}

/// Whether a substream of ours echoes what we send.
async fn called_back(peer: &PeerHandle, protocol: &ProtocolId) -> io::Result<bool> {
    let mut substream = peer.open_substream(protocol.clone()).await.map_err(io::Error::other)?;
    let sent: [u8; CALL_BACK_BYTES] = rand::random();
    substream.write_all(&sent).await?;
    substream.shutdown().await?;
    let mut echoed = Vec::new();
    substream.take(CALL_BACK_BYTES as u64 + 1).read_to_end(&mut echoed).await?;
    Ok(echoed == sent)
}
