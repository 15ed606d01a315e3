//! One or more nodes side by side: what merging yields and exports draw.

use super::model::Model;
use crate::trace::record::{EventId, Record};

/// One node of a picture.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// What its trace says.
    pub model: Model,
    /// Its events, in the order of the file.
    pub records: Vec<Record>,
    /// Nanoseconds to add to its times to get those of the first node.
    pub offset_ns: i64,
}

/// One request, seen by both of its nodes. Each end is the index of the node and the life's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The requester's life.
    pub asked: (usize, EventId),
    /// The server's life.
    pub served: (usize, EventId),
}

/// One or more nodes on one time axis.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// The nodes; the first one's clock is the axis.
    pub nodes: Vec<Node>,
    /// The requests that two of the nodes have seen.
    pub pairs: Vec<Pair>,
    /// Connections that two of the nodes share: node and connection number at either end.
    pub links: Vec<[(usize, u32); 2]>,
}
