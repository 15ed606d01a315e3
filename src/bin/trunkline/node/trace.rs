//! Options about the trace: where it goes, and how much of it.

use std::path::{Path, PathBuf};

use trunkline::PeerId;
use trunkline::chain::export;
use trunkline::trace::TraceConfig;

use super::unusable_file;
use crate::failure::Failure;

/// What the trace costs at most, as `--trace-budget` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BudgetOption {
    /// Events in all.
    events: u64,
    /// Events per second, if that is to be another number than by default.
    per_second: Option<u32>,
}

/// Where the trace goes.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TraceOptions {
    /// Writes the trace to a new file in this folder, node-PEER-PID.jsonl. The folder is made if it
    /// is missing. Default: no file; the last events are kept in memory.
    ///
    /// Read it with `trunkline trace`. Dumps of what is kept in memory are made when a handler
    /// panics, when a request is left over at the end, and on SIGUSR1. They go into this folder; with
    /// --trace-file beside that file; else into the system's temporary folder.
    #[arg(long, value_name = "DIR", conflicts_with = "trace_file")]
    trace: Option<PathBuf>,
    /// Writes the trace to this file, replacing it. Its folder must exist.
    #[arg(long, value_name = "FILE")]
    trace_file: Option<PathBuf>,
    /// Ends the file's trace after so many events, and thins it out to so many per second; what is
    /// left out is counted. Requests are left out whole. Default: 10000000,50000.
    #[arg(long, value_name = "EVENTS[,PER_SECOND]", value_parser = budget)]
    trace_budget: Option<BudgetOption>,
    /// Keeps and writes no trace at all.
    #[arg(long, conflicts_with_all = ["trace", "trace_file", "trace_budget", "trace_ui"])]
    no_trace: bool,
}

/// Where the trace goes, once it is known who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The live trace.
    file: Option<PathBuf>,
    /// Where dumps go.
    dumps: PathBuf,
    /// A folder that is still to be made.
    missing: Option<PathBuf>,
}

impl TraceOptions {
    /// How much is recorded. Where it goes is said by [`Plan::direct`].
    pub(super) fn config(&self) -> TraceConfig {
        let mut config = if self.no_trace { TraceConfig::off() } else { TraceConfig::default() };
        if let Some(BudgetOption { events, per_second }) = self.trace_budget {
            config.budget.events_max = events;
            config.budget.events_per_second = per_second.unwrap_or(config.budget.events_per_second);
        }
        config
    }

    /// The option that decides about a limit, by its name in [`Config::limits`](trunkline::Config::limits).
    pub(super) fn decides(&self, limit: &str) -> Option<&'static str> {
        match limit {
            "trace events kept per thread" if self.no_trace => Some("option --no-trace"),
            "trace events written to a file" if self.trace_budget.is_some() => Some("option --trace-budget"),
            "trace events written per second" => {
                self.trace_budget.and_then(|budget| budget.per_second).map(|_| "option --trace-budget")
            }
            _ => None,
        }
    }

    /// `None`: no trace. Looks at the paths and leaves nothing behind.
    pub(super) fn plan(&self, us: PeerId) -> Result<Option<Plan>, Failure> {
        if self.no_trace {
            return Ok(None);
        }
        if self.trace_budget.is_some() && self.trace.is_none() && self.trace_file.is_none() {
            return Err(Failure::unusable(
                "--trace-budget is about a file: it needs --trace or --trace-file",
            ));
        }
        let (file, dumps) = match (&self.trace, &self.trace_file) {
            (Some(folder), _) => {
                (TraceConfig::default().in_folder(folder, &us.to_string()).file, folder.clone())
            }
            (None, Some(file)) => (Some(file.clone()), folder_of(file)),
            (None, None) => (None, std::env::temp_dir()),
        };
        let missing = self.trace.clone().filter(|folder| !folder.exists());
        match (&missing, &file) {
            // The folder is made where a file could be made.
            (Some(folder), _) => export::check_target(folder).map_err(Failure::unusable)?,
            (None, Some(file)) => check_file(file)?,
            (None, None) => {}
        }
        Ok(Some(Plan { file, dumps, missing }))
    }
}

impl Plan {
    /// Says where the trace goes.
    pub(super) fn direct(&self, config: &mut TraceConfig) {
        config.file.clone_from(&self.file);
        config.dump_dir = Some(self.dumps.clone());
    }

