use std::net::Ipv4Addr;

use alloy_primitives::hex;
use enr::CombinedKey;

use super::*;
use crate::discovery::dice::Dice;
use crate::discovery::fixtures::{key, node, nodes};
use crate::discovery::node::{node_of, udp_addr};
use crate::discovery::packet_vectors::{
    FINDNODE, KEY, NEIGHBORS, PING_V4, PING_V555, PONG, RECORD, RECORD_ID,
};

const EXPIRATION: u64 = 1_136_239_445;

fn vector_key() -> NodeKey {
    NodeKey::from_secret_bytes(&hex::decode(KEY).unwrap().try_into().unwrap()).unwrap()
}

fn vector(text: &str) -> Received {
    let received = decode(&hex::decode(text).unwrap()).unwrap();
    assert_eq!(received.from, vector_key().node_id());
    received
}

fn enr_of(number: u32) -> Enr {
    let mut secret = key(number).secret_bytes();
    let secret = CombinedKey::secp256k1_from_bytes(&mut secret).unwrap();
    Enr::builder().ip4(Ipv4Addr::LOCALHOST).udp4(30303).tcp4(30303).build(&secret).unwrap()
}

/// One of each, with the largest content that we send.
fn samples() -> Vec<Packet> {
    let (from, to) = (Endpoint::from(&node(1)), Endpoint::from(&node(2)));
    let v6 = nodes(10..22).into_iter().map(|node| Node { ip: "2001:db8::1".parse().unwrap(), ..node });
    let expiration = u64::MAX;
    vec![
        Packet::Ping { from, to, expiration, enr_seq: Some(7) },
        Packet::Ping { from: Endpoint { ip: None, udp: 0, tcp: 0 }, to, expiration: 0, enr_seq: None },
        Packet::Pong { to, ping_hash: [7; 32], expiration, enr_seq: Some(u64::MAX) },
        Packet::FindNode { target: [0xff; 64], expiration },
        Packet::Neighbors { nodes: v6.collect(), expiration },
        Packet::Neighbors { nodes: Vec::new(), expiration },
        Packet::EnrRequest { expiration },
        Packet::EnrResponse { request_hash: [9; 32], record: Box::new(enr_of(3)) },
    ]
}

#[test]
fn the_published_pings_are_read_whatever_their_version_and_tail() {
    let Packet::Ping { from, to, expiration, enr_seq } = vector(PING_V4).packet else { panic!() };
    assert_eq!(from, Endpoint { ip: Some(Ipv4Addr::LOCALHOST.into()), udp: 3322, tcp: 5544 });
    assert_eq!((to.udp, to.tcp, expiration, enr_seq), (2222, 3333, EXPIRATION, Some(1)));
    let Packet::Ping { from, expiration, enr_seq, .. } = vector(PING_V555).packet else { panic!() };
    assert_eq!(from.ip, Some("2001:db8:3c4d:15::abcd:ef12".parse().unwrap()));
    // A list stands where the sequence number would be.
    assert_eq!((expiration, enr_seq), (EXPIRATION, None));
}

#[test]
fn the_published_pong_findnode_and_neighbours_are_read() {
    let Packet::Pong { to, ping_hash, expiration, .. } = vector(PONG).packet else { panic!() };
    assert_eq!((to.udp, to.tcp, expiration), (2222, 33338, EXPIRATION));
    assert_eq!(ping_hash[..4], [0xfb, 0xc9, 0x14, 0xb1]);
    let Packet::FindNode { target, expiration } = vector(FINDNODE).packet else { panic!() };
    assert_eq!((&target, expiration), (vector_key().node_id().as_bytes(), EXPIRATION));
    let Packet::Neighbors { nodes, expiration } = vector(NEIGHBORS).packet else { panic!() };
    assert_eq!((nodes.len(), expiration), (4, EXPIRATION));
    assert_eq!(udp_addr(&nodes[0]), "99.33.22.55:4444".parse().unwrap());
    assert_eq!((nodes[3].udp, nodes[3].tcp), (999, 1000));
}

#[test]
fn the_published_record_has_its_id_and_endpoint() {
    let record: Enr = RECORD.parse().unwrap();
    let id = crate::discovery::node::record_id(&record).unwrap();
    assert_eq!((hex::encode(id.hash()), record.seq()), (RECORD_ID.to_owned(), 1));
    assert_eq!(hex::encode(record.node_id().raw()), RECORD_ID);
    assert_eq!(udp_addr(&node_of(&record).unwrap()), "127.0.0.1:30303".parse().unwrap());
}

#[test]
fn every_packet_is_read_back_as_it_was_written() {
    for packet in samples() {
        let (bytes, hash) = packet.encode(&key(3));
        assert!(bytes.len() <= PACKET_BYTES_MAX && has_valid_hash(&bytes), "{} bytes", bytes.len());
        assert_eq!(decode(&bytes), Ok(Received { packet, hash, from: key(3).node_id() }));
    }
}

