//! Hello: who a node is and what it speaks (rlpx.md, "Hello").

use bytes::{BufMut, Bytes, BytesMut};

use super::node_id::{InvalidKey, NodeId};
use crate::wire::DecodeError;
use crate::wire::rlp::{self, Item, List};

/// Bytes of a peer's client id that are kept.
pub const CLIENT_BYTES_MAX: usize = 128;

/// Capabilities of a peer that are kept; the ones behind are as if not offered.
pub const CAPABILITIES_MAX: usize = 64;

/// Bytes of a capability's name. A longer name is not one.
pub const NAME_BYTES_MAX: usize = 8;

/// The first message of both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of the base protocol. Both ends speak the lower one.
    pub version: u32,
    /// What the node calls itself. Peers write into it what they like: escape it when printed.
    pub client: String,
    /// Names and versions of what the node speaks, in the order it listed them.
    pub capabilities: Vec<(String, u32)>,
    /// A port that nobody uses any more; 0 where it is not one.
    pub listen_port: u16,
    /// The node's key, to be compared with that of the handshake.
    pub node_id: NodeId,
}

/// Why a Hello is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not the RLP it should be: a breach of protocol (0x02).
    #[error("malformed hello: {0}")]
    Malformed(#[from] DecodeError),
    /// No key, a zero one, or none on the curve: null node identity (0x07).
    #[error("hello without an identity: {0}")]
    Identity(#[from] InvalidKey),
}

impl Hello {
    /// The payload of the message, without its id. A Hello is never compressed.
    pub fn encode(&self) -> Bytes {
        let mut capabilities = BytesMut::new();
        for (name, version) in &self.capabilities {
            let len = rlp::bytes_len(name.as_bytes()) + rlp::u64_len(u64::from(*version));
            rlp::put_list_head(len, &mut capabilities);
            rlp::put_bytes(name.as_bytes(), &mut capabilities);
            rlp::put_u64(u64::from(*version), &mut capabilities);
        }
        let mut fields = BytesMut::new();
        rlp::put_u64(u64::from(self.version), &mut fields);
        rlp::put_bytes(self.client.as_bytes(), &mut fields);
        rlp::put_list_head(capabilities.len(), &mut fields);
        fields.put_slice(&capabilities);
        rlp::put_u64(u64::from(self.listen_port), &mut fields);
        rlp::put_bytes(self.node_id.as_bytes(), &mut fields);
        let mut out = BytesMut::with_capacity(rlp::item_len(fields.len()));
        rlp::put_list_head(fields.len(), &mut out);
        out.put_slice(&fields);
        out.freeze()
    }

    /// Reads the payload of a Hello, which the caller has bounded by
    /// [`MESSAGE_BYTES_MAX`](super::p2p::MESSAGE_BYTES_MAX). Elements behind the fifth are ignored
    /// (EIP-8), bytes behind the list are not.
    pub fn decode(payload: &[u8]) -> Result<Self, HelloError> {
        let mut fields = List::whole(payload)?;
        let version = fields.field("version", Item::u64)?;
        let client = client(fields.field("client id", Item::string)?);
        let capabilities = capabilities(fields.field("capabilities", Item::list)?)?;
        let listen_port = fields.field("listen port", Item::u64)?;
        let node_id = fields.field("node key", Item::string)?;
        // What follows must still be RLP.
        while fields.next_item()?.is_some() {}
        Ok(Self {
            version: u32::try_from(version).unwrap_or(u32::MAX),
            client,
            capabilities,
            listen_port: u16::try_from(listen_port).unwrap_or_default(),
            node_id: NodeId::from_bytes(node_id)?,
        })
    }
}

/// As much of a client id as is kept, whatever its bytes.
fn client(bytes: &[u8]) -> String {
    let kept = bytes.get(..CLIENT_BYTES_MAX).unwrap_or(bytes);
    let mut client = String::from_utf8_lossy(kept).into_owned();
    // A replaced byte takes three.
    client.truncate(client.floor_char_boundary(CLIENT_BYTES_MAX));
    client
}

fn capabilities(mut list: List<'_>) -> Result<Vec<(String, u32)>, DecodeError> {
    let mut kept = Vec::new();
    while let Some(item) = list.next_item()? {
        let mut fields = item.list()?;
        let name = fields.field("capability name", Item::string)?;
        let version = fields.field("capability version", Item::u64)?;
        fields.end()?;
        // A name that cannot be one, or a version beyond all, is shared with nobody.
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
        if let (Some(name), Ok(version), true) = (name, u32::try_from(version), kept.len() < CAPABILITIES_MAX)
        {
            kept.push((name.to_owned(), version));
        }
    }
    Ok(kept)
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.is_ascii()
}
