//! Target 7: a stream of frames, honest and not, cut anywhere, against a model of what comes out.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use trunkline::testing::rlpx::{RawFrames, direction};
use trunkline::transport::rlpx::{FrameError, Ingress, p2p};
use trunkline_fuzz::{Choices, Cost, within};

/// The largest frame that the reading end takes.
const FRAME_BYTES_MAX: usize = 1 << 14;

/// A header and its MAC.
const HEADER: usize = 32;

/// What the reading end must make of the stream: these frames, and then its end.
struct Model {
    frames: Vec<Vec<u8>>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// Every byte belongs to a frame.
    Clean,
    /// This error, however many bytes follow.
    Error(FrameError),
    /// A frame that is not whole: waited for, or a wrong MAC if other bytes stand in its place.
    Broken,
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input);
    let cut = usize::from(choices.byte());
    let (mut frames, _) = direction(FRAME_BYTES_MAX);
    let mut model = Model { frames: Vec::new(), end: End::Clean };
    let mut wire = BytesMut::new();
    while !choices.is_empty() && model.end == End::Clean {
        let part = part(&mut choices, &mut frames, &mut model);
        wire.extend_from_slice(&part);
    }
    wire.extend_from_slice(choices.0);
    // Every direction has the same secrets.
    within(Cost::FRAMING, wire.len(), || read(direction(FRAME_BYTES_MAX).1, &wire, cut, &model));
});

/// The next part of the stream, noted in the model.
fn part(choices: &mut Choices<'_>, frames: &mut RawFrames, model: &mut Model) -> BytesMut {
    let kind = choices.byte();
    let len = usize::from(choices.byte());
    match kind % 8 {
        0 => {
            let (id, payload) = (choices.number() as u16, choices.bytes(len));
            model.frames.push([p2p::Id::new(id).as_ref(), payload].concat());
            frames.message(id, payload)
        }
        1 => {
            let data = vec![kind; (len << 7 | 1) + usize::from(choices.byte())];
            if data.len() <= FRAME_BYTES_MAX {
                model.frames.push(data.clone());
            } else {
                model.end = End::Error(FrameError::TooLarge(data.len()));
            }
            frames.frame(&data)
        }
        2 => any_header(choices, len, frames, model),
        3 => flipped(choices, len, frames, model),
        4 => {
            model.end = if len < HEADER { End::Broken } else { End::Error(FrameError::HeaderMac) };
            let mut junk = BytesMut::from(choices.bytes(len));
            junk.resize(len, kind);
            junk
        }
        5 => {
            let mut whole = frames.frame(&data(choices, len));
            // Fewer bytes of a MAC could be found by trying.
            whole.truncate((whole.len() - 8).saturating_sub(choices.number() % whole.len()));
            model.end = End::Broken;
            whole
        }
        _ => {
            let data = data(choices, len);
            model.frames.push(data.clone());
            frames.frame(&data)
        }
    }
}

/// Up to `len` bytes of the input, at least one.
fn data(choices: &mut Choices<'_>, len: usize) -> Vec<u8> {
    match choices.bytes(len) {
        [] => vec![0x10],
        data => data.to_vec(),
    }
}

/// A header that says anything, with the right MAC, and a frame behind it that may fit.
fn any_header(choices: &mut Choices<'_>, len: usize, frames: &mut RawFrames, model: &mut Model) -> BytesMut {
    let mut header = [0; 16];
    let said = choices.bytes(16);
    header[..said.len()].copy_from_slice(said);
    let [a, b, c, ref rest @ ..] = header;
    let size = u32::from_be_bytes([0, a, b, c]) as usize;
    let data = data(choices, len);
    let error = if size == 0 {
        Some(FrameError::Empty)
    } else if size > FRAME_BYTES_MAX {
        Some(FrameError::TooLarge(size))
    } else if rest != &[0xc2, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
        Some(FrameError::HeaderData)
    } else {
        None
    };
    match error {
        Some(error) => model.end = End::Error(error),
        // A size that rounds to the same is right for the MAC, and its frame is what it says: the
        // data cut short, or with padding in it.
        None if size.next_multiple_of(16) == data.len().next_multiple_of(16) => {
            let mut padded = data.clone();
            padded.resize(size, 0);
            model.frames.push(padded);
        }
        None => model.end = End::Broken,
    }
    frames.frame_with_header(header, &data)
}

/// An honest frame with a byte changed.
fn flipped(choices: &mut Choices<'_>, len: usize, frames: &mut RawFrames, model: &mut Model) -> BytesMut {
    let mut whole = frames.frame(&data(choices, len));
    let at = choices.number() % whole.len();
    whole[at] ^= choices.byte().max(1);
    let error = if at < HEADER { FrameError::HeaderMac } else { FrameError::BodyMac };
    model.end = End::Error(error);
    whole
}

/// Reads the stream in pieces and compares what comes out.
fn read(mut ingress: Ingress, wire: &[u8], cut: usize, model: &Model) {
    let mut src = BytesMut::new();
    let mut expected = model.frames.iter();
    let mut rest = wire;
    loop {
        match ingress.decode(&mut src) {
            Ok(Some(frame)) => {
                let expected = expected.next().expect("no more frames than were made");
                assert_eq!(frame, expected[..]);
            }
            Ok(None) => {
                assert!(ingress.wanted() > 0, "it waits for nothing");
                if rest.is_empty() {
                    break;
                }
                // Either pieces of one size, or what a socket would be asked for.
                let len = if cut == 0 { ingress.wanted() } else { cut * cut };
                let (piece, behind) = rest.split_at(len.min(rest.len()));
                ingress.reserve(&mut src);
                src.extend_from_slice(piece);
                rest = behind;
            }
            Err(error) => {
                assert_eq!(expected.next(), None, "{error} instead of a frame");
                match &model.end {
                    End::Error(expected) => assert_eq!(&error, expected),
                    End::Broken => {
                        assert!(matches!(error, FrameError::HeaderMac | FrameError::BodyMac), "{error}");
                    }
                    End::Clean => panic!("{error} in an honest stream"),
                }
                src.extend_from_slice(rest);
                assert_eq!(ingress.decode(&mut src), Err(error), "it does not stay wrong");
                return;
            }
        }
    }
    assert_eq!(expected.next(), None, "a frame is missing");
    assert!(!matches!(model.end, End::Error(_)), "{:?} went unnoticed", model.end);
    assert!(model.end == End::Broken || src.is_empty());
}
