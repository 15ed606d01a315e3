//! The input function of the fuzz target `discovery_packet`: bytes from anybody into discv4.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Instant;

use alloy_primitives::keccak256;
use enr::CombinedKey;

use crate::discovery::packet::{self, Endpoint, PACKET_BYTES_MAX};
use crate::discovery::v4::{Local, Now, V4, V4Config};
use crate::transport::rlpx::NodeKey;

/// What stands before the type in a packet: a hash and a signature.
const HEAD_BYTES: usize = 97;

/// A time within what the published packets of 2006 call the future.
const UNIX_S: u64 = 1_136_239_440;

static KEYS: LazyLock<[NodeKey; 2]> = LazyLock::new(|| {
    [[0x11; 32], [0x22; 32]].map(|secret| NodeKey::from_secret_bytes(&secret).expect("a small scalar"))
});

/// Reads `bytes` as a packet, and as the type and data of one that is rightly hashed and signed, and
/// gives both to a machine. Panics if anything that must hold does not.
pub fn fuzz_discovery_packet(bytes: &[u8]) {
    let [ours, theirs] = &*KEYS;
    let mut machine = machine(ours);
    give(&mut machine, bytes);
    // What a fuzzer cannot guess: an envelope that is right.
    let content = bytes.get(..bytes.len().min(PACKET_BYTES_MAX - HEAD_BYTES)).unwrap_or_default();
    let mut signed = theirs.sign(&keccak256(content).0).to_vec();
    signed.extend_from_slice(content);
    let mut packet = keccak256(&signed).to_vec();
    packet.extend_from_slice(&signed);
    if let Ok(received) = packet::decode(&packet) {
        assert_eq!(received.from, theirs.node_id());
        // What was understood is understood again when we write it, unless it is of a newer form.
        let (again, _) = received.packet.encode(theirs);
        assert_eq!(packet::decode(&again).map(|again| again.packet), Ok(received.packet));
    }
    give(&mut machine, &packet);
}

fn machine(key: &NodeKey) -> V4 {
    let mut secret = key.secret_bytes();
    let secret = CombinedKey::secp256k1_from_bytes(&mut secret).expect("the same scalar");
    let record = discv5::Enr::builder().udp4(30303).build(&secret).expect("a short record");
    let endpoint = Endpoint { ip: Some(Ipv4Addr::LOCALHOST.into()), udp: 30303, tcp: 30303 };
    let now = Now { at: Instant::now(), unix_s: UNIX_S };
    // Small, because what they hold is allocated at once.
    let config = V4Config { bonds_max: 8, sources_max: 8, records_max: 8, ..V4Config::default() };
    V4::new(now, config, key.clone(), Local { endpoint, record }, Vec::new(), 1)
}

/// A stranger gets at most a pong and a ping, to where it is, and nobody else gets anything.
fn give(machine: &mut V4, bytes: &[u8]) {
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), 4444);
    machine.on_packet(Now { at: Instant::now(), unix_s: UNIX_S }, from, bytes);
    let out: Vec<_> = std::iter::from_fn(|| machine.poll_send()).collect();
    assert!(out.len() <= 2 && out.iter().all(|out| out.to == from), "{out:?}");
    assert!(out.iter().all(|out| out.bytes.len() < 200), "more than a pong for a stranger");
    assert!(machine.table().is_empty());
    while machine.poll_event().is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::dice::Dice;
    use crate::discovery::packet_vectors::{FINDNODE, NEIGHBORS, PING_V4, PING_V555, PONG};

    /// Target 17, with what a fuzzer would start from: the published packets, cut and bent.
    #[test]
    fn the_fuzz_target_holds_for_published_packets_cut_bent_and_for_junk() {
        let mut dice = Dice::new(17);
        for text in [PING_V4, PING_V555, PONG, FINDNODE, NEIGHBORS] {
            let bytes = alloy_primitives::hex::decode(text).unwrap();
            fuzz_discovery_packet(&bytes);
            let content = &bytes[HEAD_BYTES..];
            fuzz_discovery_packet(content);
            for _ in 0..40 {
                let mut bent = content.to_vec();
                let at = dice.pick(bent.len()).unwrap();
                bent[at] = dice.roll() as u8;
                bent.truncate(dice.pick(2 * bent.len()).unwrap().max(1));
                fuzz_discovery_packet(&bent);
            }
        }
        for len in (0..1500).step_by(50) {
            let mut junk = vec![0; len];
            dice.fill(&mut junk);
            fuzz_discovery_packet(&junk);
        }
    }
}
