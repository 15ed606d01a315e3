use proptest::prelude::*;

use super::*;
use crate::ids::Direction;
use crate::trace::json;
use crate::trace::kind::{Field, Kind};
use crate::trace::record::{EventId, Record};

const HEADER: &str =
    "{\"ev\":\"trace.start\",\"v\":1,\"node\":\"16Uiu\",\"unix_ns\":7,\"reason\":\"file\"}\n";

fn header() -> Line {
    Line::Header(Header { version: 1, node: "16Uiu".into(), unix_ns: 7, reason: "file".into() })
}

fn read(bytes: &[u8]) -> Result<Vec<Line>, ReadError> {
    Reader::new(bytes).collect()
}

fn refusal(text: &str) -> String {
    read(text.as_bytes()).expect_err("it must be refused").to_string()
}

fn words() -> impl Strategy<Value = Option<Name>> {
    proptest::option::of(any::<String>().prop_map(|text| match text.len() {
        0..=TEXT_BYTES_MAX => text.as_str().into(),
        _ => "short".into(),
    }))
}

fn ids() -> impl Strategy<Value = EventId> {
    (any::<u16>(), 0..1_u64 << 48).prop_map(|(ring, number)| EventId::new(ring, number))
}

prop_compose! {
    fn records()(
        // Some kinds only stand in rings.
        kind in (0..Kind::ALL.len()).prop_filter("in files", |n| Kind::by_name(Kind::ALL[*n].name()).is_some()),
        (at, actor, conn, x, y) in any::<(u64, u32, u32, u64, u64)>(),
        (id, cause, key) in (ids(), proptest::option::of(ids()), proptest::option::of(ids())),
        dir in proptest::option::of(any::<bool>()),
        (name, proto, how, text) in (words(), words(), words(), words()),
    ) -> Record {
        let kind = Kind::ALL[kind];
        let (a, b) = kind.fields();
        let fits = |field, value| if matches!(field, Field::None | Field::Text) { 0 } else { value };
        Record {
            at, id, cause, actor, kind, conn, key, name, proto, how,
            dir: dir.map(|out| if out { Direction::Outbound } else { Direction::Inbound }),
            x: fits(a, x),
            y: fits(b, y),
            text: text.filter(|_| b == Field::Text),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(records in proptest::collection::vec(records(), 0..20)) {
        let mut lines = vec![header()];
        lines.extend(records.into_iter().map(Line::Event));
        lines.push(Line::Lost { ring: 9, n: 3 });
        lines.push(Line::Skipped { requests: 1, events: 12 });
        lines.push(Line::End { events: 40, orphans: 0 });
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| json::write(line, &mut bytes));
        prop_assert_eq!(read(&bytes).expect("a whole file"), lines);
    }

    #[test]
    fn the_quick_way_and_the_general_one_agree(
        record in records(),
        flip in proptest::option::of((0..10_000_usize, any::<u8>())),
    ) {
        let mut line = Vec::new();
        json::write(&Line::Event(record), &mut line);
        line.pop();
        if let Some((place, byte)) = flip {
            let place = place % line.len();
            line[place] = byte;
        }
        if let Some(quick) = scan::scan(&line) {
            let general: raw::Raw<'_> = serde_json::from_slice(&line).expect("the general one takes it as well");
            prop_assert_eq!(quick, general);
        }
    }

    #[test]
    fn junk_is_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(read(&bytes));
        bytes.splice(0..0, HEADER.bytes());
        drop(read(&bytes));
    }
}

#[test]
fn a_file_cut_anywhere_behind_its_header_is_read_up_to_there() {
    let lines = [Line::Lost { ring: 0, n: 1 }, Line::Skipped { requests: 1, events: 2 }];
    let mut bytes = HEADER.as_bytes().to_vec();
    lines.iter().for_each(|line| json::write(line, &mut bytes));
    for length in 0..HEADER.len() - 1 {
        assert!(read(&bytes[..length]).is_err(), "{length}");
    }
    for length in HEADER.len()..bytes.len() {
        let mut reader = Reader::new(&bytes[..length]);
        let read = reader.by_ref().collect::<Result<Vec<_>, _>>().expect("a cut file");
        let whole = bytes[..length].split(|byte| *byte == b'\n').filter(|line| line.last() == Some(&b'}'));
        assert_eq!(read.len(), whole.count(), "{length}");
        assert_eq!(reader.cut(), !matches!(bytes[length - 1], b'\n' | b'}'), "{length}");
    }
}

