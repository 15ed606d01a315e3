//! Sockets to authenticated, multiplexed connections.
//!
//! Owns: TCP and memory sockets; the noise handshake, yamux and the inspector under it, protocol
//! negotiation (libp2p); the RLPx handshake, frames and capabilities (devp2p). Never: what messages
//! mean, who is admitted. A [`Connection`] goes to a session; each type in between (`socket`,
//! `PeerId` from security, `ProtocolId` from negotiation) can only be had from the step before it.

pub mod addr;
pub mod channel;
#[cfg(feature = "rlpx")]
pub mod enode;
pub mod frame_tap;
pub mod inspector;
pub mod memory;
pub mod mux;
pub mod negotiate;
#[cfg(test)]
mod noise_lies_tests;
pub mod pipe;
#[cfg(feature = "rlpx")]
pub mod rlpx;
pub(crate) mod scratch;
pub mod substream;
pub mod tcp;
pub mod upgrade;
mod write_watch;
pub mod yamux;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use multiaddr::Multiaddr;

use crate::ids::{Direction, PeerId, PublicKey, Wire};
use crate::protocols::identify::Identity;
use crate::trace::ConnTrace;

/// Bounds of everything below the protocols.
#[derive(Debug, Clone, Copy)]
pub struct TransportLimits {
    /// The whole way from an accepted socket to a multiplexed connection.
    pub upgrade_timeout: Duration,
    /// The first byte of an accepted socket must arrive within this time.
    pub first_byte_timeout: Duration,
    /// Bytes of a socket before it is authenticated.
    pub upgrade_bytes_max: usize,
    /// Connecting a socket.
    pub connect_timeout: Duration,
    /// Choosing a protocol on a substream.
    pub negotiation_timeout: Duration,
    /// Protocols a peer may propose in one negotiation.
    pub proposals_max: usize,
    /// Bytes a peer may send in one negotiation.
    pub negotiation_bytes_max: usize,
    /// Substreams a peer may have open to us; one more is reset.
    pub inbound_substreams_max: usize,
    /// Substreams we may have open to a peer.
    pub outbound_substreams_max: usize,
    /// Inbound substreams reset for being too many, in one minute, before the connection ends.
    pub refused_substreams_max: usize,
    /// The receive window of all substreams of a connection together, in bytes.
    pub connection_window_bytes: usize,
    /// Saying goodbye to the socket.
    pub close_timeout: Duration,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            upgrade_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(3),
            upgrade_bytes_max: 16 << 10,
            connect_timeout: Duration::from_secs(10),
            negotiation_timeout: Duration::from_secs(5),
            proposals_max: 16,
            negotiation_bytes_max: 8 << 10,
            inbound_substreams_max: 16,
            outbound_substreams_max: 16,
            refused_substreams_max: 64,
            connection_window_bytes: 16 << 20,
            close_timeout: Duration::from_secs(1),
        }
    }
}

impl TransportLimits {
    /// Streams that yamux itself allows. Above it yamux sends GoAway; it must never be reached by
    /// an honest peer, because we count, accept and reset the excess ourselves.
    pub fn yamux_streams(&self) -> usize {
        (self.inbound_substreams_max + self.outbound_substreams_max + 32).max(64)
    }
}

/// Bytes that crossed a socket.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Traffic {
    /// Bytes received so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes sent so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    pub(crate) fn add_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// An authenticated, multiplexed connection that nobody has read application bytes from yet.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end: proven by the handshake.
    pub peer: PeerId,
    /// The key that hashes to `peer`, where the transport tells.
    pub public_key: Option<PublicKey>,
    /// Who dialled.
    pub direction: Direction,
    /// Where what happens on it is recorded.
    pub(crate) trace: ConnTrace,
    /// The other end's address.
    pub remote_addr: Multiaddr,
    /// Which wire it is.
    pub wire: Wire,
    /// Security protocol, such as `/noise`.
    pub security: &'static str,
    /// Muxer protocol, such as `/yamux/1.0.0`.
    pub muxer: &'static str,
    /// Substreams.
    pub mux: mux::Mux,
    /// The exchanges both sides speak, where the transport itself has negotiated them. `None`: each
    /// gets a substream and is negotiated there.
    pub channels: Option<Vec<channel::Channel>>,
    /// What the peer has said about itself, where that is part of the handshake.
    pub introduced: Option<Identity>,
    /// Whether the transport has an echo of its own: [`mux::Control::ping`].
    pub echoes: bool,
    /// Bytes of the socket.
    pub traffic: Arc<Traffic>,
}
