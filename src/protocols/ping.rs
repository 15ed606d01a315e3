//! `/ipfs/ping/1.0.0`: 32 random bytes, echoed. Keeps connections alive and measures round trips.
//!
//! The smallest complete protocol over raw substreams: the one to copy.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{RawSubstream, SubstreamHandler};
use crate::ids::ProtocolId;

/// The protocol id.
pub const ID: ProtocolId = ProtocolId::new("/ipfs/ping/1.0.0");

/// Bytes of one ping.
pub const PING_BYTES: usize = 32;

/// Why a ping failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// No echo in time.
    #[error("no echo within {0:?}")]
    TimedOut(Duration),
    /// The echo was not what was sent.
    #[error("the echo differs")]
    Changed,
    /// The substream broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Sends `bytes` and waits for their echo. Returns the round trip time.
pub async fn ping(
    substream: &mut RawSubstream,
    bytes: [u8; PING_BYTES],
    timeout: Duration,
) -> Result<Duration, PingError> {
    let sent = Instant::now();
    let round_trip = async {
        substream.write_all(&bytes).await?;
        substream.flush().await?;
        let mut echo = [0; PING_BYTES];
        substream.read_exact(&mut echo).await?;
        if echo == bytes { Ok(sent.elapsed()) } else { Err(PingError::Changed) }
    };
    tokio::time::timeout(timeout, round_trip).await.map_err(|_| PingError::TimedOut(timeout))?
}

/// Echoes pings until the peer half-closes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Ping;

impl SubstreamHandler for Ping {
    fn serve(self: Arc<Self>, mut substream: RawSubstream) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut bytes = [0; PING_BYTES];
            while substream.read_exact(&mut bytes).await.is_ok() {
                let echoed = async {
                    substream.write_all(&bytes).await?;
                    substream.flush().await
                };
                if echoed.await.is_err() {
                    return;
                }
            }
            // Whatever the reason, there is nobody left to tell if this fails.
            let _ = substream.shutdown().await;
        })
    }

    fn wants_read_ahead(&self) -> bool {
        false
    }
}
