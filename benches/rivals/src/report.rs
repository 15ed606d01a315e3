//! Medians, the table and the JSON lines.

use serde_json::{Map, Value, json};

use crate::harness::Sample;
use crate::ours;
use crate::rows::Row;

/// The medians of one contender in one row.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Its name: `ours`, `rr`, `raw`.
    pub name: &'static str,
    /// Its variant.
    pub variant: &'static str,
    /// The median of each figure by itself.
    pub median: Sample,
}

/// Everything measured in one row.
#[derive(Debug)]
pub struct Measured {
    /// What was asked.
    pub row: Row,
    /// What came out, by contender.
    pub figures: Vec<Figures>,
}

/// The median of each figure by itself. There must be at least one sample.
pub fn median(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
    };
    Sample {
        rate: of(|s| s.rate),
        cpu_us: of(|s| s.cpu_us),
        p50_us: of(|s| s.p50_us),
        p99_us: of(|s| s.p99_us),
    }
}

impl Measured {
    /// The figures that count for a name: ours with callers on the session's thread, the better
    /// request-response, the bare stream.
    fn of(&self, name: &str) -> Option<&Figures> {
        self.figures
            .iter()
            .filter(|f| f.name == name && f.variant != ours::TWO_WORKERS)
            .max_by(|a, b| a.median.rate.total_cmp(&b.median.rate))
    }

    fn two_workers(&self) -> Option<&Figures> {
        self.figures.iter().find(|f| f.name == "ours" && f.variant == ours::TWO_WORKERS)
    }

    fn ratio(&self, rival: &str) -> Option<f64> {
        Some(self.of("ours")?.median.rate / self.of(rival)?.median.rate)
    }

    /// Is the row's bar reached? `false` as long as ours is not measured.
    pub fn is_met(&self) -> bool {
        match (self.ratio("rr"), self.ratio("raw")) {
            (Some(rr), Some(raw)) => self.row.bar.is_met(rr, raw),
            _ => false,
        }
    }

    /// The line of `--json`.
    pub fn to_json(&self) -> Value {
        let rate = |f: Option<&Figures>| f.map(|f| f.median.rate.round());
        let rounded = |ratio: Option<f64>| ratio.map(|r| (r * 1000.0).round() / 1000.0);
        let mut contenders = Map::new();
        for f in &self.figures {
            let tenth = |us: f64| (us * 100.0).round() / 100.0;
            let m = f.median;
            let value = json!({
                "rate": m.rate.round(), "cpu_us": tenth(m.cpu_us),
                "p50_us": tenth(m.p50_us), "p99_us": tenth(m.p99_us),
            });
            contenders.insert(format!("{} ({})", f.name, f.variant), value);
        }
        json!({
            "row": self.row.name, "k": self.row.k, "peers": self.row.peers,
            "ours": rate(self.of("ours")), "rr": rate(self.of("rr")), "raw": rate(self.of("raw")),
            "ratio_rr": rounded(self.ratio("rr")), "ratio_raw": rounded(self.ratio("raw")),
            "bar": self.row.bar.to_string(), "met": self.is_met(),
            "caller": ours::SESSION, "ours_2_workers": rate(self.two_workers()),
            "rr_negotiation": self.of("rr").map(|f| f.variant), "contenders": contenders,
        })
    }
}

