//! Lines of a trace as JSON, written by hand: this runs for every event of a live trace.
//!
//! No intermediate strings and no allocation beyond the growth of the buffer. What a peer may have
//! chosen is escaped further than JSON asks for, so that a file can be shown by `cat` and `less`.

use super::kind::Field;
use super::record::{EventId, Header, Line, Record};
use crate::ids::Direction;

/// Appends one line and its newline. Fields that do not apply are left out.
pub fn write(line: &Line, out: &mut Vec<u8>) {
    match line {
        Line::Header(header) => write_header(header, out),
        Line::Event(record) => write_record(record, out),
        Line::Lost { ring, n } => {
            out.extend_from_slice(b"{\"ev\":\"trace.lost\",\"ring\":");
            number(u64::from(*ring), out);
            field(b",\"n\":", *n, out);
        }
        Line::Skipped { requests, events } => {
            out.extend_from_slice(b"{\"ev\":\"trace.skipped\",\"requests\":");
            number(*requests, out);
            field(b",\"events\":", *events, out);
        }
        Line::End { events, orphans } => {
            out.extend_from_slice(b"{\"ev\":\"trace.end\",\"events\":");
            number(*events, out);
            field(b",\"orphans\":", *orphans, out);
        }
    }
    out.extend_from_slice(b"}\n");
}

fn write_header(header: &Header, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ev\":\"trace.start\",\"v\":");
    number(u64::from(header.version), out);
    word(b",\"node\":\"", &header.node, out);
    field(b",\"unix_ns\":", header.unix_ns, out);
    word(b",\"reason\":\"", &header.reason, out);
}

fn write_record(record: &Record, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"t\":");
    number(record.at, out);
    id(b",\"id\":\"", record.id, out);
    if let Some(cause) = record.cause {
        id(b",\"by\":\"", cause, out);
    }
    if record.actor != 0 {
        field(b",\"a\":", u64::from(record.actor), out);
    }
    // Names of kinds are our own: nothing in them needs escaping.
    out.extend_from_slice(b",\"ev\":\"");
    out.extend_from_slice(record.kind.name().as_bytes());
    out.push(b'"');
    if record.conn != 0 {
        field(b",\"c\":", u64::from(record.conn), out);
    }
    match record.dir {
        Some(Direction::Outbound) => out.extend_from_slice(b",\"dir\":\"out\""),
        Some(Direction::Inbound) => out.extend_from_slice(b",\"dir\":\"in\""),
        None => {}
    }
    if let Some(key) = record.key {
        id(b",\"r\":\"", key, out);
    }
    if let Some(name) = &record.name {
        word(b",\"name\":\"", name, out);
    }
    if let Some(proto) = &record.proto {
        word(b",\"proto\":\"", proto, out);
    }
    if let Some(how) = &record.how {
        word(b",\"how\":\"", how, out);
    }
    let (x, y) = record.kind.fields();
    meaning(x, record.x, record, out);
    meaning(y, record.y, record, out);
}

/// One of the two numbers, or the text that stands in its place.
fn meaning(what: Field, value: u64, record: &Record, out: &mut Vec<u8>) {
    let label: &[u8] = match what {
        Field::None => return,
        Field::Text => {
            if let Some(text) = &record.text {
                word(b",\"text\":\"", text, out);
            }
            return;
        }
        Field::Wire => b",\"wire\":",
        Field::To => b",\"to\":",
        Field::Bytes => b",\"bytes\":",
        Field::Ns => b",\"ns\":",
        Field::Stream => b",\"stream\":",
        Field::Count => b",\"n\":",
    };
    field(label, value, out);
}

fn field(label: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(label);
    number(value, out);
}

/// `label` ends with the opening quote.
fn id(label: &[u8], id: EventId, out: &mut Vec<u8>) {
    out.extend_from_slice(label);
    number(u64::from(id.ring()), out);
    out.push(b'.');
    number(id.number(), out);
    out.push(b'"');
}

