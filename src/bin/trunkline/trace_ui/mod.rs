//! `trunkline node --trace-ui`: the live trace as a table on the terminal.
//!
//! Reading order: `feed.rs` (where the pictures come from), `screen.rs` (the terminal, and how it is
//! given back), `keys.rs` (what keys do), `rows.rs` (what the tables say), `detail.rs` (one request,
//! one peer), `draw.rs` (onto the screen). Rows, details and drawing are functions of a model, a time
//! and what was typed; only `feed.rs` and `screen.rs` touch the outside.
//!
//! While the screen is up nothing else writes to the terminal: the node's events show in the last
//! line, logs go nowhere unless stderr is redirected (`2>FILE`), and what a panic has to say is kept
//! until the screen is left.

mod detail;
mod draw;
mod feed;
mod keys;
mod rows;
pub(crate) mod screen;
#[cfg(test)]
mod tests;

pub(crate) use feed::{TraceUi, check_terminal};
