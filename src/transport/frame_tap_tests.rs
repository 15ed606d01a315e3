//! Every rule of the muxer that the tap watches, over frames as they are on the wire.

use super::*;
use crate::wire::fixtures::Junk;

const WINDOW_UPDATE: u8 = 1;
const ACK: u16 = 2;

fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

fn data(flags: u16, stream: u32, body: usize) -> Vec<u8> {
    let mut bytes = frame(DATA, flags, stream, body as u32);
    // A body that looks like headers: a parser that loses its place finds violations in it.
    bytes.extend(frame(GO_AWAY, SYN, 0, 7).into_iter().cycle().take(body));
    bytes
}

fn tap() -> FrameTap {
    FrameTap::new(TapLimits::default())
}

/// How many repetitions of `frame`, one every `every`, pass before the violation.
fn endures(frame: &[u8], every: Duration) -> (usize, Option<Violation>) {
    let (mut tap, mut now) = (tap(), Instant::now());
    for count in 0..3000 {
        if let Err(violation) = tap.on_inbound(now, frame) {
            return (count, Some(violation));
        }
        now += every;
    }
    (3000, None)
}

/// D1 D2 D3: yamux finds these itself, says GoAway and goes on; its own GoAway gives it away.
#[test]
fn a_go_away_of_our_own_yamux_with_a_code_is_a_violation_of_the_peer() {
    assert_eq!(tap().on_outbound(&frame(GO_AWAY, 0, 0, 0)), Ok(()));
    for code in [1, 2, u32::MAX] {
        assert_eq!(tap().on_outbound(&frame(GO_AWAY, 0, 0, code)), Err(Violation::Protocol(code)));
    }
    // What the peer says about us is no violation of its.
    assert_eq!(tap().on_inbound(Instant::now(), &frame(GO_AWAY, 0, 0, 1)), Ok(()));
}

/// D1 D2 D3: the GoAway is found behind data, and wherever writes are cut.
#[test]
fn our_go_away_is_found_at_every_cut() {
    let mut sent = data(SYN, 1, 100);
    sent.extend(frame(PING, SYN, 0, 7));
    sent.extend(data(0, 1, 5));
    sent.extend(frame(GO_AWAY, 0, 0, 1));
    for cut in 0..sent.len() {
        let mut tap = tap();
        assert_eq!(tap.on_outbound(&sent[..cut]), Ok(()), "{cut}");
        assert_eq!(tap.on_outbound(&sent[cut..]), Err(Violation::Protocol(1)), "{cut}");
    }
}

/// D5 D7: ten a second are fine for ever; pongs are answers to our own and always fine.
#[test]
fn more_pings_than_a_hundred_in_ten_seconds_are_a_flood() {
    let ping = frame(PING, SYN, 0, 1);
    assert_eq!(endures(&ping, Duration::ZERO), (100, Some(Violation::PingFlood)));
    assert_eq!(endures(&ping, Duration::from_millis(100)), (3000, None));
    assert_eq!(endures(&ping, Duration::from_millis(99)), (100, Some(Violation::PingFlood)));
    // yamux answers a ping without any flag as well.
    assert_eq!(endures(&frame(PING, 0, 0, 1), Duration::ZERO), (100, Some(Violation::PingFlood)));
    assert_eq!(endures(&frame(PING, ACK, 0, 1), Duration::ZERO), (3000, None));
}

/// D8: open and reset, over and over.
#[test]
fn more_resets_than_a_hundred_in_ten_seconds_are_a_flood() {
    let mut tap = tap();
    let now = Instant::now();
    for round in 0..=100 {
        let stream = 1 + 2 * round;
        assert_eq!(tap.on_inbound(now, &frame(WINDOW_UPDATE, SYN, stream, 0)), Ok(()));
        let reset = tap.on_inbound(now, &frame(WINDOW_UPDATE, RST, stream, 0));
        assert_eq!(reset.is_err(), round == 100, "{round}");
        tap.forget(stream);
    }
    assert_eq!(endures(&data(RST, 1, 0), Duration::from_millis(100)), (3000, None));
    assert_eq!(endures(&data(RST, 1, 0), Duration::ZERO), (100, Some(Violation::ResetFlood)));
}

