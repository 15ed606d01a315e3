//! Life lines of fixtures whose troubles are known.

use super::super::fixtures;
use super::*;

#[test]
fn waits_follow_each_other_without_a_gap() {
    let mut picture = fixtures::two_nodes(200);
    // A badly estimated clock shortens waits, and never turns one around.
    for offset in [picture.nodes[1].offset_ns, 0, i64::MAX, i64::MIN] {
        picture.nodes[1].offset_ns = offset;
        let lines = Lifelines::of(&picture);
        for line in lines.iter() {
            let mut at = line.from;
            for wait in &line.waits {
                assert_eq!(wait.from, at);
                assert!(wait.to > wait.from);
                at = wait.to;
            }
            assert_eq!(at, line.to);
            lines.note(&line);
        }
    }
}

#[test]
fn a_wrong_clock_puts_no_effect_before_its_cause() {
    let mut picture = fixtures::two_nodes(60);
    for off in [-20_000_000, 20_000_000] {
        picture.nodes[1].offset_ns += off;
        for line in
            Lifelines::of(&picture).iter().filter(|line| line.served.is_some() && line.state() == "ok")
        {
            let way: Vec<_> =
                line.points.iter().filter_map(|point| Some((point.node, point.step?))).collect();
            let place = |mine: bool, step| {
                way.iter().position(|at| *at == (if mine { line.node } else { 1 - line.node }, step))
            };
            assert!(place(true, Step::Written) < place(false, Step::Received), "{way:?}");
            assert!(place(false, Step::Encoded) < place(true, Step::FirstByte), "{way:?}");
            assert!(place(false, Step::Written) < place(true, Step::Received), "{way:?}");
        }
    }
}

#[test]
fn each_trouble_is_the_longest_wait_of_its_request() {
    let picture = fixtures::two_nodes(200);
    let lines = Lifelines::of(&picture);
    let told: HashMap<usize, (Cause, Option<String>)> = lines
        .iter()
        .filter_map(|line| {
            let nth = line.life.wire? as usize - 1;
            Some((nth, (line.longest()?.cause, lines.note(&line))))
        })
        .collect();
    let expect = |nth: usize, cause: Cause, words: &str| {
        let (found, note) = &told[&nth];
        assert_eq!(*found, cause, "request {nth}");
        assert!(note.as_deref().unwrap_or_default().contains(words), "request {nth}: {note:?}");
    };
    expect(3, Cause::Mailbox, "was busy with item FrameBatch");
    expect(5, Cause::Handler, "");
    expect(8, Cause::Window, "");
    expect(11, Cause::Limiter, "as many requests as may be");
    expect(13, Cause::Wire, "never arrived");
    expect(6, Cause::Peer, "nothing arrived on connection 2");
    expect(100, Cause::Peer, "node B recorded nothing");
}

#[test]
fn one_side_alone_knows_only_the_peer() {
    let mut picture = fixtures::two_nodes(20);
    picture.nodes.truncate(1);
    let lines = Lifelines::of(&picture);
    let slow = lines.iter().find(|line| line.life.wire == Some(6)).expect("the slow handler's request");
    assert_eq!(slow.longest().map(|wait| wait.cause), Some(Cause::Peer));
}
