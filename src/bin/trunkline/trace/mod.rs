//! `trunkline trace`: questions to trace files.
//!
//! Owns: options, which files, where results go. The answers are the library's.

mod args;
mod files;
mod output;

use std::time::Duration;

use serde_json::json;
use trunkline::trace::tools::model::Keep;
use trunkline::trace::tools::stuck::{self, Options};
use trunkline::trace::tools::{actors, peers, requests, stats};

use crate::failure::Failure;
pub(crate) use args::TraceArgs;
use args::{Question, TraceCommand};
use files::Files;
use output::Output;

/// A table has so many rows unless more are asked for.
const ROWS: usize = 40;

/// Does what was asked.
pub(crate) fn run(args: &TraceArgs, json: bool) -> Result<(), Failure> {
    let mut out = Output::new(json);
    let done = match &args.command {
        TraceCommand::Requests { question, limit } => show_requests(question, *limit, &mut out),
        TraceCommand::Actors { question, limit } => show_actors(question, *limit, &mut out),
        TraceCommand::Peers { question } => show_peers(question, &mut out),
        TraceCommand::Stats { question } => show_stats(question, &mut out),
        TraceCommand::Stuck { question, over } => show_stuck(question, *over, &mut out),
    };
    let done = out.finish().and(done);
    match done {
        // Whoever read our output has enough of it.
        Err(Failure::Failed(_)) if out.is_closed() => Ok(()),
        done => done,
    }
}

fn show_requests(question: &Question, limit: Option<usize>, out: &mut Output) -> Result<(), Failure> {
    let (files, filter) = question.split()?;
    for (name, model) in files.models(Keep::All)? {
        out.file(&files, &name)?;
        let lives = requests::list(&model, &filter);
        let most = limit.unwrap_or(if out.json() { usize::MAX } else { ROWS });
        let rows: Vec<_> = lives.iter().take(most).map(|life| requests::row(&model, life)).collect();
        for row in &rows {
            out.object("request", &name, row)?;
        }
        out.text(|| {
            let rest = lives.len() - rows.len();
            let more =
                if rest > 0 { format!("… {rest} more: --limit {}\n", lives.len()) } else { String::new() };
            requests::text(&rows) + &more + &stuck::caveats(&model)
        })?;
    }
    Ok(())
}

fn show_actors(question: &Question, limit: Option<usize>, out: &mut Output) -> Result<(), Failure> {
    let (files, filter) = question.split()?;
    for (name, model) in files.models(Keep::Open { slow_ns: u64::MAX })? {
        out.file(&files, &name)?;
        let found = actors::actors(&model, &filter);
        for handled in &found.handled {
            out.object("handled", &name, handled)?;
        }
        for actor in &found.actors {
            out.object("actor", &name, actor)?;
        }
        out.text(|| actors::text(&found, limit.unwrap_or(ROWS)) + &stuck::caveats(&model))?;
    }
    Ok(())
}

fn show_peers(question: &Question, out: &mut Output) -> Result<(), Failure> {
    let (files, filter) = question.split()?;
    for (name, model) in files.models(Keep::Open { slow_ns: u64::MAX })? {
        out.file(&files, &name)?;
        let found = peers::peers(&model, &filter);
        for peer in &found {
            out.object("peer", &name, peer)?;
        }
        out.text(|| peers::text(&found) + &stuck::caveats(&model))?;
    }
    Ok(())
}

fn show_stats(question: &Question, out: &mut Output) -> Result<(), Failure> {
    let (files, filter) = question.split()?;
    for (name, model) in files.models(Keep::All)? {
        out.file(&files, &name)?;
        let found = stats::stats(&model, &filter);
        out.object("stats", &name, &found)?;
        out.text(|| stats::text(&found) + &stuck::caveats(&model))?;
    }
    Ok(())
}

fn show_stuck(question: &Question, over: Duration, out: &mut Output) -> Result<(), Failure> {
    let (files, filter) = question.split()?;
    let over_ns = u64::try_from(over.as_nanos()).unwrap_or(u64::MAX);
    let options = Options::over(over_ns);
    let mut sure = 0;
    for (name, model) in files.models(Keep::Open { slow_ns: over_ns })? {
        out.file(&files, &name)?;
        let mut findings = stuck::find(&model, options);
        findings.retain(|finding| filter.is_empty() || filter.matches(&finding.subject()));
        sure += findings.iter().filter(|finding| !finding.uncertain).count();
        for finding in &findings {
            out.object("stuck", &name, finding)?;
        }
        let all = findings.len();
        out.object("end", &name, &json!({"findings": all, "events": model.events, "lost": model.lost}))?;
        out.text(|| stuck::text(&model, &findings))?;
    }
    match sure {
        0 => Ok(()),
        1 => Err(Failure::failed("something is or was stuck")),
        sure => Err(Failure::Failed(format!("{sure} things are or were stuck"))),
    }
}
