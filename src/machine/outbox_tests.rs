//! What an outbox emits: its order, its bounds, and that every receiver must accept it.

use proptest::prelude::*;

use super::*;
use crate::wire::segment::{Assembler, Message, Segment, SegmentDecoder};

fn message(code: u8, wire_bytes: usize) -> Payload {
    Payload { code, body: Bytes::from(vec![code; wire_bytes - 1]) }
}

/// An outbox whose first message (the Status) has gone.
fn opened(limits: OutboxLimits) -> Outbox {
    let mut outbox = Outbox::new(limits);
    outbox.push(Rank::Control, message(0, 1));
    drain(&mut outbox, 1);
    outbox
}

/// Up to `max` segments.
fn drain(outbox: &mut Outbox, max: usize) -> Vec<Segment> {
    let mut bytes = BytesMut::new();
    let mut polled = 0;
    while polled < max && outbox.poll_segment(&mut bytes).is_some() {
        polled += 1;
    }
    let mut decoder = SegmentDecoder::default();
    let segments: Vec<_> =
        std::iter::from_fn(|| decoder.decode(&mut bytes).expect("segments of ours are good")).collect();
    assert_eq!((segments.len(), bytes.len(), decoder.is_inside()), (polled, 0, false));
    segments
}

/// The messages that segments start, by code, in the order of their numbers.
fn starts(segments: &[Segment], first_number: u64) -> Vec<u8> {
    let mut next = first_number;
    let mut codes = Vec::new();
    for segment in segments {
        if segment.number == next {
            codes.push(segment.data[0]);
            next += 1;
        }
    }
    codes
}

#[test]
fn control_starts_before_replies_before_requests_before_announcements() {
    let mut outbox = opened(OutboxLimits::default());
    for (rank, code) in
        [(Rank::Announcement, 4), (Rank::Request, 3), (Rank::Reply, 2), (Rank::Control, 1), (Rank::Reply, 22)]
    {
        assert_eq!(outbox.push(rank, message(code, 10)), Pushed::Queued);
    }
    assert_eq!(starts(&drain(&mut outbox, 100), 1), [1, 2, 22, 3, 4]);
    assert!(outbox.is_empty());
    assert_eq!(outbox.waiting_bytes(), 0);
}

/// eth-stream section 2: a small answer is never later than one segment per large one open.
#[test]
fn a_small_message_alternates_with_a_large_one() {
    let mut outbox = opened(OutboxLimits::default());
    outbox.push(Rank::Reply, message(1, 4 * DATA_MAX));
    for code in [2, 3, 4] {
        outbox.push(Rank::Reply, message(code, 5));
    }
    let numbers: Vec<u64> = drain(&mut outbox, 100).iter().map(|segment| segment.number).collect();
    assert_eq!(numbers, [1, 1, 2, 1, 3, 1, 4]);
}

#[test]
fn started_messages_take_turns_by_segment() {
    let mut outbox = opened(OutboxLimits::default());
    outbox.push(Rank::Reply, message(1, 3 * DATA_MAX));
    outbox.push(Rank::Reply, message(2, 3 * DATA_MAX));
    let numbers: Vec<u64> = drain(&mut outbox, 100).iter().map(|segment| segment.number).collect();
    assert_eq!(numbers, [1, 1, 2, 1, 2, 2]);
}

#[test]
fn at_most_eight_messages_are_open_and_small_ones_pass_them() {
    let mut outbox = opened(OutboxLimits::default());
    for code in 1..=10 {
        outbox.push(Rank::Reply, message(code, 40 * DATA_MAX));
    }
    let begun = drain(&mut outbox, 60);
    assert_eq!(starts(&begun, 1), [1, 2, 3, 4, 5, 6, 7, 8]);
    // The ninth holds up its own rank, not the others.
    outbox.push(Rank::Request, message(50, DATA_MAX));
    let next = drain(&mut outbox, 2);
    assert_eq!(starts(&next, 9), [50]);
    let mut rest = drain(&mut outbox, usize::MAX);
    rest.retain(|segment| segment.number >= 10);
    assert_eq!(starts(&rest, 10), [9, 10]);
    assert_eq!(outbox.waiting_bytes(), 0);
}

