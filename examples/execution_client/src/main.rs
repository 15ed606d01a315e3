//! A small execution client on top of trunkline. See `--help`.

use std::process::ExitCode;

use execution_client::start::{self, Until};

/// See Cargo.toml.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    start::main(std::env::args_os(), Until::Signal)
}
