//! Scenarios over whole nodes, one module each.

mod chat;
mod early_frames;
mod request_response;
mod support;
