//! Whom to blame when several things went wrong at once: one cause, told once.

use super::tests::{found, only};
use super::*;
use crate::trace::kind::Kind;
use crate::trace::tools::fixtures::{MS, Story, name_of};

const SENT: [Kind; 3] = [Kind::ReqQueued, Kind::ReqEncoded, Kind::ReqWritten];

fn sent(story: &mut Story, ms: u64, wire: u64) -> EventId {
    let key = story.ask(ms, 1, "GetBlockBodies");
    story.steps(key, wire, &SENT.map(|kind| (ms, kind)));
    key
}

fn causes(findings: &[Finding]) -> Vec<Cause> {
    let mut causes: Vec<Cause> = findings.iter().map(|finding| finding.cause).collect();
    causes.sort();
    causes
}

#[test]
fn a_silence_is_told_although_everybody_gave_up_before_it_ended() {
    let mut story = Story::new();
    story.session(0, 1);
    story.answered(100, 1, "GetBlockHeaders", 1);
    let first = sent(&mut story, 200, 2);
    story.end(1200, first, 2, "timed_out");
    let second = sent(&mut story, 1300, 3);
    story.end(2300, second, 3, "timed_out");
    let mut silent = story.clone();
    story.read(3200, 1);
    for wire in [2, 3] {
        story.event(3200, Kind::AnswerDropped, |r| {
            (r.conn, r.x, r.how, r.proto) = (1, wire, name_of("late"), name_of("eth"));
        });
    }
    story.answered(3300, 1, "GetBlockHeaders", 4);
    let findings = found(&story);
    assert_eq!(causes(&findings), [Cause::PeerNotAnswering, Cause::LateAnswer], "{findings:#?}");
    let silence = &findings[0];
    assert_eq!((silence.duration_ns, silence.requests_total), (3000 * MS, 2));
    assert_eq!(silence.last_byte_ns, Some(101 * MS));
    assert!(silence.sentence.contains("3.00 s: last byte then at 0.101000 s"), "{}", silence.sentence);
    assert_eq!(findings[1].requests_total, 2);
    // Nothing ever came again: the last byte is known all the same.
    silent.until(5000);
    let finding = only(&silent);
    assert_eq!(finding.last_byte_ns, Some(101 * MS));
    assert!(
        finding.sentence.contains("nothing came from it; last byte then at 0.101000 s"),
        "{}",
        finding.sentence
    );
}

#[test]
fn while_this_process_stood_still_nobody_else_is_to_blame() {
    let mut story = Story::new();
    let actor = story.session(0, 1);
    story.answered(10, 1, "GetBlockHeaders", 1);
    let ours = sent(&mut story, 90, 2);
    let served = story.asked(95, 1, "GetBlockBodies", 7);
    story.step(96, served, Kind::ReqDelivered, 7);
    story.event(98, Kind::WindowBlocked, |r| (r.conn, r.proto, r.x) = (1, name_of("eth"), 5000));
    story.message(actor, "Ask", 99, 3100, Some(3101));
    story.event(3100, Kind::Stalled, |r| r.y = 3000 * MS);
    story.event(3101, Kind::WindowReady, |r| (r.conn, r.proto, r.y) = (1, name_of("eth"), 3003 * MS));
    story.read(3102, 1);
    story.steps(ours, 2, &[(3102, Kind::ReqFirstByte), (3102, Kind::ReqReceived)]);
    story.end(3103, ours, 2, "ok");
    story.steps(served, 7, &[(3104, Kind::ReqEncoded), (3104, Kind::ReqWritten)]);
    story.end(3104, served, 7, "ok");
    let finding = only(&story);
    assert_eq!((finding.cause, finding.duration_ns), (Cause::StalledThread, 3000 * MS));
    assert!(finding.sentence.starts_with("this process did not run for 3.00 s"), "{}", finding.sentence);
    assert_eq!((finding.requests_total, finding.actor), (2, None));
}

