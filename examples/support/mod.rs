//! What the examples with options share: refusals in one line, durations, signals.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use trunkline::trace::TraceConfig;

/// Reads the options. `Err`: what to exit with, after help (0) or a refusal in one line (2).
pub(crate) fn options<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        if !error.use_stderr() {
            // Help that nobody reads is no failure.
            drop(error.print());
            return ExitCode::SUCCESS;
        }
        let text = error.to_string();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let said = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
        refuse(said.collect::<Vec<_>>().join(" "))
    })
}

/// One line on stderr about something unusable; the exit code for it.
pub(crate) fn refuse(why: impl std::fmt::Display) -> ExitCode {
    eprintln!("{}", why.to_string().replace(['\n', '\r'], " "));
    ExitCode::from(2)
}

/// One line on stderr about something that did not come about; the exit code for it.
pub(crate) fn fail(why: impl std::fmt::Display) -> ExitCode {
    eprintln!("{}", why.to_string().replace(['\n', '\r'], " "));
    ExitCode::FAILURE
}

/// `250ms`, `5s` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err("not a duration such as 250ms, 5s or 2m".to_owned()),
    };
    let number: u32 = digits.parse().map_err(|_| "not a duration such as 250ms, 5s or 2m".to_owned())?;
    Ok(Duration::from_millis(u64::from(number) * millis))
}

/// A trace that is written to this file, if there is one.
pub(crate) fn trace_to(file: Option<PathBuf>) -> TraceConfig {
    TraceConfig { file, ..TraceConfig::default() }
}

/// Waits for Ctrl-C or SIGTERM. After it the process ends by itself at the next one.
#[cfg(unix)]
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    // Without signals the process runs until it is killed.
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(1);
    });
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
