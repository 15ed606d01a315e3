//! Drains an outbox into a substream or a message channel: the only place that waits for the peer to
//! read.

use std::io;
use std::task::{Context, Poll};

use super::drained::{Drained, Progress};
use super::message_writer::MessageWriter;
use super::segment_writer::SegmentWriter;
use crate::machine::outbox::{Outbox, Rank, Tag};

/// The writing half of a long-lived exchange.
#[derive(Debug)]
pub(super) enum Writer {
    /// Cut into segments, over a substream.
    Cut(SegmentWriter),
    /// Whole, over a transport with frames of its own.
    Whole(MessageWriter),
}

impl Writer {
    /// Writes until the outbox is empty or no more is taken.
    pub(super) fn drain(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        watch: impl FnMut(Progress),
    ) -> io::Result<Drained> {
        match self {
            Self::Cut(writer) => writer.drain(cx, outbox, watch),
            Self::Whole(writer) => writer.drain(cx, outbox, watch),
        }
    }

    /// Whether bytes wait that were taken from the outbox and not written.
    pub(super) fn has_output(&self) -> bool {
        self.waiting_bytes() > 0
    }

    /// Bytes that were taken from the outbox and not written.
    pub(super) fn waiting_bytes(&self) -> usize {
        match self {
            Self::Cut(writer) => writer.waiting_bytes(),
            Self::Whole(_) => 0,
        }
    }

    /// Tagged messages that were taken from the outbox and not written.
    pub(super) fn tags(&self) -> impl Iterator<Item = (Rank, Tag)> {
        let tags = match self {
            Self::Cut(writer) => Some(writer.tags()),
            Self::Whole(_) => None,
        };
        tags.into_iter().flatten()
    }

    /// Half-closes behind what was written. A channel ends with its connection.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Cut(writer) => writer.poll_close(cx),
            Self::Whole(_) => Poll::Ready(Ok(())),
        }
    }
}