/// The table that is printed: one line per row, and the contenders' CPU and latency below.
pub fn table(measured: &[Measured]) -> String {
    let thousands = |f: Option<&Figures>| f.map_or("-".into(), |f| format!("{:.1}", f.median.rate / 1e3));
    let times = |ratio: Option<f64>| ratio.map_or("-".into(), |r| format!("{r:.2}"));
    let mut lines = vec![
        ["row", "ours k/s", "rr k/s", "raw k/s", "ours/rr", "ours/raw", "2w k/s", "bar", "met"]
            .map(String::from)
            .to_vec(),
    ];
    for m in measured {
        let met = match (m.row.bar.exists(), m.of("ours").is_some()) {
            (false, _) | (_, false) => "-",
            _ if m.is_met() => "yes",
            _ => "NO",
        };
        lines.push(vec![
            label(m.row),
            thousands(m.of("ours")),
            thousands(m.of("rr")),
            thousands(m.of("raw")),
            times(m.ratio("rr")),
            times(m.ratio("raw")),
            thousands(m.two_workers()),
            m.row.bar.to_string(),
            met.into(),
        ]);
    }
    let mut text = aligned(&lines);
    text.push_str(
        "\nThousand requests/s of 64 to 600 bytes, medians. ours: callers on the session's thread; 2w: callers\n\
         on a 2-worker runtime. rr: the better of V1 and V1Lazy. raw: the bare noise + yamux stream.\n\n",
    );

    let mut lines =
        vec![["row", "contender", "k/s", "CPU us/req", "p50 us", "p99 us"].map(String::from).to_vec()];
    for m in measured {
        for f in &m.figures {
            let us = |figure: f64| format!("{figure:.1}");
            lines.push(vec![
                label(m.row),
                format!("{} ({})", f.name, f.variant),
                format!("{:.1}", f.median.rate / 1e3),
                format!("{:.2}", f.median.cpu_us),
                us(f.median.p50_us),
                us(f.median.p99_us),
            ]);
        }
    }
    text.push_str(&aligned(&lines));
    text.push_str("\nCPU: both ends and their helper threads, per answered request.\n");
    text
}

fn label(row: Row) -> String {
    match row.peers {
        1 => format!("{} k={}", row.name, row.k),
        peers => format!("{} {peers} x {}", row.name, row.k),
    }
}

/// Columns as wide as their widest cell; numbers to the right, text to the left.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |c: usize| lines.iter().map(|l| l[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric: Vec<bool> = (0..columns)
        .map(|c| lines.iter().skip(1).all(|l| l[c] == "-" || l[c].parse::<f64>().is_ok()))
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .enumerate()
            .map(|(c, cell)| {
                if numeric[c] {
                    format!("{cell:>w$}", w = widths[c])
                } else {
                    format!("{cell:<w$}", w = widths[c])
                }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    fn sample(rate: f64) -> Sample {
        Sample { rate, cpu_us: 1.0, p50_us: 2.0, p99_us: 3.0 }
    }

    fn figures(name: &'static str, variant: &'static str, rate: f64) -> Figures {
        Figures { name, variant, median: sample(rate) }
    }

    #[test]
    fn the_median_is_the_middle_one_or_between_two() {
        assert_eq!(median(&[sample(3.0), sample(1.0), sample(2.0)]).rate, 2.0);
        assert_eq!(median(&[sample(4.0), sample(1.0)]).rate, 2.5);
    }

    #[test]
    fn the_better_request_response_counts_and_two_workers_do_not() {
        let measured = Measured {
            row: ROWS[2],
            figures: vec![
                figures("raw", "inline", 1000.0),
                figures("rr", "V1", 40.0),
                figures("rr", "V1Lazy", 50.0),
                figures("ours", ours::SESSION, 500.0),
                figures("ours", ours::TWO_WORKERS, 900.0),
            ],
        };
        let json = measured.to_json();
        assert_eq!(json["rr"], 50.0);
        assert_eq!(json["rr_negotiation"], "V1Lazy");
        assert_eq!((json["ratio_rr"].as_f64(), json["ratio_raw"].as_f64()), (Some(10.0), Some(0.5)));
        assert_eq!(json["ours_2_workers"], 900.0);
        assert_eq!(json["met"], true);
        assert!(table(&[measured]).contains("yes"));
    }

    #[test]
    fn without_ours_no_bar_is_met() {
        let measured = Measured { row: ROWS[0], figures: vec![figures("raw", "inline", 10.0)] };
        assert_eq!(measured.to_json()["met"], false);
        assert_eq!(measured.to_json()["ours"], Value::Null);
        assert!(table(&[measured]).lines().nth(1).unwrap().ends_with('-'));
    }
}
