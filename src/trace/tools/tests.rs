//! Whatever a file says, every question gets an answer or the file a refusal: no panic, no memory
//! without bound, nothing that a terminal would obey.

use super::export::{self, Format};
use super::fixtures::{MS, PEER, Story, name_of};
use super::follow::{self, Chain, Which};
use super::model::{ACTORS_MAX, CONNS_MAX, Keep};
use super::read::Reader;
use super::stuck::Options;
use super::*;
use crate::trace::kind::Kind;
use crate::trace::record::{Line, Name};

/// Words as a hostile peer would choose them.
const WORDS: &str = "\u{1b}[2J\u{9b}31m\u{7}\u{202e}\r\n\\u001b<script>\"&'\u{2028}😀…";

fn story() -> Story {
    let mut story = Story::new();
    let actor = story.session(0, 1);
    story.answered(50, 1, "GetBlockHeaders", 1);
    story.event(60, Kind::ConnDialing, |r| (r.conn, r.text) = (2, name_of(WORDS)));
    story.event(61, Kind::ConnStep, |r| (r.conn, r.name, r.how) = (2, name_of(WORDS), name_of(WORDS)));
    story.event(2000, Kind::ConnFailed, |r| (r.conn, r.text) = (2, name_of(WORDS)));
    story.event(70, Kind::ConnAccepted, |r| (r.conn, r.text) = (3, name_of(WORDS)));
    let key = story.ask(100, 1, WORDS);
    story.steps(key, 2, &[(100, Kind::ReqQueued), (101, Kind::ReqWritten)]);
    let served = story.asked(110, 1, WORDS, 3);
    story.step(111, served, Kind::ReqDelivered, 3);
    story.message(actor, WORDS, 120, 1400, Some(2900));
    story.event(2900, Kind::MsgEnqueued, |r| (r.x, r.name) = (u64::from(actor), name_of(WORDS)));
    story.event(2901, Kind::SubstreamAsked, |r| (r.conn, r.text) = (1, name_of(WORDS)));
    story.event(2902, Kind::WindowBlocked, |r| (r.conn, r.proto) = (1, name_of(WORDS)));
    let failed = story.ask(2903, 1, "GetReceipts");
    story.end(2904, failed, 9, WORDS);
    story.event(2905, Kind::AnswerDropped, |r| (r.conn, r.x, r.how) = (1, 9, name_of(WORDS)));
    story.event(2910, Kind::SessionEnded, |r| {
        (r.conn, r.how, r.text) = (4, name_of(WORDS), name_of(WORDS));
    });
    story.event(2911, Kind::ActorPanicked, |r| (r.actor, r.name) = (77, name_of(WORDS)));
    story.until(6000);
    story.lines.push(Line::Lost { ring: 1, n: 3 });
    story.lines.push(Line::Skipped { requests: 1, events: 12 });
    story
}

/// Asks everything there is to ask. The texts and objects that came of it.
fn ask_all(file: &[u8]) -> Result<Vec<String>, read::ReadError> {
    let mut said = Vec::new();
    let options = Options::over(100 * MS);
    let open = Model::read(Reader::new(file), Keep::Open { slow_ns: options.over_ns })?;
    let findings = stuck::find(&open, options);
    said.push(stuck::text(&open, &findings));
    said.push(show::json(&findings));
    let model = Model::read(Reader::new(file), Keep::All)?;
    let all = Filter::default();
    let rows: Vec<_> = requests::list(&model, &all).iter().map(|life| requests::row(&model, life)).collect();
    said.extend([requests::text(&rows), show::json(&rows)]);
    let found = actors::actors(&model, &all);
    said.extend([actors::text(&found, 100), show::json(&found)]);
    let found = peers::peers(&model, &all);
    said.extend([peers::text(&found), show::json(&found)]);
    let found = stats::stats(&model, &all);
    said.extend([stats::text(&found), show::json(&found)]);
    let found = diff::diff(&found, &stats::stats(&open, &all));
    said.extend([diff::text(&found), show::json(&found)]);
    let lines: Vec<Line> = Reader::new(file).flatten().collect();
    for which in [Which::Last, Which::Slowest] {
        let Ok(life) = follow::choose(&model, &which, &all) else { continue };
        let mut chain = Chain::new(&model, life);
        lines.iter().for_each(|line| chain.link(line));
        chain.linked();
        lines.iter().for_each(|line| chain.collect(line));
        let found = follow::follow(&model, life, &chain, options);
        said.extend([follow::text(&found), show::json(&found)]);
    }
    let records = lines.into_iter().filter_map(|line| match line {
        Line::Event(record) => Some(record),
        _ => None,
    });
    let node = Node { records: records.collect(), model, offset_ns: 0 };
    let mut picture = Picture { nodes: vec![node.clone(), node], ..Picture::default() };
    let joined = merge::join(&mut picture);
    let splits = merge::splits(&picture, &all);
    said.extend([merge::text(&joined, &splits, 100), show::json(&splits)]);
    let mut findings = findings;
    stuck::explain_by_other_side(&picture, 0, &mut findings);
    said.push(stuck::text(&picture.nodes[0].model, &findings));
    for format in Format::ALL {
        export::write(format, &picture, &mut std::io::sink()).expect("a sink takes everything");
    }
    Ok(said)
}

