//! A session machine by itself, and two of them as a [`Pair`] under a virtual clock.

use super::*;
use crate::disconnect::Side;
use crate::wire::segment::DATA_MAX;
use pair::*;

#[path = "session_any_order_tests.rs"]
mod any_order;
#[path = "session_pair.rs"]
mod pair;

#[test]
fn both_ends_come_up_with_the_others_handshake() {
    let mut pair = Pair::new();
    pair.run();
    assert_eq!(pair.a.ups, [Some(Bytes::from_static(b"b"))]);
    assert_eq!(pair.b.ups, [Some(Bytes::from_static(b"a"))]);
    assert_eq!(pair.a.machine.poll_timeout(), None);
}

/// C7: what follows one's own handshake at once is handled behind the remote's handshake.
#[test]
fn requests_and_news_right_behind_the_handshake_are_not_lost() {
    let mut pair = Pair::new();
    pair.a.ask(pair.now, 1);
    pair.a.machine.announce(pair.now, Payload { code: NEWS, body: Bytes::from_static(b"x") });
    pair.b.ask(pair.now, 2);
    pair.run();
    assert!(matches!(pair.a.outcomes[&1][..], [Ok(_)]) && matches!(pair.b.outcomes[&2][..], [Ok(_)]));
    assert_eq!(pair.b.taken.len(), 1);
}

#[test]
fn a_protocol_without_handshake_is_up_at_once() {
    let now = Instant::now();
    let mut end = End::new(now, None, SessionLimits::default());
    end.act(now);
    assert_eq!(
        (end.ups.clone(), end.machine.has_output(), end.machine.poll_timeout()),
        (vec![None], false, None)
    );
}

/// F13: both directions use the same ids, and each answer finds its own caller.
#[test]
fn simultaneous_requests_with_the_same_ids_are_independent() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..50).map(|n| (pair.a.ask(pair.now, n), pair.b.ask(pair.now, 100 + n))).collect();
    assert!(ids.iter().all(|(a, b)| a == b));
    pair.run();
    assert_eq!((pair.a.outcomes.len(), pair.b.outcomes.len()), (50, 50));
    let ok = |end: &End| end.outcomes.values().all(|outcome| matches!(outcome[..], [Ok(_)]));
    assert!(ok(&pair.a) && ok(&pair.b));
    assert_eq!((pair.a.slots.in_use(), pair.b.slots.in_use()), (0, 0));
}

/// How `b` ends, and what `a` hears of it, when `a` sends these messages.
fn what_b_makes_of(hello: Payload, messages: Vec<Payload>) -> (Pair, Option<Disconnected>) {
    let mut pair = Pair::with(hello, status(b"b"), SessionLimits::default());
    for message in messages {
        pair.inject(message);
    }
    pair.run();
    let ended = pair.b.ended();
    (pair, ended)
}

/// G1 G2: each wrong beginning has a reason of its own, and both sides learn it.
#[test]
fn a_wrong_beginning_ends_the_session_for_its_own_reason() {
    let breach = |breach| Some(Disconnected::local(DisconnectReason::Breach(breach)));
    let question = with_id(QUESTION, 0, 0);
    let (pair, ended) = what_b_makes_of(question.clone(), vec![status(b"a")]);
    assert_eq!(ended, breach(Breach::StatusMissing));
    assert_eq!(pair.a.ended(), Some(Disconnected::remote(DisconnectReason::from_code(2))));
    assert!(pair.b.ups.is_empty() && pair.b.downs[0].1);

    let (pair, ended) = what_b_makes_of(status(b"a"), vec![status(b"a"), question.clone()]);
    assert_eq!(ended, breach(Breach::StatusTwice));
    assert!(pair.b.outcomes.is_empty() && pair.b.ups.len() == 1);

    let mut pair = Pair::with(status(FOREIGN), status(b"b"), SessionLimits::default());
    pair.b.answers = false;
    pair.inject(question);
    pair.b.ask(pair.now, 7);
    pair.run();
    let refused = Disconnected::local(DisconnectReason::GenesisMismatch);
    assert_eq!((pair.b.ended(), pair.b.ups.len(), pair.b.serving.len()), (Some(refused), 0, 0));
    assert_eq!(pair.b.outcomes[&7], [Err(Failure::Disconnected(refused))]);
    assert_eq!(pair.a.ended(), Some(Disconnected::remote(DisconnectReason::Subprotocol)));
}

