//! Drains an outbox into a substream: the only place that waits for the peer to read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use futures::io::{AsyncWrite, WriteHalf};

use super::reader::LaneIo;
use crate::machine::outbox::Outbox;

/// One write carries as many segments as fit.
const BATCH_BYTES: usize = 64 << 10;
/// A buffer larger than this is given back when there is nothing left to write.
const KEEP_BYTES: usize = 8 << 10;

/// What a round of writing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drained {
    /// The substream took bytes.
    pub(super) progress: bool,
    /// Bytes remain that the substream does not take now; it will wake us.
    pub(super) blocked: bool,
}

/// The writing half of a long-lived substream.
#[derive(Debug)]
pub(super) struct Writer {
    io: WriteHalf<LaneIo>,
    batch: BytesMut,
}

impl Writer {
    pub(super) fn new(io: WriteHalf<LaneIo>) -> Self {
        Self { io, batch: BytesMut::new() }
    }

    /// Writes until the outbox is empty or the substream takes no more.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> io::Result<Drained> {
        let mut progress = false;
        loop {
            while self.batch.len() < BATCH_BYTES && outbox.poll_segment(&mut self.batch) {}
            if self.batch.is_empty() {
                break;
            }
            match Pin::new(&mut self.io).poll_write(cx, &self.batch) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    progress = true;
                    self.batch.advance(written);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(Drained { progress, blocked: true }),
            }
        }
        if self.batch.capacity() > KEEP_BYTES {
            self.batch = BytesMut::new();
        }
        if progress {
            // yamux has no buffer of its own here: this only pushes what negotiation may hold.
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(cx) {
                return Err(error);
            }
        }
        Ok(Drained { progress, blocked: false })
    }

    /// Whether bytes wait that the substream has not taken.
    pub(super) fn has_output(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Half-closes behind what was written.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
