//! The handshake of RLPx: auth one way, ack the other, and both ends share secrets
//! (rlpx.md, "Initial Handshake"; EIP-8 for the form with a size prefix).
//!
//! ```text
//! initiator                                       recipient
//! auth: sealed for the recipient's key   ──▶      learns who dialled
//! learns the recipient's ephemeral key   ◀──      ack: sealed for the initiator's key
//! ```
//!
//! That the other end holds the key it claims shows in the first frame: without the key, its MAC
//! comes out wrong.

use std::fmt;

use k256::elliptic_curve::Generate;
use k256::{PublicKey, SecretKey};
use rand::{CryptoRng, RngExt};

use super::ecies::{self, EciesError};
use super::identity::{NodeKey, agree, recover};
use super::node_id::{InvalidKey, NodeId, UNCOMPRESSED};
use super::secrets::{Exchanged, Secrets, xor};
use crate::wire::DecodeError;
use crate::wire::rlp::{self, Item, List};

/// The largest size that the prefix of a message may say; it is checked before anything is
/// awaited or allocated.
pub const MESSAGE_BYTES_MAX: usize = 2048;

/// The version that both messages name. Other versions are taken as this one (EIP-8).
const VERSION: u64 = 4;

/// Random bytes behind the body of a message.
const PADDING: std::ops::RangeInclusive<usize> = 100..=300;

/// The prefix of a message in the form of EIP-8.
const PREFIX: usize = 2;

/// An auth in the form before EIP-8: signature, hash of the ephemeral key, key, nonce, a zero.
const PLAIN_AUTH: usize = ecies::OVERHEAD + 65 + 32 + 64 + 32 + 1;

/// An ack in the form before EIP-8: ephemeral key, nonce, a zero.
const PLAIN_ACK: usize = ecies::OVERHEAD + 64 + 32 + 1;

/// How far a handshake has come, given what was received so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// This many bytes are wanted in all, those already received included. Fewer cannot change
    /// the answer; more are never wanted than [`MESSAGE_BYTES_MAX`] and a prefix.
    Need(usize),
    /// Done.
    Done {
        /// What came out.
        value: T,
        /// How many bytes of what was received belong to the handshake. What follows are frames.
        used: usize,
    },
}

