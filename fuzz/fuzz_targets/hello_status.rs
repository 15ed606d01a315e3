//! Target 8: Hello, message ids, Disconnect and the eth Status.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use trunkline::protocols::Capability;
use trunkline::protocols::eth::Status;
use trunkline::transport::rlpx::hello::{CAPABILITIES_MAX, CLIENT_BYTES_MAX, NAME_BYTES_MAX};
use trunkline::transport::rlpx::p2p::{self, Id};
use trunkline::transport::rlpx::{Hello, negotiate};
use trunkline::wire::{Encode, decode_all, reason};
use trunkline_fuzz::{Choices, Cost, within};

/// A capability of four bytes is kept as a name and a number, 48 bytes with what allocating takes,
/// in a vector that doubles; at most 64 of them.
const HELLO: Cost = Cost { allocated: 32, keys: true };

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input);
    match choices.byte() % 4 {
        0 => hello(choices.0),
        1 => status(choices.0),
        2 => message_id(choices.0),
        _ => disconnect(choices.0),
    }
});

fn hello(payload: &[u8]) {
    let Ok(hello) = within(HELLO, payload.len(), || Hello::decode(payload)) else { return };
    assert!(hello.client.len() <= CLIENT_BYTES_MAX);
    assert!(hello.capabilities.len() <= CAPABILITIES_MAX);
    assert!(hello.capabilities.iter().all(|(name, _)| (1..=NAME_BYTES_MAX).contains(&name.len())));
    // What was kept of it is a Hello.
    assert_eq!(Hello::decode(&hello.encode()), Ok(hello.clone()));
    let ours = ["eth", "snap", "eth"].map(|name| Capability { name, version: 69, messages: 18 });
    let shared = negotiate(&ours, &hello.capabilities);
    assert!(shared.len() <= 2);
    for id in 0..=u16::MAX {
        assert!(shared.iter().filter(|one| one.code(id).is_some()).count() <= 1);
        assert!(id >= p2p::BASE || shared.iter().all(|one| one.code(id).is_none()));
    }
}

fn status(body: &[u8]) {
    let _ = within(Cost::FRAMING, body.len(), || Status::from_body(body).is_ok());
    let plain = Bytes::copy_from_slice(body);
    if let Ok(status) = within(Cost::FRAMING, body.len(), || decode_all::<Status>(plain.clone())) {
        // E4: what is accepted is what we would write.
        let mut again = BytesMut::new();
        status.encode(&mut again);
        assert_eq!(again, body);
    }
}

fn message_id(frame: &[u8]) {
    let data = Bytes::copy_from_slice(frame);
    if let Ok((id, payload)) = within(Cost::FRAMING, frame.len(), || p2p::read_id(data.clone())) {
        assert_eq!([Id::new(id).as_ref(), &payload].concat(), frame);
    }
}

fn disconnect(body: &[u8]) {
    let number = within(Cost::FRAMING, body.len(), || reason::decode(body));
    assert!(number < 0x80);
    assert_eq!(reason::decode(&reason::encode(number, body.len() % 2 == 0)), number);
}
