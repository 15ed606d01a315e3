//! The client as a program: options in, exit code out.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::Args;
use crate::failure::{Failure, one_line};
use crate::{client, signals};

/// Threads for what blocks: execution, hashing, the store, large answers; what is more waits. The
/// allocator keeps memory of its own for each thread there ever was, so hundreds would cost as much as
/// everything else together.
const BLOCKING_THREADS_MAX: usize = 6;

/// Whoever closed our stdin waits at most so long for an orderly end.
const ORDERLY_END: Duration = Duration::from_secs(10);

/// What ends the program from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Ctrl-C or SIGTERM.
    Signal,
    /// These, or that stdin is closed: whoever holds its other end is never survived, even if it is
    /// killed.
    StdinClosed,
}

/// Parses the options, the program's name first, and runs until the end.
pub fn main(options: impl IntoIterator<Item = OsString>, until: Until) -> ExitCode {
    let args = match Args::try_parse_from(options) {
        Ok(args) => args,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // Nobody reads it: nothing more can be done.
            drop(error.print());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("execution_client: {}", one_line(&error));
            return ExitCode::from(2);
        }
    };
    log_to_stderr(args.verbose);
    match run(args, until) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("execution_client: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Two threads beside the network's own and those that execute, so that a signal is always heard.
fn run(args: Args, until: Until) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let result = runtime.block_on(async {
        let stop = signals::listen().map_err(Failure::failed)?;
        if until == Until::StdinClosed {
            let stop = stop.clone();
            std::thread::spawn(move || end_with_stdin(&stop));
        }
        client::run(args, stop).await
    });
    runtime.shutdown_background();
    result
}

/// Reads what nobody needs until there is no more of it.
fn end_with_stdin(stop: &CancellationToken) {
    let mut stdin = io::stdin().lock();
    while !matches!(stdin.read(&mut [0; 64]), Ok(0) | Err(_)) {}
    stop.cancel();
    std::thread::sleep(ORDERLY_END);
    std::process::exit(1);
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "error,discv5=off,trunkline::trace=warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