/// D8: the map grows only by streams that somebody will forget.
#[test]
fn a_stream_that_is_opened_and_reset_in_one_frame_leaves_nothing_behind() {
    let (mut tap, mut now) = (tap(), Instant::now());
    for round in 0..1000 {
        for kind in [DATA, WINDOW_UPDATE] {
            assert_eq!(tap.on_inbound(now, &frame(kind, SYN | RST, 1 + 2 * round, 0)), Ok(()));
        }
        now += Duration::from_millis(250);
    }
    assert_eq!(tap.streams.len(), 0);
}

/// D9: frames without data cost us only time; a hundred of them in ten seconds are allowed.
#[test]
fn more_empty_frames_than_a_hundred_in_ten_seconds_are_a_flood() {
    let empty = data(0, 1, 0);
    assert_eq!(endures(&empty, Duration::ZERO), (100, Some(Violation::EmptyFrames)));
    assert_eq!(endures(&empty, Duration::from_millis(100)), (3000, None));
    // With a flag they mean something: an acknowledgement or a half-close.
    assert_eq!(endures(&data(ACK, 1, 0), Duration::ZERO), (3000, None));
    assert_eq!(endures(&data(FIN, 1, 0), Duration::ZERO), (3000, None));
    assert_eq!(endures(&frame(WINDOW_UPDATE, 0, 1, 0), Duration::ZERO), (3000, None));
}

/// D9: what is buffered counts, over all streams together.
#[test]
fn more_unread_frames_than_their_limit_are_a_violation() {
    let (mut tap, now) = (tap(), Instant::now());
    tap.register(1);
    tap.register(3);
    for count in 0..1024 {
        assert_eq!(tap.on_inbound(now, &data(0, 1 + 2 * (count % 2), 1)), Ok(()));
    }
    assert_eq!(tap.unread_frames(), 1024);
    assert_eq!(tap.on_inbound(now, &data(0, 1, 1)), Err(Violation::UnreadFrames));
}

/// D9: 10,000 small frames that are consumed are no fault, however small the reads.
#[test]
fn small_frames_that_are_read_are_never_a_fault() {
    let (mut tap, now) = (tap(), Instant::now());
    tap.register(1);
    for _ in 0..10_000 {
        tap.on_inbound(now, &data(0, 1, 3)).unwrap();
        tap.on_read(1, 1);
        tap.on_read(1, 2);
    }
    assert_eq!(tap.unread_frames(), 0);
    // Ten frames in one read, and a read that ends inside a frame.
    (0..10).for_each(|_| tap.on_inbound(now, &data(0, 1, 100)).unwrap());
    tap.on_read(1, 950);
    assert_eq!(tap.unread_frames(), 1);
    tap.on_read(1, 49);
    assert_eq!(tap.unread_frames(), 1);
    tap.on_read(1, 1);
    assert_eq!(tap.unread_frames(), 0);
}

#[test]
fn frames_of_unknown_streams_do_not_count_and_forgetting_a_stream_forgets_its_frames() {
    let (mut tap, now) = (tap(), Instant::now());
    (0..2000).for_each(|_| tap.on_inbound(now, &data(0, 9, 1)).unwrap());
    assert_eq!(tap.unread_frames(), 0);
    tap.on_inbound(now, &data(SYN, 9, 1)).unwrap();
    tap.register(9);
    (0..500).for_each(|_| tap.on_inbound(now, &data(0, 9, 1)).unwrap());
    assert_eq!(tap.unread_frames(), 501);
    tap.forget(9);
    assert_eq!((tap.unread_frames(), tap.streams.len()), (0, 0));
    tap.on_read(9, 1);
    tap.forget(9);
    tap.on_inbound(now, &data(0, 9, 1)).unwrap();
    assert_eq!(tap.unread_frames(), 0);
}

