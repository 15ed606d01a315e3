//! `--print-limits`: every limit in force, and where it comes from.

use std::io::{self, Write};

use serde_json::json;
use trunkline::Config;
use trunkline::discovering::DIAL_RATIO;
use trunkline::discovery::DialConfig;
use trunkline::discovery::v4::V4Config;

use super::args::NodeArgs;
use super::run::sync_config;

/// What `--max-peers` decides about, by the names in [`Config::limits`].
const OF_MAX_PEERS: [&str; 2] = ["peers", "inbound peers"];

/// Prints the table.
pub(super) fn print(args: &NodeArgs, config: &Config, json: bool) -> io::Result<()> {
    let rows = rows(args, config);
    let width = |column: fn(&Row) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (names, values) = (width(|row| row.name.len()), width(|row| row.value.len()));
    let mut out = io::stdout().lock();
    for Row { name, value, source } in &rows {
        if json {
            writeln!(out, "{}", json!({"limit": name, "value": value, "source": source}))?;
        } else {
            writeln!(out, "{name:names$}  {value:>values$}  {source}")?;
        }
    }
    Ok(())
}

struct Row {
    name: &'static str,
    value: String,
    source: &'static str,
}

fn rows(args: &NodeArgs, config: &Config) -> Vec<Row> {
    let of_network = config.limits().into_iter().map(|(name, value)| {
        let by_option = args.max_peers.is_some() && OF_MAX_PEERS.contains(&name);
        let by_option = by_option.then_some("option --max-peers").or_else(|| args.trace.decides(name));
        Row { name, value, source: by_option.unwrap_or("default") }
    });
    let sync = sync_config(args, None);
    let of_sync = [
        ("sync: headers ahead of the head", sync.header_window.to_string()),
        ("sync: bytes of headers held", format!("{} B", sync.header_bytes_max)),
        ("sync: bytes of bodies held", format!("{} B", sync.body_bytes_max)),
        ("sync: bytes of receipts held", format!("{} B", sync.receipt_bytes_max)),
        ("sync: headers per request", sync.headers_per_request_max.to_string()),
        ("sync: bodies per request", sync.bodies_per_request_max.to_string()),
        ("sync: blocks of receipts per request", sync.receipts_per_request_max.to_string()),
        ("sync: bytes aimed at per reply", format!("{} B", sync.reply_bytes_aim)),
        ("sync: requests in flight per peer", sync.in_flight_max.to_string()),
        ("sync: request time-out, first", format!("{} s", sync.timeout_start.as_secs_f64())),
        ("sync: request time-out, shortest", format!("{} s", sync.timeout_min.as_secs_f64())),
        ("sync: request time-out, longest", format!("{} s", sync.timeout_max.as_secs_f64())),
        ("sync: asks above the head every", format!("{} s", sync.poll_interval.as_secs_f64())),
        ("sync: batches hashed at once", sync.checks_max.to_string()),
        ("sync: blocks per delivery", sync.deliver_blocks_max.to_string()),
        ("sync: bytes per delivery", format!("{} B", sync.deliver_bytes_max)),
        ("sync: depth of a heavier branch", sync.fork_depth_max.to_string()),
        ("sync: peers", sync.peers_max.to_string()),
    ];
    let of_sync = of_sync.into_iter().chain(of_discovery(config.slots.peers_max));
    of_network.chain(of_sync.map(|(name, value)| Row { name, value, source: "default" })).collect()
}

/// What bounds `--discovery`.
fn of_discovery(peers_max: usize) -> [(&'static str, String); 12] {
    let (v4, dial) = (V4Config::default(), DialConfig::for_slots(peers_max, DIAL_RATIO));
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs_f64());
    [
        ("discovery: endpoint proofs", v4.bonds_max.to_string()),
        ("discovery: packets of an address at once", v4.source_rate.burst.to_string()),
        ("discovery: packets of an address per second", v4.source_rate.per_s.to_string()),
        ("discovery: packets of all per second", v4.total_rate.per_s.to_string()),
        ("discovery: addresses whose rate is followed", v4.sources_max.to_string()),
        ("discovery: questions waiting for answers", v4.pending_max.to_string()),
        ("discovery: answered within", seconds(v4.reply_timeout)),
        ("discovery: records kept", v4.records_max.to_string()),
        ("discovery: peers dialled", dial.dialled_max.to_string()),
        ("discovery: dials at once", dial.dials_max.to_string()),
        ("discovery: nodes waiting to be dialled", dial.candidates_max.to_string()),
        ("discovery: not dialled again for", seconds(dial.redial_after)),
    ]
}
