//! How results are written: durations, peers, tables, and nothing that a terminal would obey.

use std::fmt::Write;

use serde::Serialize;

use crate::trace::record::Name;

/// Tables are no wider than this.
pub const WIDTH: usize = 100;
/// A peer id longer than this is shortened in tables.
const PEER_CHARS: usize = 13;

/// A duration as people say it: three digits and a unit.
pub fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..=999 => return format!("{ns} ns"),
        1_000..=999_999 => (ns as f64 / 1e3, "us"),
        1_000_000..=999_999_999 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    match value {
        value if value >= 99.95 => format!("{value:.0} {unit}"),
        value if value >= 9.995 => format!("{value:.1} {unit}"),
        value => format!("{value:.2} {unit}"),
    }
}

/// A moment of a trace, in seconds since it began.
pub fn moment(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

/// A moment of a trace to the millisecond, for tables.
pub fn seconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000_000)
}

/// Bytes as people say it.
pub fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{} kB", n / 1000),
        _ => format!("{} MB", n / 1_000_000),
    }
}

/// A peer id, its middle left out: first six…last six.
pub fn peer(id: &str) -> String {
    let chars: Vec<char> = id.chars().collect();
    if chars.len() <= PEER_CHARS {
        return escape(id);
    }
    let (start, end) = (&chars[..6], &chars[chars.len() - 6..]);
    format!("{}…{}", escape(&String::from_iter(start)), escape(&String::from_iter(end)))
}

/// A peer id that may be missing.
pub fn peer_or_dash(id: Option<&Name>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| peer(id))
}

/// Words out of a file, made fit for a terminal: printable ASCII as it is, everything else as
/// `\u{..}`, a backslash doubled.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            ' '..='~' | '…' => out.push(c),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "{}", c.escape_unicode())),
        }
    }
    out
}

/// Cut to so many characters, with `…` for the rest.
pub fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(chars.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// One line of JSON, in plain ASCII: it may hold words of a peer, and be shown on a terminal.
pub fn json(value: &impl Serialize) -> String {
    let Ok(text) = serde_json::to_string(value) else {
        // Our own results have string keys and finite numbers only.
        return "{}".to_owned();
    };
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        match c {
            ' '..='~' => out.push(c),
            c => {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                out.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    out
}

/// `1 request`, `2 requests`.
pub fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A table: columns as wide as they need to be, the last one cut where the line would be too long.
/// What goes in has been escaped.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings. Those that begin with `>` stand on the right of their column.
    pub fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let first = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![first], right }
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether there is nothing below the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines.
    pub fn text(&self) -> String {
        let columns = self.right.len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column > 0 {
                    line.push_str("  ");
                }
                let room = WIDTH.saturating_sub(line.chars().count());
                let cell = cut(cell, room);
                let width = widths.get(column).copied().unwrap_or(0).min(room);
                match self.right.get(column) {
                    Some(true) => drop(write!(line, "{cell:>width$}")),
                    _ => drop(write!(line, "{cell:<width$}")),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.50 us"),
            (23_456_000, "23.5 ms"),
            (200_000_000, "200 ms"),
            (3_200_000_000, "3.20 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn a_peer_is_known_by_its_ends() {
        assert_eq!(peer("16Uiu2HAmPLjUqSL1234567890"), "16Uiu2…567890");
        assert_eq!(peer("short"), "short");
        assert_eq!(peer("\u{1b}é"), "\\u{1b}\\u{e9}");
        assert_eq!(peer(&"é…".repeat(20)), "\\u{e9}…\\u{e9}…\\u{e9}……\\u{e9}…\\u{e9}…\\u{e9}…");
    }

    #[test]
    fn nothing_a_terminal_would_obey_comes_out() {
        let text = "a\u{1b}[2J\u{9b}\u{202e}\n\\é😀";
        assert_eq!(escape(text), "a\\u{1b}[2J\\u{9b}\\u{202e}\\u{a}\\\\\\u{e9}\\u{1f600}");
        let line = json(&text);
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("still JSON"), text);
    }

    #[test]
    fn a_table_is_never_too_wide() {
        let mut table = Table::new(&["name", ">time", "why"]);
        table.row(vec!["a".into(), "1 ms".into(), "x".repeat(300)]);
        table.row(vec!["longer".into(), "10 ms".into(), "y".into()]);
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(lines[2], "longer  10 ms  y");
        assert!(lines[1].starts_with("a        1 ms  xxx") && lines[1].ends_with('…'));
    }
}
