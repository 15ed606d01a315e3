//! A devnet of three: a producer, a relay and a follower, each a process of its own, over mixed wires.
//!
//! ```text
//! producer ── libp2p ── relay ── RLPx ── follower
//!    blocks ──────────────────────────────>
//!    <───────────────────────────── transfers
//! ```
//!
//! Reading order: this file (options, exit codes), `run.rs` (what happens), `child.rs` (one process),
//! `transfers.rs` (what is submitted), `checked.rs` (what the stores hold at the end), `traces.rs` (the
//! three traces as one), `report.rs` (what is printed).

mod checked;
mod child;
mod report;
mod run;
mod seen;
mod traces;
mod transfers;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use clap::error::ErrorKind;
use execution_client::failure::{Failure, one_line};
use execution_client::signals;
use execution_client::start::{self, Until};

/// The first word of a child's command line.
const NODE: &str = "node";

/// Three nodes on the development chain, each in a process of its own: a producer that makes blocks, a
/// relay that has them from it over libp2p, and a follower that knows only the relay, over devp2p's RLPx.
/// Transfers are submitted at the follower and have to come into the producer's blocks.
///
/// Ends with a table and the traces of all three as one. Exit code 0: all three have the same head and
/// the same state root, and every transfer is in a block. 1: they do not. 2: unusable options or folders.
#[derive(Debug, Parser)]
#[command(name = "devnet", version)]
struct Options {
    /// Blocks to make.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    blocks: u64,
    /// Time between two blocks.
    #[arg(long, value_name = "DURATION", default_value = "300ms", value_parser = humantime::parse_duration)]
    block_time: Duration,
    /// Transfers submitted at the follower: dynamic fee, access list and legacy ones.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(..=600))]
    transfers: u32,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Keeps the traces here: one file per node, and the three as one. Default: not kept.
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
    /// Keeps the folders of the nodes here; it must be empty or missing. Default: a temporary folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == NODE) {
        // One of the three: this program again, so that there is nothing else to be built or found.
        words.remove(1);
        return start::main(words, Until::StdinClosed);
    }
    let options = match Options::try_parse_from(words) {
        Ok(options) => options,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // Nobody reads it: nothing more can be done.
            drop(error.print());
            return ExitCode::SUCCESS;
        }
        Err(error) => return ended(Err(Failure::unusable(one_line(&error)))),
    };
    ended(play(&options))
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("devnet: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn play(options: &Options) -> Result<(), Failure> {
    if let Some(dir) = &options.trace {
        std::fs::create_dir_all(dir).map_err(|error| unusable(dir, &error))?;
    }
    let folder = Folder::make(options.keep.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let result = runtime.block_on(async {
        let stop = signals::listen().map_err(Failure::failed)?;
        run::run(options, &folder.path, stop).await
    });
    runtime.shutdown_background();
    result
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::unusable(format!("{}: {error}", path.display()))
}

/// Where the nodes keep what they have. A temporary one goes with its value.
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn make(keep: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = keep {
            std::fs::create_dir_all(path).map_err(|error| unusable(path, &error))?;
            let mut entries = std::fs::read_dir(path).map_err(|error| unusable(path, &error))?;
            if entries.next().is_some() {
                return Err(unusable(path, &"is not empty"));
            }
            return Ok(Self { path: path.to_owned(), is_temporary: false });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let path = std::env::temp_dir().join(format!("devnet-{}-{now}", std::process::id()));
        // Whatever is there already is not ours.
        std::fs::create_dir(&path).map_err(|error| unusable(&path, &error))?;
        Ok(Self { path, is_temporary: true })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            // What cannot be deleted stays where temporary things are.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
