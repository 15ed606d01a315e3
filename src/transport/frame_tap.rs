//! Watches yamux frames go by, pure: which rules of the muxer does the peer break?
//!
//! yamux keeps a violating peer connected (it sends GoAway and goes on) and buffers tiny frames at
//! many times their size. This machine sees the same bytes, in both directions, and says when the
//! connection must end. It allocates nothing a peer can grow: streams are bounded by yamux' own
//! stream limit, unread frames by [`TapLimits::unread_frames_max`].

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

const HEADER: usize = 12;
const DATA: u8 = 0;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;

/// What the peer did to the muxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// yamux itself found a violation and said GoAway.
    #[error("yamux protocol error (go away {0})")]
    Protocol(u32),
    /// Too many pings.
    #[error("ping flood")]
    PingFlood,
    /// Too many resets.
    #[error("reset flood")]
    ResetFlood,
    /// Too many data frames without data.
    #[error("empty frame flood")]
    EmptyFrames,
    /// Too many frames that nobody has read yet.
    #[error("too many small unread frames")]
    UnreadFrames,
    /// Too many substreams beyond their limit.
    #[error("substream flood")]
    SubstreamFlood,
}

/// What a peer may do before it is a violation.
#[derive(Debug, Clone, Copy)]
pub struct TapLimits {
    /// Frames received on known streams and not yet read by their owner.
    pub unread_frames_max: usize,
    /// Pings in ten seconds.
    pub pings_max: usize,
    /// Resets in ten seconds.
    pub resets_max: usize,
    /// Data frames without data and flags in ten seconds.
    pub empty_frames_max: usize,
}

impl Default for TapLimits {
    fn default() -> Self {
        Self { unread_frames_max: 1024, pings_max: 100, resets_max: 100, empty_frames_max: 100 }
    }
}

/// Counts events in a sliding window.
#[derive(Debug, Default)]
pub struct Window {
    times: VecDeque<Instant>,
}

impl Window {
    /// Counts one more. `true`: more than `max` fell into the last `span`.
    pub fn exceeds(&mut self, now: Instant, span: Duration, max: usize) -> bool {
        while self.times.front().is_some_and(|first| now.saturating_duration_since(*first) >= span) {
            self.times.pop_front();
        }
        if self.times.len() >= max {
            return true;
        }
        self.times.push_back(now);
        false
    }
}

const SPAN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Parser {
    header: [u8; HEADER],
    have: usize,
    body_left: usize,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    kind: u8,
    flags: u16,
    stream: u32,
    length: u32,
}

impl Parser {
    /// The next header in `bytes`, which moves on behind it. Bodies are passed over.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let skip = self.body_left.min(bytes.len());
                self.body_left -= skip;
                *bytes = &bytes[skip..];
                continue;
            }
            let take = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            *bytes = &bytes[take..];
            if self.have == HEADER {
                self.have = 0;
                let word = |at: usize| {
                    let h = &self.header;
                    u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]])
                };
                let head = Head {
                    kind: self.header[1],
                    flags: u16::from_be_bytes([self.header[2], self.header[3]]),
                    stream: word(4),
                    length: word(8),
                };
                if head.kind == DATA {
                    self.body_left = head.length as usize;
                }
                return Some(head);
            }
        }
        None
    }
}

#[derive(Debug, Default)]
struct StreamState {
    /// Lengths of the frames whose bytes have not all been read.
    unread: VecDeque<u32>,
    /// Bytes read of the first of them.
    read: u32,
    finished: bool,
    reset: bool,
}

/// How the receiving side of a stream stands once nothing is left to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The peer half-closed: a clean end of file.
    Finished,
    /// The peer reset the stream, or the connection broke.
    Broken,
}

/// What a frame says beyond its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A substream is opened.
    Opened,
    /// One side half-closes.
    Closed,
    /// One side resets.
    Reset,
    /// One side says goodbye to the connection, with this code.
    GoAway(u32),
}

/// A sign, on which stream, and whether it is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// We sent it.
    pub ours: bool,
    /// The stream's number; 0 for the connection.
    pub stream: u32,
    /// What it says.
    pub sign: Sign,
}

/// Watches one connection.
#[derive(Debug)]
pub struct FrameTap {
    inbound: Parser,
    outbound: Parser,
    streams: HashMap<u32, StreamState>,
    unread_frames: usize,
    pings: Window,
    resets: Window,
    empty_frames: Window,
    limits: TapLimits,
    /// Signs since they were last taken; `None` when nobody asks. Bounded by the frames of one read.
    notes: Option<Vec<Note>>,
}

