//! `trunkline node`: serve and follow a chain, in memory.
//!
//! Reading order: `args.rs` (options), `chain.rs` (what is served from the start), `identity.rs`
//! (who we are), `run.rs` (from the first dial to the last line), `event.rs` and `output.rs` (what is printed),
//! `receipts.rs` (whether they are waited for), `limits.rs` (`--print-limits`). Everything that can be unusable is looked at before anything is
//! written or bound.

mod args;
mod chain;
mod discovery;
mod ends;
mod event;
mod identity;
mod limits;
mod output;
mod receipts;
mod run;
mod trace;

pub(crate) use args::NodeArgs;

use std::net::SocketAddr;
use std::path::Path;

use trunkline::chain::export;

use crate::failure::Failure;
use crate::metrics_server::MetricsServer;
use crate::signals::{DumpSignals, Stop};
use crate::trace_ui;
use chain::Chain;
use ends::Ends;
use event::Event;
use identity::Identity;
use output::Output;
use run::Node;

/// Does what was asked.
pub(crate) async fn run(args: NodeArgs, json: bool) -> Result<(), Failure> {
    let mut config = args.config()?;
    if args.print_limits {
        return limits::print(&args, &config, json).map_err(Failure::failed);
    }
    if args.trace_ui {
        trace_ui::check_terminal(json).map_err(Failure::unusable)?;
    }
    let stop = Stop::listen().map_err(Failure::failed)?;
    let dumps = DumpSignals::listen().map_err(Failure::failed)?;
    let mut ends = Ends::new(stop, args.ttl, args.timeout);
    let identity = Identity::load(args.key.as_deref())?;
    args.check_listen(identity.peer())?;
    args.export.as_deref().map_or(Ok(()), export::check_target).map_err(Failure::unusable)?;
    let plan = args.trace.plan(identity.peer())?;
    let metrics = bind_metrics(args.metrics).await?;
    let spec = chain::spec(args.chain.clone()).await?;
    let mut output = Output::new(json);
    let opened = tokio::select! {
        biased;
        why = ends.next() => Err(why),
        chain = Chain::open(spec.clone(), args.import.clone(), args.anchor) => Ok(chain?),
    };
    let chain = match opened {
        Ok(chain) => chain,
        Err(why) => {
            // Nothing was served and nothing dialled: the chain is its genesis.
            drop(output.print(&Event::nothing_done(spec.genesis())));
            return run::verdict(why, args.until_block, spec.genesis());
        }
    };
    if let Some(imported) = &chain.imported {
        output.print(imported).map_err(Failure::failed)?;
    }
    // Before the network starts, so that it misses none; told once nothing can be refused any more.
    let metrics = metrics.map(serve_metrics).transpose()?;
    if let Some(plan) = &plan {
        plan.make_folder()?;
        plan.direct(&mut config.trace);
    }
    let started = Node::start(&args, config, &identity, chain, output).await;
    if let (Err(_), Some(plan)) = (&started, &plan) {
        plan.undo();
    }
    started?.run(ends, dumps, metrics).await
}

async fn bind_metrics(addr: Option<SocketAddr>) -> Result<Option<MetricsServer>, Failure> {
    let Some(addr) = addr else { return Ok(None) };
    let bound = MetricsServer::bind(addr).await;
    bound.map(Some).map_err(|error| Failure::unusable(format!("metrics at {addr}: {error}")))
}

fn serve_metrics(metrics: MetricsServer) -> Result<Event, Failure> {
    let addr = metrics.addr().map_err(Failure::failed)?;
    metrics.serve().map_err(Failure::failed)?;
    Ok(Event::Metrics { addr })
}

/// A failure about a file that was named on the command line.
fn unusable_file(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::unusable(format!("{}: {why}", path.display()))
}
