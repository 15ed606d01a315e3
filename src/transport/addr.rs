//! Addresses: which multiaddrs can be dialled and listened on, and whom they name.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use multiaddr::{Multiaddr, Protocol};

use crate::ids::{PeerId, Wire};

/// Where a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/ip4/../tcp/..` or `/ip6/../tcp/..`: libp2p.
    Tcp(SocketAddr),
    /// The same with `/rlpx` behind it: devp2p.
    Rlpx(SocketAddr),
    /// `/memory/..`: a listener in this process.
    Memory(u64),
}

impl Endpoint {
    /// The address without a peer id. A multiaddr cannot tell the two wires apart.
    pub fn to_multiaddr(self) -> Multiaddr {
        match self {
            Self::Tcp(addr) | Self::Rlpx(addr) => Multiaddr::from(addr.ip()).with(Protocol::Tcp(addr.port())),
            Self::Memory(port) => Multiaddr::empty().with(Protocol::Memory(port)),
        }
    }

    /// The TCP port, if there is one.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(addr) | Self::Rlpx(addr) => Some(addr.port()),
            Self::Memory(_) => None,
        }
    }

    /// Which wire is spoken there.
    pub fn wire(self) -> Wire {
        match self {
            Self::Tcp(_) => Wire::Libp2p,
            Self::Rlpx(_) => Wire::Rlpx,
            Self::Memory(_) => Wire::Memory,
        }
    }
}

/// An address that can be dialled or listened on, perhaps with the identity expected there.
///
/// Parses from multiaddrs `/ip4/1.2.3.4/tcp/30303[/p2p/ID]`, `/ip6/../tcp/..` and `/memory/N`; for
/// devp2p (feature `rlpx`) from `enode://KEY@IP:PORT`, from an ENR (`enr:..`), and from a multiaddr
/// with `/rlpx` behind its port: `/ip4/1.2.3.4/tcp/30303/rlpx[/p2p/ID]`. Prints as it parses: a node
/// of devp2p whose key is known as its enode.
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
    /// A node of devp2p that cannot be dialled as it stands.
    #[error("{text}: {why}")]
    Node {
        /// The text, escaped.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

impl PeerAddr {
    /// The address as a multiaddr, with the peer id if there is one; the wire is not in it.
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
        if text.starts_with("enode:") || text.starts_with("enr:") {
            return node(text)
                .map_err(|why| AddrError::Node { text: text.escape_default().to_string(), why });
        }
        let multiaddr = |spelling: &str| -> Result<Multiaddr, AddrError> {
            spelling.parse().map_err(|error: multiaddr::Error| {
                AddrError::Malformed(format!("{} ({error})", text.escape_default()))
            })
        };
        let Some(rest) = without_rlpx(text) else { return Self::try_from(multiaddr(text)?) };
        let addr = Self::try_from(multiaddr(&rest)?)?;
        match addr.endpoint {
            Endpoint::Tcp(socket_addr) => Ok(Self { endpoint: Endpoint::Rlpx(socket_addr), ..addr }),
            _ => Err(AddrError::Malformed(format!("{} (/rlpx needs /tcp)", text.escape_default()))),
        }
    }
}

/// `/ip4/../tcp/../rlpx[/p2p/ID]` without its `/rlpx`, which no multiaddr has.
fn without_rlpx(text: &str) -> Option<String> {
    match text.split_once("/rlpx") {
        Some((before, after)) if after.is_empty() || after.starts_with("/p2p/") => {
            Some(format!("{before}{after}"))
        }
        _ => None,
    }
}

/// An enode or ENR.
#[cfg(feature = "rlpx")]
fn node(text: &str) -> Result<PeerAddr, String> {
    use super::enode::Enode;
    let enode = if text.starts_with("enr:") { Enode::from_enr(text) } else { text.parse() };
    let enode = enode.map_err(|error| error.to_string())?;
    match enode.socket_addr() {
        Some(addr) if !addr.ip().is_unspecified() => {
            Ok(PeerAddr { endpoint: Endpoint::Rlpx(addr), peer: Some(enode.id.peer_id()) })
        }
        _ => Err("names no TCP endpoint".to_owned()),
    }
}

#[cfg(not(feature = "rlpx"))]
fn node(_: &str) -> Result<PeerAddr, String> {
    Err("this build does not speak devp2p (feature rlpx)".to_owned())
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint::Rlpx(_addr) = self.endpoint else { return self.to_multiaddr().fmt(f) };
        #[cfg(feature = "rlpx")]
        if let Some(id) = self.peer.as_ref().and_then(super::rlpx::NodeId::of_peer) {
            let (ip, tcp) = (_addr.ip(), _addr.port());
            return super::enode::Enode { id, ip, tcp, udp: tcp }.fmt(f);
        }
        write!(f, "{}/rlpx", self.endpoint.to_multiaddr())?;
        match self.peer {
            Some(peer) => write!(f, "/p2p/{peer}"),
            None => Ok(()),
        }
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
            "/ip4/127.0.0.1/tcp/0/rlpx",
            "/ip6/::1/tcp/30303/rlpx",
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
            "/ip4/127.0.0.1/tcp/1/rlpx/tls",
            "/ip4/127.0.0.1/tcp/1/rlpxx",
            "/memory/1/rlpx",
            "enode://00@127.0.0.1:1",
            "enr:nonsense",
            "nonsense",
            "",
        ] {
            let error = text.parse::<PeerAddr>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
