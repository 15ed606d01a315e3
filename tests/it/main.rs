//! Scenarios over whole nodes, one module each.

mod header_body_sync;
mod request_response;
mod support;
mod tidy;
