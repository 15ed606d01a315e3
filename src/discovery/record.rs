//! Our node record, and what others' records say beyond an endpoint (EIP-778, EIP-2124).

use std::net::IpAddr;

use alloy_rlp::{Decodable, Encodable, Header};
use discv5::Enr;
use enr::CombinedKey;

use crate::transport::rlpx::NodeKey;
use crate::wire::rlp::{Item, put_bytes, put_list_head, put_u64, u64_len};

/// Under which key a record names the chain.
const ETH: &str = "eth";

/// More of a client's name is not read.
const CLIENT_CHARS_MAX: usize = 64;

/// Which chain and which forks a node is on, as its record tells it (EIP-2124).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForkEntry {
    /// The checksum over genesis and the forks passed.
    pub hash: [u8; 4],
    /// The next fork that is known, or 0.
    pub next: u64,
}

/// What the record holds under `eth`: a list whose first item is the fork id.
impl Encodable for ForkEntry {
    fn encode(&self, out: &mut dyn alloy_rlp::BufMut) {
        let mut inner = Vec::new();
        let fork_len = 5 + u64_len(self.next);
        put_list_head(fork_len, &mut inner);
        put_bytes(&self.hash, &mut inner);
        put_u64(self.next, &mut inner);
        let mut entry = Vec::new();
        put_list_head(inner.len(), &mut entry);
        entry.extend_from_slice(&inner);
        out.put_slice(&entry);
    }

    fn length(&self) -> usize {
        // Two heads of one byte, the hash with its head, the number.
        2 + 5 + u64_len(self.next)
    }
}

impl ForkEntry {
    /// What a record says, if it names a chain.
    pub fn of(record: &Enr) -> Option<Self> {
        let mut entry = Item::whole(record.get_raw_rlp(ETH)?).ok()?.list().ok()?;
        let mut fork = entry.item().ok()?.list().ok()?;
        let hash = fork.item().ok()?.fixed().ok()?;
        let next = fork.item().ok()?.u64().ok()?;
        Some(Self { hash, next })
    }
}

/// The client's name and version, where a record tells them (EIP-7636). A peer's text: escape it
/// before it is printed.
pub fn client_of(record: &Enr) -> Option<String> {
    let mut bytes = record.get_raw_rlp("client")?;
    let header = Header::decode(&mut bytes).ok()?;
    if !header.list {
        return None;
    }
    let mut words = Vec::new();
    while !bytes.is_empty() && words.len() < 3 {
        words.push(String::decode(&mut bytes).ok()?);
    }
    Some(words.join("/").chars().take(CLIENT_CHARS_MAX).collect())
}

/// What our record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) seq: u64,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) udp: u16,
    pub(crate) tcp: Option<u16>,
    pub(crate) fork: Option<ForkEntry>,
}

/// Signs our record. Fails only if the curve library does: a record of these keys is below 300 bytes.
pub(crate) fn sign(key: &CombinedKey, facts: Facts) -> Result<Enr, enr::Error> {
    let is_v6 = facts.ip.is_some_and(|ip| ip.is_ipv6());
    let mut builder = Enr::builder();
    builder.seq(facts.seq);
    if let Some(ip) = facts.ip {
        builder.ip(ip);
    }
    match is_v6 {
        true => builder.udp6(facts.udp),
        false => builder.udp4(facts.udp),
    };
    if let Some(tcp) = facts.tcp {
        match is_v6 {
            true => builder.tcp6(tcp),
            false => builder.tcp4(tcp),
        };
    }
    if let Some(fork) = facts.fork {
        builder.add_value(ETH, &fork);
    }
    builder.build(key)
}

/// Replaces the chain in a record of ours; the sequence number rises.
pub(crate) fn set_fork(record: &mut Enr, key: &CombinedKey, fork: ForkEntry) -> Result<(), enr::Error> {
    record.insert(ETH, &fork, key).map(drop)
}

