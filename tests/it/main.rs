//! Scenarios over whole nodes, one module each.

mod chat;
mod dropped_futures;
mod early_frames;
mod handler_panic;
mod header_body_sync;
mod kill_peer;
mod request_response;
mod support;
mod tidy;
