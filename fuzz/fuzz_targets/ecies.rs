//! Target 6: auth and ack, raw, opened with anything inside, and honest with something changed.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use rand::SeedableRng;
use rand::rngs::StdRng;
use trunkline::testing::rlpx::{sealed, sealed_plain};
use trunkline::transport::rlpx::handshake::MESSAGE_BYTES_MAX;
use trunkline::transport::rlpx::{HandshakeError, Initiator, NodeKey, Step, ecies, respond};
use trunkline_fuzz::{Choices, Cost, within};

/// The keys of the published handshake, so that its messages are seeds.
static A: LazyLock<NodeKey> =
    LazyLock::new(|| key("49a7b37aa6f6645917e7b807e9d1c00d4fa71f18343b0d4122a4d2df64dd6fee"));
static B: LazyLock<NodeKey> =
    LazyLock::new(|| key("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291"));

fn key(secret: &str) -> NodeKey {
    let digits = |at: usize| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).expect("hex digits");
    NodeKey::from_secret_bytes(&std::array::from_fn(digits)).expect("a key")
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(6)
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let mut choices = Choices(input);
    match choices.byte() % 6 {
        0 => as_auth(choices.0),
        1 => as_ack(choices.0),
        // Any body, sealed as an honest peer would. Longer ones do not fit their prefix.
        2 if choices.0.len() < 0xff00 => as_auth(&sealed(B.node_id(), choices.0, &mut rng())),
        3 if choices.0.len() < 0xff00 => as_ack(&sealed(A.node_id(), choices.0, &mut rng())),
        4 => {
            let mut body = choices.0.to_vec();
            let (to, len) = if choices.byte() & 1 == 0 { (&B, 194) } else { (&A, 97) };
            body.resize(len, 0);
            let message = sealed_plain(to.node_id(), &body, &mut rng());
            if len == 194 { as_auth(&message) } else { as_ack(&message) }
        }
        5 => changed(choices),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

/// Whatever it is, it is taken, waited for or refused, and it costs no more than it may.
fn as_auth(received: &[u8]) {
    match within(Cost::KEYS, received.len(), || respond(&B, received, &mut rng())) {
        Ok(Step::Need(len)) => is_wanted(received, len),
        Ok(Step::Done { value, used }) => {
            assert!(used <= received.len());
            assert!(value.ack.len() <= MESSAGE_BYTES_MAX + 2);
        }
        Err(error) => is_stable(&error, respond(&B, received, &mut rng()).err()),
    }
}

fn as_ack(received: &[u8]) {
    let (mut initiator, _) = Initiator::new(&A, B.node_id(), &mut rng());
    match within(Cost::KEYS, received.len(), || initiator.on_ack(received)) {
        Ok(Step::Need(len)) => is_wanted(received, len),
        Ok(Step::Done { used, .. }) => assert!(used <= received.len()),
        Err(error) => is_stable(&error, initiator.on_ack(received).err()),
    }
}

fn is_wanted(received: &[u8], len: usize) {
    assert!(len > received.len() && len <= MESSAGE_BYTES_MAX + 2, "{len} of {}", received.len());
}

/// The same bytes fail the same way, so that nothing is learnt by asking again.
fn is_stable(error: &HandshakeError, again: Option<HandshakeError>) {
    assert_eq!(again.as_ref(), Some(error));
}

/// An honest message with some bytes changed is never taken.
fn changed(mut choices: Choices<'_>) {
    let is_auth = choices.byte() & 1 == 0;
    let (mut initiator, auth) = Initiator::new(&A, B.node_id(), &mut rng());
    let mut message = auth.clone();
    if !is_auth {
        match respond(&B, &auth, &mut rng()) {
            Ok(Step::Done { value, .. }) => message = value.ack,
            other => panic!("an honest auth gives {other:?}"),
        }
    }
    let honest = message.clone();
    while !choices.is_empty() {
        let at = choices.number() % message.len();
        message[at] ^= choices.byte();
    }
    let cut = choices.byte();
    message.truncate(message.len() - usize::from(cut).min(message.len()));
    let is_taken = if is_auth {
        matches!(respond(&B, &message, &mut rng()), Ok(Step::Done { .. }))
    } else {
        matches!(initiator.on_ack(&message), Ok(Step::Done { .. }))
    };
    assert_eq!(is_taken, message == honest);
    assert!(honest.len() > ecies::OVERHEAD);
}