/// eth-stream section 3: a Disconnect may come first, and nothing after it is read.
#[test]
fn a_disconnect_is_believed_at_any_time_and_is_the_last_word() {
    let goodbye = Payload { code: DISCONNECT_CODE, body: Bytes::from_static(&[4]) };
    let too_many = Some(Disconnected::remote(DisconnectReason::TooManyPeers));
    let (pair, ended) = what_b_makes_of(goodbye.clone(), vec![status(b"a"), with_id(99, 0, 0)]);
    assert_eq!((ended, pair.b.downs[0].1, pair.b.ups.len()), (too_many, true, 0));
    let (pair, ended) = what_b_makes_of(status(b"a"), vec![goodbye, with_id(99, 0, 0)]);
    assert_eq!((ended, pair.b.downs[0].1, pair.b.ups.len()), (too_many, true, 1));
}

/// E8, eth-stream section 4: unknown codes, malformed envelopes and broken segments are breaches.
#[test]
fn bad_messages_are_breaches() {
    let cases = [
        (Payload { code: 99, body: Bytes::new() }, Breach::UnknownCode),
        (Payload { code: QUESTION, body: Bytes::from_static(b"short") }, Breach::Malformed),
    ];
    for (message, breach) in cases {
        let (_, ended) = what_b_makes_of(status(b"a"), vec![message]);
        assert_eq!(ended, Some(Disconnected::local(DisconnectReason::Breach(breach))));
    }
    let mut pair = Pair::new();
    pair.run();
    pair.b.machine.on_segment(pair.now, Segment { number: 9, more: false, data: Bytes::from_static(b"x") });
    pair.a.machine.on_bad_framing(Breach::Framing);
    pair.b.act(pair.now);
    pair.a.act(pair.now);
    let local = |breach| Some(Disconnected::local(DisconnectReason::Breach(breach)));
    assert_eq!((pair.b.ended(), pair.a.ended()), (local(Breach::Interleaving), local(Breach::Framing)));
}

/// F1 F2 F4 F5: what is the peer's fault is counted, what is not is excused, and the session lives.
#[test]
fn stray_answers_are_told_apart() {
    let mut pair = Pair::new();
    pair.a.answers = false;
    pair.run();
    let now = pair.now;
    let [answered, wrong, cancelled] = [1, 2, 3].map(|waiter| pair.b.ask(now, waiter).as_u64());
    pair.b.machine.cancel(now, RequestId::from_wire(cancelled));
    for message in [
        with_id(ANSWER, answered, 0),
        with_id(ANSWER, answered, 0),
        with_id(OTHER_ANSWER, wrong, 0),
        with_id(ANSWER, cancelled, 0),
        with_id(ANSWER, 0xdead_0000, 0),
    ] {
        pair.inject(message);
    }
    pair.run();
    assert_eq!(pair.b.misdeeds, [Misdeed::DuplicateAnswer, Misdeed::WrongKind, Misdeed::UnknownAnswer]);
    assert_eq!(pair.b.machine.counters().late_answers, 1);
    assert!(matches!(pair.b.outcomes[&1][..], [Ok(_)]));
    assert_eq!(pair.b.outcomes[&2], [Err(Failure::WrongKind)]);
    assert!(!pair.b.outcomes.contains_key(&3), "its caller has gone");
    assert_eq!((pair.b.ended(), pair.b.machine.pending_len(), pair.b.slots.in_use()), (None, 0, 0));
}

