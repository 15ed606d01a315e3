//! The handshake against its published vectors, and against everything that is not one.

use alloy_primitives::Keccak256;
use bytes::BytesMut;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::fixtures::{self, array, bytes, key};
use super::super::frame::{FRAME_BYTES_MAX, FrameError};
use super::*;

const AUTHS: [&str; 3] = [fixtures::AUTH_1, fixtures::AUTH_2, fixtures::AUTH_3];
const ACKS: [&str; 3] = [fixtures::ACK_1, fixtures::ACK_2, fixtures::ACK_3];

fn rng() -> StdRng {
    StdRng::seed_from_u64(8)
}

/// Node A, which has sent this auth.
fn node_a(auth: &str) -> Initiator {
    let ours = Ours {
        ephemeral: SecretKey::from_slice(&bytes(fixtures::EPHEMERAL_A)).expect("a key"),
        nonce: array(fixtures::NONCE_A),
    };
    Initiator { us: key(fixtures::STATIC_A), ours, auth: bytes(auth), not_plain: false }
}

fn respond_b(received: &[u8]) -> Result<Step<Responded>, HandshakeError> {
    respond(&key(fixtures::STATIC_B), received, &mut rng())
}

fn done<T>(step: Result<Step<T>, HandshakeError>) -> T {
    match step {
        Ok(Step::Done { value, .. }) => value,
        Ok(Step::Need(len)) => panic!("{len} bytes are needed"),
        Err(error) => panic!("{error}"),
    }
}

/// The secrets of both ends of a new handshake between A and B.
fn shaken(rng: &mut StdRng) -> (Secrets, Secrets, Vec<u8>, Vec<u8>) {
    let (a, b) = (key(fixtures::STATIC_A), key(fixtures::STATIC_B));
    let (mut initiator, auth) = Initiator::new(&a, b.node_id(), rng);
    let responded = done(respond(&b, &auth, rng));
    assert_eq!(responded.remote, a.node_id());
    let secrets = done(initiator.on_ack(&responded.ack));
    (secrets, responded.secrets, auth, responded.ack)
}

/// Whether a frame that one end makes is one to the other.
fn is_heard(from: Secrets, to: Secrets) -> Result<(), FrameError> {
    let mut wire = BytesMut::new();
    from.split(FRAME_BYTES_MAX).0.frame(&[b"a frame"], &mut wire);
    let frame = to.split(FRAME_BYTES_MAX).1.decode(&mut wire)?;
    assert_eq!(frame.as_deref(), Some(&b"a frame"[..]));
    Ok(())
}

#[test]
fn b_opens_every_published_auth() {
    for auth in AUTHS {
        let auth = bytes(auth);
        let opened = open(&key(fixtures::STATIC_B), &auth, PLAIN_AUTH, true).expect("for B");
        let (message, body) = match opened {
            Opened::Need(len) => panic!("{len} bytes are needed"),
            Opened::Plain(message, body) => (message, Auth::plain(&body)),
            Opened::Prefixed(message, body) => (message, Auth::decode(&body)),
        };
        assert_eq!(message, auth);
        let body = body.expect("an auth");
        assert_eq!(body.remote, key(fixtures::STATIC_A).node_id());
        assert_eq!(body.nonce, array(fixtures::NONCE_A));
        let ephemeral = body.ephemeral(&key(fixtures::STATIC_B), &body.remote.point());
        assert_eq!(ephemeral, Ok(key(fixtures::EPHEMERAL_A).node_id()));
    }
}

#[test]
fn a_opens_every_published_ack() {
    for ack in ACKS {
        let ack = bytes(ack);
        let body = match open(&key(fixtures::STATIC_A), &ack, PLAIN_ACK, true).expect("for A") {
            Opened::Need(len) => panic!("{len} bytes are needed"),
            Opened::Plain(_, body) => Ack::plain(&body),
            Opened::Prefixed(_, body) => Ack::decode(&body),
        };
        let body = body.expect("an ack");
        assert_eq!(body.ephemeral, key(fixtures::EPHEMERAL_B).node_id());
        assert_eq!(body.nonce, array(fixtures::NONCE_B));
        done(node_a(fixtures::AUTH_2).on_ack(&ack));
    }
}

