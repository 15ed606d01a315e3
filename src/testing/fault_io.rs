//! `FaultIo`: a byte stream that is cut, delayed, stalled or broken by plan.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// One step of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Up to so many bytes pass, in as many calls as it takes.
    Pass(usize),
    /// One call finds nothing ready, though the next one may.
    Pend,
    /// Nothing passes for this time.
    Wait(Duration),
}

/// How one direction is cut up.
#[derive(Debug, Clone, Default)]
pub enum Cuts {
    /// Not at all.
    #[default]
    None,
    /// By these steps; behind the last one everything passes.
    Steps(Vec<Step>),
    /// By these steps, over and over.
    Cycle(Vec<Step>),
    /// At random: pieces of up to `pass_max` bytes, a quarter of the calls finding nothing ready.
    Seeded {
        /// The same seed cuts the same bytes at the same places.
        seed: u64,
        /// The largest piece.
        pass_max: usize,
    },
}

/// What happens at a certain byte of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Reading: end of file. Writing: half-close; what is written after it is swallowed.
    Eof,
    /// This error, now and for ever.
    Error(io::ErrorKind),
    /// No call finds anything ready any more.
    Stall,
    /// Reading: nothing comes any more. Writing: what is written is swallowed, so that whoever
    /// writes goes on to wait for an answer.
    Silence,
}

/// What happens to one direction.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// How its bytes are cut up.
    pub cuts: Cuts,
    /// What happens behind so many bytes.
    pub end: Option<(u64, End)>,
}

/// What happens to a stream.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    /// To what is read from it.
    pub read: Way,
    /// To what is written to it.
    pub write: Way,
}

impl FaultPlan {
    /// Both directions cut at random, nothing lost.
    pub fn seeded(seed: u64, pass_max: usize) -> Self {
        let way = |seed| Way { cuts: Cuts::Seeded { seed, pass_max }, end: None };
        Self { read: way(seed), write: way(seed ^ 0x5eed) }
    }

    /// Nothing wrong but the end of what is written, behind so many bytes.
    pub fn write_ends(behind: u64, end: End) -> Self {
        Self { write: Way { cuts: Cuts::None, end: Some((behind, end)) }, ..Self::default() }
    }
}

/// A byte stream under a [`FaultPlan`]. What the plan leaves alone passes unchanged, in order.
#[derive(Debug)]
pub struct FaultIo<T> {
    io: T,
    read: Progress,
    write: Progress,
}

impl<T> FaultIo<T> {
    /// Puts a stream under a plan.
    pub fn new(io: T, plan: FaultPlan) -> Self {
        Self { io, read: Progress::new(plan.read), write: Progress::new(plan.write) }
    }

    /// The stream under it.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Bytes read and written so far, as the other end of the stream saw them.
    pub fn passed(&self) -> (u64, u64) {
        (self.read.done, self.write.done)
    }
}

/// Enough randomness to cut with, and cheap without optimisation.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }
}

/// How far one direction has come in its plan.
#[derive(Debug)]
struct Progress {
    steps: VecDeque<Step>,
    cycle: bool,
    random: Option<(SplitMix, usize)>,
    now: Option<Step>,
    delay: Option<Pin<Box<Sleep>>>,
    done: u64,
    end: Option<(u64, End)>,
}

impl Progress {
    fn new(way: Way) -> Self {
        let (steps, cycle, random) = match way.cuts {
            Cuts::None => (VecDeque::new(), false, None),
            Cuts::Steps(steps) => (steps.into(), false, None),
            Cuts::Cycle(steps) => (steps.into(), true, None),
            Cuts::Seeded { seed, pass_max } => {
                (VecDeque::new(), false, Some((SplitMix(seed), pass_max.max(1))))
            }
        };
        Self { steps, cycle, random, now: None, delay: None, done: 0, end: way.end }
    }

    fn next_step(&mut self) -> Step {
        if let Some((random, pass_max)) = &mut self.random {
            let pends = random.below(4) == 0;
            return if pends { Step::Pend } else { Step::Pass(1 + random.below(*pass_max)) };
        }
        let Some(step) = self.steps.pop_front() else { return Step::Pass(usize::MAX) };
        if self.cycle {
            self.steps.push_back(step);
        }
        step
    }

    /// The end, if this direction has come to it.
    fn ended(&self) -> Option<End> {
        self.end.and_then(|(at, end)| (self.done >= at).then_some(end))
    }

