//! Scenarios over whole nodes, one module each.

mod request_response;
mod support;
mod tidy;