/// The key in the form that records want.
pub(crate) fn combined(key: &NodeKey) -> Option<CombinedKey> {
    CombinedKey::secp256k1_from_bytes(&mut key.secret_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::discovery::fixtures::key;
    use crate::discovery::node::{node_of, record_id};

    fn facts() -> Facts {
        let fork = Some(ForkEntry { hash: [0x37, 0x7a, 0xaa, 0x78], next: 60 });
        Facts { seq: 7, ip: Some(Ipv4Addr::LOCALHOST.into()), udp: 30301, tcp: Some(30303), fork }
    }

    #[test]
    fn our_record_says_who_and_where_we_are_and_which_chain_we_follow() {
        let secret = combined(&key(1)).unwrap();
        let record = sign(&secret, facts()).unwrap();
        let read: Enr = record.to_base64().parse().unwrap();
        assert_eq!((read.seq(), record_id(&read)), (7, Some(key(1).node_id())));
        assert_eq!(ForkEntry::of(&read), facts().fork);
        let node = node_of(&read).unwrap();
        assert_eq!((node.udp, node.tcp, node.ip), (30301, 30303, Ipv4Addr::LOCALHOST.into()));
        let mut changed = read.clone();
        set_fork(&mut changed, &secret, ForkEntry { hash: [1, 2, 3, 4], next: 0 }).unwrap();
        assert_eq!((changed.seq(), ForkEntry::of(&changed).unwrap().next), (8, 0));
        assert!(changed.verify());
    }

    /// Published: RLP of `[FORK_HASH, FORK_NEXT]`, here within its list (EIP-2124).
    #[test]
    fn the_entry_is_the_published_fork_id_in_a_list() {
        for (hash, next, hex) in [
            ([0; 4], 0, "c7c6840000000080"),
            ([0xde, 0xad, 0xbe, 0xef], 0xbadd_cafe, "cbca84deadbeef84baddcafe"),
            ([0xff; 4], u64::MAX, "cfce84ffffffff88ffffffffffffffff"),
        ] {
            let entry = ForkEntry { hash, next };
            let bytes = alloy_rlp::encode(entry);
            assert_eq!(
                (alloy_primitives::hex::encode(&bytes), bytes.len()),
                (hex.to_owned(), entry.length())
            );
        }
    }

    #[test]
    fn an_address_that_is_not_known_is_left_out() {
        let secret = combined(&key(1)).unwrap();
        let record = sign(&secret, Facts { ip: None, fork: None, ..facts() }).unwrap();
        assert_eq!((record.ip4(), record.udp4(), ForkEntry::of(&record)), (None, Some(30301), None));
        let v6 = sign(&secret, Facts { ip: Some("::1".parse().unwrap()), ..facts() }).unwrap();
        assert_eq!((v6.udp6(), v6.tcp6(), v6.udp4()), (Some(30301), Some(30303), None));
    }

    #[test]
    fn an_entry_that_is_no_fork_id_is_none() {
        let secret = combined(&key(1)).unwrap();
        for bytes in [&[0x80][..], &[0xc0], &[0xc1, 0xc0], &[0xc5, 0xc4, 0x83, 1, 2, 3]] {
            let rlp = alloy_primitives::bytes::Bytes::copy_from_slice(bytes);
            let record = Enr::builder().add_value_rlp("eth", rlp).build(&secret).unwrap();
            assert_eq!(ForkEntry::of(&record), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_client_tells_its_name_in_two_or_three_words() {
        let secret = combined(&key(1)).unwrap();
        let words: Vec<&[u8]> = vec![b"trunkline", b"0.1"];
        let told = Enr::builder().add_value("client", &words).build(&secret).unwrap();
        assert_eq!(client_of(&told).as_deref(), Some("trunkline/0.1"));
        assert_eq!(client_of(&sign(&secret, facts()).unwrap()), None);
    }
}
