//! Scenarios over whole nodes, one module each.

mod chat;
mod dropped_futures;
mod duplicates;
mod early_frames;
#[cfg(feature = "eth")]
mod eth_receipts;
mod handler_panic;
#[cfg(feature = "eth")]
mod header_body_sync;
mod hostile_peer;
mod kill_peer;
mod paused_clock;
#[cfg(feature = "eth")]
mod receipt_sync;
mod request_response;
mod rlpx;
#[cfg(feature = "eth")]
mod rlpx_eth;
mod rlpx_hostile;
#[cfg(feature = "eth")]
mod rlpx_transactions;
mod scene;
mod shutdown;
mod simultaneous_dial;
mod stalled_peer;
mod static_peers;
mod support;
mod tidy;
#[cfg(feature = "trace-tools")]
mod trace_causes;
mod trace_cost;
#[cfg(feature = "trace-tools")]
mod trace_lines;
#[cfg(feature = "trace-tools")]
mod trace_page;
#[cfg(feature = "trace-tools")]
mod trace_sinks;
#[cfg(feature = "trace-tools")]
mod trace_world;
#[cfg(feature = "eth")]
mod transactions;