/// However few they are: 16 MiB may wait, one byte more is a breach.
#[test]
fn waiting_requests_are_bounded_in_bytes_too() {
    let mut pair = Pair::new();
    pair.b.answers = false;
    let half = 8 << 20;
    (0..4).for_each(|id| pair.inject(with_id(QUESTION, id, 0)));
    let overhead = with_id(QUESTION, 4, 0).wire_bytes();
    (4..6).for_each(|id| pair.inject(with_id(QUESTION, id, half - overhead)));
    pair.run();
    assert_eq!((pair.b.serving.len(), pair.b.ended()), (4, None));
    pair.inject(with_id(QUESTION, 6, 0));
    pair.run();
    let breach = Disconnected::local(DisconnectReason::Breach(Breach::TooManyRequests));
    assert_eq!(pair.b.ended(), Some(breach));
}

/// What a peer would have to refuse is not sent: a request fails, a reply counts as none.
#[test]
fn our_own_messages_are_held_to_the_limit() {
    let mut pair = Pair::new();
    pair.run();
    let large = with_id(ANSWER, 0, 10 << 20);
    pair.b.machine.on_reply(pair.now, 0, Ok(Some(large.clone())));
    pair.b.machine.announce(pair.now, large);
    pair.run();
    assert_eq!((pair.b.machine.counters().oversized, pair.a.ended()), (2, None));
}

/// Four are served at once, 256 wait, one more is a breach.
#[test]
fn requests_of_the_peer_beyond_those_that_may_wait_are_a_breach() {
    let mut pair = Pair::new();
    pair.b.answers = false;
    (0..260).for_each(|id| pair.inject(with_id(QUESTION, id, 0)));
    pair.run();
    assert_eq!((pair.b.serving.len(), pair.b.ended()), (4, None));
    // One is done: the next starts, and there is room for another.
    pair.b.machine.on_reply(pair.now, 0, Ok(None));
    pair.inject(with_id(QUESTION, 260, 0));
    pair.run();
    assert_eq!((pair.b.serving.len(), pair.b.ended()), (5, None));
    pair.inject(with_id(QUESTION, 261, 0));
    pair.run();
    let breach = Disconnected::local(DisconnectReason::Breach(Breach::TooManyRequests));
    assert_eq!(pair.b.ended(), Some(breach));
    pair.b.machine.on_reply(pair.now, 0, Ok(None));
    pair.b.act(pair.now);
    assert_eq!(pair.b.serving.len(), 5, "nothing is served after the end");
}

/// D6: tiny replies cost more than their bytes, so their number is bounded, too.
#[test]
fn owed_replies_hold_further_ones_back_however_small() {
    let now = Instant::now();
    let limits = SessionLimits { owed_replies_max: 3, ..SessionLimits::default() };
    let mut end = End::new(now, None, limits);
    end.answers = false;
    for number in 0..8 {
        let question = with_id(QUESTION, number, 0);
        let data = [&[question.code][..], &question.body].concat();
        end.machine.on_segment(now, Segment { number, more: false, data: data.into() });
        end.act(now);
    }
    assert_eq!(end.serving.len(), 4, "four are served at once");
    for reply in 0..4 {
        end.machine.on_reply(now, 0, Ok(Some(with_id(ANSWER, reply, 0))));
        end.act(now);
    }
    assert_eq!(end.serving.len(), 6, "two more began before three replies were owed");
    end.next_segment();
    end.next_segment();
    end.machine.on_written(now, true, false);
    end.act(now);
    assert_eq!(end.serving.len(), 8, "two were written, two more begin");
}

