//! The command line: measures the rows that are asked for and prints the report.
//!
//! Contenders take turns within each round, so that whatever else the machine does meets them all.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use libp2p::core::upgrade::Version;

use rivals::harness::{Contender, Failure, Load, measure};
use rivals::report::{Figures, Measured, median, table};
use rivals::rows::{NAMES, ROWS, Row};
use rivals::{ours, raw, rr};

/// Trunkline beside rust-libp2p's request-response and the bare noise + yamux stream.
#[derive(Debug, Parser)]
struct Options {
    /// Which rows to measure.
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "small,peers", value_parser = NAMES)]
    rows: Vec<String>,
    /// How often each contender is measured in each row; medians count.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each measurement lasts, in seconds, after a warm-up of a quarter of it.
    #[arg(long, value_name = "SECS", default_value_t = 1.0, value_parser = seconds)]
    secs: f64,
    /// Also write the figures there, one JSON object per row and line.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            eprintln!("{}", error.to_string().lines().next().unwrap_or("unusable options"));
            return ExitCode::from(2);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    // An unusable file is noticed before minutes of measuring, not after.
    if let Some(path) = &options.json
        && let Err(error) = std::fs::File::options().append(true).create(true).open(path)
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::from(2);
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let contenders = contenders();
    let rows: Vec<Row> =
        ROWS.into_iter().filter(|row| options.rows.iter().any(|name| name == row.name)).collect();
    let mut measured = Vec::new();
    for row in rows {
        measured.push(measure_row(row, &contenders, options)?);
    }
    print!("{}", table(&measured));
    match &options.json {
        Some(path) => write_json(path, &measured),
        None => Ok(()),
    }
}

/// Everybody who takes part.
fn contenders() -> Vec<Box<dyn Contender>> {
    let mut all = ours::contenders();
    all.push(Box::new(rr::RequestResponse { negotiation: Version::V1 }));
    all.push(Box::new(rr::RequestResponse { negotiation: Version::V1Lazy }));
    all.push(Box::new(raw::Raw));
    all
}

/// All rounds of one row. Each round starts with another contender.
fn measure_row(row: Row, contenders: &[Box<dyn Contender>], options: &Options) -> Result<Measured, Failure> {
    let secs = Duration::from_secs_f64(options.secs);
    let load = Load { peers: row.peers, in_flight: row.k, warm_up: secs / 4, secs };
    let mut samples = vec![Vec::new(); contenders.len()];
    for round in 0..usize::from(options.rounds) {
        for turn in 0..contenders.len() {
            let i = (round + turn) % contenders.len();
            let contender = &contenders[i];
            eprintln!(
                "{} k={} peers={} round {}: {} ({})",
                row.name,
                row.k,
                row.peers,
                round + 1,
                contender.name(),
                contender.variant()
            );
            let sample = measure(contender.as_ref(), load).map_err(|e| {
                format!("{} ({}), {} k={}: {e}", contender.name(), contender.variant(), row.name, row.k)
            })?;
            samples[i].push(sample);
        }
    }
    let figures = contenders.iter().zip(&samples).map(|(contender, samples)| Figures {
        name: contender.name(),
        variant: contender.variant(),
        median: median(samples),
    });
    Ok(Measured { row, figures: figures.collect() })
}

fn write_json(path: &Path, measured: &[Measured]) -> Result<(), Failure> {
    let mut file = std::fs::File::create(path)?;
    for m in measured {
        writeln!(file, "{}", m.to_json())?;
    }
    Ok(())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(secs) if (0.05..=600.0).contains(&secs) => Ok(secs),
        _ => Err("a number of seconds between 0.05 and 600".into()),
    }
}