#[test]
fn both_ends_derive_the_published_secrets() {
    let (auth, ack) = (bytes(fixtures::AUTH_2), bytes(fixtures::ACK_2));
    let b = Exchanged {
        ephemeral: key(fixtures::EPHEMERAL_B).agree(&key(fixtures::EPHEMERAL_A).node_id().point()),
        initiator_nonce: array(fixtures::NONCE_A),
        recipient_nonce: array(fixtures::NONCE_B),
        auth: &auth,
        ack: &ack,
    };
    let mut b = b.recipient();
    let a = done(node_a(fixtures::AUTH_2).on_ack(&ack));
    for secrets in [&a, &b] {
        assert_eq!(secrets.aes, array(fixtures::AES_SECRET));
        assert_eq!(secrets.mac, array(fixtures::MAC_SECRET));
    }
    assert_eq!(is_heard(done(node_a(fixtures::AUTH_2).on_ack(&ack)), done_b(&auth, &ack)), Ok(()));
    b.ingress.update(b"foo");
    assert_eq!(b.ingress.finalize().0, array(fixtures::INGRESS_FOO));
}

/// A mistake that both ends make alike shows here.
#[test]
fn frames_under_the_published_secrets_are_those_of_another_implementation() {
    let (auth, ack) = (bytes(fixtures::AUTH_2), bytes(fixtures::ACK_2));
    let ends = || (done(node_a(fixtures::AUTH_2).on_ack(&ack)), done_b(&auth, &ack));
    let frames: [Vec<u8>; 2] = [b"\x80first frame".to_vec(), (0..40).collect()];
    let check = |from: Secrets, to: Secrets, expected: &str| {
        let (mut egress, mut ingress) = (from.split(FRAME_BYTES_MAX).0, to.split(FRAME_BYTES_MAX).1);
        let mut wire = BytesMut::new();
        frames.iter().for_each(|frame| egress.frame(&[frame], &mut wire));
        assert_eq!(wire[..], bytes(expected)[..]);
        for frame in &frames {
            assert_eq!(ingress.decode(&mut wire).ok().flatten().as_deref(), Some(&frame[..]));
        }
    };
    let (a, b) = ends();
    check(a, b, fixtures::FRAMES_OF_A);
    let (a, b) = ends();
    check(b, a, fixtures::FRAMES_OF_B);
}

/// B's secrets had it sent this ack.
fn done_b(auth: &[u8], ack: &[u8]) -> Secrets {
    let exchanged = Exchanged {
        ephemeral: key(fixtures::EPHEMERAL_B).agree(&key(fixtures::EPHEMERAL_A).node_id().point()),
        initiator_nonce: array(fixtures::NONCE_A),
        recipient_nonce: array(fixtures::NONCE_B),
        auth,
        ack,
    };
    exchanged.recipient()
}

/// B11: extra list elements and random padding are no fault, in either direction.
#[test]
fn two_of_us_shake_hands_with_padding_of_every_length() {
    let mut rng = rng();
    let mut sizes = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let (a, b, auth, ack) = shaken(&mut rng);
        sizes.insert(auth.len());
        for (message, fields) in [(&auth, 169), (&ack, 102)] {
            let padding = message.len() - PREFIX - ecies::OVERHEAD - fields;
            assert!(PADDING.contains(&padding), "{padding}");
        }
        assert_eq!(is_heard(a, b), Ok(()));
    }
    assert!(sizes.len() > 20, "{sizes:?}");
}

#[test]
fn an_auth_in_the_old_form_is_answered_in_the_old_form() {
    let responded = done(respond_b(&bytes(fixtures::AUTH_1)));
    assert_eq!(responded.ack.len(), PLAIN_ACK);
    let secrets = done(node_a(fixtures::AUTH_1).on_ack(&responded.ack));
    assert_eq!(is_heard(secrets, responded.secrets), Ok(()));
}

#[test]
fn bytes_behind_the_handshake_are_left_to_the_frames() {
    for ack in ACKS {
        let mut received = bytes(ack);
        let len = received.len();
        received.extend_from_slice(&[0x5a; 3000]);
        assert!(
            matches!(node_a(fixtures::AUTH_2).on_ack(&received), Ok(Step::Done { used, .. }) if used == len)
        );
    }
}

/// B2: a message that is cut short is waited for, never more than the cap, and never taken.
#[test]
fn every_truncation_asks_for_the_rest() {
    for auth in AUTHS.map(bytes) {
        for len in 0..auth.len() {
            let Ok(Step::Need(need)) = respond_b(&auth[..len]) else { panic!("{len} bytes of an auth") };
            assert!(need > len && need <= auth.len(), "{len} of {}: {need}", auth.len());
        }
    }
    for ack in ACKS.map(bytes) {
        let mut a = node_a(fixtures::AUTH_2);
        for len in 0..ack.len() {
            let Ok(Step::Need(need)) = a.on_ack(&ack[..len]) else { panic!("{len} bytes of an ack") };
            assert!(need > len && need <= ack.len(), "{len} of {}: {need}", ack.len());
        }
        // And with all of it there, what came in pieces is an ack.
        done(a.on_ack(&ack));
    }
}