/// `label` ends with the opening quote.
fn word(label: &[u8], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(label);
    escape(text, out);
    out.push(b'"');
}

/// Appends a number in decimal.
fn number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends what stands between the quotes of a JSON string: plain ASCII as it is, in one go.
fn escape(text: &str, out: &mut Vec<u8>) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            c if is_unfit(c) => unicode(c as u32, out),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// What may move a cursor, break a line or turn the direction of writing. All of it is below
/// U+10000, so one `\u` suffices.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn unicode(code: u32, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[(code >> shift & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::kind::Kind;

    fn text_of(line: &Line) -> String {
        let mut out = Vec::new();
        write(line, &mut out);
        String::from_utf8(out).expect("what is written is UTF-8")
    }

    fn record(kind: Kind) -> Record {
        Record::new(1, EventId::new(2, 3), kind)
    }

    #[test]
    fn what_does_not_apply_is_not_written() {
        assert_eq!(
            text_of(&Line::Event(record(Kind::ActorStopped))),
            "{\"t\":1,\"id\":\"2.3\",\"ev\":\"actor.stopped\"}\n"
        );
    }

    #[test]
    fn all_fields_stand_in_a_fixed_order() {
        let full = Record {
            at: u64::MAX,
            cause: Some(EventId::new(0, 9)),
            actor: 4,
            conn: 5,
            dir: Some(Direction::Outbound),
            key: Some(EventId::new(1, 7)),
            name: Some("GetBlockHeaders".into()),
            proto: Some("eth".into()),
            how: Some("ok".into()),
            x: 65_537,
            y: 100,
            ..record(Kind::ReqEnded)
        };
        assert_eq!(
            text_of(&Line::Event(full)),
            "{\"t\":18446744073709551615,\"id\":\"2.3\",\"by\":\"0.9\",\"a\":4,\"ev\":\"req.ended\",\"c\":5,\
             \"dir\":\"out\",\"r\":\"1.7\",\"name\":\"GetBlockHeaders\",\"proto\":\"eth\",\"how\":\"ok\",\
             \"wire\":65537,\"ns\":100}\n"
        );
    }

    #[test]
    fn lines_about_the_trace_itself() {
        let header = Header { version: 1, node: "16Uiu".into(), unix_ns: 7, reason: "file".into() };
        assert_eq!(
            text_of(&Line::Header(header)),
            "{\"ev\":\"trace.start\",\"v\":1,\"node\":\"16Uiu\",\"unix_ns\":7,\"reason\":\"file\"}\n"
        );
        assert_eq!(text_of(&Line::Lost { ring: 1, n: 2 }), "{\"ev\":\"trace.lost\",\"ring\":1,\"n\":2}\n");
        assert_eq!(
            text_of(&Line::Skipped { requests: 1, events: 9 }),
            "{\"ev\":\"trace.skipped\",\"requests\":1,\"events\":9}\n"
        );
        assert_eq!(
            text_of(&Line::End { events: 10, orphans: 0 }),
            "{\"ev\":\"trace.end\",\"events\":10,\"orphans\":0}\n"
        );
    }

    #[test]
    fn nothing_a_terminal_would_obey_stands_raw() {
        let text = "a\"\\\n\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}é€😀";
        let line = Line::Event(Record { text: Some(text.into()), ..record(Kind::ConnFailed) });
        assert!(text_of(&line).contains(
            "\"text\":\"a\\\"\\\\\\u000a\\u001b[31m\\u007f\\u0085\\u009b\\u2028\\u2029\\u202a\\u202e\\u2066\\u2069é€😀\""
        ));
        let every: String = (0..=0x3000).filter_map(char::from_u32).collect();
        let line = Line::Event(Record { text: Some(every.as_str().into()), ..record(Kind::ConnFailed) });
        let written = text_of(&line);
        assert!(!written.trim_end().chars().any(is_unfit));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).expect("it is JSON")["text"], every);
    }
}
