//! Words of a trace, made harmless for the place they stand in.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::trace::tools::show::escape;

/// Whether a character could act on a reader's screen or change what stands around it: control
/// characters, line separators, marks that turn the direction of writing or cannot be seen.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
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
    escape(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// A piece of a line of Mermaid: what its grammar could take for its own stands as `#code;`.
pub(super) fn mermaid(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for (nth, word) in escape(text).split(' ').enumerate() {
        if nth > 0 {
            label.push(' ');
        }
        // Some words of the grammar end a block wherever they stand: their first letter is spelled.
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let keywords = ["end", "participant", "actor", "note", "loop", "alt", "opt", "par", "rect", "box"];
        let keyword = keywords.iter().any(|keyword| bare.eq_ignore_ascii_case(keyword));
        let mut spell = keyword;
        for c in word.chars() {
            let safe =
                c.is_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | '(' | ')' | '=' | ',' | '…');
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
    fn a_label_ends_nowhere_but_at_its_quote() {
        assert_eq!(label("a\"b\\\n"), r#"a\"b\\\\\\u{a}"#);
    }

    #[test]
    fn mermaid_gets_no_character_of_its_grammar() {
        let label = mermaid("end; #1 \"x\"\nNote <b> end");
        assert!(label.starts_with("#101;nd#59; "), "{label}");
        assert!(!label.contains(['"', '\n', '<', '>', ':']), "{label}");
        assert!(label.ends_with("#101;nd"), "{label}");
    }
}
