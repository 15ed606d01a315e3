//! discv4 packets: `hash | signature | type | RLP data`, at most 1,280 bytes (devp2p discv4).
//!
//! Reading is forgiving where EIP-8 asks for it (further elements, bytes behind the data, another
//! version) and strict everywhere else. The hash is compared before the signature is looked at, so
//! that junk costs a hash and no curve arithmetic.

use std::net::IpAddr;

use alloy_primitives::keccak256;
use discv5::Enr;

use super::node::Node;
use crate::transport::rlpx::identity::recover;
use crate::transport::rlpx::{NodeId, NodeKey};
use crate::wire::DecodeError;
use crate::wire::rlp::{Item, List, put_bytes, put_list_head, put_u64};

/// No packet is larger.
pub const PACKET_BYTES_MAX: usize = 1280;

/// How many neighbours fit a packet whatever their addresses are.
pub const NEIGHBORS_PER_PACKET: usize = 12;

const HASH_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 65;
/// A record larger than this is none (EIP-778).
const RECORD_BYTES_MAX: usize = 300;
/// More neighbours than fit 1,280 bytes in their shortest form.
const NEIGHBORS_MAX: usize = 17;
/// The least a neighbour takes: a list head, an address, two ports, an id.
const NEIGHBOR_BYTES_MIN: usize = 70;

/// An address and ports as a ping or pong tells them. Nobody is believed: the address of the UDP
/// packet counts, and only the TCP port is taken from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address; `None` if it is of neither length.
    pub ip: Option<IpAddr>,
    /// The discovery port.
    pub udp: u16,
    /// The RLPx port.
    pub tcp: u16,
}

impl From<&Node> for Endpoint {
    fn from(node: &Node) -> Self {
        Self { ip: Some(node.ip), udp: node.udp, tcp: node.tcp }
    }
}

/// What a packet says. Every expiration is a UNIX second.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// Are you there?
    Ping {
        /// Where the sender believes to be.
        from: Endpoint,
        /// Where the sender believes us to be.
        to: Endpoint,
        /// When the packet ends to mean anything.
        expiration: u64,
        /// The sequence number of the sender's record.
        enr_seq: Option<u64>,
    },
    /// I am, and this is the hash of your ping.
    Pong {
        /// Where the ping came from.
        to: Endpoint,
        /// The hash of the ping.
        ping_hash: [u8; 32],
        /// When the packet ends to mean anything.
        expiration: u64,
        /// The sequence number of the sender's record.
        enr_seq: Option<u64>,
    },
    /// Whom do you know near this id? It need not be a key.
    FindNode {
        /// The id.
        target: [u8; 64],
        /// When the packet ends to mean anything.
        expiration: u64,
    },
    /// These. An answer may come in several packets.
    Neighbors {
        /// Those of them that could be read.
        nodes: Vec<Node>,
        /// When the packet ends to mean anything.
        expiration: u64,
    },
    /// What does your record say?
    EnrRequest {
        /// When the packet ends to mean anything.
        expiration: u64,
    },
    /// This.
    EnrResponse {
        /// The hash of the question.
        request_hash: [u8; 32],
        /// The record, its signature verified.
        record: Box<Enr>,
    },
}

/// A packet, and what its envelope proves.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// What it says.
    pub packet: Packet,
    /// What answers refer to it by.
    pub hash: [u8; 32],
    /// Who signed it.
    pub from: NodeId,
}

/// Why bytes are no packet. Whatever it is, nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Too short or too long.
    #[error("{0} bytes are no packet")]
    Size(usize),
    /// The hash does not match.
    #[error("wrong hash")]
    Hash,
    /// Nobody can have signed it.
    #[error("wrong signature")]
    Signature,
    /// A type that is not known here.
    #[error("unknown type {0}")]
    UnknownType(u8),
    /// The data is not what its type says.
    #[error("malformed data: {0}")]
    Data(#[from] DecodeError),
    /// A record that cannot be used, or that the sender did not sign.
    #[error("unusable record")]
    Record,
}

/// Whether the hash at the front is that of the rest: all that is needed to tell a discv4 packet
/// from everything else, and much cheaper than [`decode`].
pub fn has_valid_hash(bytes: &[u8]) -> bool {
    match bytes.split_at_checked(HASH_BYTES) {
        Some((hash, rest)) if rest.len() > SIGNATURE_BYTES && bytes.len() <= PACKET_BYTES_MAX => {
            keccak256(rest).as_slice() == hash
        }
        _ => false,
    }
}