/// D6: replies the peer does not read hold back further ones, not the reading.
#[test]
fn owed_bytes_hold_replies_back_until_they_are_written() {
    let now = Instant::now();
    let limits = SessionLimits { owed_bytes_max: 2 * DATA_MAX, ..SessionLimits::default() };
    let mut end = End::new(now, None, limits);
    end.answers = false;
    let mut number = 0;
    let mut receive = |end: &mut End, message: Payload| {
        let mut data = vec![message.code];
        data.extend_from_slice(&message.body);
        end.machine.on_segment(now, Segment { number, more: false, data: data.into() });
        number += 1;
        end.act(now);
    };
    (0..3).for_each(|id| receive(&mut end, with_id(QUESTION, id, 0)));
    assert_eq!(end.serving.len(), 3);
    // One reply larger than the cap may go when nothing else is owed.
    end.machine.on_reply(now, 0, Ok(Some(with_id(ANSWER, 0, 3 * DATA_MAX))));
    (3..6).for_each(|id| receive(&mut end, with_id(QUESTION, id, 0)));
    assert_eq!(end.serving.len(), 3, "a request was started above the cap");
    let asked = end.ask(now, 1).as_u64();
    receive(&mut end, with_id(ANSWER, asked, 0));
    assert!(matches!(end.outcomes[&1][..], [Ok(_)]), "answers to us are read all the same");
    end.next_segment();
    end.machine.on_written(now, true, false);
    end.act(now);
    assert_eq!(end.serving.len(), 3, "still two segments and a byte owed");
    end.next_segment();
    end.next_segment();
    end.machine.on_written(now, true, true);
    end.act(now);
    assert_eq!(end.serving.len(), 5, "two more may start: four are served at once");
}

#[test]
fn news_are_handled_one_at_a_time_and_dropped_when_they_are_too_many() {
    let limits = SessionLimits { inbox_max: 3, inbox_bytes_max: 300, ..SessionLimits::default() };
    let mut pair = Pair::with(status(b"a"), status(b"b"), limits);
    for size in [10, 100, 150, 100, 20, 20] {
        pair.inject(Payload { code: NEWS, body: vec![size as u8; size].into() });
    }
    pair.run();
    // The first is being handled; the fourth is too many bytes, the last one too many.
    assert_eq!((pair.b.taken.len(), pair.b.machine.counters().inbox_dropped), (1, 2));
    for _ in 0..5 {
        pair.b.machine.on_taken(Ok(()));
        pair.b.act(pair.now);
    }
    let sizes: Vec<_> = pair.b.taken.iter().map(|message| message.body.len()).collect();
    assert_eq!(sizes, [10, 100, 150, 20]);
    // What was handled no longer counts.
    pair.inject(Payload { code: NEWS, body: vec![0; 290].into() });
    pair.run();
    assert_eq!(pair.b.taken.len(), 5);
    pair.b.machine.on_taken(Err(DisconnectReason::BadData));
    pair.b.act(pair.now);
    assert_eq!(pair.b.ended(), Some(Disconnected::local(DisconnectReason::BadData)));
}

#[test]
fn our_own_news_are_dropped_oldest_first_and_counted() {
    let mut limits = SessionLimits::default();
    limits.outbox.announcements_max = 2;
    limits.outbox.announcement_bytes_max = 100;
    let mut end = End::new(Instant::now(), None, limits);
    for size in [10, 10, 10, 200] {
        end.machine.announce(Instant::now(), Payload { code: NEWS, body: vec![0; size].into() });
    }
    assert_eq!(end.machine.counters().announcements_dropped, 2);
}

/// A caller found an answer malformed, or with too many items.
#[test]
fn what_callers_find_comes_back_as_a_breach_or_a_misdeed() {
    let mut pair = Pair::new();
    pair.run();
    pair.a.machine.on_malformed_answer(true);
    pair.a.act(pair.now);
    assert_eq!((&pair.a.misdeeds[..], pair.a.ended()), (&[Misdeed::Excess][..], None));
    pair.a.machine.on_malformed_answer(false);
    pair.a.act(pair.now);
    let breach = Disconnected::local(DisconnectReason::Breach(Breach::Malformed));
    assert_eq!(pair.a.ended(), Some(breach));
}

