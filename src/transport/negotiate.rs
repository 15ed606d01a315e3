//! Which protocol does a byte stream carry? multistream-select 1.0, both roles, within bounds.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use multistream_select::{NegotiationError, Version, dialer_select_proto, listener_select_proto};

use super::TransportLimits;
use crate::ids::ProtocolId;

/// A stream whose protocol was agreed on.
pub type Negotiated<T> = multistream_select::Negotiated<Budgeted<T>>;

/// What a refusal looks like on the wire.
const REFUSAL: &[u8] = b"\x03na\n";

/// Why no protocol was agreed on.
#[derive(Debug, thiserror::Error)]
pub enum NegotiateError {
    /// No common protocol, or bytes that are no negotiation.
    #[error("{0}")]
    Failed(#[from] NegotiationError),
    /// It took too long.
    #[error("no agreement within {0:?}")]
    TimedOut(Duration),
}

impl NegotiateError {
    /// Whether the peer understood and does not speak any of the protocols.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Failed(NegotiationError::Failed))
    }

    /// As an I/O error, for a stream whose items are I/O results.
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Failed(NegotiationError::Failed) => {
                io::Error::new(io::ErrorKind::Unsupported, "no common protocol")
            }
            Self::Failed(NegotiationError::ProtocolError(error)) => error.into(),
            Self::TimedOut(_) => io::ErrorKind::TimedOut.into(),
        }
    }
}

/// Chooses among `ids` as the listener: the peer proposes.
///
/// The protocol and the stream come back together, before a byte behind the agreement was read.
pub async fn listen<T>(
    io: T,
    ids: &[ProtocolId],
    limits: &TransportLimits,
) -> Result<(ProtocolId, Negotiated<T>), NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (budgeted, release) = Budgeted::new(io, limits.negotiation_bytes_max, limits.proposals_max);
    conclude(listener_select_proto(budgeted, ids.iter().cloned()), &release, limits).await
}

/// Proposes `ids` in turn as the dialer, waiting for each answer (multistream-select "V1").
pub async fn dial<T>(
    io: T,
    ids: &[ProtocolId],
    limits: &TransportLimits,
) -> Result<(ProtocolId, Negotiated<T>), NegotiateError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (budgeted, release) = Budgeted::new(io, limits.negotiation_bytes_max, limits.proposals_max);
    conclude(dialer_select_proto(budgeted, ids.iter().cloned(), Version::V1), &release, limits).await
}

/// Waits for the agreement within its deadline, then lets every byte pass.
async fn conclude<T>(
    negotiation: impl Future<Output = Result<T, NegotiationError>>,
    release: &AtomicBool,
    limits: &TransportLimits,
) -> Result<T, NegotiateError> {
    let limit = limits.negotiation_timeout;
    let agreed =
        tokio::time::timeout(limit, negotiation).await.map_err(|_| NegotiateError::TimedOut(limit))??;
    release.store(true, Ordering::Relaxed);
    Ok(agreed)
}

/// A stream that fails when the peer spends more on a negotiation than it may. Once the
/// negotiation is done it passes everything.
#[derive(Debug)]
pub struct Budgeted<T> {
    io: T,
    bytes_left: usize,
    refusals_left: usize,
    /// How much of a refusal the last bytes written were: it may leave in several writes.
    refusal_begun: usize,
    released: Arc<AtomicBool>,
}

impl<T> Budgeted<T> {
    /// A stream whose peer may send so many bytes, and be refused so often, until released.
    pub(super) fn new(io: T, bytes: usize, refusals: usize) -> (Self, Arc<AtomicBool>) {
        let released = Arc::new(AtomicBool::new(false));
        let budgeted = Self {
            io,
            bytes_left: bytes,
            refusals_left: refusals,
            refusal_begun: 0,
            released: Arc::clone(&released),
        };
        (budgeted, released)
    }

    fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    /// Refusals that end in these bytes. None begins within another: the first byte is unique.
    fn count_refusals(&mut self, written: &[u8]) -> usize {
        let mut count = 0;
        for byte in written {
            self.refusal_begun = match *byte {
                byte if byte == REFUSAL[self.refusal_begun] => self.refusal_begun + 1,
                byte => usize::from(byte == REFUSAL[0]),
            };
            if self.refusal_begun == REFUSAL.len() {
                self.refusal_begun = 0;
                count += 1;
            }
        }
        count
    }
}

fn exhausted(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<T: AsyncRead + Unpin> AsyncRead for Budgeted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if !self.is_released() {
            self.bytes_left = self
                .bytes_left
                .checked_sub(read)
                .ok_or_else(|| exhausted("too many bytes in one negotiation"))?;
        }
        Poll::Ready(Ok(read))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Budgeted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        if !self.is_released() {
            let refusals = self.count_refusals(&buf[..written]);
            self.refusals_left = self
                .refusals_left
                .checked_sub(refusals)
                .ok_or_else(|| exhausted("too many proposals in one negotiation"))?;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
#[path = "negotiate_tests.rs"]
mod tests;
