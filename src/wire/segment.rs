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
mod tests {
    use super::*;
    use crate::wire::fixtures::{Junk, unhex};

    const STATUS_69: &str = "5d000058f057f85645870c72dd9d5e883ea0bd6a252af394d80904c5993b859574bd4669642cea00a1\
        16970ec7887db67533c684377aaa788080820258a044e3809c9a3cda717f00aea3a9da336d149612c8d5657fbc0028176ef8\
        d94d2a";
    const STATUS_68: &str = "5a000055f054f85344870c72dd9d5e883e80a044e3809c9a3cda717f00aea3a9da336d149612c8d5657f\
        bc0028176ef8d94d2aa0bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533c684377aaa7880";
    const GET_HEADERS: &str = "0b02030718c607c401028080";
    const EMPTY_HEADERS: &str = "0708040308c207c0";

    fn segments(bytes: &[u8]) -> Result<Vec<Segment>, Breach> {
        let mut src = BytesMut::from(bytes);
        let mut decoder = SegmentDecoder::default();
        let mut segments = Vec::new();
        while let Some(segment) = decoder.decode(&mut src)? {
            segments.push(segment);
        }
        assert!(src.is_empty() || !decoder.is_inside() || src.len() < DATA_MAX);
        Ok(segments)
    }

    fn segment(number: u64, more: bool, len: usize) -> Segment {
        Segment { number, more, data: Bytes::from(vec![0; len]) }
    }

    /// An assembler that has seen `count` whole messages.
    fn after(count: u64) -> Assembler {
        let mut assembler = Assembler::default();
        for number in 0..count {
            assert!(assembler.on_segment(segment(number, false, 1)).is_ok_and(|message| message.is_some()));
        }
        assembler
    }

    /// Message 3 of the interleaving vector of section 5.
    fn large() -> Vec<u8> {
        (0..40_000_u32).map(|k| (7 * k + k / 256) as u8).collect()
    }

