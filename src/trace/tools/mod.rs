//! Answers from traces: read a file, ask it.
//!
//! Everything here works on [`Record`](super::Record)s and knows neither actors nor sockets. A trace
//! is read once, line by line, into a [`Model`]; the questions (`stuck`, `follow`, …) and the exports
//! are functions of models. What a file says is not trusted: it is bounded and escaped.

pub mod actors;
pub mod diff;
pub mod export;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod follow;
pub mod histogram;
#[cfg(test)]
mod large;
pub mod merge;
pub mod model;
pub mod peers;
pub mod picture;
pub mod read;
pub mod requests;
pub mod show;
pub mod stats;
pub mod stuck;

pub use filter::Filter;
pub use model::Model;
pub use picture::{Node, Pair, Picture};

#[cfg(test)]
mod tests;
