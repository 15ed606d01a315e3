//! What is measured, and what must be reached: rows and bars.

/// A load, by name.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `small` or `peers`.
    pub name: &'static str,
    /// How many requests are in flight per peer.
    pub k: usize,
    /// How many peers.
    pub peers: usize,
    /// What `ours` must reach.
    pub bar: Bar,
}

/// What `ours` must reach, as multiples of the rivals' throughput in the same run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bar {
    /// Of request-response, the better negotiation.
    pub of_rr: Option<f64>,
    /// Of the bare stream.
    pub of_raw: Option<f64>,
}

impl Bar {
    /// Is there one at all?
    pub fn exists(&self) -> bool {
        self.of_rr.is_some() || self.of_raw.is_some()
    }

    /// Do these ratios reach it? Where there is no bar, yes.
    pub fn is_met(&self, of_rr: f64, of_raw: f64) -> bool {
        self.of_rr.is_none_or(|bar| of_rr >= bar) && self.of_raw.is_none_or(|bar| of_raw >= bar)
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = [
            self.of_rr.map(|bar| format!(">= {bar}x rr")),
            self.of_raw.map(|bar| format!(">= {bar} of raw")),
        ]
        .into_iter()
        .flatten()
        .collect();
        f.write_str(if parts.is_empty() { "-" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

const fn bar(of_rr: Option<f64>, of_raw: Option<f64>) -> Bar {
    Bar { of_rr, of_raw }
}

/// All rows, in the order of the report. Later rows are added here.
pub const ROWS: [Row; 6] = [
    Row { name: "small", k: 1, peers: 1, bar: bar(Some(1.7), Some(0.8)) },
    Row { name: "small", k: 16, peers: 1, bar: bar(None, None) },
    Row { name: "small", k: 64, peers: 1, bar: bar(Some(10.0), Some(0.5)) },
    Row { name: "small", k: 256, peers: 1, bar: bar(None, None) },
    Row { name: "peers", k: 1, peers: 50, bar: bar(Some(3.5), None) },
    Row { name: "peers", k: 4, peers: 50, bar: bar(None, None) },
];

/// The names that `--rows` takes.
pub const NAMES: [&str; 2] = ["small", "peers"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_of_two_parts_needs_both() {
        let k64 = ROWS[2].bar;
        assert!(k64.is_met(10.0, 0.5));
        assert!(!k64.is_met(9.9, 0.9) && !k64.is_met(20.0, 0.49));
        assert_eq!(k64.to_string(), ">= 10x rr, >= 0.5 of raw");
        assert!(ROWS[1].bar.is_met(0.0, 0.0));
        assert_eq!(ROWS[1].bar.to_string(), "-");
    }
}