/// F: every single bit counts: hash, signature, type and data.
#[test]
fn a_packet_with_any_bit_flipped_is_none() {
    for packet in samples() {
        let (bytes, _) = packet.encode(&key(3));
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bent), Err(PacketError::Hash), "bit {bit}");
            // With the hash made right again it is somebody else's packet, or none. (Every seventh bit:
            // finding out who signed is slow where nothing is optimised.)
            if bit >= HASH_BYTES * 8 && bit % 7 == 0 {
                rehash(&mut bent);
                assert!(decode(&bent).map(|received| received.from) != Ok(key(3).node_id()), "bit {bit}");
            }
        }
    }
}

#[test]
fn a_packet_cut_anywhere_or_too_long_is_none() {
    for packet in samples() {
        let (bytes, _) = packet.encode(&key(3));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err());
        }
    }
    let (mut bytes, _) = samples()[0].encode(&key(3));
    bytes.resize(PACKET_BYTES_MAX + 1, 0);
    rehash(&mut bytes);
    assert_eq!(decode(&bytes), Err(PacketError::Size(PACKET_BYTES_MAX + 1)));
}

/// M1: junk of every length, with a wrong hash and with the right one.
#[test]
fn junk_of_every_length_is_none() {
    let mut dice = Dice::new(1);
    for len in 0..=1500 {
        let mut junk = vec![0; len];
        dice.fill(&mut junk);
        assert!(decode(&junk).is_err(), "{len} bytes");
        assert!(!has_valid_hash(&junk), "{len} bytes");
        if len > HASH_BYTES {
            rehash(&mut junk);
            assert!(decode(&junk).is_err(), "{len} bytes");
        }
    }
}

/// M2: recovery ids beyond the two of discv4, and signatures that are none.
#[test]
fn a_wrong_recovery_id_or_signature_is_refused() {
    let (bytes, _) = samples()[0].encode(&key(3));
    for v in 2..=255 {
        let mut bent = bytes.clone();
        bent[HASH_BYTES + 64] = v;
        rehash(&mut bent);
        assert_eq!(decode(&bent), Err(PacketError::Signature), "recovery id {v}");
    }
    for filler in [0, 0xff] {
        let mut bent = bytes.clone();
        bent[HASH_BYTES..HASH_BYTES + 64].fill(filler);
        rehash(&mut bent);
        assert_eq!(decode(&bent), Err(PacketError::Signature));
    }
}

#[test]
fn unknown_types_are_refused_before_their_signature_is_looked_at() {
    for kind in [0, 7, 66, 255] {
        let (mut bytes, _) = samples()[0].encode(&key(3));
        bytes[HASH_BYTES + SIGNATURE_BYTES] = kind;
        rehash(&mut bytes);
        assert_eq!(decode(&bytes), Err(PacketError::UnknownType(kind)));
    }
}

#[test]
fn a_record_that_the_sender_did_not_sign_is_refused() {
    let record = Box::new(enr_of(4));
    let (bytes, _) = Packet::EnrResponse { request_hash: [9; 32], record }.encode(&key(3));
    assert_eq!(decode(&bytes), Err(PacketError::Record));
}

#[test]
fn a_record_with_any_byte_changed_is_refused() {
    let record = enr_of(3);
    let (bytes, _) =
        Packet::EnrResponse { request_hash: [9; 32], record: Box::new(record.clone()) }.encode(&key(3));
    for at in bytes.len() - record.size()..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        assert!(decode(&resigned(&bent)).is_err(), "byte {at}");
    }
}

/// M8: a packet cannot claim more neighbours than fit one.
#[test]
fn more_neighbours_than_fit_a_packet_are_refused_and_unusable_ones_left_out() {
    let (bytes, _) = Packet::Neighbors { nodes: nodes(0..3), expiration: 5 }.encode(&key(3));
    let at = bytes.windows(64).position(|window| window == node(1).id.as_bytes()).unwrap();
    let mut bent = bytes.clone();
    // Not on the curve.
    bent[at..at + 64].fill(1);
    let Packet::Neighbors { nodes: read, .. } = decode(&resigned(&bent)).unwrap().packet else { panic!() };
    assert_eq!(read, [node(0), node(2)]);
    let mut list = Vec::new();
    put_list(&mut list, |out| {
        put_list(out, |out| (0..300).for_each(|_| out.push(0xc0)));
        put_u64(5, out);
    });
    let mut content = vec![4];
    content.extend(list);
    let mut bytes = vec![0; HASH_BYTES + SIGNATURE_BYTES];
    bytes.extend(content);
    assert!(matches!(decode(&resigned(&bytes)), Err(PacketError::Data(_))));
}

fn rehash(bytes: &mut [u8]) {
    let hash = keccak256(&bytes[HASH_BYTES..]);
    bytes[..HASH_BYTES].copy_from_slice(hash.as_slice());
}

/// The same type and data, signed by node 3.
fn resigned(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let signature = key(3).sign(&keccak256(&bytes[HASH_BYTES + SIGNATURE_BYTES..]).0);
    bytes[HASH_BYTES..HASH_BYTES + SIGNATURE_BYTES].copy_from_slice(&signature);
    rehash(&mut bytes);
    bytes
}
