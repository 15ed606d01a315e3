use super::*;
use crate::trace::kind::Kind;
use crate::trace::tools::fixtures::{MS, PEER, Story, name_of};
use crate::trace::tools::model::Keep;

pub(super) fn found(story: &Story) -> Vec<Finding> {
    let options = Options::over(1000 * MS);
    let all = find(&story.model(), options);
    let open = find(&story.keeping(Keep::Open { slow_ns: options.over_ns }), options);
    assert_eq!(all, open, "what is kept of a large file suffices");
    all
}

pub(super) fn only(story: &Story) -> Finding {
    let mut findings = found(story);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

#[test]
fn a_trace_in_which_all_went_well_has_nothing_to_report() {
    let mut story = Story::new();
    story.session(0, 1);
    for n in 0..50 {
        story.answered(10 + n * 20, 1, "GetBlockHeaders", n);
        story.message(101, "Ask", 10 + n * 20, 11 + n * 20, Some(12 + n * 20));
    }
    assert_eq!(found(&story), []);
    assert!(text(&story.model(), &[]).starts_with("nothing is stuck"));
}

#[test]
fn a_written_request_waits_for_a_silent_peer() {
    let mut story = Story::new();
    story.session(0, 1);
    story.answered(100, 1, "GetBlockHeaders", 1);
    let key = story.ask(200, 1, "GetBlockBodies");
    story.steps(key, 2, &[(200, Kind::ReqQueued), (200, Kind::ReqEncoded), (201, Kind::ReqWritten)]);
    story.until(3401);
    let finding = only(&story);
    assert_eq!((finding.cause, finding.now), (Cause::PeerNotAnswering, true));
    assert_eq!(finding.duration_ns, 3200 * MS);
    assert_eq!(finding.peer.as_deref(), Some(PEER));
    assert_eq!(finding.last_byte_ns, Some(101 * MS));
    assert_eq!(
        finding.sentence,
        format!(
            "request {key} (eth GetBlockBodies to 16Uiu2…ABCDEF): written 3.20 s ago, peer is not answering: \
             last byte from it 3.30 s ago"
        )
    );
    let asked = finding.request.expect("a request");
    assert_eq!((asked.wire, asked.step, &*asked.state), (Some(2), Some("written"), "open"));
}

#[test]
fn a_busy_handler_is_named_with_what_waits_behind_it() {
    let mut story = Story::new();
    let actor = story.session(0, 1);
    story.message(actor, "Ask", 100, 100, None);
    for n in 0..12 {
        story.event(110 + n, Kind::MsgEnqueued, |r| (r.x, r.name) = (u64::from(actor), name_of("Ask")));
    }
    let key = story.ask(110, 1, "GetBlockBodies");
    story.until(300);
    let finding = only(&story);
    assert_eq!((finding.cause, finding.messages_waiting), (Cause::Handler, 12));
    assert!(
        finding
            .sentence
            .starts_with("actor 101 (PeerSession) has been handling Ask for 200 ms; 12 messages wait"),
        "{}",
        finding.sentence
    );
    assert_eq!(finding.requests, [key.to_string()]);
    assert_eq!(finding.message.as_deref(), Some("Ask"));
}

#[test]
fn a_handler_that_held_up_requests_is_found_afterwards() {
    let mut story = Story::new();
    let actor = story.session(0, 1);
    story.message(actor, "Ask", 100, 100, Some(1400));
    let key = story.ask(150, 1, "GetBlockBodies");
    story.steps(key, 2, &[(1401, Kind::ReqQueued), (1401, Kind::ReqEncoded), (1402, Kind::ReqWritten)]);
    story.read(1404, 1);
    story.steps(key, 2, &[(1404, Kind::ReqFirstByte), (1404, Kind::ReqReceived)]);
    story.end(1405, key, 2, "ok");
    let finding = only(&story);
    assert_eq!((finding.cause, finding.now, finding.duration_ns), (Cause::Handler, false, 1300 * MS));
    assert_eq!(finding.requests, [key.to_string()]);
    assert!(
        finding.sentence.starts_with("actor 101 (PeerSession) handled Ask for 1.30 s"),
        "{}",
        finding.sentence
    );
    assert!(finding.sentence.contains("the whole process may have been stopped"), "{}", finding.sentence);
    // A stopped process says nothing of what is stalled.
    story.event(600, Kind::Stalled, |r| (r.actor, r.y) = (actor, 500 * MS));
    story.event(1100, Kind::Stalled, |r| (r.actor, r.y) = (actor, 1000 * MS));
    assert!(!only(&story).sentence.contains("stopped"));
}

#[test]
fn a_silence_is_told_although_all_went_on() {
    let mut story = Story::new();
    story.session(0, 1);
    story.answered(100, 1, "GetBlockHeaders", 1);
    let keys: Vec<_> = (0..3).map(|_| story.ask(200, 1, "GetBlockBodies")).collect();
    for key in &keys {
        story.steps(*key, 2, &[(200, Kind::ReqQueued), (200, Kind::ReqEncoded), (201, Kind::ReqWritten)]);
    }
    story.read(3201, 1);
    for key in &keys {
        story.steps(*key, 2, &[(3201, Kind::ReqFirstByte), (3201, Kind::ReqReceived)]);
        story.end(3202, *key, 2, "ok");
    }
    let finding = only(&story);
    assert_eq!((finding.cause, finding.now), (Cause::PeerNotAnswering, false));
    assert_eq!((finding.duration_ns, finding.requests_total), (3000 * MS, 3));
    assert!(
        finding.sentence.contains("was not answering for 3.00 s: last byte then at 0.101000 s"),
        "{}",
        finding.sentence
    );
}

#[test]
fn blocked_sockets_and_windows_are_told_apart() {
    let mut story = Story::new();
    story.session(0, 1);
    let key = story.ask(100, 1, "GetBlockBodies");
    story.steps(key, 2, &[(100, Kind::ReqQueued), (100, Kind::ReqEncoded)]);
    let mut other = story.clone();
    story.event(100, Kind::SocketBlocked, |r| r.conn = 1);
    story.until(700);
    let finding = only(&story);
    assert_eq!((finding.cause, finding.duration_ns), (Cause::PeerNotReading, 600 * MS));
    assert_eq!(finding.requests, [key.to_string()]);

    other.event(100, Kind::WindowBlocked, |r| (r.conn, r.proto, r.x) = (1, name_of("eth"), 5000));
    other.until(700);
    let finding = only(&other);
    assert_eq!(finding.cause, Cause::Window);
    assert!(finding.sentence.contains("no room on the substream of eth"), "{}", finding.sentence);
    assert!(finding.sentence.contains("5000 B wait"), "{}", finding.sentence);
}

#[test]
fn requests_of_the_peer_name_the_protocol_or_the_limit() {
    let mut story = Story::new();
    story.session(0, 1);
    let served = story.asked(100, 1, "GetBlockBodies", 7);
    story.step(101, served, Kind::ReqDelivered, 7);
    let queued = story.asked(102, 1, "GetReceipts", 8);
    let wait = story.step(102, queued, Kind::ReqQueued, 8);
    story.change(wait, |r| r.how = name_of("serving"));
    let owed = story.asked(103, 1, "GetBlockHeaders", 9);
    let wait = story.step(103, owed, Kind::ReqQueued, 9);
    story.change(wait, |r| r.how = name_of("owed"));
    story.until(2000);
    let causes: Vec<Cause> = found(&story).iter().map(|finding| finding.cause).collect();
    assert_eq!(causes, [Cause::NobodyServing, Cause::Limiter, Cause::PeerNotReading]);
}

#[test]
fn an_upgrade_that_never_ends_names_its_last_step() {
    let mut story = Story::new();
    story.event(0, Kind::ConnAccepted, |r| (r.conn, r.text) = (4, name_of("1.2.3.4:5 127.0.0.1:30303")));
    story.event(1, Kind::ConnStep, |r| (r.conn, r.name, r.how) = (4, name_of("/noise"), name_of("ok")));
    story.event(0, Kind::ConnDialing, |r| (r.conn, r.text) = (5, name_of("/ip4/10.0.0.1/tcp/1")));
    story.until(5000);
    let findings = found(&story);
    assert_eq!(findings.len(), 2);
    assert_eq!((findings[0].cause, findings[1].cause), (Cause::Negotiation, Cause::Dial));
    assert!(findings[0].sentence.contains("the last step was /noise (ok)"), "{}", findings[0].sentence);
}

#[test]
fn a_negotiation_that_never_ends_names_what_was_proposed() {
    let mut story = Story::new();
    story.session(0, 1);
    let asked = |story: &mut Story, ms| {
        story.event(ms, Kind::SubstreamAsked, |r| (r.conn, r.text) = (1, name_of("/eth/69 /eth/68")))
    };
    let quick = asked(&mut story, 10);
    story.event(12, Kind::SubstreamAgreed, |r| {
        (r.conn, r.text, r.cause) = (1, name_of("/eth/69"), Some(quick))
    });
    let slow = asked(&mut story, 20);
    story.event(1500, Kind::SubstreamFailed, |r| {
        (r.conn, r.text, r.cause) = (1, name_of("timed out"), Some(slow))
    });
    asked(&mut story, 2000);
    story.until(5000);
    let findings = found(&story);
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert_eq!((findings[0].cause, findings[0].now), (Cause::Negotiation, true));
    assert!(
        findings[0].sentence.contains("in negotiation for 3.00 s (/eth/69 /eth/68)"),
        "{}",
        findings[0].sentence
    );
    assert_eq!((findings[1].cause, findings[1].duration_ns), (Cause::Negotiation, 1480 * MS));
    assert!(findings[1].sentence.contains("(timed out)"), "{}", findings[1].sentence);
}

#[test]
fn failures_carry_their_reason() {
    let mut story = Story::new();
    story.session(0, 1);
    let ends = [
        ("wrong_kind", Cause::WrongKind),
        ("malformed", Cause::Malformed),
        ("busy", Cause::Limiter),
        ("unsupported", Cause::Unsupported),
        ("timed_out", Cause::PeerNotAnswering),
    ];
    for (n, (how, _)) in ends.iter().enumerate() {
        let (at, wire) = (100 + 10 * n as u64, n as u64);
        let key = story.ask(at, 1, "GetBlockBodies");
        story.steps(key, wire, &[(at, Kind::ReqQueued), (at, Kind::ReqEncoded), (at, Kind::ReqWritten)]);
        story.read(at + 2, 1);
        story.end(at + 3, key, wire, how);
    }
    let mut causes: Vec<Cause> = found(&story).iter().map(|finding| finding.cause).collect();
    let mut expected: Vec<Cause> = ends.iter().map(|(_, cause)| *cause).collect();
    causes.sort();
    expected.sort();
    assert_eq!(causes, expected);
}

#[test]
fn a_late_answer_is_found_with_the_request_it_was_for() {
    let mut story = Story::new();
    story.session(0, 1);
    let key = story.ask(100, 1, "GetBlockBodies");
    story.steps(key, 77, &[(100, Kind::ReqQueued), (100, Kind::ReqEncoded), (100, Kind::ReqWritten)]);
    for n in 1..10 {
        story.read(100 + 50 * n, 1);
    }
    story.end(600, key, 77, "timed_out");
    story.event(900, Kind::AnswerDropped, |r| {
        (r.conn, r.x, r.how, r.proto) = (1, 77, name_of("late"), name_of("eth"));
    });
    let finding = only(&story);
    assert_eq!(finding.cause, Cause::LateAnswer);
    assert!(finding.sentence.contains("300 ms too late"), "{}", finding.sentence);
}

#[test]
fn a_silence_that_outlasted_the_requests_is_told_with_them() {
    let mut story = Story::new();
    story.session(0, 1);
    story.answered(100, 1, "GetBlockHeaders", 1);
    for wire in [77, 78] {
        let key = story.ask(200, 1, "GetBlockBodies");
        story.steps(key, wire, &[(200, Kind::ReqQueued), (200, Kind::ReqEncoded), (200, Kind::ReqWritten)]);
        story.end(2200, key, wire, "timed_out");
    }
    let mut dead = story.clone();
    story.read(3200, 1);
    story.event(3200, Kind::AnswerDropped, |r| {
        (r.conn, r.x, r.how, r.proto) = (1, 77, name_of("late"), name_of("eth"));
    });
    let findings = found(&story);
    let causes: Vec<Cause> = findings.iter().map(|finding| finding.cause).collect();
    assert_eq!(causes, [Cause::PeerNotAnswering, Cause::LateAnswer]);
    assert_eq!((findings[0].duration_ns, findings[0].requests_total), (3000 * MS, 2));
    assert!(findings[0].sentence.contains("last byte then at 0.101000 s"), "{}", findings[0].sentence);

    dead.until(5000);
    let finding = only(&dead);
    assert_eq!((finding.cause, finding.requests_total), (Cause::PeerNotAnswering, 2));
    assert!(
        finding.sentence.contains("nothing came from it; last byte then at 0.101000 s"),
        "{}",
        finding.sentence
    );
}

#[test]
fn a_panic_and_a_gone_caller_are_told() {
    let mut story = Story::new();
    let actor = story.session(0, 1);
    story.message(actor, "Ask", 100, 100, None);
    story.event(101, Kind::ActorPanicked, |r| (r.actor, r.name) = (actor, name_of("Ask")));
    let finding = only(&story);
    assert_eq!(finding.cause, Cause::Panic);
    assert_eq!(finding.sentence, "actor 101 (PeerSession) panicked while it handled Ask");

    let mut story = Story::new();
    story.session(0, 1);
    let key = story.ask(100, 1, "GetBlockBodies");
    story.steps(key, 1, &[(100, Kind::ReqQueued), (100, Kind::ReqEncoded), (100, Kind::ReqWritten)]);
    for n in 1..20 {
        story.read(100 + 100 * n, 1);
    }
    story.end(2100, key, 1, "cancelled");
    let finding = only(&story);
    assert_eq!(finding.cause, Cause::Caller);
    assert!(finding.sentence.contains("the caller gave it up after 2.00 s"), "{}", finding.sentence);
}

#[test]
fn a_closed_trace_names_orphans_and_lost_events_make_them_doubtful() {
    let mut story = Story::new();
    story.session(0, 1);
    story.ask(100, 1, "GetBlockBodies");
    let mut lossy = story.clone();
    story.lines.push(crate::trace::Line::End { events: 10, orphans: 1 });
    assert_eq!(only(&story).cause, Cause::Orphan);
    lossy.lines.push(crate::trace::Line::Lost { ring: 1, n: 5 });
    lossy.until(5000);
    assert!(only(&lossy).uncertain);
}

#[test]
fn alike_requests_are_one_finding_and_bounded() {
    let mut story = Story::new();
    story.session(0, 1);
    for n in 0..100 {
        let key = story.ask(n, 1, "GetBlockBodies");
        story.steps(key, n, &[(n, Kind::ReqQueued), (n, Kind::ReqEncoded), (n, Kind::ReqWritten)]);
    }
    story.until(4000);
    let finding = only(&story);
    assert_eq!((finding.requests_total, finding.requests.len()), (100, REQUESTS_MAX));
    assert_eq!(finding.duration_ns, 4000 * MS);
}
