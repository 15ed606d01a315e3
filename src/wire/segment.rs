//! Segments of eth-stream: messages cut into interleaved pieces.
//!
//! The format and its limits are eth-stream section 2; every violation of section 4 that concerns
//! segments is found here. Inbound: [`SegmentDecoder`] takes segments off the read buffer,
//! [`Assembler`] joins them to messages. Outbound: a [`Cutter`] per started message writes one
//! segment at a time, so that the outbox can alternate between messages.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::varint;
use crate::disconnect::Breach;

/// The most data a segment carries, in bytes; the message's code is part of its first segment's.
pub const DATA_MAX: usize = 16_384;

/// The largest value of a segment's length: its data behind a tag of 9 bytes.
const LEN_MAX: u64 = (DATA_MAX + varint::BYTES_MAX) as u64;

/// The smallest value of a segment's length: one byte of data behind a tag of one byte.
const LEN_MIN: u64 = 2;

/// The most a segment's head takes: a length of 3 bytes and a tag of 9.
pub const HEAD_BYTES_MAX: usize = 12;

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The number of the message it belongs to.
    pub number: u64,
    /// Whether more segments of the same message follow.
    pub more: bool,
    /// Its bytes, 1 to [`DATA_MAX`]; a message's first byte is its code.
    pub data: Bytes,
}

/// A message put together again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its code.
    pub code: u8,
    /// Everything behind the code, as it was sent.
    pub body: Bytes,
}

/// Takes segments off a read buffer.
#[derive(Debug, Default)]
pub struct SegmentDecoder {
    /// The head that was read while its data had not arrived.
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    number: u64,
    more: bool,
    data_len: usize,
}

impl SegmentDecoder {
    /// Takes the next segment off the front of `src`, or `None` until it has arrived in full.
    ///
    /// The data is a slice of `src`'s own memory. A head that breaks the rules is refused as soon
    /// as the offending byte is there; nothing is allocated or awaited for it.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Segment>, Breach> {
        let head = match self.head {
            Some(head) => head,
            None => match Head::read(src)? {
                Some((head, taken)) => {
                    src.advance(taken);
                    *self.head.insert(head)
                }
                None => return Ok(None),
            },
        };
        if src.len() < head.data_len {
            return Ok(None);
        }
        self.head = None;
        let data = src.split_to(head.data_len).freeze();
        Ok(Some(Segment { number: head.number, more: head.more, data }))
    }

    /// Whether a segment has begun: its head was taken, its data is still to come.
    pub fn is_inside(&self) -> bool {
        self.head.is_some()
    }
}

impl Head {
    /// Reads a head and how many bytes it took; `None` if it has not arrived in full.
    fn read(src: &[u8]) -> Result<Option<(Self, usize)>, Breach> {
        let Some((len, len_bytes)) = varint::decode(src).map_err(|_| Breach::Framing)? else {
            // A length has at most 3 bytes: more of them cannot become valid any more.
            return if src.len() < varint::len(LEN_MAX) { Ok(None) } else { Err(Breach::Framing) };
        };
        if !(LEN_MIN..=LEN_MAX).contains(&len) {
            return Err(Breach::Framing);
        }
        let len = len as usize;
        let rest = &src[len_bytes..];
        let within = &rest[..rest.len().min(len)];
        let Some((tag, tag_bytes)) = varint::decode(within).map_err(|_| Breach::Framing)? else {
            // The tag goes on where the segment ends, or it may still arrive.
            return if within.len() == len { Err(Breach::Framing) } else { Ok(None) };
        };
        let data_len = len - tag_bytes;
        if !(1..=DATA_MAX).contains(&data_len) {
            return Err(Breach::Framing);
        }
        Ok(Some((Self { number: tag >> 1, more: tag & 1 == 1, data_len }, len_bytes + tag_bytes)))
    }
}

/// What an [`Assembler`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Messages that are open at a time. Default 8; one more is a breach.
    pub open_max: usize,
    /// Bytes of all open messages together. Default 16 MiB; one more is a breach.
    pub open_bytes_max: usize,
    /// Bytes of one message as sent, its code included. Default 10 MiB; one more is a breach.
    pub message_bytes_max: usize,
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self { open_max: 8, open_bytes_max: 16 * 1024 * 1024, message_bytes_max: 10 * 1024 * 1024 }
    }
}

/// Joins segments to messages and holds the sender to the rules of interleaving.
///
/// An open message is gathered in a buffer of its own, so that neither many tiny segments nor the
/// read buffers they came in cost more than twice the message.
#[derive(Debug)]
pub struct Assembler {
    limits: SegmentLimits,
    /// The number that the next first segment must carry.
    next: u64,
    open: Vec<Open>,
    open_bytes: usize,
}

/// A message whose last segment has not arrived.
#[derive(Debug)]
struct Open {
    number: u64,
    bytes: BytesMut,
}

