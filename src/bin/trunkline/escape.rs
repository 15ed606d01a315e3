//! Text that a peer supplied, made fit for a terminal.

use std::fmt::Write;

/// At most so many characters of a peer's text are printed.
const CHARS_MAX: usize = 512;

/// Printable ASCII stays as it is; everything else (control characters, terminal codes, letters
/// that look like others or turn the direction of writing) becomes `\u{..}`, a backslash `\\`.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == CHARS_MAX {
            out.push_str("...");
            break;
        }
        match c {
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "{}", c.escape_unicode())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_obey_is_left() {
        assert_eq!(escape("Geth/v1.15.0-stable/linux"), "Geth/v1.15.0-stable/linux");
        assert_eq!(escape("a\x1b[2Jb\r\nc"), "a\\u{1b}[2Jb\\u{d}\\u{a}c");
        assert_eq!(escape("\u{202e}evil\u{9b}\\"), "\\u{202e}evil\\u{9b}\\\\");
        assert!(escape("é").is_ascii());
    }

    #[test]
    fn endless_text_is_cut() {
        let text = escape(&"\u{7f}".repeat(100_000));
        assert!(text.len() < 10 * CHARS_MAX && text.ends_with("..."));
    }
}