fn assert_harmless(said: &[String]) {
    for text in said {
        let bad = text.chars().find(|c| !matches!(c, ' '..='~' | '\n' | '…'));
        assert_eq!(bad, None, "{text:?}");
    }
}

/// O2.
#[test]
fn hostile_words_are_escaped_in_every_answer() {
    let said = ask_all(&story().file()).expect("a readable file");
    assert_harmless(&said);
    assert!(
        said.iter().filter(|text| text.contains("[2J")).count() > 8,
        "the words must be there to be escaped"
    );
}

/// O4.
#[test]
fn every_truncation_is_answered_or_refused() {
    let file = story().file();
    let mut answered = 0;
    for length in (0..file.len()).step_by(17) {
        if let Ok(said) = ask_all(&file[..length]) {
            answered += 1;
            assert_harmless(&said);
        }
    }
    assert!(answered > file.len() / 17 - 30, "only what is cut within its header is refused: {answered}");
}

/// O4.
#[test]
fn flipped_bits_and_changed_numbers_are_answered_or_refused() {
    let file = story().file();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let digits: Vec<usize> = (0..file.len()).filter(|at| file[*at].is_ascii_digit()).collect();
    let mut answered = 0;
    for round in 0..200 {
        let mut file = file.clone();
        for _ in 0..1 + roll(4) {
            if round % 2 == 0 {
                let at = roll(file.len());
                file[at] ^= 1 << roll(8);
            } else {
                file[digits[roll(digits.len())]] = b'0' + roll(10) as u8;
            }
        }
        if round % 5 == 0 {
            // A number as large as they get.
            let at = digits[roll(digits.len())];
            file.splice(at..=at, *b"18446744073709551615");
        }
        if let Ok(said) = ask_all(&file) {
            answered += 1;
            assert_harmless(&said);
        }
    }
    assert!(answered > 50, "changed numbers are still JSON: {answered}");
}

#[test]
fn more_connections_actors_and_messages_than_fit_are_counted() {
    let mut model = Model::default();
    let mut story = Story::new();
    story.until(0);
    let Line::Event(mut record) = story.lines[1].clone() else { unreachable!("an event") };
    let surplus = 100;
    for number in 1..=(ACTORS_MAX + surplus) as u32 {
        record.id = crate::trace::EventId::new(1, u64::from(number));
        (record.kind, record.actor, record.conn) = (Kind::ActorStarted, number, 0);
        model.on(&Line::Event(record.clone()));
        (record.kind, record.actor, record.conn) = (Kind::ConnAccepted, 0, number);
        model.on(&Line::Event(record.clone()));
        (record.kind, record.conn, record.x) = (Kind::MsgEnqueued, 0, u64::from(number));
        model.on(&Line::Event(record.clone()));
    }
    assert_eq!((model.actors.len(), model.beyond.actors), (ACTORS_MAX, surplus as u64));
    assert_eq!(model.conns.len(), CONNS_MAX);
    assert!(model.beyond.conns > 0 && model.beyond.messages > 0);
    assert!(stuck::caveats(&model).contains("did not fit into memory"));
}

#[test]
fn connections_that_ended_make_room() {
    let mut model = Model::default();
    let mut story = Story::new();
    story.event(0, Kind::ConnClosed, |r| r.text = Some(Name::from(PEER)));
    let Line::Event(mut record) = story.lines[1].clone() else { unreachable!("an event") };
    for number in 1..=(2 * CONNS_MAX + 7) as u32 {
        record.conn = number;
        model.on(&Line::Event(record.clone()));
    }
    assert_eq!(model.beyond.conns, 0);
    assert!(model.conns.contains_key(&(2 * CONNS_MAX as u32 + 7)));
}