impl Default for Assembler {
    fn default() -> Self {
        Self::new(SegmentLimits::default())
    }
}

impl Assembler {
    /// An assembler for one direction of one substream, before its first segment.
    pub fn new(limits: SegmentLimits) -> Self {
        Self { limits, next: 0, open: Vec::new(), open_bytes: 0 }
    }

    /// Takes the next segment; returns the message that it completes. All rules are checked before
    /// its bytes are stored.
    pub fn on_segment(&mut self, segment: Segment) -> Result<Option<Message>, Breach> {
        let Segment { number, more, data } = segment;
        // Message 0 is the Status: nothing may come between its segments.
        if number != 0 && self.open.iter().any(|open| open.number == 0) {
            return Err(Breach::Interleaving);
        }
        match self.open.iter().position(|open| open.number == number) {
            Some(at) => self.on_continuation(at, more, &data),
            None if number == self.next => self.on_first(number, more, data),
            // Finished, or not its turn yet.
            None => Err(Breach::Interleaving),
        }
    }

    /// Whether a segment of this message has arrived.
    pub fn has_begun(&self, number: u64) -> bool {
        number < self.next
    }

    /// How many messages are open. While there are any, the next segment is due within 20 s.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The bytes of all open messages so far.
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Whether no segment has arrived yet.
    pub fn is_fresh(&self) -> bool {
        self.next == 0
    }

    fn on_first(&mut self, number: u64, more: bool, data: Bytes) -> Result<Option<Message>, Breach> {
        if data.len() > self.limits.message_bytes_max {
            return Err(Breach::TooLarge);
        }
        if more {
            if self.open.len() >= self.limits.open_max || self.lacks_room_for(data.len()) {
                return Err(Breach::Interleaving);
            }
            self.open_bytes += data.len();
            self.open.push(Open { number, bytes: BytesMut::from(&data[..]) });
        }
        self.next += 1;
        if more { Ok(None) } else { split_code(data).map(Some) }
    }

    fn on_continuation(&mut self, at: usize, more: bool, data: &[u8]) -> Result<Option<Message>, Breach> {
        if self.open[at].bytes.len() + data.len() > self.limits.message_bytes_max {
            return Err(Breach::TooLarge);
        }
        if self.lacks_room_for(data.len()) {
            return Err(Breach::Interleaving);
        }
        self.open[at].bytes.extend_from_slice(data);
        self.open_bytes += data.len();
        if more {
            return Ok(None);
        }
        let whole = self.open.remove(at).bytes;
        self.open_bytes -= whole.len();
        split_code(whole.freeze()).map(Some)
    }

    fn lacks_room_for(&self, len: usize) -> bool {
        self.open_bytes + len > self.limits.open_bytes_max
    }
}

/// Takes the code off the front of a whole message.
fn split_code(mut whole: Bytes) -> Result<Message, Breach> {
    let code = whole.try_get_u8().map_err(|_| Breach::Framing)?;
    Ok(Message { code, body: whole })
}

/// Writes one message segment by segment.
#[derive(Debug)]
pub struct Cutter {
    number: u64,
    /// The code, until the first segment has taken it.
    code: Option<u8>,
    /// What has not been written yet.
    body: Bytes,
}

impl Cutter {
    /// Starts a message. `number` is the next one of this direction: numbers count in the order in
    /// which first segments are sent.
    pub fn start(number: u64, code: u8, body: Bytes) -> Self {
        Self { number, code: Some(code), body }
    }

    /// Appends the next segment to `out`. Returns whether more are to come; call it again only then.
    pub fn cut(&mut self, out: &mut BytesMut) -> bool {
        let code = self.code.take();
        let room = DATA_MAX - usize::from(code.is_some());
        let data = self.body.split_to(self.body.len().min(room));
        let more = !self.body.is_empty();
        encode_segment(self.number, more, code, &data, out);
        more
    }

    /// The bytes of the message that no segment carries yet.
    pub fn remaining(&self) -> usize {
        self.body.len() + usize::from(self.code.is_some())
    }
}

/// Appends one segment to `out`. `code` is present on a message's first segment; together with
/// `data` it must make 1 to [`DATA_MAX`] bytes.
pub fn encode_segment(number: u64, more: bool, code: Option<u8>, data: &[u8], out: &mut BytesMut) {
    let tag = number << 1 | u64::from(more);
    let data_len = data.len() + usize::from(code.is_some());
    debug_assert!((1..=DATA_MAX).contains(&data_len), "a segment of {data_len} bytes");
    out.reserve(HEAD_BYTES_MAX + data_len);
    varint::encode((varint::len(tag) + data_len) as u64, out);
    varint::encode(tag, out);
    if let Some(code) = code {
        out.put_u8(code);
    }
    out.put_slice(data);
}

#[cfg(test)]
mod tests;