impl FrameTap {
    /// Nothing seen yet.
    pub fn new(limits: TapLimits) -> Self {
        Self {
            inbound: Parser::default(),
            outbound: Parser::default(),
            streams: HashMap::new(),
            unread_frames: 0,
            pings: Window::default(),
            resets: Window::default(),
            empty_frames: Window::default(),
            limits,
            notes: None,
        }
    }

    /// From now on signs are noted; whoever asks for it takes them after each call.
    pub fn note_signs(&mut self) {
        self.notes = Some(Vec::new());
    }

    /// The signs of the last call.
    pub fn take_notes(&mut self) -> impl Iterator<Item = Note> + '_ {
        self.notes.iter_mut().flat_map(|notes| notes.drain(..))
    }

    fn note(&mut self, ours: bool, head: Head) {
        let Some(notes) = &mut self.notes else { return };
        let stream = head.stream;
        match head.kind {
            GO_AWAY => notes.push(Note { ours, stream, sign: Sign::GoAway(head.length) }),
            PING => {}
            _ => {
                let signs = [(SYN, Sign::Opened), (FIN, Sign::Closed), (RST, Sign::Reset)];
                let said = signs.into_iter().filter(|(flag, _)| head.flags & flag != 0);
                notes.extend(said.map(|(_, sign)| Note { ours, stream, sign }));
            }
        }
    }

    /// Bytes from the peer.
    pub fn on_inbound(&mut self, now: Instant, mut bytes: &[u8]) -> Result<(), Violation> {
        while let Some(head) = self.inbound.next(&mut bytes) {
            self.note(false, head);
            self.on_inbound_frame(now, head)?;
        }
        Ok(())
    }

    /// Bytes to the peer.
    pub fn on_outbound(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while let Some(head) = self.outbound.next(&mut bytes) {
            self.note(true, head);
            if head.kind == GO_AWAY && head.length != 0 {
                return Err(Violation::Protocol(head.length));
            }
        }
        Ok(())
    }

    /// A stream of ours: its frames count as unread until their owner reads them.
    pub fn register(&mut self, stream: u32) {
        self.streams.entry(stream).or_default();
    }

    /// The owner of a stream has read `bytes` bytes.
    pub fn on_read(&mut self, stream: u32, bytes: usize) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let mut left = bytes as u64;
        while let Some(first) = state.unread.front() {
            let rest = u64::from(first - state.read);
            if left < rest {
                state.read += left as u32;
                return;
            }
            left -= rest;
            state.read = 0;
            state.unread.pop_front();
            self.unread_frames -= 1;
        }
    }

    /// The owner of a stream is gone; what it did not read no longer counts.
    pub fn forget(&mut self, stream: u32) {
        if let Some(state) = self.streams.remove(&stream) {
            self.unread_frames -= state.unread.len();
        }
    }

    /// Nothing is left to read on a stream: was that its proper end?
    pub fn end_of(&self, stream: u32) -> StreamEnd {
        match self.streams.get(&stream) {
            Some(state) if state.finished && !state.reset => StreamEnd::Finished,
            _ => StreamEnd::Broken,
        }
    }

    /// Frames received and not read yet.
    pub fn unread_frames(&self) -> usize {
        self.unread_frames
    }

    /// Whether so much is unread that the readers should have a turn before more is received.
    pub fn is_congested(&self) -> bool {
        self.unread_frames > self.limits.unread_frames_max / 4
    }

    fn on_inbound_frame(&mut self, now: Instant, head: Head) -> Result<(), Violation> {
        match head.kind {
            // yamux answers whatever is not an answer itself.
            PING if head.flags & ACK == 0 && self.pings.exceeds(now, SPAN, self.limits.pings_max) => {
                return Err(Violation::PingFlood);
            }
            PING | GO_AWAY => return Ok(()),
            _ => {}
        }
        // yamux makes no stream of a SYN that carries its own reset: nobody would forget it.
        if head.flags & (SYN | RST) == SYN {
            self.streams.entry(head.stream).or_default();
        }
        if head.kind == DATA && head.length == 0 && head.flags == 0 {
            if self.empty_frames.exceeds(now, SPAN, self.limits.empty_frames_max) {
                return Err(Violation::EmptyFrames);
            }
            return Ok(());
        }
        if head.flags & RST != 0 && self.resets.exceeds(now, SPAN, self.limits.resets_max) {
            return Err(Violation::ResetFlood);
        }
        let Some(state) = self.streams.get_mut(&head.stream) else { return Ok(()) };
        state.finished |= head.flags & FIN != 0;
        state.reset |= head.flags & RST != 0;
        if head.kind == DATA && head.length > 0 {
            if self.unread_frames >= self.limits.unread_frames_max {
                return Err(Violation::UnreadFrames);
            }
            state.unread.push_back(head.length);
            self.unread_frames += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "frame_tap_tests.rs"]
mod tests;
