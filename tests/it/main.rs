//! Scenarios over whole nodes, one module each.

mod chat;
mod dropped_futures;
mod duplicates;
mod early_frames;
mod handler_panic;
#[cfg(feature = "eth")]
mod header_body_sync;
mod kill_peer;
mod paused_clock;
mod request_response;
mod shutdown;
mod simultaneous_dial;
mod static_peers;
mod support;
mod tidy;
