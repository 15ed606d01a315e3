//! What a node does with substreams that its peer opened: the `substreams` contract, and ways to
//! break it.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::PeerId;
use libp2p::swarm::Stream;
use sha2::{Digest as _, Sha256};

use crate::check::random_bytes;
use crate::node::ControlCell;

/// Echoes to EOF.
pub const ECHO: &str = "/echo/1.0.0";
/// Reads to EOF, answers the SHA-256 of it.
pub const SINK: &str = "/sink/1.0.0";
/// libp2p's perf: u64 N, then an upload to EOF; answers N bytes.
pub const PERF: &str = "/perf/1.0.0";
/// Resets after the first byte.
pub const RESET: &str = "/reset/1.0.0";
/// Takes a line `N PROTO`, opens N substreams back and says how many echoed rightly.
pub const CALL_BACK: &str = "/call-back/1.0.0";

/// The bytes that `/call-back/1.0.0` sends on each substream.
const CALL_BACK_BYTES: usize = 512;

/// What is done with a substream.
#[derive(Debug, Clone)]
pub enum Service {
    /// [`ECHO`].
    Echo,
    /// [`SINK`].
    Sink,
    /// [`PERF`].
    Perf,
    /// [`RESET`].
    Reset,
    /// [`CALL_BACK`].
    CallBack,
    /// Echoes so many bytes, then resets.
    ResetAfter(usize),
    /// Echoes all but the last byte, and closes properly.
    DropLastByte,
    /// Echoes with the first byte changed.
    FlipFirstByte,
    /// Never reads, never answers, never closes.
    Silent,
}

/// Everything of the contract.
pub fn all() -> Vec<(&'static str, Service)> {
    vec![
        (ECHO, Service::Echo),
        (SINK, Service::Sink),
        (PERF, Service::Perf),
        (RESET, Service::Reset),
        (CALL_BACK, Service::CallBack),
    ]
}

impl Service {
    /// Serves one substream to its end. Errors end it: dropping the substream resets it.
    pub async fn serve(self, peer: PeerId, mut stream: Stream, control: ControlCell) {
        let _ = match self {
            Self::Echo => echo(&mut stream).await,
            Self::Sink => sink(&mut stream).await,
            Self::Perf => perf(&mut stream).await,
            Self::Reset => stream.read_exact(&mut [0]).await,
            Self::CallBack => call_back(peer, &mut stream, control).await,
            Self::ResetAfter(n) => reset_after(n, &mut stream).await,
            Self::DropLastByte => whole(&mut stream, |bytes| bytes.truncate(bytes.len() - 1)).await,
            Self::FlipFirstByte => whole(&mut stream, |bytes| bytes[0] ^= 1).await,
            Self::Silent => std::future::pending().await,
        };
    }
}

async fn echo(stream: &mut Stream) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return stream.close().await;
        }
        stream.write_all(&buffer[..n]).await?;
        stream.flush().await?;
    }
}

async fn sink(stream: &mut Stream) -> std::io::Result<()> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    stream.write_all(&hash.finalize()).await?;
    stream.close().await
}

async fn perf(stream: &mut Stream) -> std::io::Result<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted).await?;
    let mut left = u64::from_be_bytes(wanted);
    let mut buffer = vec![0; 16 * 1024];
    while stream.read(&mut buffer).await? != 0 {}
    while left > 0 {
        let n = left.min(buffer.len() as u64);
        stream.write_all(&buffer[..n as usize]).await?;
        left -= n;
    }
    stream.close().await
}

async fn call_back(peer: PeerId, stream: &mut Stream, control: ControlCell) -> std::io::Result<()> {
    let line = read_line(stream).await?;
    let Some((n, protocol)) = line.split_once(' ').and_then(|(n, p)| Some((n.parse::<usize>().ok()?, p)))
    else {
        return Err(std::io::ErrorKind::InvalidData.into());
    };
    if n > 1000 {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let calls = (0..n).map(|_| called_back(control.clone(), peer, protocol));
    let right = futures::future::join_all(calls).await.into_iter().filter(|r| matches!(r, Ok(true))).count();
    stream.write_all(format!("{right}\n").as_bytes()).await?;
    stream.close().await
}

async fn called_back(mut control: ControlCell, peer: PeerId, protocol: &str) -> std::io::Result<bool> {
    let mut stream = control.open(peer, protocol).await.map_err(std::io::Error::other)?;
    let sent = random_bytes(CALL_BACK_BYTES);
    stream.write_all(&sent).await?;
    stream.close().await?;
    let mut echoed = Vec::new();
    stream.take(CALL_BACK_BYTES as u64 + 1).read_to_end(&mut echoed).await?;
    Ok(echoed == sent)
}

/// Reads up to a line feed, or to EOF, 256 bytes at most.
async fn read_line(stream: &mut Stream) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < 256 {
        if stream.read(&mut byte).await? == 0 || byte[0] == b'\n' {
            return String::from_utf8(line).map_err(|_| std::io::ErrorKind::InvalidData.into());
        }
        line.push(byte[0]);
    }
    Err(std::io::ErrorKind::InvalidData.into())
}

async fn reset_after(n: usize, stream: &mut Stream) -> std::io::Result<()> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn whole(stream: &mut Stream, change: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    if !bytes.is_empty() {
        change(&mut bytes);
    }
    stream.write_all(&bytes).await?;
    stream.close().await
}