/// Why a handshake failed. Whatever it is, the peer is told nothing: the socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A size prefix below what a message takes, or above [`MESSAGE_BYTES_MAX`].
    #[error("handshake message of {0} bytes")]
    Size(usize),
    /// The message cannot be opened: not for us, or changed on the way.
    #[error("handshake message: {0}")]
    Sealed(#[from] EciesError),
    /// The message does not hold what it should.
    #[error("handshake message: {0}")]
    Body(#[from] DecodeError),
    /// A key in the message is not on the curve.
    #[error("handshake message: {0}")]
    Key(#[from] InvalidKey),
    /// The signature of the initiator names no key.
    #[error("handshake signature names no key")]
    Signature,
}

/// The end that dialled, waiting for the answer.
pub struct Initiator {
    us: NodeKey,
    ours: Ours,
    auth: Vec<u8>,
    /// What was received was tried as an ack of the form before EIP-8, and is none.
    not_plain: bool,
}

impl Initiator {
    /// Begins a handshake with the node that was dialled. The bytes are to be sent as they are.
    pub fn new<R: CryptoRng + ?Sized>(us: &NodeKey, remote: NodeId, rng: &mut R) -> (Self, Vec<u8>) {
        let ours = Ours::generate(rng);
        let key = remote.point();
        let signed = xor(&us.agree(&key), &ours.nonce);
        let signature = NodeKey::from(ours.ephemeral.clone()).sign(&signed);
        let body = encode(&[&signature, us.node_id().as_bytes(), &ours.nonce]);
        let auth = seal_prefixed(&key, &padded(body, rng), rng);
        (Self { us: us.clone(), ours, auth: auth.clone(), not_plain: false }, auth)
    }

    /// Reads the answer. `received` is everything the peer has sent since the connection began.
    pub fn on_ack(&mut self, received: &[u8]) -> Result<Step<Secrets>, HandshakeError> {
        let (message, body) = match open(&self.us, received, PLAIN_ACK, !self.not_plain)? {
            Opened::Need(len) => {
                self.not_plain |= received.len() >= PLAIN_ACK;
                return Ok(Step::Need(len));
            }
            Opened::Plain(message, body) => (message, Ack::plain(&body)?),
            Opened::Prefixed(message, body) => (message, Ack::decode(&body)?),
        };
        let exchanged = Exchanged {
            ephemeral: agree(&self.ours.ephemeral, &body.ephemeral.point()),
            initiator_nonce: self.ours.nonce,
            recipient_nonce: body.nonce,
            auth: &self.auth,
            ack: message,
        };
        Ok(Step::Done { value: exchanged.initiator(), used: message.len() })
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator").field("us", &self.us).finish_non_exhaustive()
    }
}

/// What the end that was dialled has once it has read the auth.
#[derive(Debug)]
pub struct Responded {
    /// Who dialled, if the first frame's MAC bears it out.
    pub remote: NodeId,
    /// The answer, to be sent as it is.
    pub ack: Vec<u8>,
    /// What both ends share.
    pub secrets: Secrets,
}

/// Reads the first message of who dialled us, and answers it in the form it came in. `received`
/// is everything the peer has sent since the connection began.
pub fn respond<R: CryptoRng + ?Sized>(
    us: &NodeKey,
    received: &[u8],
    rng: &mut R,
) -> Result<Step<Responded>, HandshakeError> {
    // Who dials says no more than its auth before it has our answer, so the form without a size
    // is tried at its one length only: a peer that drips bytes gets no second agreement out of us.
    let (message, auth, prefixed) = match open(us, received, PLAIN_AUTH, received.len() == PLAIN_AUTH)? {
        Opened::Need(len) => return Ok(Step::Need(len)),
        Opened::Plain(message, body) => (message, Auth::plain(&body)?, false),
        Opened::Prefixed(message, body) => (message, Auth::decode(&body)?, true),
    };
    let key = auth.remote.point();
    let theirs = auth.ephemeral(us, &key)?;
    let ours = Ours::generate(rng);
    let ephemeral = NodeId::from(&ours.ephemeral.public_key());
    let ack = if prefixed {
        seal_prefixed(&key, &padded(encode(&[ephemeral.as_bytes(), &ours.nonce]), rng), rng)
    } else {
        seal_plain(&key, &[&ephemeral.as_bytes()[..], &ours.nonce, &[0]].concat(), rng)
    };
    let exchanged = Exchanged {
        ephemeral: agree(&ours.ephemeral, &theirs.point()),
        initiator_nonce: auth.nonce,
        recipient_nonce: ours.nonce,
        auth: message,
        ack: &ack,
    };
    let secrets = exchanged.recipient();
    Ok(Step::Done { used: message.len(), value: Responded { remote: auth.remote, ack, secrets } })
}

/// What one end makes up for one handshake.
struct Ours {
    ephemeral: SecretKey,
    nonce: [u8; 32],
}

impl Ours {
    fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self { ephemeral: SecretKey::generate_from_rng(rng), nonce: rng.random() }
    }
}

/// What an auth says.
struct Auth {
    signature: [u8; 65],
    remote: NodeId,
    nonce: [u8; 32],
}

impl Auth {
    fn decode(body: &[u8]) -> Result<Self, HandshakeError> {
        let mut fields = fields(body)?;
        let signature = fields.field("signature", |item| item.fixed())?;
        let remote = NodeId::from_bytes(fields.item()?.string()?)?;
        let nonce = fields.field("nonce", |item| item.fixed())?;
        Ok(Self { signature, remote, nonce })
    }

    fn plain(body: &[u8]) -> Result<Self, HandshakeError> {
        let (signature, rest) = cut(body)?;
        // The hash of the ephemeral key, which the signature gives as well.
        let (_, rest) = cut::<32>(rest)?;
        let (key, rest) = cut::<64>(rest)?;
        let (nonce, _) = cut(rest)?;
        Ok(Self { signature, remote: NodeId::from_bytes(&key)?, nonce })
    }

    /// The initiator's ephemeral key: the one that signed.
    fn ephemeral(&self, us: &NodeKey, remote: &PublicKey) -> Result<NodeId, HandshakeError> {
        let signed = xor(&us.agree(remote), &self.nonce);
        recover(&self.signature, &signed).map_err(|_| HandshakeError::Signature)
    }
}

/// What an ack says.
struct Ack {
    ephemeral: NodeId,
    nonce: [u8; 32],
}

impl Ack {
    fn decode(body: &[u8]) -> Result<Self, HandshakeError> {
        let mut fields = fields(body)?;
        let ephemeral = NodeId::from_bytes(fields.item()?.string()?)?;
        let nonce = fields.field("nonce", |item| item.fixed())?;
        Ok(Self { ephemeral, nonce })
    }

    fn plain(body: &[u8]) -> Result<Self, HandshakeError> {
        let (key, rest) = cut::<64>(body)?;
        let (nonce, _) = cut(rest)?;
        Ok(Self { ephemeral: NodeId::from_bytes(&key)?, nonce })
    }
}

/// What the front of the received bytes is: the message as it came, and what was in it.
enum Opened<'a> {
    Need(usize),
    Plain(&'a [u8], Vec<u8>),
    Prefixed(&'a [u8], Vec<u8>),
}

fn open<'a>(
    us: &NodeKey,
    received: &'a [u8],
    plain_len: usize,
    try_plain: bool,
) -> Result<Opened<'a>, HandshakeError> {
    let Some(prefix) = received.first_chunk::<PREFIX>() else { return Ok(Opened::Need(PREFIX)) };
    // A size whose first byte is this is above the length of the form without a size.
    if prefix.first() == Some(&UNCOMPRESSED) {
        let Some(message) = received.get(..plain_len) else { return Ok(Opened::Need(plain_len)) };
        if try_plain && let Ok(body) = ecies::open(us.secret(), message, &[]) {
            return Ok(Opened::Plain(message, body));
        }
    }
    let size = usize::from(u16::from_be_bytes(*prefix));
    if size <= ecies::OVERHEAD || size > MESSAGE_BYTES_MAX {
        return Err(HandshakeError::Size(size));
    }
    let len = PREFIX + size;
    let Some(message) = received.get(..len) else { return Ok(Opened::Need(len)) };
    let body = ecies::open(us.secret(), message.get(PREFIX..).unwrap_or_default(), prefix)?;
    Ok(Opened::Prefixed(message, body))
}