/// D12: only a half-close that no reset followed is a clean end.
#[test]
fn a_reset_is_told_from_an_end_of_file() {
    let ends = |frames: &[Vec<u8>]| {
        let mut tap = tap();
        tap.register(2);
        frames.iter().for_each(|frame| tap.on_inbound(Instant::now(), frame).unwrap());
        tap.end_of(2)
    };
    assert_eq!(ends(&[]), StreamEnd::Broken, "the connection went away under it");
    assert_eq!(ends(&[data(FIN, 2, 0)]), StreamEnd::Finished);
    assert_eq!(ends(&[data(FIN, 2, 7)]), StreamEnd::Finished);
    assert_eq!(ends(&[frame(WINDOW_UPDATE, FIN, 2, 0)]), StreamEnd::Finished);
    assert_eq!(ends(&[data(RST, 2, 0)]), StreamEnd::Broken);
    assert_eq!(ends(&[data(FIN, 2, 0), frame(WINDOW_UPDATE, RST, 2, 0)]), StreamEnd::Broken);
    assert_eq!(ends(&[data(FIN, 4, 0)]), StreamEnd::Broken, "another stream's end");
    // Opened and ended by the peer in one frame.
    let mut tap = tap();
    tap.on_inbound(Instant::now(), &data(SYN | FIN, 1, 3)).unwrap();
    assert_eq!(tap.end_of(1), StreamEnd::Finished);
}

/// E14: the same state for every place where a read may end, and for every single byte.
#[test]
fn every_split_gives_the_same_count() {
    let mut sent = frame(WINDOW_UPDATE, SYN, 1, 0x1_0000);
    sent.extend(data(0, 1, 40));
    sent.extend(frame(PING, SYN, 0, 9));
    sent.extend(data(0, 1, 0));
    sent.extend(data(SYN, 3, 13));
    sent.extend(data(FIN, 1, 1));
    let seen = |tap: &FrameTap| (tap.unread_frames(), tap.end_of(1), tap.end_of(3), tap.streams.len());
    let now = Instant::now();
    for cut in 0..=sent.len() {
        let mut tap = tap();
        tap.on_inbound(now, &sent[..cut]).unwrap();
        tap.on_inbound(now, &sent[cut..]).unwrap();
        assert_eq!(seen(&tap), (3, StreamEnd::Finished, StreamEnd::Broken, 2), "{cut}");
    }
    let mut tap = tap();
    sent.iter().for_each(|byte| tap.on_inbound(now, &[*byte]).unwrap());
    assert_eq!(seen(&tap), (3, StreamEnd::Finished, StreamEnd::Broken, 2));
}

/// D15: what yamux will refuse to decode must not upset the tap before it does.
#[test]
fn junk_never_panics_and_counts_stay_true() {
    let mut junk = Junk::seeded(11);
    for _ in 0..500 {
        let (mut tap, mut now) = (tap(), Instant::now());
        for _ in 0..200 {
            now += Duration::from_millis(200);
            let bytes = match junk.below(3) {
                0 => junk.bytes(40),
                _ => data(junk.below(16) as u16, junk.below(4) as u32, junk.below(20)),
            };
            if tap.on_inbound(now, &bytes).is_err() {
                break;
            }
            tap.on_read(junk.below(4) as u32, junk.below(30));
            if junk.below(9) == 0 {
                tap.forget(junk.below(4) as u32);
            }
            let unread: usize = tap.streams.values().map(|state| state.unread.len()).sum();
            assert_eq!(tap.unread_frames(), unread);
        }
    }
}

#[test]
fn a_window_counts_what_falls_into_its_span() {
    let (mut window, start) = (Window::default(), Instant::now());
    let at = |millis| start + Duration::from_millis(millis);
    let span = Duration::from_secs(1);
    assert!(!window.exceeds(at(0), span, 2));
    assert!(!window.exceeds(at(500), span, 2));
    assert!(window.exceeds(at(999), span, 2));
    assert!(!window.exceeds(at(1000), span, 2));
    assert!(window.exceeds(at(1499), span, 2));
    assert!(!window.exceeds(at(1500), span, 2));
}
