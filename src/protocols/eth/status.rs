//! Status, the handshake of eth: what a peer says about its chain, and whether that is ours.

use alloy_eip2124::{ForkHash, ForkId};
use alloy_primitives::{B256, U256};
use bytes::{Bytes, BytesMut};

use super::chain::{Chain, ChainStatus};
use super::message::{ETH_69, hash, inflate_breach, take_item, u256};
use crate::chain::ChainSpec;
use crate::disconnect::{Breach, DisconnectReason};
use crate::wire::rlp::{Item, List};
use crate::wire::{Decode, DecodeError, Encode, decode_all, rlp, snappy};

/// The largest Status there can be has 148 bytes; nothing larger is inflated.
const STATUS_BYTES_MAX: usize = 256;

/// The first message of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The eth version, which decides about the form: up to 68, or from 69.
    pub version: u32,
    /// The network.
    pub network_id: u64,
    /// The hash of the genesis block.
    pub genesis: B256,
    /// The forks that were passed, and the next one (EIP-2124).
    pub fork_id: ForkId,
    /// The hash of the highest block.
    pub head: B256,
    /// What the two forms do not share.
    pub claim: StatusClaim,
}

/// What else a Status says about the chain, by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClaim {
    /// Up to eth/68.
    TotalDifficulty(U256),
    /// From eth/69.
    Range {
        /// The lowest block that can be asked for.
        earliest: u64,
        /// The number of `head`.
        latest: u64,
    },
}

impl Status {
    /// Our own Status for a version.
    pub fn of(chain: &dyn Chain, version: u32) -> Self {
        let (spec, now) = (chain.spec(), chain.status());
        let claim = if version < ETH_69 {
            StatusClaim::TotalDifficulty(now.total_difficulty)
        } else {
            StatusClaim::Range { earliest: now.earliest, latest: now.latest.number }
        };
        Self {
            version,
            network_id: spec.network_id(),
            genesis: spec.genesis().hash,
            fork_id: spec.fork_id(now.latest.number, now.latest_time),
            head: now.latest.hash,
            claim,
        }
    }

    /// Reads the body of a Status as it came over the wire.
    pub fn from_body(body: &[u8]) -> Result<Self, Breach> {
        let declared = snappy::declared_len(body).map_err(inflate_breach)?;
        if declared > STATUS_BYTES_MAX {
            return Err(Breach::Malformed);
        }
        let plain = snappy::inflate(body, STATUS_BYTES_MAX).map_err(inflate_breach)?;
        decode_all(plain).map_err(|_| Breach::Malformed)
    }

    /// Whether a peer that says this can be our peer (eth-stream sections 1 and 4): a reason for
    /// each way in which it disagrees.
    pub fn check(&self, version: u32, spec: &ChainSpec, ours: &ChainStatus) -> Result<(), DisconnectReason> {
        if self.version != version {
            return Err(DisconnectReason::IncompatibleVersion);
        }
        if self.network_id != spec.network_id() {
            return Err(DisconnectReason::NetworkMismatch);
        }
        if self.genesis != spec.genesis().hash {
            return Err(DisconnectReason::GenesisMismatch);
        }
        if !spec.check_fork_id(ours.latest.number, ours.latest_time, self.fork_id) {
            return Err(DisconnectReason::ForkMismatch);
        }
        match self.claim {
            StatusClaim::Range { earliest, latest } if earliest > latest => {
                Err(DisconnectReason::InvalidRange)
            }
            _ => Ok(()),
        }
    }
}