/// A body with padding, so that its length does not tell what it is.
fn padded<R: CryptoRng + ?Sized>(mut body: Vec<u8>, rng: &mut R) -> Vec<u8> {
    let fields = body.len();
    body.resize(fields + rng.random_range(PADDING), 0);
    rng.fill(&mut body[fields..]);
    body
}

/// Seals a body, of which a prefix can say the size, in the form of EIP-8.
pub(crate) fn seal_prefixed<R: CryptoRng + ?Sized>(to: &PublicKey, body: &[u8], rng: &mut R) -> Vec<u8> {
    let size = ((ecies::OVERHEAD + body.len()) as u16).to_be_bytes();
    let mut message = size.to_vec();
    ecies::seal(to, &SecretKey::generate_from_rng(rng), rng.random(), body, &size, &mut message);
    message
}

/// Seals a body in the form before EIP-8.
pub(crate) fn seal_plain<R: CryptoRng + ?Sized>(to: &PublicKey, body: &[u8], rng: &mut R) -> Vec<u8> {
    let mut message = Vec::new();
    ecies::seal(to, &SecretKey::generate_from_rng(rng), rng.random(), body, &[], &mut message);
    message
}

/// The list of these strings and our version.
fn encode(strings: &[&[u8]]) -> Vec<u8> {
    let len = strings.iter().map(|string| rlp::bytes_len(string)).sum::<usize>() + rlp::u64_len(VERSION);
    let mut body = Vec::new();
    rlp::put_list_head(len, &mut body);
    strings.iter().for_each(|string| rlp::put_bytes(string, &mut body));
    rlp::put_u64(VERSION, &mut body);
    body
}

/// The fields of a body. Whatever follows the list is padding.
fn fields(mut body: &[u8]) -> Result<List<'_>, DecodeError> {
    Item::read(&mut body)?.list()
}

fn cut<const N: usize>(body: &[u8]) -> Result<([u8; N], &[u8]), DecodeError> {
    body.split_first_chunk().map(|(front, rest)| (*front, rest)).ok_or(DecodeError::Truncated)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
