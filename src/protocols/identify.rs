//! `/ipfs/id/1.0.0`: who are you, what do you speak, where do you see me (libp2p identify).

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use multiaddr::Multiaddr;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{RawSubstream, SubstreamHandler};
use crate::ids::{PeerId, ProtocolId, PublicKey};
use crate::wire::varint;

/// The protocol id.
pub const ID: ProtocolId = ProtocolId::new("/ipfs/id/1.0.0");

/// The largest message read, in bytes. Sent ones stay far below 4,096.
pub const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// Protocols kept of a peer's list.
const PROTOCOLS_MAX: usize = 128;
/// Bytes kept of a peer's text.
const TEXT_BYTES_MAX: usize = 128;
/// Listen addresses sent and kept.
const ADDRS_MAX: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(bytes = "vec", optional, tag = "1")]
    public_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    listen_addrs: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    protocols: Vec<String>,
    #[prost(bytes = "vec", optional, tag = "4")]
    observed_addr: Option<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    protocol_version: Option<String>,
    #[prost(string, optional, tag = "6")]
    agent_version: Option<String>,
}

/// What a peer says about itself. Texts are as received, cut to 128 bytes: escape them before
/// they are printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name and version of its software.
    pub agent: String,
    /// The protocols it accepts substreams for, at most 128.
    pub protocols: Vec<String>,
    /// Where it listens, as far as the addresses parse, at most 16.
    pub listen_addrs: Vec<Multiaddr>,
    /// Our address as it sees it.
    pub observed_addr: Option<Multiaddr>,
}

/// Why an identify message is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {
    /// Longer than [`MESSAGE_BYTES_MAX`], or a malformed length.
    #[error("bad length")]
    Length,
    /// Not the protobuf it should be.
    #[error("malformed message")]
    Malformed,
    /// The public key is not the one of the authenticated peer.
    #[error("the public key belongs to somebody else")]
    WrongKey,
    /// The substream broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Reads the peer's message from a substream that we opened.
pub async fn read(substream: &mut RawSubstream) -> Result<Identity, IdentifyError> {
    let peer = substream.peer();
    let mut head = Vec::with_capacity(2);
    let len = loop {
        head.push(substream.read_u8().await?);
        match varint::decode(&head) {
            Ok(Some((len, _))) => break usize::try_from(len).map_err(|_| IdentifyError::Length)?,
            Ok(None) => {}
            Err(_) => return Err(IdentifyError::Length),
        }
    };
    if len > MESSAGE_BYTES_MAX {
        return Err(IdentifyError::Length);
    }
    let mut message = vec![0; len];
    substream.read_exact(&mut message).await?;
    decode(&message, &peer)
}

/// Decodes a message of an authenticated peer.
pub fn decode(message: &[u8], peer: &PeerId) -> Result<Identity, IdentifyError> {
    let wire = Wire::decode(message).map_err(|_| IdentifyError::Malformed)?;
    if let Some(key) = &wire.public_key {
        let key = PublicKey::try_decode_protobuf(key).map_err(|_| IdentifyError::WrongKey)?;
        if key.to_peer_id() != *peer {
            return Err(IdentifyError::WrongKey);
        }
    }
    let mut agent = wire.agent_version.unwrap_or_default();
    cut(&mut agent);
    let mut protocols = wire.protocols;
    protocols.truncate(PROTOCOLS_MAX);
    protocols.iter_mut().for_each(cut);
    // A bad address spoils only itself.
    let addrs = wire.listen_addrs.into_iter().filter_map(|addr| Multiaddr::try_from(addr).ok());
    Ok(Identity {
        agent,
        protocols,
        listen_addrs: addrs.take(ADDRS_MAX).collect(),
        observed_addr: wire.observed_addr.and_then(|addr| Multiaddr::try_from(addr).ok()),
    })
}

fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
}

/// Tells peers who we are.
#[derive(Debug)]
pub struct Identify {
    public_key: PublicKey,
    agent: String,
    protocols: Vec<String>,
    listen_addrs: RwLock<Vec<Multiaddr>>,
}

impl Identify {
    /// `protocols` are those we accept substreams for.
    pub fn new(public_key: PublicKey, agent: String, protocols: Vec<String>) -> Self {
        Self { public_key, agent, protocols, listen_addrs: RwLock::default() }
    }

    /// Replaces the addresses that peers are told we listen on.
    pub fn set_listen_addrs(&self, addrs: Vec<Multiaddr>) {
        *self.listen_addrs.write().unwrap_or_else(PoisonError::into_inner) = addrs;
    }

    /// The message for a peer whose address we see as `observed`, with its length in front.
    pub fn encode(&self, observed: Option<&Multiaddr>) -> Vec<u8> {
        let addrs = self.listen_addrs.read().unwrap_or_else(PoisonError::into_inner);
        let wire = Wire {
            public_key: Some(self.public_key.encode_protobuf()),
            listen_addrs: addrs.iter().take(ADDRS_MAX).map(Multiaddr::to_vec).collect(),
            protocols: self.protocols.clone(),
            observed_addr: observed.map(Multiaddr::to_vec),
            protocol_version: Some("trunkline/1".into()),
            agent_version: Some(self.agent.clone()),
        };
        wire.encode_length_delimited_to_vec()
    }
}

impl SubstreamHandler for Identify {
    fn serve(self: Arc<Self>, mut substream: RawSubstream) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let message = self.encode(Some(substream.remote_addr()));
            if substream.write_all(&message).await.is_ok() {
                let _ = substream.shutdown().await;
            }
        })
    }

    fn wants_read_ahead(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Keypair;

    fn service(keypair: &Keypair) -> Identify {
        let identify = Identify::new(keypair.public(), "tester/1".into(), vec!["/eth/69/1.0.0".into()]);
        identify.set_listen_addrs(vec!["/ip4/1.2.3.4/tcp/5".parse().unwrap()]);
        identify
    }

    #[test]
    fn what_one_says_the_other_reads() {
        let keypair = Keypair::generate_secp256k1();
        let observed: Multiaddr = "/ip4/9.9.9.9/tcp/9".parse().unwrap();
        let framed = service(&keypair).encode(Some(&observed));
        let (len, head) = varint::decode(&framed).unwrap().unwrap();
        let message = &framed[head..];
        assert_eq!(message.len() as u64, len);
        let identity = decode(message, &keypair.public().to_peer_id()).unwrap();
        assert_eq!(identity.agent, "tester/1");
        assert_eq!(identity.protocols, ["/eth/69/1.0.0"]);
        assert_eq!(identity.observed_addr, Some(observed));
        assert_eq!(identity.listen_addrs.len(), 1);
    }

    #[test]
    fn a_key_of_somebody_else_spoils_the_message() {
        let keypair = Keypair::generate_secp256k1();
        let framed = service(&keypair).encode(None);
        let (_, head) = varint::decode(&framed).unwrap().unwrap();
        let other = Keypair::generate_ed25519().public().to_peer_id();
        assert!(matches!(decode(&framed[head..], &other), Err(IdentifyError::WrongKey)));
    }

    /// O2: texts of a peer are cut, at a character boundary.
    #[test]
    fn long_texts_are_cut() {
        let mut text = "é".repeat(100);
        cut(&mut text);
        assert_eq!(text.len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_message_but_never_a_panic() {
        let keypair = Keypair::generate_secp256k1();
        let framed = service(&keypair).encode(None);
        for end in 2..framed.len() {
            drop(decode(&framed[2..end], &keypair.public().to_peer_id()));
        }
    }
}
