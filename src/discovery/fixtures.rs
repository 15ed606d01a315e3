//! Nodes for the tests of this folder.

use std::net::IpAddr;

use super::node::Node;
use crate::transport::rlpx::NodeKey;

/// The key that `number` stands for.
pub(crate) fn key(number: u32) -> NodeKey {
    let mut secret = [0x11; 32];
    secret[28..].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_secret_bytes(&secret).expect("a small scalar")
}

/// A node at an address of its own, in a network of its own.
pub(crate) fn node(number: u32) -> Node {
    let [_, _, high, low] = number.to_be_bytes();
    node_at(number, IpAddr::from([8, high, low, 1]))
}

/// A node at this address.
pub(crate) fn node_at(number: u32, ip: IpAddr) -> Node {
    Node { id: key(number).node_id(), ip, udp: 30303, tcp: 30303 }
}

/// Several of them.
pub(crate) fn nodes(numbers: std::ops::Range<u32>) -> Vec<Node> {
    numbers.map(node).collect()
}
