//! The `trunkline` command: serve and follow a chain, ping a peer, make keys, ask traces.
//!
//! Owns: options, output, exit codes. Never: a protocol or a rule of one; those are the library's.
//! Exit 0: done. Exit 1: tried, and it did not come about. Exit 2: unusable options, files,
//! addresses or ports, with nothing done. Results go to stdout, everything else to stderr.

mod addr;
mod discover;
mod duration;
mod escape;
mod failure;
mod key;
mod metrics_server;
mod node;
mod ping;
mod signals;
mod status_probe;
mod trace;
mod trace_ui;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

use failure::{Failure, one_line};

/// Peer connections for Ethereum over libp2p: serve and follow a chain, ping peers, make keys, ask traces.
///
/// Exit code 0: done. 1: tried, and it did not come about. 2: unusable options, files, addresses or
/// ports; nothing was done.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Prints one JSON object per line on stdout, and nothing else there.
    #[arg(long, global = true, display_order = 1000)]
    json: bool,
    /// Logs more to stderr: -v what happens, -vv how, -vvv everything. RUST_LOG goes before it.
    #[arg(short, long, global = true, display_order = 1001, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Node(Box<node::NodeArgs>),
    Ping(ping::PingArgs),
    Key(key::KeyArgs),
    Discover(discover::DiscoverArgs),
    Trace(trace::TraceArgs),
}

impl Command {
    /// Whether lines on the terminal would spoil what is drawn there.
    fn takes_terminal(&self) -> bool {
        matches!(self, Self::Node(args) if args.takes_terminal())
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    if !cli.command.takes_terminal() || !std::io::stderr().is_terminal() {
        log_to_stderr(cli.verbose);
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("trunkline: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Node(args) => on_runtime(node::run(*args, cli.json)),
        Command::Ping(args) => on_runtime(ping::run(args, cli.json)),
        Command::Key(args) => key::run(&args, cli.json),
        Command::Discover(args) => on_runtime(discover::run(args, cli.json)),
        Command::Trace(args) => trace::run(&args, cli.json),
    }
}

/// Two threads, so that a signal is heard while the other one waits for a slow terminal.
fn on_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let result = runtime.block_on(command);
    // A file that is still being read must not hold up the end.
    runtime.shutdown_background();
    result
}

/// What clap has to say: help and version on stdout, a refusal as one line on stderr.
fn refused(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody reads it: nothing more can be done.
            drop(error.print());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprintln!("trunkline: a command is missing: usage: trunkline COMMAND, see --help");
            ExitCode::from(2)
        }
        _ => {
            eprintln!("trunkline: {}", one_line(error));
            ExitCode::from(2)
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        // Where a dump of the flight recorder went is always told. What discv5 calls an error is often
        // only what a stranger has sent.
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
