//! The RLPx frame codec beside what it cannot do without: AES-256-CTR and Keccak-256 over the
//! same bytes. Everything is measured in one run, in turns, by the thread's own processor time;
//! only the ratios mean anything.

use std::hint::black_box;
use std::time::Duration;

use aes::Aes256;
use alloy_primitives::Keccak256;
use bytes::BytesMut;
use clap::Parser;
use cpu_time::ThreadTime;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use rand::SeedableRng;
use rand::rngs::StdRng;
use trunkline::transport::rlpx::frame::FRAME_BYTES_MAX;
use trunkline::transport::rlpx::{Egress, Ingress, Initiator, NodeKey, Step, respond};

/// Message sizes, with what they are called.
const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];

/// How often the running hash of a direction is finished for a frame: for the header's MAC, and
/// before and for the body's. What the header begins with is the digest of the frame before.
const DIGESTS: usize = 3;

/// Bytes that a socket read brings to the decoder at most.
const READ: usize = 64 << 10;

/// MB/s of the RLPx frame codec, and of AES-256-CTR and Keccak-256 alone.
#[derive(Debug, Parser)]
struct Args {
    /// How many times each contender has its turn; the median counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long a turn takes, in milliseconds of processor time
    #[arg(long, default_value_t = 200)]
    turn_ms: u64,
}

fn main() {
    let args = Args::parse();
    let turn = Duration::from_millis(args.turn_ms.max(1));
    println!(
        "| message | AES + Keccak alone | with a frame's digests | encode | of alone | decode | of alone |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, size) in SIZES {
        let message = vec![0x5a; size];
        let mut rates = [const { Vec::new() }; 4];
        for round in 0..args.rounds.max(1) {
            for contender in (0..4).map(|i| (i + round) % 4) {
                let rate = match contender {
                    0 => alone(&message, 0, turn),
                    1 => alone(&message, DIGESTS, turn),
                    2 => encode(&message, turn),
                    _ => decode(&message, turn),
                };
                rates[contender].push(rate);
            }
        }
        let [alone, digests, encode, decode] = rates.map(median);
        println!(
            "| {name} | {alone:.0} MB/s | {digests:.0} MB/s | {encode:.0} MB/s | {:.2} | {decode:.0} MB/s | {:.2} |",
            encode / alone,
            decode / alone
        );
    }
}

/// One cipher and one hash over each message, in place: no copy, no padding, no MAC. With digests
/// it is what no codec of this protocol can be faster than.
fn alone(message: &[u8], digests: usize, turn: Duration) -> f64 {
    let mut cipher = Ctr128BE::<Aes256>::new(&[1; 32].into(), &[0; 16].into());
    let mut hash = Keccak256::new();
    let mut bytes = message.to_vec();
    rate(message.len(), turn, || {
        cipher.apply_keystream(&mut bytes);
        hash.update(&bytes);
        for _ in 0..digests {
            black_box(hash.clone().finalize());
        }
        black_box(&bytes);
    })
}

/// Frames into a buffer that a writer would hand to the socket.
fn encode(message: &[u8], turn: Duration) -> f64 {
    let (mut egress, _) = both_ends();
    let mut out = BytesMut::new();
    rate(message.len(), turn, || {
        out.clear();
        egress.frame(&[&[0x10], message], &mut out);
        black_box(&out);
    })
}

/// Frames out of reads of at most 64 KiB. What it takes to make them is not counted.
fn decode(message: &[u8], turn: Duration) -> f64 {
    let (mut egress, mut ingress) = both_ends();
    let batch = (4_usize << 20).div_ceil(message.len() + 64);
    let (mut spent, mut frames) = (Duration::ZERO, 0);
    while spent < turn {
        let mut wire = BytesMut::new();
        (0..batch).for_each(|_| egress.frame(&[&[0x10], message], &mut wire));
        let start = ThreadTime::now();
        let mut src = BytesMut::new();
        for read in wire.chunks(READ) {
            ingress.reserve(&mut src);
            src.extend_from_slice(read);
            while let Some(frame) = ingress.decode(&mut src).expect("honest frames") {
                black_box(&frame);
                frames += 1;
            }
        }
        spent += start.elapsed();
    }
    (frames * message.len()) as f64 / spent.as_secs_f64() / 1e6
}

/// MB/s of doing it again and again.
fn rate(bytes: usize, turn: Duration, mut once: impl FnMut()) -> f64 {
    let start = ThreadTime::now();
    let mut times = 0;
    while start.elapsed() < turn {
        // The clock is asked once for about a quarter of a MiB.
        for _ in 0..(256_usize << 10).div_ceil(bytes) {
            once();
            times += 1;
        }
    }
    (times * bytes) as f64 / start.elapsed().as_secs_f64() / 1e6
}

/// Our egress, and the ingress of the other end.
fn both_ends() -> (Egress, Ingress) {
    let mut rng = StdRng::seed_from_u64(1);
    let key = |byte| NodeKey::from_secret_bytes(&[byte; 32]).expect("a key");
    let (us, them) = (key(1), key(2));
    let (mut initiator, auth) = Initiator::new(&us, them.node_id(), &mut rng);
    let Ok(Step::Done { value: responded, .. }) = respond(&them, &auth, &mut rng) else {
        panic!("an honest auth");
    };
    let Ok(Step::Done { value: secrets, .. }) = initiator.on_ack(&responded.ack) else {
        panic!("an honest ack");
    };
    (secrets.split(FRAME_BYTES_MAX).0, responded.secrets.split(FRAME_BYTES_MAX).1)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
