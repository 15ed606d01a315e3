//! `/perf/1.0.0`: upload any number of bytes, download as many as asked for (libp2p perf).
//!
//! Off unless enabled: on a reachable node it is an invitation to waste bandwidth.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{RawSubstream, SubstreamHandler};
use crate::ids::ProtocolId;

/// The protocol id.
pub const ID: ProtocolId = ProtocolId::new("/perf/1.0.0");

const CHUNK: usize = 16 << 10;

/// Serves uploads and downloads.
#[derive(Debug, Default, Clone, Copy)]
pub struct Perf;

impl SubstreamHandler for Perf {
    fn serve(self: Arc<Self>, mut substream: RawSubstream) -> BoxFuture<'static, ()> {
        // A failed transfer drops the substream, which resets it.
        Box::pin(async move { drop(answer(&mut substream).await) })
    }

    fn wants_read_ahead(&self) -> bool {
        false
    }
}

async fn answer(substream: &mut RawSubstream) -> io::Result<()> {
    let mut asked = substream.read_u64().await?;
    // The answer must not start before the end of the upload.
    let mut chunk = vec![0; CHUNK];
    while substream.read(&mut chunk).await? > 0 {}
    chunk.fill(0);
    while asked > 0 {
        let len = usize::try_from(asked).map_or(CHUNK, |left| left.min(CHUNK));
        substream.write_all(&chunk[..len]).await?;
        asked -= len as u64;
    }
    substream.shutdown().await
}

/// Uploads `up` bytes, then downloads `down` bytes. Fails unless exactly that many arrive.
pub async fn measure(substream: &mut RawSubstream, up: u64, down: u64) -> io::Result<()> {
    substream.write_u64(down).await?;
    let mut chunk = vec![0; CHUNK];
    let mut left = up;
    while left > 0 {
        let len = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        substream.write_all(&chunk[..len]).await?;
        left -= len as u64;
    }
    substream.shutdown().await?;
    let mut got = 0;
    loop {
        let read = substream.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        got += read as u64;
    }
    if got == down {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("{got} bytes came, {down} were asked for")))
    }
}