    /// The interleaving vector as it is sent.
    fn interleaved() -> BytesMut {
        let large = large();
        let mut out = BytesMut::new();
        let mut three = Cutter::start(3, large[0], Bytes::from(large[1..].to_vec()));
        assert!(three.cut(&mut out));
        let mut four = Cutter::start(4, 4, Bytes::from(unhex("0308c207c0")));
        assert!(!four.cut(&mut out));
        assert!(three.cut(&mut out));
        assert!(!three.cut(&mut out));
        assert_eq!((three.remaining(), four.remaining()), (0, 0));
        out
    }

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        use sha2::Digest;
        sha2::Sha256::digest(bytes).to_vec()
    }

    #[test]
    fn the_vectors_of_the_profile_hold() {
        for (hex, number, code) in
            [(STATUS_69, 0, 0x00), (STATUS_68, 0, 0x00), (GET_HEADERS, 1, 0x03), (EMPTY_HEADERS, 4, 0x04)]
        {
            let bytes = unhex(hex);
            let found = segments(&bytes).unwrap();
            let [Segment { number: got, more: false, data }] = &found[..] else { panic!("{found:?}") };
            assert_eq!((*got, data[0]), (number, code));
            let mut out = BytesMut::new();
            encode_segment(number, false, Some(code), &data[1..], &mut out);
            assert_eq!(out, bytes);
            let message = Message { code, body: data.slice(1..) };
            assert_eq!(after(number).on_segment(found[0].clone()), Ok(Some(message)));
        }
    }

    #[test]
    fn the_interleaving_vector_holds() {
        let sent = interleaved();
        assert_eq!(sent.len(), 40_019);
        let digest = unhex("715ba009d9d2a8731bf1261dde3fdf08a214336c4a1cb1070598720c6e0a15e1");
        assert_eq!(sha256(&sent), digest);
        let mut assembler = after(3);
        let mut messages = Vec::new();
        for segment in segments(&sent).unwrap() {
            messages.extend(assembler.on_segment(segment).unwrap());
        }
        let [four, three] = &messages[..] else { panic!("{} messages", messages.len()) };
        assert_eq!((four.code, &four.body[..]), (4, unhex("0308c207c0").as_slice()));
        let mut whole = vec![three.code];
        whole.extend_from_slice(&three.body);
        let digest = unhex("c4d362cd2c9a18d81832e2c27f8816fa9f0befd09b75ca7d66037828d349f5df");
        assert_eq!(sha256(&whole), digest);
        assert_eq!((assembler.open(), assembler.open_bytes()), (0, 0));
    }

    /// E14: the same segments for every place where a read may end.
    #[test]
    fn every_split_gives_the_same_segments() {
        let mut sent = BytesMut::new();
        for hex in [STATUS_69, GET_HEADERS, EMPTY_HEADERS] {
            sent.extend_from_slice(&unhex(hex));
        }
        encode_segment(300, true, None, &[1; 200], &mut sent);
        let whole = segments(&sent).unwrap();
        assert_eq!(whole.len(), 4);
        for cut in 0..=sent.len() {
            let mut decoder = SegmentDecoder::default();
            let mut found = Vec::new();
            let mut src = BytesMut::new();
            for part in [&sent[..cut], &sent[cut..]] {
                src.extend_from_slice(part);
                while let Some(segment) = decoder.decode(&mut src).unwrap() {
                    found.push(segment);
                }
            }
            assert_eq!(found, whole, "cut at {cut}");
        }
        let mut decoder = SegmentDecoder::default();
        let mut src = BytesMut::new();
        let found: Vec<_> = sent
            .iter()
            .filter_map(|&byte| {
                src.put_u8(byte);
                decoder.decode(&mut src).unwrap()
            })
            .collect();
        assert_eq!(found, whole, "byte by byte");
    }

    /// E13, E14: what is cut short is waited for, never taken for something else.
    #[test]
    fn every_truncation_waits() {
        for hex in [STATUS_69, GET_HEADERS, EMPTY_HEADERS] {
            let bytes = unhex(hex);
            for cut in 0..bytes.len() {
                assert_eq!(segments(&bytes[..cut]), Ok(Vec::new()), "cut at {cut}");
            }
        }
    }

    /// E6, E10: the first row of section 4. No data follows any of these heads, so none waits.
    #[test]
    fn a_forbidden_head_is_a_breach_at_once() {
        let heads: [&[u8]; 11] = [
            &[0x00],                                              // n = 0
            &[0x01],                                              // n = 1
            &[0x8a, 0x80, 0x01],                                  // n = 16,394
            &[0x80, 0x80, 0x80],                                  // a length of four bytes
            &[0x82, 0x00],                                        // non-minimal n
            &[0x05, 0x80, 0x00],                                  // non-minimal tag
            &[0x02, 0x80, 0x80],                                  // n smaller than its tag
            &[0x02, 0x80, 0x01],                                  // a tag and no data
            &[0x82, 0x80, 0x01, 0x00],                            // 16,385 bytes of data behind a short tag
            &[0x0c, 255, 255, 255, 255, 255, 255, 255, 255, 255], // a tag of ten bytes
            &[0x80, 0x80, 0x00],                                  // n = 0, padded
        ];
        for head in heads {
            assert_eq!(segments(head), Err(Breach::Framing), "{head:02x?}");
        }
    }

    #[test]
    fn the_largest_segment_passes_with_the_shortest_and_the_longest_tag() {
        for number in [0, varint::VALUE_MAX >> 1] {
            let mut out = BytesMut::new();
            encode_segment(number, true, None, &[3; DATA_MAX], &mut out);
            let found = segments(&out).unwrap();
            assert_eq!(found, [Segment { number, more: true, data: Bytes::from(vec![3; DATA_MAX]) }]);
        }
    }

    #[test]
    fn a_message_in_one_segment_is_not_copied() {
        let data = Bytes::from(vec![5; 100]);
        let message = Assembler::default()
            .on_segment(Segment { number: 0, more: false, data: data.clone() })
            .unwrap()
            .unwrap();
        assert_eq!(message.body.as_ptr(), data[1..].as_ptr());
    }

    #[test]
    fn numbers_count_in_the_order_of_first_segments() {
        assert!(Assembler::default().is_fresh());
        assert_eq!(Assembler::default().on_segment(segment(1, false, 1)), Err(Breach::Interleaving));
        assert_eq!(after(2).on_segment(segment(3, false, 1)), Err(Breach::Interleaving));
        assert_eq!(after(2).on_segment(segment(1, false, 1)), Err(Breach::Interleaving));
        let mut assembler = after(1);
        assembler.on_segment(segment(1, true, 1)).unwrap();
        assembler.on_segment(segment(1, false, 1)).unwrap();
        assert_eq!(assembler.on_segment(segment(1, false, 1)), Err(Breach::Interleaving));
    }

    #[test]
    fn status_may_take_several_segments_but_none_of_another_message_between_them() {
        let mut assembler = Assembler::default();
        assembler.on_segment(segment(0, true, 10)).unwrap();
        assert!(!assembler.is_fresh());
        assembler.on_segment(segment(0, true, 10)).unwrap();
        assert_eq!(assembler.on_segment(segment(1, false, 1)), Err(Breach::Interleaving));
        let status = assembler.on_segment(segment(0, false, 10)).unwrap().unwrap();
        assert_eq!(status.body.len(), 29);
    }

    #[test]
    fn a_ninth_open_message_is_a_breach_and_a_whole_one_always_has_room() {
        let mut assembler = after(1);
        for number in 1..=8 {
            assembler.on_segment(segment(number, true, 1)).unwrap();
        }
        assert_eq!(assembler.open(), 8);
        assert!(assembler.on_segment(segment(9, false, DATA_MAX)).unwrap().is_some());
        assert_eq!(assembler.on_segment(segment(10, true, 1)), Err(Breach::Interleaving));
        assert_eq!((assembler.open(), assembler.open_bytes()), (8, 8));
    }

    /// E6: the cap counts the code, and the byte above it is not stored.
    #[test]
    fn a_message_above_its_cap_is_a_breach() {
        let limits = SegmentLimits { message_bytes_max: 100, ..SegmentLimits::default() };
        let mut assembler = Assembler::new(limits);
        assembler.on_segment(segment(0, true, 60)).unwrap();
        assert_eq!(assembler.on_segment(segment(0, false, 41)), Err(Breach::TooLarge));
        assert_eq!(assembler.open_bytes(), 60);
        assert_eq!(assembler.on_segment(segment(0, false, 40)).unwrap().unwrap().body.len(), 99);
        assert_eq!(assembler.on_segment(segment(1, false, 101)), Err(Breach::TooLarge));
    }

    #[test]
    fn open_bytes_above_their_cap_are_a_breach_even_in_a_last_segment() {
        let limits = SegmentLimits { open_bytes_max: 100, ..SegmentLimits::default() };
        let mut assembler = Assembler::new(limits);
        assembler.on_segment(segment(0, false, 1)).unwrap();
        assembler.on_segment(segment(1, true, 50)).unwrap();
        assert_eq!(assembler.on_segment(segment(2, true, 51)), Err(Breach::Interleaving));
        assembler.on_segment(segment(2, true, 30)).unwrap();
        assert_eq!(assembler.on_segment(segment(1, false, 21)), Err(Breach::Interleaving));
        assert!(assembler.on_segment(segment(1, false, 20)).unwrap().is_some());
        assert_eq!(assembler.open_bytes(), 30);
    }

    /// Many tiny segments cost their bytes, not a slice each with its read buffer behind it.
    #[test]
    fn an_open_message_costs_at_most_twice_its_bytes() {
        let mut assembler = Assembler::default();
        let read_buffer = Bytes::from(vec![0; 64 * 1024]);
        for at in 0..10_000 {
            let data = read_buffer.slice(at..at + 1);
            assembler.on_segment(Segment { number: 0, more: true, data }).unwrap();
        }
        assert!(assembler.open[0].bytes.capacity() <= 20_000);
        assert!(read_buffer.is_unique(), "an open message holds on to the read buffer");
    }

    #[test]
    fn junk_never_panics_and_keeps_within_the_limits() {
        let mut junk = Junk::seeded(4);
        for round in 0..3_000 {
            let mut src = BytesMut::from(&junk.bytes(400)[..]);
            if round % 2 == 0 {
                // Plausible heads, so that junk gets as far as the assembler.
                src.clear();
                for _ in 0..20 {
                    let data = junk.exactly(1 + round % 7);
                    let (number, more) = (junk.below(4) as u64, junk.below(2) == 0);
                    encode_segment(number, more, None, &data, &mut src);
                }
            }
            let mut decoder = SegmentDecoder::default();
            let mut assembler = Assembler::default();
            while let Ok(Some(segment)) = decoder.decode(&mut src) {
                assert!((1..=DATA_MAX).contains(&segment.data.len()));
                if assembler.on_segment(segment).is_err() {
                    break;
                }
            }
            assert!(assembler.open() <= 8);
        }
    }

    #[test]
    fn messages_of_every_size_survive_cutting() {
        for len in [0, 1, DATA_MAX - 2, DATA_MAX - 1, DATA_MAX, 2 * DATA_MAX - 1, 2 * DATA_MAX, 100_000] {
            let body = Bytes::from((0..len).map(|at| at as u8).collect::<Vec<_>>());
            let mut out = BytesMut::new();
            let mut cutter = Cutter::start(0, 7, body.clone());
            assert_eq!(cutter.remaining(), len + 1);
            while cutter.cut(&mut out) {}
            let found = segments(&out).unwrap();
            assert_eq!(found.len(), (len + 1).div_ceil(DATA_MAX));
            let mut assembler = Assembler::default();
            let last = found.into_iter().filter_map(|segment| assembler.on_segment(segment).unwrap()).last();
            assert_eq!(last, Some(Message { code: 7, body }));
        }
    }
}