impl Encode for Status {
    fn encode(&self, out: &mut BytesMut) {
        let mut fields = BytesMut::with_capacity(STATUS_BYTES_MAX);
        rlp::put_u64(u64::from(self.version), &mut fields);
        rlp::put_u64(self.network_id, &mut fields);
        match self.claim {
            StatusClaim::TotalDifficulty(total) => {
                rlp::put_uint(&total.to_be_bytes::<32>(), &mut fields);
                rlp::put_bytes(self.head.as_slice(), &mut fields);
                rlp::put_bytes(self.genesis.as_slice(), &mut fields);
                put_fork_id(self.fork_id, &mut fields);
            }
            StatusClaim::Range { earliest, latest } => {
                rlp::put_bytes(self.genesis.as_slice(), &mut fields);
                put_fork_id(self.fork_id, &mut fields);
                rlp::put_u64(earliest, &mut fields);
                rlp::put_u64(latest, &mut fields);
                rlp::put_bytes(self.head.as_slice(), &mut fields);
            }
        }
        rlp::put_list_head(fields.len(), out);
        out.extend_from_slice(&fields);
    }
}

impl Decode for Status {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let encoded = take_item(bytes)?;
        let mut fields = List::whole(&encoded)?;
        let version = u32::try_from(fields.item()?.u64()?).map_err(|_| DecodeError::Invalid("version"))?;
        let network_id = fields.item()?.u64()?;
        let status = if version < ETH_69 {
            let total = u256(fields.item()?)?;
            let head = hash(fields.item()?)?;
            let genesis = hash(fields.item()?)?;
            let fork_id = fork_id(fields.item()?)?;
            let claim = StatusClaim::TotalDifficulty(total);
            Self { version, network_id, genesis, fork_id, head, claim }
        } else {
            let genesis = hash(fields.item()?)?;
            let fork_id = fork_id(fields.item()?)?;
            let (earliest, latest) = (fields.item()?.u64()?, fields.item()?.u64()?);
            let head = hash(fields.item()?)?;
            let claim = StatusClaim::Range { earliest, latest };
            Self { version, network_id, genesis, fork_id, head, claim }
        };
        fields.end()?;
        Ok(status)
    }
}

fn put_fork_id(fork_id: ForkId, out: &mut BytesMut) {
    let ForkHash(hash) = fork_id.hash;
    rlp::put_list_head(rlp::bytes_len(&hash) + rlp::u64_len(fork_id.next), out);
    rlp::put_bytes(&hash, out);
    rlp::put_u64(fork_id.next, out);
}