#[test]
fn what_is_no_trace_is_named() {
    assert_eq!(refusal(""), "is empty");
    let no_trace = "is not a trace: the first line is not a trace.start";
    for text in ["\n", "hello\n", "{}\n", "[1]\n", "\0\u{1}\u{2}", "{\"ev\":\"trace.end\"}\n"] {
        assert_eq!(refusal(text), no_trace, "{text:?}");
    }
    assert_eq!(refusal(&"x".repeat(LINE_BYTES_MAX * 3)), no_trace);
    assert_eq!(
        refusal("{\"ev\":\"trace.start\",\"v\":2,\"peers\":[{}]}\n"),
        "is a trace of version 2; this program reads version 1"
    );
    let error = Reader::open(Path::new("/")).and_then(|mut reader| reader.next().expect("an item"));
    assert!(error.expect_err("a directory").to_string().starts_with("cannot be read: "));
    assert!(Reader::open(Path::new("/nowhere/at/all")).is_err());
}

#[test]
fn a_broken_line_in_the_middle_is_named_by_its_number() {
    let end = "{\"ev\":\"trace.end\",\"events\":1,\"orphans\":0}\n";
    for (line, why) in [
        ("{\"ev\":\"actor.stopped\",\"t\":1,\"id\":\"1.1\"", "EOF"),
        ("{\"t\":1}", "no ev"),
        ("{\"ev\":\"actor.stopped\",\"id\":\"1.1\"}", "no t"),
        ("{\"ev\":\"actor.stopped\",\"t\":1}", "no id"),
        ("{\"ev\":\"actor.stopped\",\"t\":1,\"id\":\"1.\"}", "id is not RING.NUMBER"),
        ("{\"ev\":\"actor.stopped\",\"t\":1,\"id\":\"1.1\",\"dir\":\"up\"}", "dir is neither"),
        ("{\"ev\":\"actor.stopped\",\"t\":-1,\"id\":\"1.1\"}", "invalid value"),
        (HEADER.trim(), "a second trace.start"),
        ("", "EOF"),
    ] {
        let said = refusal(&format!("{HEADER}{end}{line}\n{end}"));
        assert!(said.starts_with("line 3 is broken: ") && said.contains(why), "{line}: {said}");
        assert!(!said.contains('\n'));
    }
    let long = format!("{HEADER}{}\n", " ".repeat(LINE_BYTES_MAX + 1));
    assert_eq!(refusal(&long), "line 2 is longer than 65536 bytes");
    let nearly = format!("{HEADER}{}{end}", " ".repeat(LINE_BYTES_MAX + 1 - end.len()));
    assert_eq!(read(nearly.as_bytes()).expect("just fits").len(), 2);
}

#[test]
fn kinds_and_fields_of_a_later_program_are_passed_over() {
    let text = format!(
        "{HEADER}{{\"ev\":\"req.imagined\",\"t\":1,\"id\":\"1.1\"}}\n\
         {{\"ev\":\"actor.stopped\",\"t\":1,\"id\":\"1.2\",\"more\":{{\"a\":[1,null]}}}}\n"
    );
    let mut reader = Reader::new(text.as_bytes());
    let lines: Vec<_> = reader.by_ref().collect::<Result<_, _>>().expect("readable");
    assert_eq!((lines.len(), reader.unknown()), (2, 1));
}

#[test]
fn lines_as_we_write_them_go_the_quick_way() {
    let line = br#"{"t":1,"id":"1.2","by":"1.1","a":3,"ev":"req.ended","c":1,"dir":"out","how":"ok","wire":0,"ns":7}"#;
    assert!(scan::scan(line).is_some());
    for other in [
        r#"{"t":1,"t":2}"#,
        r#"{"t":01}"#,
        r#"{"t":18446744073709551616}"#,
        r#"{"a":4294967296}"#,
        r#"{"t":"1"}"#,
        r#"{"ev":1}"#,
        r#"{"ev":"\u0061"}"#,
        r#"{"t":1,}"#,
        r#"{"t":1}}"#,
        r#"{"t": 1}"#,
        r#"{}"#,
        r#"{"more":1}"#,
        "",
    ] {
        assert_eq!(scan::scan(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn words_are_shared_and_cut() {
    let long = "é".repeat(300);
    let one = format!("{{\"ev\":\"conn.failed\",\"t\":1,\"id\":\"1.2\",\"text\":\"{long}\"}}\n");
    let lines = read(format!("{HEADER}{one}{one}").as_bytes()).expect("readable");
    let texts = lines.iter().filter_map(|line| match line {
        Line::Event(record) => record.text.clone(),
        _ => None,
    });
    let texts: Vec<Name> = texts.collect();
    assert_eq!(&*texts[0], format!("{}…", "é".repeat(128)));
    let mut words = Words::default();
    let first = words.share("eth");
    assert!(Name::ptr_eq(&first, &words.share("eth")));
    for n in 0..WORDS_MAX + 10 {
        words.share(&n.to_string());
    }
    assert_eq!(words.known.len(), WORDS_MAX);
    assert!(Name::ptr_eq(&first, &words.share("eth")));
    assert_eq!(&*words.share("one too many"), "one too many");
}
