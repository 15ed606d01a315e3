//! Scenarios over the whole client: as a child process over loopback TCP, and its store and pipeline
//! behind a real sync.

mod hostile;
mod pipeline;
mod reorg;
mod restart;
mod support;
