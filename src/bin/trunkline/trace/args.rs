//! The options of `trunkline trace`.

use std::path::PathBuf;
use std::time::Duration;

use trunkline::trace::tools::Filter;
use trunkline::trace::tools::export::Format;
use trunkline::trace::tools::follow::Which;

use super::files::Files;
use crate::duration;
use crate::failure::Failure;

/// Asks trace files: what is stuck, why a request waited, what every actor did.
///
/// Traces are written by `trunkline node --trace DIR` and by the flight recorder. A folder stands for
/// all *.jsonl files in it.
///
/// A FILTER chooses among what is shown. Its terms are joined by spaces, all must hold:
///   peer=16Uiu2  proto=eth  kind=GetBlockHeaders  id=1.42  dir=out  state!=ok  state=open
///   wait>5ms  conn=3
/// Operators are = != > < >= <= and ~ (contains). `peer` takes the beginning or the end of an id.
/// In a shell, quote terms with > or <.
///
/// Exit code 0: answered. 1: `stuck` found something, or there is nothing to follow. 2: a file is
/// missing, empty, broken or no trace.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    pub(super) command: TraceCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum TraceCommand {
    /// Names what blocks or blocked: a mailbox, a handler, a window, a peer, a limit, ... Start here.
    ///
    /// Looks at where things stand at the end of the trace, and at what was slow or failed before.
    /// With the files of both nodes of a connection it says where it stood on the other side. Exit
    /// code 1 if anything was found, so that scripts can watch.
    Stuck {
        #[command(flatten)]
        question: Question,
        /// What took longer than this was slow.
        #[arg(long, value_name = "D", default_value = "1s", value_parser = duration::parse)]
        over: Duration,
    },
    /// Lists requests, the oldest first.
    Requests {
        #[command(flatten)]
        question: Question,
        /// Shows so many (default 40; with --json all).
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Shows what actors handled, how long that took, and what waits in their mailboxes.
    Actors {
        #[command(flatten)]
        question: Question,
        /// Shows so many actors (default 40; with --json all).
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Shows why each connection closed, or never became a session, with its last events.
    Peers {
        #[command(flatten)]
        question: Question,
    },
    /// Counts outcomes, latencies by kind of request, waits by hop.
    Stats {
        #[command(flatten)]
        question: Question,
    },
    /// Shows one request: the wait at each hop, why, and what caused what.
    Follow {
        /// The request (an id such as 1.42, its beginning, `last` or `slowest`), one trace file, and
        /// terms of a filter to choose by, in any order.
        #[arg(value_name = "ID|FILE|FILTER", required = true)]
        words: Vec<String>,
    },
    /// Compares two traces: outcomes, latencies, waits by hop, and what got worse.
    Diff {
        /// The first trace, the second one, then terms of a filter.
        #[arg(value_name = "FILE|FILTER", required = true)]
        words: Vec<String>,
    },
    /// Joins the traces of nodes that talked to each other: where the time of each request went.
    ///
    /// Connections are joined by their addresses or peer ids, requests by their ids on the wire; the
    /// clocks are compared by the requests themselves.
    Merge {
        #[command(flatten)]
        question: Question,
        /// Writes the events of all files, on one time axis, to this file as JSON lines.
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
        /// Shows so many requests (default 40; with --json all).
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Writes a trace, or the joined traces of several nodes, for other programs.
    Export {
        /// Trace files or folders of them.
        #[arg(value_name = "FILE", required = true)]
        words: Vec<String>,
        /// perfetto (also chrome://tracing), mermaid, html (one page that needs nothing else),
        /// prometheus or shiviz.
        #[arg(long, value_name = "FORMAT", value_parser = format)]
        format: Format,
        /// Writes to this file instead of stdout.
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
    },
}

fn format(text: &str) -> Result<Format, String> {
    let known = Format::ALL.map(Format::name).join(", ");
    text.parse().map_err(|_| format!("not one of {known}"))
}

/// Files, and a filter behind them.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// Trace files or folders of them, then terms of a filter.
    #[arg(value_name = "FILE|FILTER", required = true)]
    words: Vec<String>,
}

impl Question {
    /// Tells files from terms.
    pub(super) fn split(&self) -> Result<(Files, Filter), Failure> {
        split(&self.words)
    }
}

/// Tells the request that is meant from files and terms. Without one the slowest is meant.
pub(super) fn split_id(words: &[String]) -> Result<(Which, Files, Filter), Failure> {
    let is_id = |word: &String| {
        let ring = word.split('.').next().unwrap_or_default();
        let digits = !ring.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        (digits || word == "last" || word == "slowest") && !PathBuf::from(word).exists()
    };
    let mut ids = words.iter().filter(|word| is_id(word));
    let which = match (ids.next().map(String::as_str), ids.next()) {
        (_, Some(second)) => {
            return Err(Failure::Unusable(format!("one request at a time, not {second} as well")));
        }
        (None | Some("slowest"), None) => Which::Slowest,
        (Some("last"), None) => Which::Last,
        (Some(id), None) => Which::Id(id.to_owned()),
    };
    let others: Vec<String> = words.iter().filter(|word| !is_id(word)).cloned().collect();
    let (files, filter) = split(&others)?;
    Ok((which, files, filter))
}

pub(super) fn split(words: &[String]) -> Result<(Files, Filter), Failure> {
    let is_term = |word: &&String| {
        // An argument may hold several terms, or begin with a space.
        let looks_like = |word: &str| Filter::is_term(word) || word.contains(['=', '<', '>', '~']);
        word.split_whitespace().next().is_some_and(looks_like) && !PathBuf::from(word).exists()
    };
    let terms: Vec<&str> = words.iter().filter(is_term).map(String::as_str).collect();
    let filter = terms.join(" ").parse().map_err(Failure::unusable)?;
    let paths = words.iter().filter(|word| !is_term(word)).map(PathBuf::from);
    Ok((Files::find(paths)?, filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn files_terms_and_ids_are_told_apart_in_any_order() {
        let (files, filter) = split(&words(&["state!=ok wait>5ms", "a.jsonl", "conn=3"])).expect("both");
        assert_eq!((files.paths().len(), filter.is_empty()), (1, false));
        let (which, files, _) = split_id(&words(&["1.42", "a.jsonl"])).expect("both");
        assert_eq!((which, files.paths().len()), (Which::Id("1.42".to_owned()), 1));
        let (which, ..) = split_id(&words(&["a.jsonl", "last"])).expect("both");
        assert_eq!(which, Which::Last);
        let (which, ..) = split_id(&words(&["a.jsonl"])).expect("both");
        assert_eq!(which, Which::Slowest);
    }

    #[test]
    fn what_is_neither_is_named() {
        let said = |text: &[&str]| split(&words(text)).expect_err("refused").to_string();
        assert!(said(&["a.jsonl", "speed>3"]).contains("\"speed\" is not one of"));
        assert!(said(&["conn=3"]).contains("which trace?"));
        assert!(split_id(&words(&["1.1", "1.2", "a.jsonl"])).is_err());
    }
}
