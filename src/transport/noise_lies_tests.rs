//! A dialer that keeps to noise and lies about who it is (B5).

use std::time::Duration;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use multiaddr::Multiaddr;

use super::TransportLimits;
use super::pipe::{self, Pipe};
use super::upgrade::upgrade;
use crate::error::UpgradeError;
use crate::ids::{Direction, Keypair};

/// What libp2p's noise signs with the identity: this and the static key.
const SIGNED: &[u8] = b"noise-libp2p-static-key:";

/// How the dialer introduces itself: the identity it claims, and its signature of the static key.
type Claim = fn(&[u8]) -> (Keypair, Vec<u8>);

fn signed(by: &Keypair, static_key: &[u8]) -> Vec<u8> {
    by.sign(&[SIGNED, static_key].concat()).expect("signs")
}

async fn line(io: &mut Pipe, text: &[u8]) {
    io.write_all(&[&[text.len() as u8], text].concat()).await.expect("room");
    let mut echo = vec![0; text.len() + 1];
    io.read_exact(&mut echo).await.expect("the same");
    assert_eq!(&echo[1..], text);
}

async fn send(io: &mut Pipe, message: &[u8]) {
    let len = u16::try_from(message.len()).expect("short").to_be_bytes();
    io.write_all(&[&len, message].concat()).await.expect("room");
}

/// Dials with noise XX, honestly but for the claim; then says and hears nothing more.
async fn lie(mut io: Pipe, claim: Claim) {
    line(&mut io, b"/multistream/1.0.0\n").await;
    line(&mut io, b"/noise\n").await;
    let builder = snow::Builder::new("Noise_XX_25519_ChaChaPoly_SHA256".parse().expect("a pattern"));
    let ours = builder.generate_keypair().expect("a static key");
    let mut noise = builder.local_private_key(&ours.private).expect("set").build_initiator().expect("built");
    let mut buffer = vec![0; 1024];
    let len = noise.write_message(&[], &mut buffer).expect("e");
    send(&mut io, &buffer[..len]).await;
    let mut head = [0; 2];
    io.read_exact(&mut head).await.expect("a length");
    let mut answer = vec![0; u16::from_be_bytes(head).into()];
    io.read_exact(&mut answer).await.expect("e, ee, s, es");
    noise.read_message(&answer, &mut buffer).expect("opens");
    let (identity, signature) = claim(&ours.public);
    let key = identity.public().encode_protobuf();
    // NoiseHandshakePayload: identity_key 1, identity_sig 2.
    let payload = [&[0x0a, key.len() as u8], &key[..], &[0x12, signature.len() as u8], &signature].concat();
    let len = noise.write_message(&payload, &mut buffer).expect("s, se");
    send(&mut io, &buffer[..len]).await;
    // Whoever believes it goes on to the muxer, and finds nobody.
    let _ = io.close().await;
}

async fn met(claim: Claim) -> UpgradeError {
    let (near, far) = pipe::pair(64 << 10, Duration::ZERO);
    let (ours, limits) = (Keypair::generate_ed25519(), TransportLimits::default());
    let listening = upgrade(far, &ours, Direction::Inbound, None, Multiaddr::empty(), &limits);
    join(listening, lie(near, claim)).await.0.expect_err("no connection")
}

/// B5: a signature by another key, of another static key, of nothing; and an honest one, which comes
/// to the muxer.
#[tokio::test]
async fn a_static_key_that_the_identity_has_not_signed_is_refused() {
    let lies: [Claim; 4] = [
        |static_key| (Keypair::generate_ed25519(), signed(&Keypair::generate_ed25519(), static_key)),
        |_| {
            let identity = Keypair::generate_ed25519();
            let signature = signed(&identity, &[7; 32]);
            (identity, signature)
        },
        |_| (Keypair::generate_secp256k1(), Vec::new()),
        |static_key| {
            let identity = Keypair::generate_secp256k1();
            let mut signature = signed(&identity, static_key);
            signature[10] ^= 1;
            (identity, signature)
        },
    ];
    for (index, claim) in lies.into_iter().enumerate() {
        let error = met(claim).await;
        assert!(matches!(error, UpgradeError::Handshake(_)), "{index}: {error}");
    }
    let honest = met(|static_key| {
        let identity = Keypair::generate_secp256k1();
        let signature = signed(&identity, static_key);
        (identity, signature)
    });
    assert!(matches!(honest.await, UpgradeError::Negotiation(_)));
}
