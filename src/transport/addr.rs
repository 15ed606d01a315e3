//! Addresses: which multiaddrs can be dialled and listened on, and whom they name.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use multiaddr::{Multiaddr, Protocol};

use crate::ids::PeerId;

/// Where a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/ip4/../tcp/..` or `/ip6/../tcp/..`.
    Tcp(SocketAddr),
    /// `/memory/..`: a listener in this process.
    Memory(u64),
}

impl Endpoint {
    /// The address without a peer id.
    pub fn to_multiaddr(self) -> Multiaddr {
        match self {
            Self::Tcp(addr) => Multiaddr::from(addr.ip()).with(Protocol::Tcp(addr.port())),
            Self::Memory(port) => Multiaddr::empty().with(Protocol::Memory(port)),
        }
    }

    /// The TCP port, if there is one.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(addr) => Some(addr.port()),
            Self::Memory(_) => None,
        }
    }
}

/// An address that can be dialled or listened on, perhaps with the identity expected there.
///
/// Parses from `/ip4/1.2.3.4/tcp/30303[/p2p/ID]`, `/ip6/../tcp/..` and `/memory/N`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddr {
    /// Where.
    pub endpoint: Endpoint,
    /// Who must answer, if the address says so.
    pub peer: Option<PeerId>,
}

/// Why a text is no usable address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddrError {
    /// Not a multiaddr at all.
    #[error("not a multiaddr: {0}")]
    Malformed(String),
    /// A multiaddr of a kind that is not supported.
    #[error("not /ip4 or /ip6 with /tcp, nor /memory, optionally followed by /p2p: {0}")]
    Unsupported(Multiaddr),
}

impl PeerAddr {
    /// The address as a multiaddr, with the peer id if there is one.
    pub fn to_multiaddr(&self) -> Multiaddr {
        let addr = self.endpoint.to_multiaddr();
        match self.peer {
            Some(peer) => addr.with(Protocol::P2p(peer)),
            None => addr,
        }
    }
}

impl TryFrom<Multiaddr> for PeerAddr {
    type Error = AddrError;

    fn try_from(addr: Multiaddr) -> Result<Self, AddrError> {
        let mut parts = addr.iter().skip(1);
        let mut tcp = |ip: IpAddr| match parts.next() {
            Some(Protocol::Tcp(port)) => Some(Endpoint::Tcp(SocketAddr::new(ip, port))),
            _ => None,
        };
        let endpoint = match addr.iter().next() {
            Some(Protocol::Memory(port)) => Some(Endpoint::Memory(port)),
            Some(Protocol::Ip4(ip)) => tcp(IpAddr::V4(ip)),
            Some(Protocol::Ip6(ip)) => tcp(IpAddr::V6(ip)),
            _ => None,
        };
        let peer = match parts.next() {
            None => Some(None),
            Some(Protocol::P2p(peer)) => Some(Some(peer)),
            Some(_) => None,
        };
        match (endpoint, peer, parts.next()) {
            (Some(endpoint), Some(peer), None) => Ok(Self { endpoint, peer }),
            _ => Err(AddrError::Unsupported(addr)),
        }
    }
}

impl FromStr for PeerAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let addr: Multiaddr = text.parse().map_err(|error: multiaddr::Error| {
            AddrError::Malformed(format!("{} ({error})", text.escape_default()))
        })?;
        Self::try_from(addr)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_multiaddr().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_memory_and_peer_ids_parse_and_print() {
        for text in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip6/::1/tcp/4001",
            "/memory/7",
            "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
        ] {
            assert_eq!(text.parse::<PeerAddr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_address_named() {
        for text in [
            "127.0.0.1:1",
            "/ip4/300.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/1/p2p/notapeerid",
            "/ip4/127.0.0.1/tcp/1/tls",
            "/ip4/127.0.0.1",
            "nonsense",
            "",
        ] {
            let error = text.parse::<PeerAddr>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
