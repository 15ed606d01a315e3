//! Frames: what goes over the socket once both ends have their secrets (rlpx.md, "Framing").
//!
//! A frame is a header of 16 bytes and its MAC, then the data, padded to 16 bytes, and its MAC.
//! Nothing here allocates for what a header claims: a caller reads what [`Ingress::wanted`] says,
//! and [`Ingress::reserve`] grows a buffer by no more than what it already holds.

use std::fmt;

use aes::Aes256;
use bytes::{Buf, Bytes, BytesMut};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;

use super::mac::{BLOCK, Mac, State};
use crate::disconnect::Breach;

/// The most data that the size of a frame can say.
pub const FRAME_BYTES_MAX: usize = (1 << 24) - 1;

/// A header with its MAC.
const HEADER: usize = 2 * BLOCK;

/// Bytes that are ciphered and hashed at a time, so that the second finds them in the cache.
const STRIDE: usize = 8 << 10;

/// What [`Ingress::reserve`] makes room for at least.
const READ_MIN: usize = 4 << 10;

type Cipher = Ctr128BE<Aes256>;

/// Why frames of the peer can no longer be read. Whose MAC is wrong is left without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The MAC of a header is not the one that the peer would have sent.
    #[error("wrong header mac")]
    HeaderMac,
    /// The MAC of a body is not the one that the peer would have sent.
    #[error("wrong frame mac")]
    BodyMac,
    /// A frame without data, which cannot hold an id.
    #[error("empty frame")]
    Empty,
    /// A frame with more data than this connection takes.
    #[error("frame of {0} bytes")]
    TooLarge(usize),
    /// A header that speaks of capabilities, contexts or fragments, which nobody uses any more.
    #[error("header data in use")]
    HeaderData,
}

/// The half of the codec that makes frames.
pub struct Egress {
    cipher: Cipher,
    mac: Mac,
    /// Bytes of the current frame's data that are still to come.
    left: usize,
    /// Zeros that pad the current frame.
    padding: usize,
}

impl Egress {
    pub(super) fn new(aes: &[u8; 32], mac: &[u8; 32], state: State) -> Self {
        Self { cipher: cipher(aes), mac: Mac::new(mac, state), left: 0, padding: 0 }
    }

    /// Appends a frame whose data is these parts, one behind the other.
    pub fn frame(&mut self, parts: &[&[u8]], out: &mut BytesMut) {
        let frame_bytes = parts.iter().map(|part| part.len()).sum();
        self.begin(frame_bytes, out);
        parts.iter().for_each(|part| self.body(part, out));
        self.end(out);
    }

    /// Appends the header of a frame with this many bytes of data, which must be 1 to
    /// [`FRAME_BYTES_MAX`]; as many must be given to [`body`](Self::body) before
    /// [`end`](Self::end).
    pub fn begin(&mut self, frame_bytes: usize, out: &mut BytesMut) {
        debug_assert!((1..=FRAME_BYTES_MAX).contains(&frame_bytes), "a frame of {frame_bytes} bytes");
        let [.., a, b, c] = (frame_bytes as u32).to_be_bytes();
        self.begin_with([a, b, c, 0xc2, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], frame_bytes, out);
    }

    /// Appends a header as it is given; the frame will have this many bytes, whatever it says.
    pub(crate) fn begin_with(&mut self, header: [u8; BLOCK], frame_bytes: usize, out: &mut BytesMut) {
        debug_assert_eq!(self.left, 0, "the frame before was not ended");
        self.left = frame_bytes;
        self.padding = frame_bytes.next_multiple_of(BLOCK) - frame_bytes;
        self.header(header, out);
    }

    /// Appends a header as it is given, with its MAC.
    pub(crate) fn header(&mut self, mut header: [u8; BLOCK], out: &mut BytesMut) {
        self.cipher.apply_keystream(&mut header);
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.mac.header(&header));
    }

    /// Appends the next bytes of the frame's data.
    pub fn body(&mut self, chunk: &[u8], out: &mut BytesMut) {
        debug_assert!(chunk.len() <= self.left, "more data than the header says");
        self.left = self.left.saturating_sub(chunk.len());
        // With room for the end: a large buffer is not moved for the last few bytes.
        out.reserve(chunk.len() + self.padding + BLOCK);
        chunk.chunks(STRIDE).for_each(|chunk| self.put(chunk, out));
    }

    /// Appends the padding and the MAC of the frame.
    pub fn end(&mut self, out: &mut BytesMut) {
        debug_assert_eq!(self.left, 0, "less data than the header says");
        let zeros = [0; BLOCK];
        self.put(&zeros[..self.padding], out);
        out.extend_from_slice(&self.mac.body());
    }

    fn put(&mut self, plain: &[u8], out: &mut BytesMut) {
        let start = out.len();
        out.extend_from_slice(plain);
        let ciphertext = &mut out[start..];
        self.cipher.apply_keystream(ciphertext);
        self.mac.absorb(ciphertext);
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("left", &self.left).finish_non_exhaustive()
    }
}

