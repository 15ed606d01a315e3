//! A small execution client on top of trunkline. See `--help`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use execution_client::args::Args;
use execution_client::failure::{Failure, one_line};
use execution_client::{client, signals};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
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
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("execution_client: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Two threads beside the network's own and those that execute, so that a signal is always heard.
fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let result = runtime.block_on(async {
        let stop = signals::listen().map_err(Failure::failed)?;
        client::run(args, stop).await
    });
    runtime.shutdown_background();
    result
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
