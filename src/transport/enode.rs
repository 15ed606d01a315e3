//! Nodes as devp2p spells them: `enode://` URLs and ENR (EIP-778).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::rlpx::NodeId;

/// A node with its endpoint: `enode://KEY@IP:TCP[?discport=UDP]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enode {
    /// Its public key.
    pub id: NodeId,
    /// Where it is.
    pub ip: IpAddr,
    /// Where it takes RLPx connections; 0: nowhere.
    pub tcp: u16,
    /// Where it takes discovery packets; 0: nowhere.
    pub udp: u16,
}

/// Why a text names no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EnodeError(&'static str);

impl Enode {
    /// The TCP endpoint, if the node has one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        (self.tcp != 0).then(|| SocketAddr::new(self.ip, self.tcp))
    }

    /// The node that an ENR in its text form describes. Its signature is checked. IPv4 is preferred
    /// where a record has both; a record without an address is refused.
    pub fn from_enr(text: &str) -> Result<Self, EnodeError> {
        let record: enr::Enr<enr::k256::ecdsa::SigningKey> =
            text.parse().map_err(|_| EnodeError("not an ENR with a valid secp256k1 signature"))?;
        Self::of_record(&record)
    }

    /// The node that a record describes.
    pub fn of_record(record: &enr::Enr<enr::k256::ecdsa::SigningKey>) -> Result<Self, EnodeError> {
        let point = record.public_key().to_sec1_point(false);
        let id = point.as_bytes().get(1..).and_then(|key| NodeId::from_bytes(key).ok());
        let id = id.ok_or(EnodeError("an ENR with a bad key"))?;
        let v4 = record.ip4().map(|ip| (IpAddr::V4(ip), record.tcp4(), record.udp4()));
        let v6 = record
            .ip6()
            .map(|ip| (IpAddr::V6(ip), record.tcp6().or(record.tcp4()), record.udp6().or(record.udp4())));
        let (ip, tcp, udp) = v4.or(v6).ok_or(EnodeError("an ENR without an IP address"))?;
        Ok(Self { id, ip, tcp: tcp.unwrap_or(0), udp: udp.unwrap_or(0) })
    }
}

impl FromStr for Enode {
    type Err = EnodeError;

    fn from_str(text: &str) -> Result<Self, EnodeError> {
        let rest = text.strip_prefix("enode://").ok_or(EnodeError("does not begin with enode://"))?;
        let (key, place) = rest.split_once('@').ok_or(EnodeError("no @ behind the node's key"))?;
        let id = key.parse().map_err(|_| EnodeError("the key is not 128 hex digits of a secp256k1 key"))?;
        let (place, query) =
            place.split_once('?').map_or((place, None), |(place, query)| (place, Some(query)));
        let place = place.strip_suffix('/').unwrap_or(place);
        let tcp: SocketAddr = place.parse().map_err(|_| EnodeError("no IP:PORT behind the @"))?;
        let udp = match query {
            None => tcp.port(),
            Some(query) => query
                .strip_prefix("discport=")
                .and_then(|port| port.parse().ok())
                .ok_or(EnodeError("only ?discport=PORT may follow the port"))?,
        };
        Ok(Self { id, ip: tcp.ip(), tcp: tcp.port(), udp })
    }
}

impl fmt::Display for Enode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enode://{}@{}", self.id, SocketAddr::new(self.ip, self.tcp))?;
        if self.udp == self.tcp { Ok(()) } else { write!(f, "?discport={}", self.udp) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key of private key 1: geth.md section 2.
    const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                       483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

    #[test]
    fn enodes_parse_and_print() {
        for place in ["127.0.0.1:30303", "127.0.0.1:30303?discport=0", "[::1]:30303?discport=30301"] {
            let text = format!("enode://{KEY}@{place}");
            let enode: Enode = text.parse().unwrap();
            assert_eq!(enode.to_string(), text);
            assert_eq!(enode.tcp, 30303);
        }
        let same: Enode = format!("enode://{KEY}@10.0.0.1:1?discport=1").parse().unwrap();
        assert_eq!(same.to_string(), format!("enode://{KEY}@10.0.0.1:1"));
    }

    #[test]
    fn what_names_no_node_is_refused() {
        let off_the_curve = format!("enode://{}@127.0.0.1:1", KEY.replace("79be", "79bf"));
        for text in [
            "enode://",
            "enode://00@127.0.0.1:1",
            &format!("enode://{KEY}"),
            &format!("enode://{KEY}@localhost:1"),
            &format!("enode://{KEY}@127.0.0.1"),
            &format!("enode://{KEY}@127.0.0.1:1?discport=x"),
            &format!("enode://{KEY}@127.0.0.1:1?other=1"),
            &off_the_curve,
        ] {
            assert!(text.parse::<Enode>().is_err(), "{text}");
        }
    }

    /// devp2p-vectors.md section 5.
    #[test]
    fn the_published_record_is_read_and_a_changed_one_is_not() {
        let text = "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5w\
                    BgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8";
        let enode = Enode::from_enr(text).unwrap();
        assert_eq!((enode.ip, enode.tcp, enode.udp), (IpAddr::from([127, 0, 0, 1]), 0, 30303));
        assert_eq!(enode.socket_addr(), None);
        assert!(Enode::from_enr(&text.replace("BgmlkgnY0", "CgmlkgnY0")).is_err());
        assert!(Enode::from_enr("enr:").is_err());
    }
}