#[test]
fn what_holds_a_request_up_speaks_for_it_though_that_waited_longer() {
    let mut story = Story::new();
    story.session(0, 1);
    let key = story.asked(99, 1, "GetBlockBodies", 7);
    story.steps(key, 7, &[(99, Kind::ReqDelivered), (99, Kind::ReqEncoded)]);
    let behind = story.asked(99, 1, "GetReceipts", 8);
    let wait = story.step(99, behind, Kind::ReqQueued, 8);
    // It was queued because others were being served; nobody is any more.
    story.change(wait, |r| r.how = name_of("serving"));
    story.event(100, Kind::WindowBlocked, |r| (r.conn, r.proto, r.x) = (1, name_of("eth"), 5000));
    let mut socket = story.clone();
    story.until(700);
    let finding = only(&story);
    assert_eq!((finding.cause, finding.requests_total), (Cause::Window, 2));
    // A socket that takes nothing is why the substream takes nothing.
    socket.event(101, Kind::SocketBlocked, |r| r.conn = 1);
    let mut over = socket.clone();
    socket.until(700);
    let finding = only(&socket);
    assert_eq!((finding.cause, finding.requests_total), (Cause::PeerNotReading, 2));
    // The same afterwards.
    over.event(2101, Kind::SocketReady, |r| (r.conn, r.y) = (1, 2000 * MS));
    over.event(2102, Kind::WindowReady, |r| (r.conn, r.proto, r.y) = (1, name_of("eth"), 2002 * MS));
    over.steps(behind, 8, &[(2102, Kind::ReqDelivered), (2102, Kind::ReqEncoded)]);
    for (key, wire) in [(key, 7), (behind, 8)] {
        over.step(2103, key, Kind::ReqWritten, wire);
        over.end(2103, key, wire, "ok");
    }
    let finding = only(&over);
    assert_eq!((finding.cause, finding.requests_total, finding.now), (Cause::PeerNotReading, 2, false));
}

#[test]
fn a_protocol_that_keeps_the_thread_is_part_of_the_handler() {
    let mut story = Story::new();
    let actor = story.session(0, 1);
    let enqueued = story.event(100, Kind::ItemStarted, |r| (r.actor, r.name) = (actor, name_of("Item")));
    let key = story.asked(101, 1, "GetBlockBodies", 7);
    story.step(101, key, Kind::ReqDelivered, 7);
    story.event(600, Kind::Stalled, |r| (r.actor, r.y) = (actor, 500 * MS));
    let mut lasting = story.clone();
    lasting.until(1200);
    let finding = only(&lasting);
    assert_eq!((finding.cause, finding.now, finding.requests_total), (Cause::Handler, true, 1));
    story.step(1301, key, Kind::ReqEncoded, 7);
    story.step(1302, key, Kind::ReqWritten, 7);
    story.end(1302, key, 7, "ok");
    story.event(1303, Kind::ItemFinished, |r| {
        (r.actor, r.name, r.y, r.cause) = (actor, name_of("Item"), 1203 * MS, Some(enqueued));
    });
    // The poll around it is longer, by a little.
    story.event(1305, Kind::PollSlow, |r| (r.actor, r.y) = (actor, 1206 * MS));
    let finding = only(&story);
    assert_eq!((finding.cause, finding.requests_total), (Cause::Handler, 1));
    assert_eq!(finding.message.as_deref(), Some("Item"));
    let given = format!("the protocol was given request {key} (eth GetBlockBodies");
    assert!(finding.sentence.contains(&given), "{}", finding.sentence);
    assert!(finding.sentence.contains("kept the thread for 1.20 s"), "{}", finding.sentence);
}

#[test]
fn a_request_that_panicked_leads_to_the_actor() {
    let mut story = Story::new();
    let actor = story.session(0, 1);
    story.event(100, Kind::ItemStarted, |r| (r.actor, r.name) = (actor, name_of("Item")));
    let key = story.asked(100, 1, "GetBlockBodies", 7);
    story.step(100, key, Kind::ReqDelivered, 7);
    story.event(101, Kind::ActorPanicked, |r| (r.actor, r.name) = (actor, name_of("Item")));
    story.end(101, key, 7, "panicked");
    let finding = only(&story);
    assert_eq!((finding.cause, finding.requests_total), (Cause::Panic, 1));
    assert_eq!(finding.actor.map(|who| who.actor), Some(actor));
}