impl FrameError {
    /// The rule that was broken by whoever holds the keys; `None` if that need not be the peer,
    /// because a MAC is wrong.
    pub(super) fn breach(self) -> Option<Breach> {
        match self {
            Self::HeaderMac | Self::BodyMac => None,
            Self::TooLarge(_) => Some(Breach::TooLarge),
            Self::Empty | Self::HeaderData => Some(Breach::Malformed),
        }
    }
}

/// The half of the codec that reads frames.
pub struct Ingress {
    cipher: Cipher,
    mac: Mac,
    frame_bytes_max: usize,
    expects: Expects,
    wanted: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Expects {
    Header,
    /// The data of a frame, of which the MAC has seen the first `absorbed` bytes, padding included.
    Body {
        frame_bytes: usize,
        absorbed: usize,
    },
    /// Nothing: once a frame was wrong, no later one can be told from a forged one.
    Nothing(FrameError),
}

impl Ingress {
    pub(super) fn new(aes: &[u8; 32], mac: &[u8; 32], state: State, frame_bytes_max: usize) -> Self {
        let mac = Mac::new(mac, state);
        Self { cipher: cipher(aes), mac, frame_bytes_max, expects: Expects::Header, wanted: HEADER }
    }

    /// From now on frames may be so large.
    pub(super) fn allow(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Takes the next frame off the front of `src`, once all of it is there, and gives its data
    /// (id and payload) as a part of the same memory.
    ///
    /// Between calls bytes may only be added at the end of `src`: the MAC of a frame is taken
    /// while it arrives. After an error, every call gives the same error.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let decoded = self.next(src);
        if let Err(error) = decoded {
            self.expects = Expects::Nothing(error);
            self.wanted = 0;
        }
        decoded
    }

    /// How many more bytes the frame at the front needs, as of the last call of
    /// [`decode`](Self::decode) that gave none. At the start it is a header's.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Makes room in `src` for what is [`wanted`](Self::wanted), but never more than twice what
    /// has arrived: a header can claim 16 MiB, and reserving is believing.
    pub fn reserve(&self, src: &mut BytesMut) {
        src.reserve(self.wanted.min(src.len()).max(READ_MIN));
    }

    fn next(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let (frame_bytes, mut absorbed) = match self.expects {
            Expects::Nothing(error) => return Err(error),
            Expects::Body { frame_bytes, absorbed } => (frame_bytes, absorbed),
            Expects::Header => match self.header(src)? {
                Some(frame_bytes) => (frame_bytes, 0),
                None => return Ok(None),
            },
        };
        let padded = frame_bytes.next_multiple_of(BLOCK);
        let arrived = src.len().min(padded);
        self.mac.absorb(src.get(absorbed..arrived).unwrap_or_default());
        absorbed = arrived;
        let Some(tag) = src.get(padded..padded + BLOCK) else {
            self.expects = Expects::Body { frame_bytes, absorbed };
            self.wanted = padded + BLOCK - src.len();
            return Ok(None);
        };
        if !bool::from(self.mac.body().ct_eq(tag)) {
            return Err(FrameError::BodyMac);
        }
        let mut body = src.split_to(padded);
        src.advance(BLOCK);
        self.cipher.apply_keystream(&mut body);
        body.truncate(frame_bytes);
        self.expects = Expects::Header;
        self.wanted = HEADER.saturating_sub(src.len());
        Ok(Some(body.freeze()))
    }

    /// The size that the header at the front of `src` gives, if it is there.
    fn header(&mut self, src: &mut BytesMut) -> Result<Option<usize>, FrameError> {
        let Some((header, tag)) = src.get(..HEADER).and_then(|bytes| bytes.split_first_chunk::<BLOCK>())
        else {
            self.wanted = HEADER - src.len();
            return Ok(None);
        };
        let mut header = *header;
        if !bool::from(self.mac.header(&header).ct_eq(tag)) {
            return Err(FrameError::HeaderMac);
        }
        src.advance(HEADER);
        self.cipher.apply_keystream(&mut header);
        let [a, b, c, data @ ..] = header;
        let frame_bytes = u32::from_be_bytes([0, a, b, c]) as usize;
        if frame_bytes == 0 {
            return Err(FrameError::Empty);
        }
        if frame_bytes > self.frame_bytes_max {
            return Err(FrameError::TooLarge(frame_bytes));
        }
        if !unused(&data) {
            return Err(FrameError::HeaderData);
        }
        Ok(Some(frame_bytes))
    }
}

impl fmt::Debug for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingress").field("expects", &self.expects).finish_non_exhaustive()
    }
}

/// Whether header data is `[0, 0]` with zeros behind it.
fn unused(data: &[u8; 13]) -> bool {
    matches!(data, [0xc2, 0x80, 0x80, padding @ ..] if padding.iter().all(|byte| *byte == 0))
}

/// One key stream for all frames of a direction, headers and bodies.
fn cipher(key: &[u8; 32]) -> Cipher {
    Cipher::new(key.into(), &[0; BLOCK].into())
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