    /// How many bytes may pass in this call, at least one.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            let step = self.now.take().unwrap_or_else(|| self.next_step());
            self.now = Some(step);
            match step {
                Step::Pass(0) => self.now = None,
                Step::Pass(room) => {
                    let left = self.end.map_or(u64::MAX, |(at, _)| at - self.done);
                    return Poll::Ready(room.min(usize::try_from(left).unwrap_or(usize::MAX)));
                }
                Step::Pend => {
                    self.now = None;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Wait(time) => {
                    let wait = || Box::pin(tokio::time::sleep_until(Instant::now() + time));
                    ready!(self.delay.get_or_insert_with(wait).as_mut().poll(cx));
                    self.delay = None;
                    self.now = None;
                }
            }
        }
    }

    fn on_passed(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if let Some(Step::Pass(room)) = &mut self.now {
            *room -= bytes;
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for FaultIo<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.read.ended() {
            Some(End::Eof) => return Poll::Ready(Ok(0)),
            Some(End::Error(kind)) => return Poll::Ready(Err(kind.into())),
            Some(End::Stall | End::Silence) => return Poll::Pending,
            None => {}
        }
        let room = ready!(this.read.poll_room(cx)).min(buf.len());
        let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf[..room]))?;
        this.read.on_passed(read);
        Poll::Ready(Ok(read))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FaultIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.write.ended() {
            Some(End::Eof) => {
                ready!(Pin::new(&mut this.io).poll_close(cx))?;
                return Poll::Ready(Ok(buf.len()));
            }
            Some(End::Error(kind)) => return Poll::Ready(Err(kind.into())),
            Some(End::Stall) => return Poll::Pending,
            Some(End::Silence) => return Poll::Ready(Ok(buf.len())),
            None => {}
        }
        let room = ready!(this.write.poll_room(cx)).min(buf.len());
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, &buf[..room]))?;
        this.write.on_passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.write.ended() {
            Some(End::Eof) => Pin::new(&mut this.io).poll_close(cx),
            Some(End::Error(kind)) => Poll::Ready(Err(kind.into())),
            Some(End::Stall | End::Silence) | None => Pin::new(&mut this.io).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.write.ended() {
            Some(End::Stall) => Poll::Pending,
            Some(End::Silence) => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.io).poll_close(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::transport::pipe;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|k| k as u8).collect()
    }

    async fn crosses(near: FaultPlan, far: FaultPlan) -> Vec<u8> {
        let (a, b) = pipe::pair(512, Duration::ZERO);
        let (mut a, mut b) = (FaultIo::new(a, near), FaultIo::new(b, far));
        let writing = async {
            a.write_all(&bytes(5000)).await?;
            a.close().await
        };
        let mut got = Vec::new();
        let (written, read) = futures::future::join(writing, b.read_to_end(&mut got)).await;
        written.and(read.map(drop)).unwrap();
        got
    }

    #[tokio::test]
    async fn cut_streams_lose_nothing() {
        for seed in 0..50 {
            assert_eq!(
                crosses(FaultPlan::seeded(seed, 60), FaultPlan::seeded(seed + 1, 7)).await,
                bytes(5000)
            );
        }
        let steps = vec![Step::Pass(3), Step::Pend, Step::Pass(0), Step::Pass(1)];
        for cuts in [Cuts::Steps(steps.clone()), Cuts::Cycle(steps)] {
            let plan = FaultPlan { read: Way { cuts, end: None }, ..FaultPlan::default() };
            assert_eq!(crosses(FaultPlan::default(), plan).await, bytes(5000));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_take_their_time() {
        let start = Instant::now();
        let cuts = Cuts::Cycle(vec![Step::Pass(1000), Step::Wait(Duration::from_secs(2))]);
        let plan = FaultPlan { write: Way { cuts, end: None }, ..FaultPlan::default() };
        assert_eq!(crosses(plan, FaultPlan::default()).await, bytes(5000));
        assert_eq!(start.elapsed(), Duration::from_secs(8));
    }

    #[tokio::test]
    async fn each_end_comes_at_its_byte() {
        assert_eq!(crosses(FaultPlan::write_ends(77, End::Eof), FaultPlan::default()).await, bytes(77));
        let (a, mut b) = pipe::pair(512, Duration::ZERO);
        let end = End::Error(io::ErrorKind::ConnectionReset);
        let mut a = FaultIo::new(a, FaultPlan::write_ends(5, end));
        assert_eq!(a.write(&bytes(9)).await.unwrap(), 5);
        assert_eq!(a.write(&bytes(9)).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(a.passed(), (0, 5));
        b.write_all(&bytes(9)).await.unwrap();
        let plan =
            FaultPlan { read: Way { cuts: Cuts::None, end: Some((4, End::Eof)) }, ..Default::default() };
        let mut got = Vec::new();
        FaultIo::new(a, plan).read_to_end(&mut got).await.unwrap();
        assert_eq!(got, bytes(4));
        let mut b = FaultIo::new(b, FaultPlan::write_ends(0, End::Stall));
        assert!(futures::poll!(b.write(&[1])).is_pending());
        let (a, mut b) = pipe::pair(512, Duration::ZERO);
        let mut a = FaultIo::new(a, FaultPlan::write_ends(2, End::Silence));
        a.write_all(&bytes(100)).await.unwrap();
        a.close().await.unwrap();
        assert_eq!(b.read(&mut [0; 9]).await.unwrap(), 2);
        assert!(futures::poll!(b.read(&mut [0; 9])).is_pending());
    }
}