#[test]
fn a_full_outbox_makes_a_request_busy_and_gives_its_permit_back() {
    let mut limits = SessionLimits::default();
    limits.outbox.request_bytes_max = 20;
    let now = Instant::now();
    let mut end = End::new(now, None, limits);
    for waiter in 0..3 {
        end.ask(now, waiter);
    }
    assert_eq!(end.outcomes[&2], [Err(Failure::Busy)]);
    assert_eq!((end.machine.pending_len(), end.slots.in_use()), (2, 2));
}

/// F8: at its deadline, no earlier and no later; the session lives, and the late answer is excused.
#[test]
fn an_unanswered_request_times_out_at_its_deadline() {
    let mut pair = Pair::new();
    pair.a.answers = false;
    pair.run();
    pair.b.ask(pair.now, 1);
    pair.pass(millis(14_999));
    assert!(pair.b.outcomes.is_empty());
    pair.pass(millis(1));
    assert_eq!(pair.b.outcomes[&1], [Err(Failure::TimedOut(Duration::from_secs(15)))]);
    assert_eq!((pair.b.ended(), pair.b.slots.in_use()), (None, 0));
    let answer = Payload { code: ANSWER, body: pair.a.serving[0].body.clone() };
    pair.a.machine.on_reply(pair.now, 0, Ok(Some(answer)));
    pair.run();
    assert_eq!((pair.b.machine.counters().late_answers, pair.b.outcomes[&1].len()), (1, 1));
}

/// The reason and the time after which a lone machine ends when `prepare` is all that happens.
fn ends_after(hello: bool, prepare: impl FnOnce(&mut End, Instant)) -> Option<(DisconnectReason, u128)> {
    let start = Instant::now();
    let mut end = End::new(start, hello.then(|| status(b"x")), SessionLimits::default());
    if hello {
        while end.next_segment().is_some() {}
        end.machine.on_written(start, true, false);
    }
    prepare(&mut end, start);
    let mut now = start;
    while let Some(next) = end.machine.poll_timeout() {
        now = next;
        end.machine.on_timeout(now - Duration::from_nanos(1));
        end.act(now);
        assert!(end.downs.is_empty(), "ended early");
        end.machine.on_timeout(now);
        end.act(now);
    }
    end.ended().map(|ended| (ended.reason, (now - start).as_millis()))
}

#[test]
fn each_deadline_of_a_session_has_its_reason() {
    let timed_out = |what, after| Some((DisconnectReason::TimedOut(what), after));
    assert_eq!(ends_after(true, |_, _| ()), timed_out(Deadline::Status, 5000));
    assert_eq!(ends_after(false, |_, _| ()), None);
    let open = ends_after(false, |end, now| {
        let data = Bytes::from_static(b"x");
        end.machine.on_segment(now, Segment { number: 0, more: true, data: data.clone() });
        end.machine.on_segment(now + millis(7000), Segment { number: 0, more: true, data });
    });
    assert_eq!(open, timed_out(Deadline::Segment, 27_000));
    let unread = ends_after(false, |end, now| {
        end.machine.announce(now + millis(1000), Payload { code: NEWS, body: vec![0; 100_000].into() });
        end.next_segment();
        end.machine.on_written(now + millis(3000), true, true);
        end.machine.on_written(now + millis(4000), false, true);
    });
    assert_eq!(unread, timed_out(Deadline::Write, 23_000));
    let late = ends_after(false, |end, now| {
        end.machine.announce(now + millis(15_000), Payload { code: NEWS, body: Bytes::new() });
    });
    assert_eq!(late, timed_out(Deadline::Write, 35_000));
    let blocked = ends_after(false, |end, now| {
        end.machine.announce(now, Payload { code: NEWS, body: Bytes::new() });
        end.next_segment();
        end.machine.on_written(now + millis(1000), false, true);
    });
    assert_eq!(blocked, timed_out(Deadline::Write, 21_000));
    let written = ends_after(false, |end, now| {
        end.machine.announce(now, Payload { code: NEWS, body: Bytes::new() });
        end.next_segment();
        end.machine.on_written(now, false, true);
        end.machine.on_written(now + millis(19_000), true, false);
    });
    assert_eq!(written, None);
}