    /// Takes the folder away that was made, as far as it is empty: nothing came about.
    pub(super) fn undo(&self) {
        if let Some(folder) = &self.missing {
            drop(std::fs::remove_dir(folder));
        }
    }

    /// Makes the folder if it is missing: the first thing that stays.
    pub(super) fn make_folder(&self) -> Result<(), Failure> {
        let Some(folder) = &self.missing else { return Ok(()) };
        std::fs::create_dir(folder).map_err(|error| unusable_file(folder, error))
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn check_file(file: &Path) -> Result<(), Failure> {
    if file.is_dir() {
        return Err(unusable_file(file, "is a folder; --trace makes a file in one"));
    }
    export::check_target(file).map_err(Failure::unusable)
}

/// `EVENTS` or `EVENTS,PER_SECOND`.
fn budget(text: &str) -> Result<BudgetOption, String> {
    let wrong = |_| "not EVENTS or EVENTS,PER_SECOND, such as 1000000,50000".to_owned();
    let (events, per_second) = match text.split_once(',') {
        Some((events, per_second)) => (events, Some(per_second.parse().map_err(wrong)?)),
        None => (text, None),
    };
    let events = events.parse().map_err(wrong)?;
    if events == 0 || per_second == Some(0) {
        return Err("at least 1; --no-trace keeps no trace".to_owned());
    }
    Ok(BudgetOption { events, per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us() -> PeerId {
        trunkline::Keypair::generate_secp256k1().public().to_peer_id()
    }

    #[test]
    fn a_budget_is_a_count_and_perhaps_a_rate() {
        assert_eq!(budget("500"), Ok(BudgetOption { events: 500, per_second: None }));
        assert_eq!(budget("500,20"), Ok(BudgetOption { events: 500, per_second: Some(20) }));
        for text in ["", "0", "-1", "5,", "5,0", ",5", "5,5,5", "5.5", "1e6", "99999999999999999999"] {
            assert!(budget(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn dumps_go_where_the_trace_goes_and_nothing_is_left_behind() {
        let base = std::env::temp_dir().join(format!("trunkline-trace-options-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let us = us();
        let plan = TraceOptions::default().plan(us).unwrap().unwrap();
        assert_eq!((plan.file, plan.dumps), (None, std::env::temp_dir()));
        let none = TraceOptions { no_trace: true, ..TraceOptions::default() };
        assert_eq!(none.plan(us).unwrap(), None);

        let folder = base.join("traces");
        let options = TraceOptions { trace: Some(folder.clone()), ..TraceOptions::default() };
        let plan = options.plan(us).unwrap().unwrap();
        let name = plan.file.as_ref().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        assert!(us.to_string().ends_with(&name["node-".len()..][..6]), "{name}");
        assert!(!folder.exists());
        plan.make_folder().unwrap();
        assert!(folder.is_dir());
        assert_eq!(options.plan(us).unwrap().unwrap().missing, None);

        let file = TraceOptions { trace_file: Some(base.join("a.jsonl")), ..TraceOptions::default() };
        assert_eq!(file.plan(us).unwrap().unwrap().dumps, base);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn unwritable_paths_are_unusable() {
        let file = std::env::temp_dir().join(format!("trunkline-trace-unusable-{}", std::process::id()));
        std::fs::write(&file, "a file").unwrap();
        let temp = std::env::temp_dir();
        let of = |trace: Option<PathBuf>, trace_file: Option<PathBuf>| {
            let options = TraceOptions { trace, trace_file, ..TraceOptions::default() };
            options.plan(us()).map(drop).unwrap_err().exit_code()
        };
        assert_eq!(of(Some(file.clone()), None), 2);
        assert_eq!(of(Some(file.join("below")), None), 2);
        assert_eq!(of(Some("/no/such/folder".into()), None), 2);
        assert_eq!(of(None, Some("/no/such/file".into())), 2);
        assert_eq!(of(None, Some(temp)), 2);
        let budget = Some(BudgetOption { events: 1, per_second: None });
        let options = TraceOptions { trace_budget: budget, ..TraceOptions::default() };
        assert_eq!(options.plan(us()).unwrap_err().exit_code(), 2);
        std::fs::remove_file(file).unwrap();
    }
}