/// B2, B10: whichever bit is flipped, the message is not taken. Behind the size prefix it is
/// always the sealed message that fails; in the prefix the size can also ask for more.
#[test]
fn every_flipped_bit_fails() {
    let mut rng = rng();
    let (_, _, our_auth, our_ack) = shaken(&mut rng);
    let auths = AUTHS.map(bytes).into_iter().chain([our_auth]);
    let acks = ACKS.map(bytes).into_iter().chain([our_ack]);
    for auth in auths {
        flip_each(&auth, |flipped| respond_b(flipped).map(|step| matches!(step, Step::Done { .. })));
    }
    for ack in acks {
        flip_each(&ack, |flipped| {
            node_a(fixtures::AUTH_2).on_ack(flipped).map(|step| matches!(step, Step::Done { .. }))
        });
    }
}

fn flip_each(message: &[u8], is_taken: impl Fn(&[u8]) -> Result<bool, HandshakeError>) {
    let is_prefixed = message[0] != UNCOMPRESSED;
    for bit in 0..message.len() * 8 {
        let mut flipped = message.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match is_taken(&flipped) {
            Ok(taken) => {
                assert!(!taken, "bit {bit} makes no difference");
                assert!(!is_prefixed || bit < 16, "bit {bit} makes it wait");
            }
            Err(HandshakeError::Sealed(_)) => {}
            Err(HandshakeError::Size(_)) => assert!(bit < 16, "bit {bit} is no size"),
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
}

/// B10: the size is authenticated: one that lies by a byte fails although the body is whole.
#[test]
fn a_size_that_lies_by_one_fails() {
    for off in [-1_i16, 1] {
        let mut auth = bytes(fixtures::AUTH_2);
        let size = i16::from_be_bytes([auth[0], auth[1]]) + off;
        auth[..2].copy_from_slice(&size.to_be_bytes());
        auth.push(0);
        assert_eq!(respond_b(&auth).err(), Some(HandshakeError::Sealed(EciesError::Tag)));
    }
}

/// B3: a size prefix is judged as soon as it is there.
#[test]
fn a_size_out_of_bounds_is_refused_before_anything_else() {
    let judged = |size: u16| {
        let prefix = size.to_be_bytes();
        let auth = respond_b(&prefix).map(|step| matches!(step, Step::Need(_)));
        assert_eq!(node_a(fixtures::AUTH_2).on_ack(&prefix).map(|step| matches!(step, Step::Need(_))), auth);
        auth
    };
    let least = ecies::OVERHEAD as u16;
    for size in [0, 1, least, 2049, 0x8000, u16::MAX] {
        assert_eq!(judged(size), Err(HandshakeError::Size(usize::from(size))));
    }
    for size in [least + 1, 1023, 1024, 1279, 1280, 2048] {
        assert_eq!(judged(size), Ok(true), "{size}");
    }
}

/// B1: random bytes are refused or waited for, never taken and never a panic.
#[test]
fn random_bytes_are_no_handshake() {
    let mut rng = rng();
    for _ in 0..300 {
        let mut junk = vec![0; rng.random_range(0..3000)];
        rng.fill(&mut junk[..]);
        assert!(!matches!(respond_b(&junk), Ok(Step::Done { .. })));
        assert!(!matches!(node_a(fixtures::AUTH_2).on_ack(&junk), Ok(Step::Done { .. })));
    }
}

#[test]
fn a_message_for_another_key_fails() {
    let other = key(fixtures::EPHEMERAL_A);
    for auth in [fixtures::AUTH_2, fixtures::AUTH_3] {
        let refused = respond(&other, &bytes(auth), &mut rng()).err();
        assert_eq!(refused, Some(HandshakeError::Sealed(EciesError::Tag)));
    }
    assert!(!matches!(respond(&other, &bytes(fixtures::AUTH_1), &mut rng()), Ok(Step::Done { .. })));
}

/// B7, B9: a message that opens but names a key that is none.
#[test]
fn a_key_off_the_curve_is_refused_before_any_agreement() {
    let (a, b) = (key(fixtures::STATIC_A), key(fixtures::STATIC_B));
    let mut off_curve = *a.node_id().as_bytes();
    off_curve[63] ^= 1;
    for bad in [[0; 64], [0xff; 64], off_curve] {
        let auth = seal_prefixed(&b.node_id().point(), &encode(&[&[1; 65], &bad, &[2; 32]]), &mut rng());
        assert_eq!(respond_b(&auth).err(), Some(HandshakeError::Key(InvalidKey)));
        let ack = seal_prefixed(&a.node_id().point(), &encode(&[&bad, &[2; 32]]), &mut rng());
        assert_eq!(node_a(fixtures::AUTH_2).on_ack(&ack).err(), Some(HandshakeError::Key(InvalidKey)));
    }
    // Of the wrong length, and of no length.
    for bad in [&[1_u8; 33][..], &[]] {
        let ack = seal_prefixed(&a.node_id().point(), &encode(&[bad, &[2; 32]]), &mut rng());
        assert_eq!(node_a(fixtures::AUTH_2).on_ack(&ack).err(), Some(HandshakeError::Key(InvalidKey)));
    }
}

#[test]
fn a_message_that_opens_but_holds_something_else_is_refused() {
    let (a, b) = (key(fixtures::STATIC_A), key(fixtures::STATIC_B));
    let id = *a.node_id().as_bytes();
    let bodies: [(Vec<u8>, HandshakeError); 5] = [
        (vec![0xc0; 300], HandshakeError::Body(DecodeError::Truncated)),
        (vec![0xf8, 0xff], HandshakeError::Body(DecodeError::Truncated)),
        (vec![0x80; 300], HandshakeError::Body(DecodeError::Invalid("string for a list"))),
        (encode(&[&[1; 64], &id, &[2; 32]]), HandshakeError::Body(DecodeError::Invalid("signature"))),
        (encode(&[&[1; 65], &id, &[2; 31]]), HandshakeError::Body(DecodeError::Invalid("nonce"))),
    ];
    for (body, error) in bodies {
        let auth = seal_prefixed(&b.node_id().point(), &body, &mut rng());
        assert_eq!(respond_b(&auth).err(), Some(error));
    }
    // A signature that names no key: r is zero; v is none of the four.
    for signature in [[0; 65], [9; 65]] {
        let auth = seal_prefixed(&b.node_id().point(), &encode(&[&signature, &id, &[2; 32]]), &mut rng());
        assert_eq!(respond_b(&auth).err(), Some(HandshakeError::Signature));
    }
}

/// B4: a recorded auth gets another answer each time, so recorded frames do not fit it.
#[test]
fn a_replayed_auth_gives_other_secrets() {
    let mut rng = rng();
    let (a, b, auth, _) = shaken(&mut rng);
    let again = done(respond(&key(fixtures::STATIC_B), &auth, &mut rng));
    assert_ne!(again.secrets.aes, b.aes);
    assert_ne!(again.secrets.mac, b.mac);
    assert_eq!(is_heard(a, again.secrets), Err(FrameError::HeaderMac));
}

/// B4: a recorded ack opens, being sealed for us, but answers another nonce and another key.
#[test]
fn a_replayed_ack_gives_other_secrets() {
    let mut rng = rng();
    let (a, b, _, ack) = shaken(&mut rng);
    let (mut initiator, _) =
        Initiator::new(&key(fixtures::STATIC_A), key(fixtures::STATIC_B).node_id(), &mut rng);
    let again = done(initiator.on_ack(&ack));
    assert_ne!(again.aes, a.aes);
    assert_eq!(is_heard(b, again), Err(FrameError::HeaderMac));
}

/// B13: what goes one way is not what goes the other way, whichever end it is seen from.
#[test]
fn the_two_directions_have_different_states() {
    let (a, b, ..) = shaken(&mut rng());
    let digest = |state: &Keccak256| state.clone().finalize();
    assert_eq!(digest(&a.egress), digest(&b.ingress));
    assert_eq!(digest(&a.ingress), digest(&b.egress));
    assert_ne!(digest(&a.egress), digest(&a.ingress));
    // An end that hears its own frames refuses them.
    let mirrored = Secrets { aes: a.aes, mac: a.mac, egress: a.egress.clone(), ingress: a.ingress.clone() };
    assert_eq!(is_heard(a, mirrored), Err(FrameError::HeaderMac));
}

#[test]
fn a_peer_that_drips_an_old_auth_costs_one_agreement() {
    // One byte more than the old form has: it is not tried, whatever it holds.
    let mut received = bytes(fixtures::AUTH_1);
    received.push(0);
    assert!(matches!(respond_b(&received), Ok(Step::Need(need)) if need > PLAIN_AUTH));
    let mut a = node_a(fixtures::AUTH_2);
    let mut junk = vec![UNCOMPRESSED; PLAIN_ACK];
    assert!(matches!(a.on_ack(&junk), Ok(Step::Need(_))));
    assert!(a.not_plain);
    junk.push(0);
    assert!(matches!(a.on_ack(&junk), Ok(Step::Need(_))));
}
