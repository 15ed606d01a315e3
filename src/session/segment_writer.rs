//! Drains an outbox into a substream, cut into segments.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use futures::io::{AsyncWrite, WriteHalf};

use super::drained::{Drained, Progress};
use crate::machine::outbox::{Outbox, Rank, Tag};
use crate::transport::mux::Substream;
use crate::transport::negotiate::Negotiated;

/// A negotiated substream.
pub(super) type LaneIo = Negotiated<Substream>;

/// One write carries as many segments as fit.
const BATCH_BYTES: usize = 64 << 10;
/// A buffer larger than this is given back when there is nothing left to write.
const KEEP_BYTES: usize = 8 << 10;

/// The writing half of a long-lived substream.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    io: WriteHalf<LaneIo>,
    batch: BytesMut,
    /// Bytes that the substream has taken so far.
    taken: u64,
    /// Tagged messages that end in the batch: at which byte of the substream, which, and whether
    /// that was told. Bounded by the batch.
    ends: VecDeque<(u64, Rank, Tag, bool)>,
}

impl SegmentWriter {
    pub(super) fn new(io: WriteHalf<LaneIo>) -> Self {
        Self { io, batch: BytesMut::new(), taken: 0, ends: VecDeque::new() }
    }

    /// Writes until the outbox is empty or the substream takes no more.
    pub(super) fn drain(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        mut watch: impl FnMut(Progress),
    ) -> io::Result<Drained> {
        let mut progress = false;
        loop {
            while self.batch.len() < BATCH_BYTES
                && let Some(cut) = outbox.poll_segment(&mut self.batch)
            {
                if cut.tag != 0 && cut.last {
                    self.ends.push_back((self.taken + self.batch.len() as u64, cut.rank, cut.tag, false));
                }
            }
            if self.batch.is_empty() {
                break;
            }
            match Pin::new(&mut self.io).poll_write(cx, &self.batch) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    progress = true;
                    self.batch.advance(written);
                    self.taken += written as u64;
                    while let Some((_, rank, tag, told)) =
                        self.ends.pop_front_if(|(end, ..)| *end <= self.taken)
                    {
                        watch(Progress { rank, tag, cut: !told, written: true });
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    for (_, rank, tag, told) in self.ends.iter_mut().filter(|(.., told)| !told) {
                        *told = true;
                        watch(Progress { rank: *rank, tag: *tag, cut: true, written: false });
                    }
                    return Ok(Drained { progress, blocked: true });
                }
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

    /// Bytes that wait in the batch.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Tagged messages that end in the batch.
    pub(super) fn tags(&self) -> impl Iterator<Item = (Rank, Tag)> {
        self.ends.iter().map(|(_, rank, tag, _)| (*rank, *tag))
    }

    /// Half-closes behind what was written.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
