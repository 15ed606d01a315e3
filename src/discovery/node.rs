//! A node as discovery knows it: who it is and where its two ports are.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use discv5::Enr;
use enr::{CombinedPublicKey, EnrPublicKey};

use crate::transport::enode::{Enode, EnodeError};
use crate::transport::rlpx::NodeId;

/// The place of a node in the table's key space: keccak256 of its id.
pub type NodeHash = [u8; 32];

/// A node and its endpoint.
pub type Node = Enode;

/// Where discovery packets go to a node.
pub fn udp_addr(node: &Node) -> SocketAddr {
    SocketAddr::new(node.ip, node.udp)
}

/// What a record says, if it names a secp256k1 key, an address and at least one port. IPv4 goes
/// before IPv6; a missing port of IPv6 is that of IPv4 (EIP-778).
pub fn node_of(record: &Enr) -> Option<Node> {
    let id = record_id(record)?;
    let (ip, udp, tcp) = match (record.ip4(), record.ip6()) {
        (Some(ip), _) => (IpAddr::V4(ip), record.udp4(), record.tcp4()),
        (None, Some(ip)) => {
            (IpAddr::V6(ip), record.udp6().or(record.udp4()), record.tcp6().or(record.tcp4()))
        }
        (None, None) => return None,
    };
    let node = Node { id, ip, udp: udp.unwrap_or(0), tcp: tcp.unwrap_or(0) };
    (node.udp != 0 || node.tcp != 0).then_some(node)
}

/// The identity a record was signed with, if it is of the kind devp2p knows.
pub fn record_id(record: &Enr) -> Option<NodeId> {
    match record.public_key() {
        CombinedPublicKey::Secp256k1(key) => NodeId::from_bytes(key.encode_uncompressed().as_slice()).ok(),
        CombinedPublicKey::Ed25519(_) => None,
    }
}

/// A node to start from, as people write it.
#[derive(Debug, Clone, PartialEq)]
pub enum Bootnode {
    /// `enode://ID@IP:TCP[?discport=UDP]`: enough for discv4.
    Enode(Node),
    /// `enr:…`: enough for discv5, and for discv4 too.
    Record(Box<Enr>),
}

impl Bootnode {
    /// The node it names.
    pub fn node(&self) -> Option<Node> {
        match self {
            Self::Enode(node) => Some(*node),
            Self::Record(record) => node_of(record),
        }
    }
}

/// Why a text names no node to start from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootnodeError {
    /// The `enode://` form is wrong, or it is neither form.
    #[error("no bootnode: {0}")]
    Enode(#[from] EnodeError),
    /// The record does not hold what it should, or its signature is wrong.
    #[error("the record cannot be used: {0}")]
    Record(String),
    /// No UDP port: there is nothing to ask there.
    #[error("it names no address and UDP port to ask")]
    NoUdp,
}

impl FromStr for Bootnode {
    type Err = BootnodeError;

    fn from_str(text: &str) -> Result<Self, BootnodeError> {
        let bootnode = if text.starts_with("enr:") {
            let record: Enr = text.parse().map_err(BootnodeError::Record)?;
            Self::Record(Box::new(record))
        } else {
            Self::Enode(text.parse()?)
        };
        match bootnode.node() {
            Some(node) if node.udp != 0 => Ok(bootnode),
            _ => Err(BootnodeError::NoUdp),
        }
    }
}

/// The logarithm of the distance between two nodes: 0 for the same one, else 1 to 256.
pub fn log_distance(a: &NodeHash, b: &NodeHash) -> usize {
    let zeros = a.iter().zip(b).map(|(a, b)| a ^ b).position(|byte| byte != 0).map(|index| {
        let byte = a.get(index).copied().unwrap_or(0) ^ b.get(index).copied().unwrap_or(0);
        index * 8 + byte.leading_zeros() as usize
    });
    256 - zeros.unwrap_or(256)
}

/// The distance itself: smaller is closer.
pub fn distance(a: &NodeHash, b: &NodeHash) -> NodeHash {
    std::array::from_fn(|index| a[index] ^ b[index])
}

/// Whether only machines near us can have this address.
pub fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether a node at `from` may tell us of one at `ip`: nobody is at an unspecified, multicast or
/// broadcast address, and a loopback or private one means something else to a sender who has none.
pub fn is_relayable(from: IpAddr, ip: IpAddr) -> bool {
    let nowhere = ip.is_unspecified()
        || ip.is_multicast()
        || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast() || ip.octets()[0] == 0);
    if nowhere {
        return false;
    }
    match (ip.is_loopback(), is_local(ip)) {
        (true, _) => from.is_loopback(),
        (false, true) => is_local(from),
        (false, false) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138\
                      7574077f301b421bc84df7266c44e9e6d569fc56be00812904767bf5ccd1fc7f";

    #[test]
    fn an_enode_is_read_and_written_with_and_without_a_discovery_port() {
        for (text, udp) in [
            (format!("enode://{ID}@127.0.0.1:30303"), 30303),
            (format!("enode://{ID}@127.0.0.1:30303?discport=30301"), 30301),
            (format!("enode://{ID}@[::1]:30303?discport=1"), 1),
        ] {
            let Bootnode::Enode(node) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!((node.udp, node.tcp, node.to_string()), (udp, 30303, text));
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in [
            String::new(),
            "nonsense".to_owned(),
            "enr:".to_owned(),
            "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZX".to_owned(),
            format!("enode://{ID}"),
            format!("enode://{ID}@localhost:30303"),
            format!("enode://{ID}@127.0.0.1:30303?discport=0"),
            format!("enode://{ID}@127.0.0.1:30303?discport=70000"),
            format!("enode://{}@127.0.0.1:30303", &ID[2..]),
            format!("enode://{}@127.0.0.1:30303", "00".repeat(64)),
        ] {
            assert!(text.parse::<Bootnode>().is_err(), "{text}");
        }
    }

    #[test]
    fn distances_count_from_the_highest_bit() {
        let zero = [0; 32];
        let (mut low, mut high) = (zero, zero);
        low[31] = 1;
        high[0] = 0x80;
        assert_eq!(log_distance(&zero, &zero), 0);
        assert_eq!(log_distance(&zero, &low), 1);
        assert_eq!(log_distance(&low, &high), 256);
        assert!(distance(&zero, &low) < distance(&zero, &high));
    }

    #[test]
    fn addresses_are_only_believed_from_those_who_can_reach_them() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (from, told, relayable) in [
            ("8.8.8.8", "9.9.9.9", true),
            ("8.8.8.8", "127.0.0.1", false),
            ("8.8.8.8", "192.168.1.1", false),
            ("10.0.0.1", "192.168.1.1", true),
            ("10.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "224.0.0.1", false),
            ("127.0.0.1", "0.0.0.0", false),
            ("127.0.0.1", "255.255.255.255", false),
            ("::1", "::1", true),
            ("2001:db8::1", "fe80::1", false),
            ("2001:db8::1", "ff02::1", false),
        ] {
            assert_eq!(is_relayable(ip(from), ip(told)), relayable, "{told} from {from}");
        }
    }
}
