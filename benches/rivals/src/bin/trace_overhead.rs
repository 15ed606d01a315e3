//! What the trace costs: the same load with the trace off, with the flight recorder, and with a live
//! file, in turns within each round.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rivals::harness::{Failure, Load, measure};
use rivals::ours::{Tracing, traced};
use rivals::report::median;

/// Trunkline beside itself, with more and less of the trace.
#[derive(Debug, Parser)]
struct Options {
    /// Requests in flight.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    /// How often each is measured; medians of the ratios within each round count.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each measurement lasts, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 1.0)]
    secs: f64,
}

fn main() -> ExitCode {
    let result = run(&Options::parse());
    Tracing::tidy_up();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let contenders = traced();
    let secs = Duration::from_secs_f64(options.secs.clamp(0.05, 600.0));
    let load = Load { peers: 1, in_flight: options.in_flight.into(), warm_up: secs / 4, secs };
    let mut samples = vec![Vec::new(); contenders.len()];
    for round in 0..usize::from(options.rounds) {
        for turn in 0..contenders.len() {
            let i = (round + turn) % contenders.len();
            samples[i].push(measure(contenders[i].as_ref(), load)?);
        }
        eprintln!("round {} of {}", round + 1, options.rounds);
    }
    println!("{:<24} {:>8} {:>8} {:>14} {:>14}", "k in flight", "k/s", "us CPU", "rate, of off", "CPU, of off");
    for (contender, samples_of) in contenders.iter().zip(&samples) {
        let of_off = |value: fn(&rivals::harness::Sample) -> f64| {
            let mut ratios: Vec<f64> =
                samples_of.iter().zip(&samples[0]).map(|(this, off)| value(this) / value(off)).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        };
        let m = median(samples_of);
        let name = format!("{} k={}", contender.variant(), options.in_flight);
        let (rate, cpu) = (of_off(|s| s.rate), of_off(|s| s.cpu_us));
        let us = m.cpu_us;
        println!("{name:<24} {:>8.1} {us:>8.2} {rate:>14.3} {cpu:>14.3}", m.rate / 1e3);
    }
    Ok(())
}
