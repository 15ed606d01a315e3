//! The published packets of discv5, sent to a running node that has their key. What the crate keeps
//! to itself (key derivation, id signatures, encryption of one given message) cannot be run from here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aes::Aes128;
use alloy_primitives::hex;
use ctr::Ctr64BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use tokio::net::UdpSocket;

use crate::discovery::fixtures::key;
use crate::discovery::{Discovery, DiscoveryConfig};
use crate::transport::rlpx::NodeKey;

/// The key of node b, to whom the packets go.
const KEY_B: &str = "66fb62bfbd66b9177a138c1e5cddbe4f7c30c343e94e68df8769459cb1cde628";
const SRC: &str = "aaaa8419e9f49d0083561b48287df592939a8d19947d8c0ef88f2a4856a69fbb";
const DEST: &str = "bbbb9d047f0488c0b5a93c1c3f2d8bafc7c8ff337024a55434a0d0555de64db9";

const PING: &str = "00000000000000000000000000000000088b3d4342774649325f313964a39e55ea96c005ad52be8c7560413a7008f16c\
    9e6d2f43bbea8814a546b7409ce783d34c4f53245d08dab84102ed931f66d1492acb308fa1c6715b9d139b81acbdcc";
const WHOAREYOU: &str = "00000000000000000000000000000000088b3d434277464933a1ccc59f5967ad1d6035f15e528627dde75cd68292f9e6\
    c27d6b66c8100a873fcbaed4e16b8d";
const HANDSHAKE: &str = "00000000000000000000000000000000088b3d4342774649305f313964a39e55ea96c005ad521d8c7560413a7008f16c\
    9e6d2f43bbea8814a546b7409ce783d34c4f53245d08da4bb252012b2cba3f4f374a90a75cff91f142fa9be3e0a5f3ef\
    268ccb9065aeecfd67a999e7fdc137e062b2ec4a0eb92947f0d9a74bfbf44dfba776b21301f8b65efd5796706adff216\
    ab862a9186875f9494150c4ae06fa4d1f0396c93f215fa4ef524f1eadf5f0f4126b79336671cbcf7a885b1f8bd2a5d83\
    9cf8";
const HANDSHAKE_WITH_RECORD: &str = "00000000000000000000000000000000088b3d4342774649305f313964a39e55ea96c005ad539c8c7560413a7008f16c\
    9e6d2f43bbea8814a546b7409ce783d34c4f53245d08da4bb23698868350aaad22e3ab8dd034f548a1c43cd246be9856\
    2fafa0a1fa86d8e7a3b95ae78cc2b988ded6a5b59eb83ad58097252188b902b21481e30e5e285f19735796706adff216\
    ab862a9186875f9494150c4ae06fa4d1f0396c93f215fa4ef524e0ed04c3c21e39b1868e1ca8105e585ec17315e755e6\
    cfc4dd6cb7fd8e1a1f55e49b4b5eb024221482105346f3c82b15fdaae36a3bb12a494683b4a3c7f2ae41306252fed847\
    85e2bbff3b022812d0882f06978df84a80d443972213342d04b9048fc3b1d5fcb1df0f822152eced6da4d3f6df27e70e\
    4539717307a0208cd208d65093ccab5aa596a34d7511401987662d8cf62b139471";

/// Waits for something that must happen, not for how long it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A header begins so, behind 16 bytes of masking IV.
const IV_BYTES: usize = 16;
/// A WHOAREYOU has this size, always: smaller than any packet that it answers.
const WHOAREYOU_BYTES: usize = 63;

/// Masks or unmasks a header for the node of this id.
pub(crate) fn mask(id: &[u8; 32], iv: &[u8], header: &mut [u8]) {
    Ctr64BE::<Aes128>::new_from_slices(&id[..16], iv).unwrap().apply_keystream(header);
}

/// What begins a session: a message that nobody can decrypt, of an id that nobody has.
pub(crate) fn beginning(to: &[u8; 32], stranger: [u8; 32]) -> Vec<u8> {
    let mut header = b"discv5\x00\x01\x00".to_vec();
    header.extend_from_slice(&stranger[..12]);
    header.extend_from_slice(&32_u16.to_be_bytes());
    header.extend_from_slice(&stranger);
    let mut packet = stranger[..IV_BYTES].to_vec();
    mask(to, &stranger[..IV_BYTES], &mut header);
    packet.extend_from_slice(&header);
    packet.extend_from_slice(&stranger);
    packet
}

fn id(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// A node with this key, and a socket that talks to it.
async fn node(key: NodeKey) -> (Discovery, UdpSocket) {
    let mut config = DiscoveryConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.v4 = false;
    let node = Discovery::start(config, key).await.unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, node.local_node().udp)).await.unwrap();
    (node, socket)
}

/// The next packet from the node, its header unmasked for `id`.
async fn answer(socket: &UdpSocket, id: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![0; 1500];
    let len = tokio::time::timeout(PATIENCE, socket.recv(&mut bytes)).await.expect("an answer").unwrap();
    bytes.truncate(len);
    let (iv, rest) = bytes.split_at_mut(IV_BYTES);
    mask(id, iv, rest);
    bytes
}

fn node_b() -> NodeKey {
    let key = NodeKey::from_secret_bytes(&id(KEY_B)).unwrap();
    assert_eq!(key.node_id().hash(), id(DEST));
    key
}

#[tokio::test]
async fn the_published_ping_of_a_stranger_is_challenged_with_less_than_it_sent() {
    let (_node, socket) = node(node_b()).await;
    let ping = hex::decode(PING).unwrap();
    socket.send(&ping).await.unwrap();
    let challenge = answer(&socket, &id(SRC)).await;
    assert_eq!((&challenge[16..25], challenge.len()), (&b"discv5\x00\x01\x01"[..], WHOAREYOU_BYTES));
    // It names the packet that it answers.
    assert_eq!(challenge[25..37], [0xff; 12]);
    assert!(challenge.len() <= ping.len());
}

/// M5, M7: neither a challenge nobody waits for nor a handshake for another challenge is answered,
/// nor a packet cut short or for another node.
#[tokio::test]
async fn published_packets_out_of_place_are_not_answered() {
    let (_node, socket) = node(node_b()).await;
    let handshakes = [HANDSHAKE, HANDSHAKE_WITH_RECORD].map(|text| hex::decode(text).unwrap());
    socket.send(&hex::decode(WHOAREYOU).unwrap()).await.unwrap();
    for packet in &handshakes {
        socket.send(packet).await.unwrap();
        for len in (0..packet.len()).step_by(7) {
            socket.send(&packet[..len]).await.unwrap();
        }
    }
    let other: [u8; 32] = key(9).node_id().hash();
    socket.send(&beginning(&other, [7; 32])).await.unwrap();
    // The first answer is to what comes last.
    socket.send(&hex::decode(PING).unwrap()).await.unwrap();
    assert_eq!(answer(&socket, &id(SRC)).await[25..37], [0xff; 12]);
    // Now there is a challenge, and the published handshakes are for another one. The same
    // challenge comes again instead of a session.
    for packet in &handshakes {
        socket.send(packet).await.unwrap();
    }
    socket.send(&hex::decode(PING).unwrap()).await.unwrap();
    let again = answer(&socket, &id(SRC)).await;
    assert_eq!((again[24], again.len()), (1, WHOAREYOU_BYTES));
}
