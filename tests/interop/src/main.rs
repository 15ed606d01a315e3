//! Runs the cases: `cargo run --release -- [--bin-dir DIR] [--only TEXT] [--jobs N]`.
//!
//! Exit 0: everything passed, or there is nothing to test. Exit 1: a case failed. Exit 2: unusable
//! options.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use interop::cases;
use interop::subject::Subject;

/// rust-libp2p as the real peer of trunkline's `substreams` example.
#[derive(Debug, Parser)]
struct Options {
    /// Where the `substreams` executable is. Default: $TRUNKLINE_BIN_DIR, then
    /// $CARGO_TARGET_DIR/release/examples, then target/release/examples of the repository.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// The name of the executable in it.
    #[arg(long, value_name = "NAME", default_value = "substreams")]
    bin: String,
    /// What the agent version in identify must begin with.
    #[arg(long, value_name = "TEXT", default_value = "trunkline")]
    agent: String,
    /// Run only the cases whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// How many cases run at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Accept that peers stay connected which break those yamux rules that rust-libp2p tolerates.
    #[arg(long)]
    lenient: bool,
    /// Print the names of the cases and end.
    #[arg(long)]
    list: bool,
    /// Fail, instead of skipping everything, when the executable is missing.
    #[arg(long)]
    require: bool,
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            eprintln!("{}", text.lines().next().unwrap_or("unusable options"));
            return ExitCode::from(2);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    let mut cases = cases::all();
    cases.retain(|case| case.name.contains(&options.only));
    if cases.is_empty() {
        eprintln!("no case has {:?} in its name", options.only);
        return ExitCode::from(2);
    }
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    let tried = candidates(&options);
    let Some(bin) = tried.iter().find(|path| path.is_file()).cloned() else {
        let tried: Vec<_> = tried.iter().map(|p| p.display().to_string()).collect();
        println!("SKIPPED EVERYTHING: no {} in {}", options.bin, tried.join(", "));
        println!("build it with: cargo build --release --examples");
        println!("0 passed, 0 failed, {} skipped", cases.len());
        return if options.require { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    println!("testing {}", bin.display());
    let subject = Subject { bin, agent: options.agent, lenient: options.lenient };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let tally = runtime.block_on(cases::run(cases, &subject, options.jobs.into()));
    runtime.shutdown_background();
    match tally.skipped {
        0 => println!("{} passed, {} failed", tally.passed, tally.failed),
        skipped => println!("{} passed, {} failed, {skipped} skipped", tally.passed, tally.failed),
    }
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where the executable may be, best first.
fn candidates(options: &Options) -> Vec<PathBuf> {
    let named = options.bin_dir.clone().or_else(|| std::env::var_os("TRUNKLINE_BIN_DIR").map(PathBuf::from));
    let dirs = match named {
        Some(dir) => vec![dir],
        None => {
            let mut dirs = Vec::new();
            if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
                dirs.push(Path::new(&target).join("release/examples"));
            }
            dirs.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/examples"));
            dirs
        }
    };
    dirs.into_iter().map(|dir| dir.join(&options.bin)).collect()
}