#[test]
fn open_messages_sum_to_at_most_their_bytes() {
    let limits = OutboxLimits { open_bytes_max: 5 * DATA_MAX, ..OutboxLimits::default() };
    let mut outbox = opened(limits);
    outbox.push(Rank::Reply, message(1, 3 * DATA_MAX));
    outbox.push(Rank::Reply, message(2, 2 * DATA_MAX + 1));
    outbox.push(Rank::Request, message(3, 2 * DATA_MAX));
    outbox.push(Rank::Announcement, message(4, DATA_MAX));
    let numbers: Vec<u64> = drain(&mut outbox, 100).iter().map(|segment| segment.number).collect();
    // 2 is the request, which fits beside the first reply; the second one, 3, waits for its end.
    assert_eq!(numbers, [1, 1, 2, 1, 3, 2, 4, 3, 3]);
}

#[test]
fn nothing_starts_while_the_status_is_open() {
    let mut outbox = Outbox::new(OutboxLimits::default());
    outbox.push(Rank::Control, message(0, 3 * DATA_MAX));
    outbox.push(Rank::Reply, message(2, 5));
    let numbers: Vec<u64> = drain(&mut outbox, 100).iter().map(|segment| segment.number).collect();
    assert_eq!(numbers, [0, 0, 0, 1]);
}

#[test]
fn requests_beyond_their_bytes_are_refused_but_one_always_fits() {
    let limits = OutboxLimits { request_bytes_max: 100, ..OutboxLimits::default() };
    let mut outbox = opened(limits);
    assert_eq!(outbox.push(Rank::Request, message(1, 500)), Pushed::Queued);
    assert_eq!(outbox.push(Rank::Request, message(2, 1)), Pushed::Full);
    assert_eq!(outbox.waiting_bytes(), 500);
    drain(&mut outbox, 1);
    assert_eq!(outbox.push(Rank::Request, message(3, 60)), Pushed::Queued);
    assert_eq!(outbox.push(Rank::Request, message(4, 41)), Pushed::Full);
    assert_eq!(outbox.push(Rank::Request, message(5, 40)), Pushed::Queued);
    // Replies and control are bounded elsewhere.
    assert_eq!(outbox.push(Rank::Reply, message(6, 500)), Pushed::Queued);
    assert_eq!(outbox.push(Rank::Control, message(7, 500)), Pushed::Queued);
    assert_eq!(outbox.owed_bytes(), 500);
}

#[test]
fn the_oldest_announcements_make_room_by_number_and_by_bytes() {
    let limits =
        OutboxLimits { announcements_max: 3, announcement_bytes_max: 100, ..OutboxLimits::default() };
    let mut outbox = opened(limits);
    let mut push = |code, bytes| outbox.push(Rank::Announcement, message(code, bytes));
    assert_eq!([push(1, 10), push(2, 10), push(3, 10)], [Pushed::Queued; 3]);
    assert_eq!(push(4, 10), Pushed::Displaced(1));
    assert_eq!(push(5, 81), Pushed::Displaced(2));
    assert_eq!(push(6, 101), Pushed::Full);
    assert_eq!(outbox.waiting_bytes(), 91);
    assert_eq!(starts(&drain(&mut outbox, 100), 1), [4, 5]);
    assert_eq!(outbox.waiting_bytes(), 0);
}

/// A started message must be finished: the receiver has it open.
#[test]
fn clearing_drops_what_waits_and_keeps_what_has_started() {
    let mut outbox = opened(OutboxLimits::default());
    outbox.push(Rank::Reply, message(1, 3 * DATA_MAX));
    outbox.push(Rank::Reply, message(2, 100));
    outbox.push(Rank::Request, message(3, 100));
    outbox.push(Rank::Announcement, message(4, 100));
    drain(&mut outbox, 1);
    outbox.clear_waiting(|_, _| ());
    assert_eq!((outbox.waiting_bytes(), outbox.owed_bytes()), (2 * DATA_MAX, 2 * DATA_MAX));
    let numbers: Vec<u64> = drain(&mut outbox, 100).iter().map(|segment| segment.number).collect();
    assert_eq!(numbers, [1, 1]);
    assert!(outbox.is_empty());
}

