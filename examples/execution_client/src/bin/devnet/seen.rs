//! What is known of a node while it runs.

use serde_json::Value;

/// What was heard of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Where it listens.
    pub(crate) addr: Option<String>,
    /// Its last head.
    pub(crate) head: u64,
    /// Transfers it has taken from the command line.
    pub(crate) accepted: u64,
    /// The last event.
    pub(crate) end: Option<Value>,
    /// The last error.
    pub(crate) error: Option<String>,
    pub(crate) closed: bool,
}
