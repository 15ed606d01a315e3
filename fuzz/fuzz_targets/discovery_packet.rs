//! Target 17: datagrams from anybody into discv4, as they are and in an envelope that is right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline::testing::fuzz_discovery_packet;
use trunkline_fuzz::{Cost, within};

fuzz_target!(|input: &[u8]| within(Cost::KEYS, input.len(), || fuzz_discovery_packet(input)));
