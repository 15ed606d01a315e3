//! `trunkline trace`: questions to trace files.
//!
//! Owns: options, which files, where results go. The answers are the library's.

mod args;
mod files;
mod output;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use trunkline::trace::tools::export::{self, Format};
use trunkline::trace::tools::model::Keep;
use trunkline::trace::tools::read::Reader;
use trunkline::trace::tools::stuck::{self, Options};
use trunkline::trace::tools::{Picture, actors, diff, follow, merge, peers, requests, stats};

use crate::failure::Failure;
pub(crate) use args::TraceArgs;
use args::{Question, TraceCommand};
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
        TraceCommand::Follow { words } => show_one(words, &mut out),
        TraceCommand::Diff { words } => show_diff(words, &mut out),
        TraceCommand::Merge { question, output, limit } => {
            show_merge(question, output.as_deref(), *limit, &mut out)
        }
        TraceCommand::Export { words, format, output } => {
            write_export(words, *format, output.as_deref(), &mut out)
        }
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
    // What the other side says of a request may be about one that was not slow there.
    let (picture, models) = match files.are_several() {
        true => (files.picture(false)?.0, Vec::new()),
        false => (Picture::default(), files.models(Keep::Open { slow_ns: over_ns })?),
    };
    let joined = picture.nodes.iter().map(|node| &node.model);
    let alone = models.iter().map(|(_, model)| model);
    let mut sure = 0;
    for (index, model) in joined.chain(alone).enumerate() {
        let name = files::name(&files.paths()[index]);
        out.file(&files, &name)?;
        let mut findings = stuck::find(model, options);
        stuck::explain_by_other_side(&picture, index, &mut findings);
        findings.retain(|finding| filter.is_empty() || filter.matches(&finding.subject()));
        sure += findings.iter().filter(|finding| !finding.uncertain).count();
        for finding in &findings {
            out.object("stuck", &name, finding)?;
        }
        let all = findings.len();
        out.object("end", &name, &json!({"findings": all, "events": model.events, "lost": model.lost}))?;
        out.text(|| stuck::text(model, &findings))?;
    }
    match sure {
        0 => Ok(()),
        1 => Err(Failure::failed("something is or was stuck")),
        sure => Err(Failure::Failed(format!("{sure} things are or were stuck"))),
    }
}

fn show_one(words: &[String], out: &mut Output) -> Result<(), Failure> {
    let (which, files, filter) = args::split_id(words)?;
    let path = files.only()?;
    let model = files::read(path, Keep::All)?;
    let life = follow::choose(&model, &which, &filter).map_err(Failure::failed)?;
    let mut chain = follow::Chain::new(&model, life);
    files::lines(path, |line| chain.link(line))?;
    chain.linked();
    files::lines(path, |line| chain.collect(line))?;
    // Whoever follows a request wants to know what held it up, however short that was.
    let long = life.took(model.span.1) / 4;
    let options = Options { over_ns: long.clamp(1, 1_000_000_000), now_ns: long.clamp(1, 100_000_000) };
    let found = follow::follow(&model, life, &chain, options);
    out.object("follow", &files::name(path), &found)?;
    out.text(|| follow::text(&found) + &stuck::caveats(&model))
}

fn show_diff(words: &[String], out: &mut Output) -> Result<(), Failure> {
    let (files, filter) = args::split(words)?;
    if files.paths().len() != 2 {
        return Err(Failure::Unusable(format!("diff compares two files, not {}", files.paths().len())));
    }
    let models = files.models(Keep::All)?;
    let stats: Vec<_> = models.iter().map(|(_, model)| stats::stats(model, &filter)).collect();
    let found = diff::diff(&stats[0], &stats[1]);
    out.object("diff", &models[1].0, &found)?;
    out.text(|| format!("{} -> {}\n{}", models[0].0, models[1].0, diff::text(&found)))
}

fn show_merge(
    question: &Question,
    to: Option<&Path>,
    limit: Option<usize>,
    out: &mut Output,
) -> Result<(), Failure> {
    let (files, filter) = question.split()?;
    if !files.are_several() {
        return Err(Failure::unusable("merge joins two files or more"));
    }
    let (picture, joined) = files.picture(false)?;
    if let Some(to) = to {
        let readers = files
            .paths()
            .iter()
            .map(|path| Reader::open(path).map_err(|error| files::unusable(path, &error)));
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        let offsets: Vec<i64> = picture.nodes.iter().map(|node| node.offset_ns).collect();
        let mut file = files::create(to, files.paths())?;
        let written = merge::write_view(readers, &offsets, &mut file);
        written.map_err(|error| files::failed(to, &error))?;
        file.flush().map_err(|error| files::failed(to, &error))?;
    }
    let splits = merge::splits(&picture, &filter);
    out.object("merge", &files::name(&files.paths()[0]), &joined)?;
    for split in &splits {
        out.object("request", &files::name(&files.paths()[split.asked_by.0]), split)?;
    }
    out.text(|| merge::text(&joined, &splits, limit.unwrap_or(ROWS)))
}

fn write_export(
    words: &[String],
    format: Format,
    to: Option<&Path>,
    out: &mut Output,
) -> Result<(), Failure> {
    let (files, filter) = args::split(words)?;
    if !filter.is_empty() {
        return Err(Failure::unusable("export takes files only, no filter"));
    }
    let (picture, _) = files.picture(true)?;
    let Some(to) = to else { return out.raw(|out| export::write(format, &picture, out)) };
    let mut file = files::create(to, files.paths())?;
    let written = export::write(format, &picture, &mut file).and_then(|()| file.flush());
    written.map_err(|error| files::failed(to, &error))
}