fn fork_id(item: Item<'_>) -> Result<ForkId, DecodeError> {
    let mut fields = item.list()?;
    let hash = ForkHash(fields.item()?.fixed()?);
    let next = fields.item()?.u64()?;
    fields.end()?;
    Ok(ForkId { hash, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixtures::{Junk, unhex};

    const GENESIS: &str = "bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533";
    const HEAD: &str = "44e3809c9a3cda717f00aea3a9da336d149612c8d5657fbc0028176ef8d94d2a";
    const RLP_69: &str = "f85645870c72dd9d5e883ea0bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533\
        c684377aaa788080820258a044e3809c9a3cda717f00aea3a9da336d149612c8d5657fbc0028176ef8d94d2a";
    const RLP_68: &str = "f85344870c72dd9d5e883e80a044e3809c9a3cda717f00aea3a9da336d149612c8d5657fbc0028176ef8d94d2a\
        a0bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533c684377aaa7880";

    /// What section 5 of the profile says about geth's test chain at block 600.
    fn vector(version: u32, claim: StatusClaim) -> Status {
        Status {
            version,
            network_id: 3_503_995_874_084_926,
            genesis: B256::from_slice(&unhex(GENESIS)),
            fork_id: ForkId { hash: ForkHash([0x37, 0x7a, 0xaa, 0x78]), next: 0 },
            head: B256::from_slice(&unhex(HEAD)),
            claim,
        }
    }

    fn vectors() -> [(Vec<u8>, Status); 3] {
        let range = StatusClaim::Range { earliest: 0, latest: 600 };
        let rlp_70 = RLP_69.replacen("f85645", "f85646", 1);
        [
            (unhex(&rlp_70), vector(70, range)),
            (unhex(RLP_69), vector(69, range)),
            (unhex(RLP_68), vector(68, StatusClaim::TotalDifficulty(U256::ZERO))),
        ]
    }

    fn encoded(status: &Status) -> Vec<u8> {
        let mut out = BytesMut::new();
        status.encode(&mut out);
        out.to_vec()
    }

    /// E4: both forms, both ways.
    #[test]
    fn the_vectors_of_the_profile_hold() {
        for (bytes, status) in vectors() {
            assert_eq!(encoded(&status), bytes);
            assert_eq!(decode_all(Bytes::from(bytes)), Ok(status));
        }
    }

    /// EIP-2124's three, and a hash of 3 or 5 bytes.
    #[test]
    fn the_vectors_of_fork_ids_hold() {
        let vectors = [
            ("c6840000000080", 0, 0),
            ("ca84deadbeef84baddcafe", 0xdead_beef, 0xbadd_cafe),
            ("ce84ffffffff88ffffffffffffffff", u32::MAX, u64::MAX),
        ];
        for (text, hash, next) in vectors {
            let id = ForkId { hash: ForkHash(u32::to_be_bytes(hash)), next };
            let mut out = BytesMut::new();
            put_fork_id(id, &mut out);
            assert_eq!(out, unhex(text));
            assert_eq!(fork_id(Item::whole(&unhex(text)).unwrap()), Ok(id));
        }
        for text in ["c58300000080", "c785000000000080", "c58400000000", "c784000000008080", "84deadbeef"] {
            assert!(fork_id(Item::whole(&unhex(text)).unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_largest_status_is_within_its_limit() {
        let mut status = vector(68, StatusClaim::TotalDifficulty(U256::MAX));
        (status.network_id, status.fork_id.next) = (u64::MAX, u64::MAX);
        let total = encoded(&status);
        status.version = u32::MAX;
        status.claim = StatusClaim::Range { earliest: u64::MAX, latest: u64::MAX };
        for bytes in [total, encoded(&status)] {
            assert!(bytes.len() <= STATUS_BYTES_MAX);
            assert!(Status::from_body(&snappy::compress(&bytes)).is_ok());
        }
    }

    /// E1, E3: cut short, something behind, an extra element, the other version's form.
    #[test]
    fn what_is_not_exactly_a_status_is_malformed() {
        for (bytes, status) in vectors() {
            for cut in 0..bytes.len() {
                assert!(decode_all::<Status>(Bytes::copy_from_slice(&bytes[..cut])).is_err());
            }
            let mut behind = bytes.clone();
            behind.push(0x80);
            assert_eq!(decode_all::<Status>(Bytes::from(behind)), Err(DecodeError::Trailing));
            let mut extra = bytes.clone();
            extra[1] += 1;
            extra.push(0x80);
            assert_eq!(decode_all::<Status>(Bytes::from(extra)), Err(DecodeError::Trailing));
            let mut crossed = bytes.clone();
            crossed[2] = if status.version == 68 { 69 } else { 68 };
            assert!(decode_all::<Status>(Bytes::from(crossed)).is_err());
        }
    }

    #[test]
    fn a_body_is_refused_for_its_compression_its_size_or_its_content() {
        assert_eq!(Status::from_body(&[]), Err(Breach::Compression));
        assert_eq!(Status::from_body(&[3, 0, 1]), Err(Breach::Compression));
        assert_eq!(Status::from_body(&snappy::compress(&[0; 257])), Err(Breach::Malformed));
        assert_eq!(Status::from_body(&snappy::compress(&[0xc0])), Err(Breach::Malformed));
    }

    #[test]
    fn junk_in_a_status_is_read_canonically_or_not_at_all() {
        let mut junk = Junk::seeded(8);
        for (bytes, _) in vectors() {
            for _ in 0..20_000 {
                let mut bytes = bytes.clone();
                let at = junk.below(bytes.len());
                bytes[at] = junk.next() as u8;
                if let Ok(status) = decode_all::<Status>(Bytes::copy_from_slice(&bytes)) {
                    assert_eq!(encoded(&status), bytes);
                }
            }
        }
    }
}