#[test]
fn an_empty_outbox_emits_nothing() {
    let mut out = BytesMut::new();
    assert!(Outbox::new(OutboxLimits::default()).poll_segment(&mut out).is_none());
    assert!(out.is_empty());
}

#[derive(Debug, Clone)]
enum Op {
    Push(Rank, usize),
    Poll(usize),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let rank =
        prop_oneof![Just(Rank::Control), Just(Rank::Reply), Just(Rank::Request), Just(Rank::Announcement)];
    let size = prop_oneof![
        4 => 1..200usize,
        2 => DATA_MAX - 2..DATA_MAX + 3,
        3 => 1..6 * DATA_MAX,
    ];
    prop_oneof![
        5 => (rank, size).prop_map(|(rank, size)| Op::Push(rank, size)),
        5 => (1..12usize).prop_map(Op::Poll),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is pushed, in whatever order: a receiver with the same limits accepts every byte,
    /// every accepted message that was not displaced or cleared arrives whole, and the books balance.
    #[test]
    fn a_receiver_accepts_everything_an_outbox_emits(ops in prop::collection::vec(op(), 1..80)) {
        let limits = OutboxLimits {
            request_bytes_max: 8 * DATA_MAX,
            announcements_max: 4,
            announcement_bytes_max: 8 * DATA_MAX,
            open_max: 3,
            open_bytes_max: 10 * DATA_MAX,
        };
        let receiver = crate::wire::segment::SegmentLimits {
            open_max: 3,
            open_bytes_max: 10 * DATA_MAX,
            ..Default::default()
        };
        let mut outbox = Outbox::new(limits);
        let mut assembler = Assembler::new(receiver);
        let mut bytes = BytesMut::new();
        let mut decoder = SegmentDecoder::default();
        // The code is the serial number: there are fewer than 256 operations.
        let mut waiting: Vec<Payload> = Vec::new();
        let mut lost = 0;
        let mut arrived: Vec<Message> = Vec::new();
        for (serial, op) in ops.into_iter().chain([Op::Poll(usize::MAX)]).enumerate() {
            match op {
                Op::Push(rank, size) => {
                    let body: Vec<u8> = (0..size - 1).map(|at| (at ^ serial) as u8).collect();
                    let message = Payload { code: serial as u8, body: body.into() };
                    match outbox.push(rank, message.clone()) {
                        Pushed::Queued => waiting.push(message),
                        Pushed::Displaced(count) => {
                            prop_assert_eq!(rank, Rank::Announcement);
                            lost += count;
                            waiting.push(message);
                        }
                        Pushed::Full => prop_assert!(rank >= Rank::Request),
                    }
                }
                Op::Poll(count) => {
                    for _ in 0..count {
                        let before = outbox.waiting_bytes();
                        if outbox.poll_segment(&mut bytes).is_none() {
                            prop_assert!(outbox.is_empty(), "only an empty outbox may hold back");
                            break;
                        }
                        let segment = decoder.decode(&mut bytes).unwrap().unwrap();
                        prop_assert_eq!(before - outbox.waiting_bytes(), segment.data.len());
                        let accepted = assembler.on_segment(segment);
                        prop_assert!(accepted.is_ok(), "refused: {:?}", accepted);
                        arrived.extend(accepted.unwrap());
                    }
                }
                Op::Clear => {
                    outbox.clear_waiting(|_, _| ());
                    // Whatever has not arrived and is not open is gone; counted at the end.
                    lost = usize::MAX / 2;
                }
            }
        }
        prop_assert!(outbox.is_empty() && bytes.is_empty());
        prop_assert_eq!((outbox.waiting_bytes(), outbox.owed_bytes(), assembler.open()), (0, 0, 0));
        prop_assert!(arrived.len() + lost >= waiting.len());
        for message in &arrived {
            let sent = waiting.iter().find(|sent| sent.code == message.code);
            prop_assert_eq!(sent.map(|sent| &sent.body), Some(&message.body));
        }
    }
}