/// F6, O-1: whatever ends a session, each request of ours ends once, with that ending.
#[test]
fn every_ending_ends_every_request_exactly_once() {
    type Ending = fn(&mut End, Instant);
    let endings: [(&str, Ending); 9] = [
        ("asked for", |end, _| end.machine.end(DisconnectReason::Requested)),
        ("remote close", |end, _| {
            end.machine.on_closed(Disconnected::remote(DisconnectReason::SubstreamClosed));
        }),
        ("lost", |end, _| end.machine.on_closed(Disconnected::lost())),
        ("framing", |end, _| end.machine.on_bad_framing(Breach::Framing)),
        ("refused by a handler", |end, now| end.machine.on_reply(now, 0, Err(DisconnectReason::BadData))),
        ("refused news", |end, _| end.machine.on_taken(Err(DisconnectReason::BadData))),
        ("malformed answer", |end, _| end.machine.on_malformed_answer(false)),
        ("status missing", |end, now| {
            end.machine
                .on_segment(now, Segment { number: 0, more: false, data: Bytes::from_static(b"\x04") });
        }),
        ("status late", |end, now| end.machine.on_timeout(now + Duration::from_secs(5))),
    ];
    for (name, ending) in endings {
        let now = Instant::now();
        let mut end = End::new(now, Some(status(b"x")), SessionLimits::default());
        for waiter in 0..100 {
            end.ask(now, waiter);
        }
        ending(&mut end, now);
        end.act(now);
        let ended = end.ended().unwrap_or_else(|| panic!("{name}: did not end"));
        assert_eq!(end.outcomes.len(), 100, "{name}");
        assert!(end.outcomes.values().all(|o| *o == [Err(Failure::Disconnected(ended))]), "{name}");
        assert_eq!((end.slots.in_use(), end.machine.pending_len()), (0, 0), "{name}");
        assert_eq!((end.machine.poll_timeout(), end.machine.is_over()), (None, true), "{name}");
        // A reason of ours is the last word; unsent requests are not.
        let mut last = None;
        while let Some(segment) = end.next_segment() {
            last = Some(segment.data);
        }
        let told = last.is_some_and(|data| data[0] == DISCONNECT_CODE);
        assert_eq!(told, ended.side == Side::Local, "{name}");
    }
}

/// Every input there is, after the end.
fn everything(end: &mut End, now: Instant) {
    let machine = &mut end.machine;
    machine.on_segment(now, Segment { number: 0, more: false, data: Bytes::from_static(&[STATUS]) });
    machine.on_bad_framing(Breach::Framing);
    machine.on_reply(now, 0, Ok(Some(with_id(ANSWER, 0, 9))));
    machine.on_reply(now, 0, Err(DisconnectReason::BadData));
    machine.on_taken(Ok(()));
    machine.on_taken(Err(DisconnectReason::BadData));
    machine.on_malformed_answer(true);
    machine.on_malformed_answer(false);
    machine.announce(now, Payload { code: NEWS, body: Bytes::new() });
    machine.on_written(now, true, false);
    machine.on_closed(Disconnected::lost());
    machine.end(DisconnectReason::BadData);
    machine.on_timeout(now + Duration::from_secs(3600));
    machine.cancel(now, RequestId::from_wire(0));
}

#[test]
fn nothing_acts_after_the_end() {
    let now = Instant::now();
    let mut end = End::new(now, Some(status(b"x")), SessionLimits::default());
    end.machine.on_closed(Disconnected::lost());
    end.act(now);
    while end.next_segment().is_some() {}
    everything(&mut end, now);
    assert_eq!((end.machine.poll_action(), end.machine.poll_timeout()), (None, None));
    assert!(!end.machine.has_output());
    end.ask(now, 1);
    assert!(matches!(end.outcomes[&1][..], [Err(Failure::Disconnected(_))]));
    assert_eq!(end.slots.in_use(), 0);
}
