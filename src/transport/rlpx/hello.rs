//! Hello: who a node is and what it speaks (rlpx.md, "Hello").

use bytes::{BufMut, Bytes, BytesMut};

use super::node_id::{InvalidKey, NodeId};
use crate::wire::DecodeError;
use crate::wire::rlp::{self, Item, List};

/// Bytes of a peer's client id that are kept.
pub const CLIENT_BYTES_MAX: usize = 128;

/// Capabilities of a peer that are kept; the ones behind are as if not offered.
pub const CAPABILITIES_MAX: usize = 64;

/// Bytes of a capability's name. A longer name is not one.
pub const NAME_BYTES_MAX: usize = 8;

/// The first message of both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of the base protocol. Both ends speak the lower one.
    pub version: u32,
    /// What the node calls itself. Peers write into it what they like: escape it when printed.
    pub client: String,
    /// Names and versions of what the node speaks, in the order it listed them.
    pub capabilities: Vec<(String, u32)>,
    /// A port that nobody uses any more; 0 where it is not one.
    pub listen_port: u16,
    /// The node's key, to be compared with that of the handshake.
    pub node_id: NodeId,
}

/// Why a Hello is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not the RLP it should be: a breach of protocol (0x02).
    #[error("malformed hello: {0}")]
    Malformed(#[from] DecodeError),
    /// No key, a zero one, or none on the curve: null node identity (0x07).
    #[error("hello without an identity: {0}")]
    Identity(#[from] InvalidKey),
}

impl Hello {
    /// The payload of the message, without its id. A Hello is never compressed.
    pub fn encode(&self) -> Bytes {
        let mut capabilities = BytesMut::new();
        for (name, version) in &self.capabilities {
            let len = rlp::bytes_len(name.as_bytes()) + rlp::u64_len(u64::from(*version));
            rlp::put_list_head(len, &mut capabilities);
            rlp::put_bytes(name.as_bytes(), &mut capabilities);
            rlp::put_u64(u64::from(*version), &mut capabilities);
        }
        let mut fields = BytesMut::new();
        rlp::put_u64(u64::from(self.version), &mut fields);
        rlp::put_bytes(self.client.as_bytes(), &mut fields);
        rlp::put_list_head(capabilities.len(), &mut fields);
        fields.put_slice(&capabilities);
        rlp::put_u64(u64::from(self.listen_port), &mut fields);
        rlp::put_bytes(self.node_id.as_bytes(), &mut fields);
        let mut out = BytesMut::with_capacity(rlp::item_len(fields.len()));
        rlp::put_list_head(fields.len(), &mut out);
        out.put_slice(&fields);
        out.freeze()
    }

    /// Reads the payload of a Hello, which the caller has bounded by
    /// [`MESSAGE_BYTES_MAX`](super::p2p::MESSAGE_BYTES_MAX). Elements behind the fifth are ignored
    /// (EIP-8), bytes behind the list are not.
    pub fn decode(payload: &[u8]) -> Result<Self, HelloError> {
        let mut fields = List::whole(payload)?;
        let version = fields.field("version", Item::u64)?;
        let client = client(fields.field("client id", Item::string)?);
        let capabilities = capabilities(fields.field("capabilities", Item::list)?)?;
        let listen_port = fields.field("listen port", Item::u64)?;
        let node_id = fields.field("node key", Item::string)?;
        // What follows must still be RLP.
        while fields.next_item()?.is_some() {}
        Ok(Self {
            version: u32::try_from(version).unwrap_or(u32::MAX),
            client,
            capabilities,
            listen_port: u16::try_from(listen_port).unwrap_or_default(),
            node_id: NodeId::from_bytes(node_id)?,
        })
    }
}

/// As much of a client id as is kept, whatever its bytes.
fn client(bytes: &[u8]) -> String {
    let kept = bytes.get(..CLIENT_BYTES_MAX).unwrap_or(bytes);
    let mut client = String::from_utf8_lossy(kept).into_owned();
    // A replaced byte takes three.
    client.truncate(client.floor_char_boundary(CLIENT_BYTES_MAX));
    client
}

fn capabilities(mut list: List<'_>) -> Result<Vec<(String, u32)>, DecodeError> {
    let mut kept = Vec::new();
    while let Some(item) = list.next_item()? {
        let mut fields = item.list()?;
        let name = fields.field("capability name", Item::string)?;
        let version = fields.field("capability version", Item::u64)?;
        fields.end()?;
        // A name that cannot be one, or a version beyond all, is shared with nobody.
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
        if let (Some(name), Ok(version), true) = (name, u32::try_from(version), kept.len() < CAPABILITIES_MAX)
        {
            kept.push((name.to_owned(), version));
        }
    }
    Ok(kept)
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, bytes, key};
    use super::super::p2p::MESSAGE_BYTES_MAX;
    use super::*;

    fn hello() -> Hello {
        Hello {
            version: 5,
            client: "trunkline/0.1.0".to_owned(),
            capabilities: vec![("eth".to_owned(), 69), ("eth".to_owned(), 68), ("snap".to_owned(), 1)],
            listen_port: 30303,
            node_id: key(fixtures::STATIC_A).node_id(),
        }
    }

    /// A Hello whose five fields are these encodings, with bytes behind them.
    fn raw(
        version: &[u8],
        client: &[u8],
        capabilities: &[u8],
        port: &[u8],
        key: &[u8],
        extra: &[u8],
    ) -> Vec<u8> {
        let fields = [version, client, capabilities, port, key, extra].concat();
        let mut out = Vec::new();
        rlp::put_list_head(fields.len(), &mut out);
        out.extend_from_slice(&fields);
        out
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        rlp::put_bytes(bytes, &mut out);
        out
    }

    fn list(items: &[Vec<u8>]) -> Vec<u8> {
        let items = items.concat();
        let mut out = Vec::new();
        rlp::put_list_head(items.len(), &mut out);
        out.extend_from_slice(&items);
        out
    }

    fn capability(name: &[u8], version: &[u8]) -> Vec<u8> {
        list(&[string(name), string(version)])
    }

    fn our_key() -> Vec<u8> {
        string(hello().node_id.as_bytes())
    }

    #[test]
    fn a_hello_survives_the_wire() {
        assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
    }

    #[test]
    fn the_published_hello_is_understood() {
        let hello = Hello::decode(&bytes(fixtures::HELLO)).expect("a hello");
        assert_eq!(hello.version, 55);
        assert_eq!(hello.client, "kneth/v0.91/plan9");
        assert_eq!(hello.capabilities, [("eth".to_owned(), 61), ("mork".to_owned(), 22)]);
        assert_eq!(hello.listen_port, 9999);
        assert!(hello.node_id.to_string().starts_with("fda1cff674c90c9a"));
    }

    #[test]
    fn a_hello_cut_anywhere_is_none() {
        let whole = bytes(fixtures::HELLO);
        for len in 0..whole.len() {
            assert!(matches!(Hello::decode(&whole[..len]), Err(HelloError::Malformed(_))), "{len}");
        }
        let longer = [&whole[..], &[0x80]].concat();
        assert_eq!(Hello::decode(&longer), Err(DecodeError::Trailing.into()));
    }

    #[test]
    fn no_flipped_bit_panics() {
        let whole = bytes(fixtures::HELLO);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Hello::decode(&flipped);
        }
    }

    /// B7: a key of zeros, of another length or off the curve is an error of its own.
    #[test]
    fn a_hello_without_an_identity_is_told_from_a_malformed_one() {
        let mut off_curve = *hello().node_id.as_bytes();
        off_curve[0] ^= 1;
        let keys: [&[u8]; 6] = [&[0; 64], &[], &[5], &[1; 63], &[4; 65], &off_curve];
        for key in keys {
            let hello = raw(&[5], &string(b"x"), &[0xc0], &[0x80], &string(key), &[]);
            assert_eq!(Hello::decode(&hello), Err(HelloError::Identity(InvalidKey)), "{} bytes", key.len());
        }
        let no_string = raw(&[5], &string(b"x"), &[0xc0], &[0x80], &[0xc0], &[]);
        assert_eq!(Hello::decode(&no_string), Err(DecodeError::Invalid("node key").into()));
        let four_fields = raw(&[5], &string(b"x"), &[0xc0], &[0x80], &[], &[]);
        assert_eq!(Hello::decode(&four_fields), Err(DecodeError::Truncated.into()));
    }

    /// B15: as many capabilities as fit are walked and few of them kept; what cannot be one is
    /// left out.
    #[test]
    fn capabilities_are_capped_and_filtered() {
        let decode = |capabilities: &[Vec<u8>]| {
            let hello = raw(&[5], &string(b"x"), &list(capabilities), &[0x80], &our_key(), &[]);
            Hello::decode(&hello).map(|hello| hello.capabilities)
        };
        let many = vec![capability(b"eth", &[69]); 10_000];
        assert_eq!(decode(&many), Ok(vec![("eth".to_owned(), 69); CAPABILITIES_MAX]));
        let odd = [
            capability(b"", &[1]),
            capability(b"ninechars", &[1]),
            capability(b"eigh\xc3\xa9", &[1]),
            capability(b"\xff\xfe", &[1]),
            capability(b"eth", &[1, 0, 0, 0, 0]),
            capability(b"eightchr", &[2]),
            capability(b"eth", &[]),
        ];
        assert_eq!(decode(&odd), Ok(vec![("eightchr".to_owned(), 2), ("eth".to_owned(), 0)]));
        for broken in
            [list(&[]), list(&[string(b"eth")]), string(b"eth"), list(&[string(b"eth"), vec![0xc0]])]
        {
            assert!(matches!(decode(&[broken]), Err(HelloError::Malformed(_))));
        }
        let three = list(&[string(b"eth"), string(&[69]), string(&[1])]);
        assert_eq!(decode(&[three]), Err(DecodeError::Trailing.into()));
    }

    /// B15: an overlong client id is cut, and bytes that are no text are replaced.
    #[test]
    fn a_client_id_is_cut_and_made_text() {
        let decode = |client: &[u8]| {
            let hello = raw(&[5], &string(client), &[0xc0], &[0x80], &our_key(), &[]);
            Hello::decode(&hello).map(|hello| hello.client)
        };
        assert_eq!(decode(&[b'a'; 1000]), Ok("a".repeat(CLIENT_BYTES_MAX)));
        assert_eq!(decode(&[b'a'; 128]), Ok("a".repeat(128)));
        assert_eq!(decode(b""), Ok(String::new()));
        assert_eq!(decode(b"a\xffb\x1b"), Ok("a\u{fffd}b\u{1b}".to_owned()));
        let replaced = decode(&[0xff; 128]).expect("a hello");
        assert!(
            replaced.len() <= CLIENT_BYTES_MAX && replaced.chars().all(|c| c == '\u{fffd}'),
            "{replaced}"
        );
        // A character across the end is not cut in two.
        let across = ["a".repeat(127), "\u{e9}".to_owned()].concat();
        assert_eq!(decode(across.as_bytes()).map(|client| client.len()), Ok(127));
    }

    #[test]
    fn numbers_out_of_range_are_taken_for_what_they_are_worth() {
        let decode = |version: &[u8], port: &[u8]| {
            Hello::decode(&raw(version, &string(b"x"), &[0xc0], port, &our_key(), &[0x01, 0xc1, 0x05, 0x80]))
        };
        let huge = string(&[0xff; 8]);
        let hello = decode(&huge, &huge).expect("extra elements and odd numbers");
        assert_eq!((hello.version, hello.listen_port), (u32::MAX, 0));
        assert!(decode(&string(&[1; 9]), &[0x80]).is_err());
        assert!(decode(&[0x00], &[0x80]).is_err());
    }

    #[test]
    fn what_we_say_fits_the_cap() {
        let most = Hello {
            client: "c".repeat(CLIENT_BYTES_MAX),
            capabilities: vec![("eightchr".to_owned(), u32::MAX); CAPABILITIES_MAX],
            ..hello()
        };
        assert!(most.encode().len() <= MESSAGE_BYTES_MAX);
    }
}
