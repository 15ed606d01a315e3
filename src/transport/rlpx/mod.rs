//! RLPx: the devp2p transport, from the first byte of a socket to frames tagged with an id.
//!
//! The pure half owns keys ([`node_id`], [`identity`]), the handshake ([`ecies`], [`handshake`],
//! [`secrets`]), frames ([`frame`]) and what is said on the base protocol ([`hello`],
//! [`capability`], [`p2p`]). It never sees a socket, a task or a clock, and randomness is handed
//! in. Bytes go from the handshake to [`secrets::Secrets`], from there to a
//! [`frame::Egress`] and a [`frame::Ingress`], and frame data to whom its id belongs.
//!
//! Everything is written from the specification (devp2p rlpx.md, EIP-8, EIP-706).

pub mod capability;
mod driver;
pub mod ecies;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod frame;
pub mod handshake;
pub mod hello;
pub mod identity;
mod inbound;
pub(crate) mod local;
mod mac;
pub mod node_id;
mod outbound;
pub mod p2p;
mod post;
pub mod secrets;
pub(crate) mod upgrade;

/// The bounds of this wire, for people.
pub(crate) fn limits() -> [(&'static str, String); 6] {
    [
        ("rlpx: bytes of a handshake message", format!("{} B", handshake::MESSAGE_BYTES_MAX)),
        ("rlpx: bytes of a base message", format!("{} B", p2p::MESSAGE_BYTES_MAX)),
        ("rlpx: capabilities kept of a peer", hello::CAPABILITIES_MAX.to_string()),
        ("rlpx: bytes of a frame", format!("{} B", frame::FRAME_BYTES_MAX)),
        ("rlpx: pings of a peer in 10 s", inbound::PINGS_MAX.to_string()),
        ("rlpx: unanswered pings of ours", post::PINGS_MAX.to_string()),
    ]
}

pub use capability::{Shared, negotiate};
pub use frame::{Egress, FrameError, Ingress};
pub use handshake::{HandshakeError, Initiator, Responded, Step, respond};
pub use hello::{Hello, HelloError};
pub use identity::NodeKey;
pub use node_id::{InvalidKey, NodeId};
pub use secrets::Secrets;
