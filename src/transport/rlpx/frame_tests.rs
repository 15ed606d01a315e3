//! Frames against the published one, and against everything a peer may do to them.

use alloy_primitives::{Keccak256, keccak256};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::fixtures::{self, bytes};
use super::*;

const MAX: usize = 1 << 20;

/// Both halves of one direction, as the two ends have them.
fn direction() -> (Egress, Ingress) {
    let state = || Keccak256::new().into();
    (Egress::new(&[1; 32], &[2; 32], state()), Ingress::new(&[1; 32], &[2; 32], state(), MAX))
}

/// A frame of these bytes, and the end that expects it.
fn frame(data: &[u8]) -> (BytesMut, Ingress) {
    let (mut egress, ingress) = direction();
    let mut wire = BytesMut::new();
    egress.frame(&[data], &mut wire);
    (wire, ingress)
}

/// Data that no two places of are alike.
fn data(len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    StdRng::seed_from_u64(len as u64).fill(&mut data[..]);
    data
}

/// A header that says what it likes, with the right MAC.
fn header(header: [u8; BLOCK]) -> (BytesMut, Ingress) {
    let (mut egress, ingress) = direction();
    let mut wire = BytesMut::new();
    egress.header(header, &mut wire);
    (wire, ingress)
}

#[test]
fn the_published_frame_is_made_and_read() {
    let key = keccak256([]).0;
    let mut wire = BytesMut::new();
    Egress::new(&key, &key, State::stub()).frame(&[&bytes(fixtures::FRAME_DATA)], &mut wire);
    assert_eq!(wire[..], bytes(fixtures::FRAME)[..]);
    let mut ingress = Ingress::new(&key, &key, State::stub(), MAX);
    assert_eq!(
        ingress.decode(&mut wire).map(|frame| frame.map(|frame| frame.to_vec())),
        Ok(Some(bytes(fixtures::FRAME_DATA)))
    );
}

#[test]
fn frames_of_every_length_survive_the_wire() {
    let (mut egress, mut ingress) = direction();
    for len in (1..70).chain([STRIDE - 1, STRIDE, STRIDE + 1, 100_000, MAX]) {
        let data = data(len);
        let mut wire = BytesMut::new();
        egress.frame(&[&data], &mut wire);
        assert_eq!(wire.len(), HEADER + len.next_multiple_of(BLOCK) + BLOCK);
        assert_eq!(ingress.decode(&mut wire), Ok(Some(Bytes::from(data))));
        assert!(wire.is_empty());
        assert_eq!(ingress.wanted(), HEADER);
    }
}

#[test]
fn a_frame_made_of_chunks_is_the_same_frame() {
    let data = data(3 * STRIDE + 5);
    let (whole, _) = frame(&data);
    for sizes in [1, 7, 16, 1000, STRIDE] {
        let (mut egress, _) = direction();
        let mut wire = BytesMut::new();
        egress.begin(data.len(), &mut wire);
        data.chunks(sizes).for_each(|chunk| egress.body(chunk, &mut wire));
        egress.end(&mut wire);
        assert_eq!(wire, whole, "chunks of {sizes}");
    }
    let (mut egress, _) = direction();
    let mut wire = BytesMut::new();
    egress.frame(&[&data[..1], &[], &data[1..9], &data[9..]], &mut wire);
    assert_eq!(wire, whole);
}

/// E14: however the bytes are cut, the frames are the same, and `wanted` never asks for a byte
/// beyond the frame it is about.
#[test]
fn frames_survive_every_cut_of_the_stream() {
    let frames = [data(1), data(40), data(16), data(300)];
    let stream = {
        let (mut egress, _) = direction();
        let mut wire = BytesMut::new();
        frames.iter().for_each(|frame| egress.frame(&[frame], &mut wire));
        wire
    };
    for size in (1..stream.len()).rev() {
        let (_, mut ingress) = direction();
        let mut src = BytesMut::new();
        let mut read = Vec::new();
        for chunk in stream.chunks(size) {
            src.extend_from_slice(chunk);
            while let Some(frame) = ingress.decode(&mut src).expect("good frames") {
                read.push(frame.to_vec());
            }
        }
        assert_eq!(read, frames, "chunks of {size}");
    }
    let (_, mut ingress) = direction();
    let (mut src, mut rest, mut read) = (BytesMut::new(), stream, 0);
    while !rest.is_empty() {
        let wanted = ingress.wanted();
        assert!(wanted > 0);
        src.unsplit(rest.split_to(wanted));
        if ingress.decode(&mut src).expect("good frames").is_some() {
            read += 1;
            assert!(src.is_empty());
        }
    }
    assert_eq!(read, frames.len());
}

#[test]
fn a_frame_is_handed_out_without_copying() {
    let (mut wire, mut ingress) = frame(&data(5000));
    let memory = wire[HEADER..].as_ptr();
    let frame = ingress.decode(&mut wire).ok().flatten().expect("a frame");
    assert_eq!(frame.as_ptr(), memory);
}

