//! Segments against the vectors and the bad-input table of eth-stream.

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