/// Reads a packet and finds out who signed it.
pub fn decode(bytes: &[u8]) -> Result<Received, PacketError> {
    let size = || PacketError::Size(bytes.len());
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(size());
    }
    let (hash, signed) = bytes.split_first_chunk::<HASH_BYTES>().ok_or_else(size)?;
    let (signature, content) = signed.split_first_chunk::<SIGNATURE_BYTES>().ok_or_else(size)?;
    let (&kind, data) = content.split_first().ok_or_else(size)?;
    if keccak256(signed) != hash {
        return Err(PacketError::Hash);
    }
    // Read before the signature is checked: an unknown type or malformed data costs nothing more.
    let packet = decode_data(kind, data)?;
    let from = recover(signature, &keccak256(content).0).map_err(|_| PacketError::Signature)?;
    if let Packet::EnrResponse { record, .. } = &packet
        && super::node::record_id(record) != Some(from)
    {
        return Err(PacketError::Record);
    }
    Ok(Received { packet, hash: *hash, from })
}

fn decode_data(kind: u8, mut data: &[u8]) -> Result<Packet, PacketError> {
    if !(1..=6).contains(&kind) {
        return Err(PacketError::UnknownType(kind));
    }
    // Bytes behind the list are left alone.
    let mut list = Item::read(&mut data)?.list()?;
    Ok(match kind {
        1 => {
            list.item()?; // The version means nothing.
            Packet::Ping {
                from: list.field("from", endpoint)?,
                to: list.field("to", endpoint)?,
                expiration: list.field("expiration", Item::u64)?,
                enr_seq: optional_u64(list),
            }
        }
        2 => Packet::Pong {
            to: list.field("to", endpoint)?,
            ping_hash: list.field("ping hash", Item::fixed)?,
            expiration: list.field("expiration", Item::u64)?,
            enr_seq: optional_u64(list),
        },
        3 => Packet::FindNode {
            target: list.field("target", Item::fixed)?,
            expiration: list.field("expiration", Item::u64)?,
        },
        4 => {
            let nodes = neighbors(list.field("nodes", Item::list)?)?;
            Packet::Neighbors { nodes, expiration: list.field("expiration", Item::u64)? }
        }
        5 => Packet::EnrRequest { expiration: list.field("expiration", Item::u64)? },
        _ => {
            let request_hash = list.field("request hash", Item::fixed)?;
            Packet::EnrResponse { request_hash, record: Box::new(record(list.item()?)?) }
        }
    })
}

fn endpoint(item: Item<'_>) -> Result<Endpoint, DecodeError> {
    let mut list = item.list()?;
    let ip = ip(list.item()?)?;
    let udp = list.field("udp port", port)?;
    // Nobody reads the last one of a ping's `to`, so some leave it out.
    let tcp = if list.is_empty() { 0 } else { list.field("tcp port", port)? };
    Ok(Endpoint { ip, udp, tcp })
}

fn ip(item: Item<'_>) -> Result<Option<IpAddr>, DecodeError> {
    let bytes = item.string()?;
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_canonical());
    Ok(v4.or_else(v6))
}

fn port(item: Item<'_>) -> Result<u16, DecodeError> {
    u16::try_from(item.u64()?).map_err(|_| DecodeError::Invalid("port"))
}

/// A number behind the elements that must be there; anything else there means nothing.
fn optional_u64(mut list: List<'_>) -> Option<u64> {
    list.item().and_then(Item::u64).ok()
}

/// Entries whose id is no key or whose address is of no known length are left out.
fn neighbors(mut list: List<'_>) -> Result<Vec<Node>, DecodeError> {
    let count = list.count(NEIGHBOR_BYTES_MIN)?;
    if count > NEIGHBORS_MAX {
        return Err(DecodeError::Excess { got: count, asked: NEIGHBORS_MAX });
    }
    let mut nodes = Vec::with_capacity(count);
    while let Some(item) = list.next_item()? {
        let mut entry = item.list()?;
        let ip = ip(entry.item()?)?;
        let (udp, tcp) = (entry.field("udp port", port)?, entry.field("tcp port", port)?);
        let id: [u8; 64] = entry.field("id", Item::fixed)?;
        if let (Some(ip), Ok(id)) = (ip, NodeId::from_bytes(&id)) {
            nodes.push(Node { id, ip, udp, tcp });
        }
    }
    Ok(nodes)
}