/// B8, B12: one flipped bit anywhere, and nothing is decrypted, now or later.
#[test]
fn every_flipped_bit_ends_the_connection() {
    let whole = data(40);
    let (wire, _) = frame(&whole);
    for bit in 0..wire.len() * 8 {
        let (mut egress, mut ingress) = direction();
        let mut flipped = BytesMut::new();
        egress.frame(&[&whole], &mut flipped);
        egress.frame(&[b"another"], &mut flipped);
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = if bit / 8 < HEADER { FrameError::HeaderMac } else { FrameError::BodyMac };
        assert_eq!(ingress.decode(&mut flipped), Err(error), "bit {bit}");
        // The frame behind it is intact, but not for this end.
        assert_eq!(ingress.decode(&mut flipped), Err(error));
        assert_eq!(ingress.wanted(), 0);
    }
}

/// B8: a frame left out, said twice or put in between is found at its header.
#[test]
fn frames_count_only_in_their_order() {
    let (mut egress, _) = direction();
    let mut frames = [BytesMut::new(), BytesMut::new(), BytesMut::new()];
    frames.iter_mut().for_each(|wire| egress.frame(&[b"one of three"], wire));
    for order in [&[1][..], &[0, 0], &[0, 2], &[0, 1, 0], &[0, 1, 1]] {
        let (_, mut ingress) = direction();
        let mut wire = BytesMut::new();
        order.iter().for_each(|i| wire.extend_from_slice(&frames[*i]));
        for _ in 1..order.len() {
            assert!(matches!(ingress.decode(&mut wire), Ok(Some(_))));
        }
        assert_eq!(ingress.decode(&mut wire), Err(FrameError::HeaderMac), "{order:?}");
    }
}

/// B12: the sizes 0 and 0xffffff, and one over the limit, are refused at the header.
#[test]
fn a_size_out_of_bounds_is_refused_at_the_header() {
    let sized = |size: usize| {
        let [_, a, b, c] = (size as u32).to_be_bytes();
        let (mut wire, mut ingress) = header([a, b, c, 0xc2, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        ingress.decode(&mut wire)
    };
    assert_eq!(sized(0), Err(FrameError::Empty));
    assert_eq!(sized(1), Ok(None));
    assert_eq!(sized(MAX), Ok(None));
    assert_eq!(sized(MAX + 1), Err(FrameError::TooLarge(MAX + 1)));
    assert_eq!(sized(FRAME_BYTES_MAX), Err(FrameError::TooLarge(FRAME_BYTES_MAX)));
}

/// B12: what a header claims costs nothing: room is made for as much as has arrived.
#[test]
fn a_claim_is_not_believed() {
    let (mut egress, mut ingress) = direction();
    let mut src = BytesMut::new();
    egress.begin(MAX, &mut src);
    assert_eq!(ingress.decode(&mut src), Ok(None));
    assert_eq!(ingress.wanted(), MAX + BLOCK);
    let mut src = BytesMut::new();
    ingress.reserve(&mut src);
    assert!(src.capacity() < 2 * READ_MIN, "{}", src.capacity());
    let arrived = 100 << 10;
    src.extend_from_slice(&vec![0; arrived]);
    assert_eq!(ingress.decode(&mut src), Ok(None));
    assert_eq!(ingress.wanted(), MAX + BLOCK - arrived);
    ingress.reserve(&mut src);
    assert!((2 * arrived..4 * arrived).contains(&src.capacity()), "{}", src.capacity());
}

/// E9: header data that says more than that there is nothing to say.
#[test]
fn header_data_in_use_is_refused() {
    let with = |data: &[u8]| {
        let mut bytes = [0; BLOCK];
        bytes[2] = 5;
        bytes[3..3 + data.len()].copy_from_slice(data);
        let (mut wire, mut ingress) = header(bytes);
        ingress.decode(&mut wire)
    };
    assert_eq!(with(&[0xc2, 0x80, 0x80]), Ok(None));
    let refused: [&[u8]; 9] = [
        // A capability, a context, the first and a later part of a message in fragments.
        &[0xc2, 0x01, 0x80],
        &[0xc2, 0x80, 0x01],
        &[0xc5, 0x80, 0x01, 0x82, 0x10, 0x00],
        &[0xc3, 0x80, 0x80, 0x80],
        // No list, an empty one, zeros in another spelling, padding in use.
        &[0x80],
        &[0xc0],
        &[],
        &[0xc2, 0x00, 0x00],
        &[0xc2, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ];
    for data in refused {
        assert_eq!(with(data), Err(FrameError::HeaderData), "{data:02x?}");
    }
}

#[test]
fn junk_is_no_frame() {
    let (_, mut ingress) = direction();
    let mut junk = BytesMut::from(&data(4000)[..]);
    assert_eq!(ingress.decode(&mut junk), Err(FrameError::HeaderMac));
}
