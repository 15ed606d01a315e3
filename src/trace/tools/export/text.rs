//! Words of a trace, made harmless for the place they stand in.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a character could act on a reader's screen or change what stands around it: control
/// characters, line separators, marks that turn the direction of writing or cannot be seen.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with everything that acts spelled out, as `\u{1b}`.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            let _ = write!(shown, "\\u{{{:x}}}", c as u32);
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Writes a JSON string that may also stand in a `<script>`: no character of it ends one.
pub(super) fn json(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if !(acts(c) || matches!(c, '"' | '\\' | '<' | '>' | '&' | '\'')) {
            continue;
        }
        out.write_all(&text.as_bytes()[plain..at])?;
        plain = at + c.len_utf8();
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            write!(out, "\\u{unit:04x}")?;
        }
    }
    out.write_all(&text.as_bytes()[plain..])?;
    out.write_all(b"\"")
}

/// The value of a label of Prometheus' text format.
pub(super) fn label(text: &str) -> String {
    shown(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// A piece of a line of Mermaid: what its grammar could take for its own stands as `#code;`.
pub(super) fn mermaid(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for (nth, word) in shown(text).split(' ').enumerate() {
        if nth > 0 {
            label.push(' ');
        }
        // Some words of the grammar end a block wherever they stand: their first letter is spelled.
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let keywords = ["end", "participant", "actor", "note", "loop", "alt", "opt", "par", "rect", "box"];
        let keyword = keywords.iter().any(|keyword| bare.eq_ignore_ascii_case(keyword));
        let mut spell = keyword;
        for c in word.chars() {
            let safe = c.is_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | '(' | ')' | '=' | ',' | '…');
            if safe && !(spell && c.is_alphanumeric()) {
                label.push(c);
            } else {
                spell = spell && !c.is_alphanumeric();
                let _ = write!(label, "#{};", c as u32);
            }
        }
    }
    label
}

/// The end of a long name, which is what tells peer ids apart.
pub(super) fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= 14 {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(count - 8).collect();
    format!("…{tail}")
}

/// A duration as people read it: three digits and a unit.
pub(super) fn span(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_json(text: &str) -> String {
        let mut out = Vec::new();
        json(&mut out, text).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn json_says_the_same_and_never_ends_a_script() {
        for text in
            ["", "plain", "a\"b\\c", "</script><!--", "\u{2028}\u{202e}\u{0}\n", "ü€\u{1f600}", "\u{e0041}"]
        {
            let written = as_json(text);
            assert_eq!(serde_json::from_str::<String>(&written).expect("valid JSON"), text);
            assert!(!written.contains(['<', '>', '&', '\u{2028}', '\u{202e}', '\n']), "{written}");
        }
    }

    #[test]
    fn what_acts_on_a_screen_is_spelled_out() {
        assert_eq!(shown("\u{1b}[31mred\u{202e}"), "\\u{1b}[31mred\\u{202e}");
        assert_eq!(label("a\"b\\\n"), "a\\\"b\\\\\\\\u{a}");
    }

    #[test]
    fn mermaid_gets_no_character_of_its_grammar() {
        let label = mermaid("end; #1 \"x\"\nNote <b> end");
        assert!(label.starts_with("#101;nd#59; "), "{label}");
        assert!(!label.contains(['"', '\n', '<', '>', ':']), "{label}");
        assert!(label.ends_with("#101;nd"), "{label}");
    }

    #[test]
    fn spans_have_three_digits() {
        let spans: Vec<String> = [7, 1_500, 12_345_678, 3_000_000_000].map(span).into();
        assert_eq!(spans, ["7 ns", "1.50 µs", "12.3 ms", "3.00 s"]);
    }
}
