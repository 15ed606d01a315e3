//! A bounded byte pipe in memory, with half-close and reset, usable across threads.
//!
//! It carries the memory transport's substreams and hands substreams to hosts on other threads.
//! Owner: its two ends. Bound: `capacity` bytes each way; a full pipe makes the writer wait.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The writer closed: readers get what is left, then end of file.
    Finished,
    /// Somebody dropped its half early: both get an error at once.
    Reset,
}

#[derive(Debug)]
struct Half {
    chunks: VecDeque<(Option<Instant>, Bytes)>,
    bytes: usize,
    end: End,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Half {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct Shared {
    half: Mutex<Half>,
    capacity: usize,
    latency: Duration,
}

impl Shared {
    fn new(capacity: usize, latency: Duration) -> Arc<Self> {
        let half = Half { chunks: VecDeque::new(), bytes: 0, end: End::Open, reader: None, writer: None };
        Arc::new(Self { half: Mutex::new(half), capacity, latency })
    }

    fn lock(&self) -> MutexGuard<'_, Half> {
        self.half.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets what has not come to its end: what was sent and finished still arrives.
    fn lose(&self) {
        if self.lock().end == End::Open {
            self.reset();
        }
    }

    fn reset(&self) {
        let mut half = self.lock();
        if half.end != End::Reset {
            half.end = End::Reset;
            half.chunks.clear();
            half.bytes = 0;
            half.wake();
        }
    }
}

/// One end of a two-way pipe. Dropping it before both directions have ended resets the pipe.
#[derive(Debug)]
pub struct Pipe {
    incoming: Arc<Shared>,
    outgoing: Arc<Shared>,
    delay: Option<Pin<Box<Sleep>>>,
}

/// Breaks a pipe from outside, as a lost connection does.
#[derive(Debug, Clone)]
pub struct Breaker(Weak<Shared>, Weak<Shared>);

impl Breaker {
    /// Resets both directions.
    pub fn reset(&self) {
        [self.0.upgrade(), self.1.upgrade()].iter().flatten().for_each(|half| half.reset());
    }

    /// Breaks it as a lost connection does: a direction that was finished is read to its end, the
    /// other one is reset.
    pub fn lose(&self) {
        let halves = [self.0.upgrade(), self.1.upgrade()];
        halves.iter().flatten().for_each(|half| half.lose());
    }

    /// Whether both ends of the pipe are gone.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0 && self.1.strong_count() == 0
    }
}

/// Two connected ends with `capacity` bytes of room each way. What is written becomes readable
/// after `latency`.
pub fn pair(capacity: usize, latency: Duration) -> (Pipe, Pipe) {
    let (there, back) = (Shared::new(capacity, latency), Shared::new(capacity, latency));
    let near = Pipe { incoming: Arc::clone(&back), outgoing: Arc::clone(&there), delay: None };
    let far = Pipe { incoming: there, outgoing: back, delay: None };
    (near, far)
}

impl Pipe {
    /// A handle that can reset this pipe.
    pub fn breaker(&self) -> Breaker {
        Breaker(Arc::downgrade(&self.incoming), Arc::downgrade(&self.outgoing))
    }

    /// Resets both directions at once.
    pub fn reset(&self) {
        self.incoming.reset();
        self.outgoing.reset();
    }
}

fn reset_error() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut half = this.incoming.lock();
        if half.end == End::Reset {
            return Poll::Ready(Err(reset_error()));
        }
        let mut read = 0;
        while read < buf.len() {
            let Some((ready_at, chunk)) = half.chunks.front_mut() else { break };
            if let Some(at) = *ready_at
                && at > Instant::now()
            {
                if read > 0 {
                    break;
                }
                let delay = this.delay.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                if delay.deadline() != at {
                    delay.as_mut().reset(at);
                }
                if delay.as_mut().poll(cx).is_pending() {
                    half.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                continue;
            }
            let len = chunk.len().min(buf.len() - read);
            chunk.copy_to_slice(&mut buf[read..read + len]);
            read += len;
            if chunk.is_empty() {
                half.chunks.pop_front();
            }
        }
        if read > 0 {
            half.bytes -= read;
            if let Some(writer) = half.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(read));
        }
        if half.end == End::Finished || buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        half.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut half = self.outgoing.lock();
        match half.end {
            End::Reset => return Poll::Ready(Err(reset_error())),
            End::Finished => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            End::Open => {}
        }
        let room = self.outgoing.capacity.saturating_sub(half.bytes);
        if room == 0 && !buf.is_empty() {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = room.min(buf.len());
        if len > 0 {
            let latency = self.outgoing.latency;
            let ready_at = (!latency.is_zero()).then(|| Instant::now() + latency);
            half.chunks.push_back((ready_at, Bytes::copy_from_slice(&buf[..len])));
            half.bytes += len;
            if let Some(reader) = half.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.outgoing.lock().end {
            End::Reset => Poll::Ready(Err(reset_error())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = self.outgoing.lock();
        match half.end {
            End::Reset => return Poll::Ready(Err(reset_error())),
            End::Finished => {}
            End::Open => {
                half.end = End::Finished;
                half.wake();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // A writer that leaves without closing, or a reader that leaves before the end, resets.
        if self.outgoing.lock().end == End::Open {
            self.outgoing.reset();
        }
        let unread = {
            let half = self.incoming.lock();
            half.end == End::Open || !half.chunks.is_empty()
        };
        if unread {
            self.incoming.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_cross_and_a_half_close_ends_one_direction_only() {
        let (mut near, mut far) = pair(4, Duration::ZERO);
        let writing = tokio::spawn(async move {
            near.write_all(b"hello world").await.unwrap();
            near.close().await.unwrap();
            let mut back = String::new();
            near.read_to_string(&mut back).await.unwrap();
            back
        });
        let mut there = String::new();
        far.read_to_string(&mut there).await.unwrap();
        assert_eq!(there, "hello world");
        far.write_all(b"and back").await.unwrap();
        far.close().await.unwrap();
        assert_eq!(writing.await.unwrap(), "and back");
    }

    #[tokio::test]
    async fn dropping_an_end_resets_both_directions() {
        let (mut near, far) = pair(16, Duration::ZERO);
        near.write_all(b"x").await.unwrap();
        drop(far);
        let error = near.write_all(b"y").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = near.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_loss_lets_what_was_finished_arrive() {
        let (mut near, mut far) = pair(16, Duration::ZERO);
        near.write_all(b"goodbye").await.unwrap();
        near.close().await.unwrap();
        near.breaker().lose();
        drop(near);
        let mut got = String::new();
        far.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "goodbye");
        assert_eq!(far.write(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test(start_paused = true)]
    async fn latency_delays_what_is_read() {
        let (mut near, mut far) = pair(16, Duration::from_millis(40));
        let start = Instant::now();
        near.write_all(b"x").await.unwrap();
        let mut byte = [0; 1];
        far.read_exact(&mut byte).await.unwrap();
        assert_eq!((byte, start.elapsed().as_millis()), (*b"x", 40));
    }
}