/// The crate checks signature, size and the order of the keys.
fn record(item: Item<'_>) -> Result<Enr, PacketError> {
    let mut bytes = item.encoded();
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(PacketError::Record);
    }
    <Enr as alloy_rlp::Decodable>::decode(&mut bytes).map_err(|_| PacketError::Record)
}

impl Packet {
    /// The packet as it goes out, and the hash that answers will name.
    pub fn encode(&self, key: &NodeKey) -> (Vec<u8>, [u8; 32]) {
        let mut content = vec![self.kind()];
        self.put_data(&mut content);
        let signature = key.sign(&keccak256(&content).0);
        let mut bytes = vec![0; HASH_BYTES];
        bytes.reserve_exact(SIGNATURE_BYTES + content.len());
        bytes.extend_from_slice(&signature);
        bytes.extend_from_slice(&content);
        let hash = keccak256(&bytes[HASH_BYTES..]).0;
        bytes[..HASH_BYTES].copy_from_slice(&hash);
        debug_assert!(bytes.len() <= PACKET_BYTES_MAX);
        (bytes, hash)
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Ping { .. } => 1,
            Self::Pong { .. } => 2,
            Self::FindNode { .. } => 3,
            Self::Neighbors { .. } => 4,
            Self::EnrRequest { .. } => 5,
            Self::EnrResponse { .. } => 6,
        }
    }

    fn put_data(&self, out: &mut Vec<u8>) {
        put_list(out, |out| match self {
            Self::Ping { from, to, expiration, enr_seq } => {
                put_u64(4, out);
                put_endpoint(from, out);
                put_endpoint(to, out);
                put_u64(*expiration, out);
                enr_seq.iter().for_each(|&seq| put_u64(seq, out));
            }
            Self::Pong { to, ping_hash, expiration, enr_seq } => {
                put_endpoint(to, out);
                put_bytes(ping_hash, out);
                put_u64(*expiration, out);
                enr_seq.iter().for_each(|&seq| put_u64(seq, out));
            }
            Self::FindNode { target, expiration } => {
                put_bytes(target, out);
                put_u64(*expiration, out);
            }
            Self::Neighbors { nodes, expiration } => {
                put_list(out, |out| nodes.iter().for_each(|node| put_neighbor(node, out)));
                put_u64(*expiration, out);
            }
            Self::EnrRequest { expiration } => put_u64(*expiration, out),
            Self::EnrResponse { request_hash, record } => {
                put_bytes(request_hash, out);
                alloy_rlp::Encodable::encode(record.as_ref(), out);
            }
        });
    }

    /// Until when it means anything; an ENR response is bound to its request instead.
    pub fn expiration(&self) -> Option<u64> {
        match self {
            Self::Ping { expiration, .. }
            | Self::Pong { expiration, .. }
            | Self::FindNode { expiration, .. }
            | Self::Neighbors { expiration, .. }
            | Self::EnrRequest { expiration } => Some(*expiration),
            Self::EnrResponse { .. } => None,
        }
    }
}

fn put_list(out: &mut Vec<u8>, put_items: impl FnOnce(&mut Vec<u8>)) {
    let mut items = Vec::new();
    put_items(&mut items);
    put_list_head(items.len(), out);
    out.extend_from_slice(&items);
}

fn put_endpoint(endpoint: &Endpoint, out: &mut Vec<u8>) {
    put_list(out, |out| {
        put_ip(endpoint.ip, out);
        put_u64(endpoint.udp.into(), out);
        put_u64(endpoint.tcp.into(), out);
    });
}

fn put_neighbor(node: &Node, out: &mut Vec<u8>) {
    put_list(out, |out| {
        put_ip(Some(node.ip), out);
        put_u64(node.udp.into(), out);
        put_u64(node.tcp.into(), out);
        put_bytes(node.id.as_bytes(), out);
    });
}

fn put_ip(ip: Option<IpAddr>, out: &mut Vec<u8>) {
    match ip {
        Some(IpAddr::V4(ip)) => put_bytes(&ip.octets(), out),
        Some(IpAddr::V6(ip)) => put_bytes(&ip.octets(), out),
        None => put_bytes(&[], out),
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
