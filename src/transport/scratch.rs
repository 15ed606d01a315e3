//! Reading a socket or substream into a buffer that grows by what arrived.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures::io::AsyncRead;

/// The most that one read takes.
pub(crate) const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// Where is read into before the bytes find their place: one per thread, so that an idle
    /// connection holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Reads once and appends what came to `buffer`. 0: the end.
pub(crate) fn poll_read(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let read = ready!(Pin::new(io).poll_read(cx, scratch))?;
        buffer.extend_from_slice(&scratch[..read]);
        Poll::Ready(Ok(read))
    })
}
