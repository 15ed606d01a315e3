//! Peers that lie: the bad-input table of eth-stream section 4, and the muxer's own rules, over real
//! sockets. Whatever one of them does, its session ends for the right reason and an honest peer
//! beside it notices nothing (D1 to D4, D8, D9, E6, E7, F1, F5, F14).

use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use trunkline::disconnect::{Breach, Deadline, DisconnectReason, Disconnected, Fault};
use trunkline::testing::raw_peer::{
    MULTISTREAM, RST, RawMux, SYN, WINDOW_UPDATE, data, frame, message, proposal,
};
use trunkline::transport::addr::Endpoint;
use trunkline::transport::substream::Substream;
use trunkline::wire::segment::{Assembler, SegmentDecoder};
use trunkline::wire::snappy;
use trunkline::{Keypair, Record};

use crate::chat::{
    ANSWER, CHAT, Chat, FOREIGN, HELLO, Heard, NEWS, OTHER_ANSWER, QUESTION, SILENCE, Say, question,
};
use crate::scene::{Liar, SOON, Scene, end_of, strict};
use crate::support::Over;
use crate::support::within;

/// A segment as it is on the wire, true or not.
fn segment(tag: u64, data: &[u8]) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    let head = trunkline::wire::varint::len(tag);
    trunkline::wire::varint::encode((head + data.len()) as u64, &mut out);
    trunkline::wire::varint::encode(tag, &mut out);
    out.extend_from_slice(data);
    out.to_vec()
}

/// A segment of this message with more to come.
fn open(number: u64, data: &[u8]) -> Vec<u8> {
    segment(number << 1 | 1, data)
}

fn news(number: u64) -> Vec<u8> {
    message(number, NEWS, b"x")
}

/// What is sent behind the handshake, and the breach that it is.
fn table() -> Vec<(&'static str, Vec<u8>, Breach)> {
    let hello = message(0, HELLO, b"hello");
    let behind = |bytes: Vec<u8>| [&hello[..], &bytes].concat();
    let nine: Vec<u8> = (1..=9).flat_map(|number| open(number, &[NEWS])).collect();
    let large = vec![NEWS; 16_384];
    let too_large: Vec<u8> = (0..4).flat_map(|_| open(1, &large)).collect();
    let too_many: Vec<u8> = (1..=7).flat_map(|number| open(number, &large)).collect();
    let requests: Vec<u8> =
        (1..=261).flat_map(|number| message(number, QUESTION, &question(number, &[SILENCE]))).collect();
    vec![
        ("n is 0", behind(vec![0]), Breach::Framing),
        ("n is 1", behind(vec![1, 2]), Breach::Framing),
        ("n is 16,394", behind(vec![0x8a, 0x80, 0x01]), Breach::Framing),
        ("n is smaller than its tag", behind(vec![2, 0x80, 0x80, 0x01, NEWS]), Breach::Framing),
        ("data of 16,385 bytes", behind(vec![0x82, 0x80, 0x01, 2, NEWS]), Breach::Framing),
        ("n is not minimal", behind(vec![0x82, 0x00, 2, NEWS]), Breach::Framing),
        ("the tag is not minimal", behind(vec![3, 0x82, 0x00, NEWS]), Breach::Framing),
        ("n has ten bytes", behind(vec![0x80; 10]), Breach::Framing),
        ("a number is left out", behind(news(2)), Breach::Interleaving),
        ("a finished number", behind([news(1), news(1)].concat()), Breach::Interleaving),
        ("inside the handshake", [open(0, &[HELLO]), news(1)].concat(), Breach::Interleaving),
        ("a ninth open message", behind(nine), Breach::Interleaving),
        ("open bytes above their limit", behind(too_many), Breach::Interleaving),
        ("E6: a message above its limit", behind(too_large), Breach::TooLarge),
        ("an unknown code", behind(message(1, 99, b"x")), Breach::UnknownCode),
        ("a malformed envelope", behind(message(1, QUESTION, b"short")), Breach::Malformed),
        ("something before the handshake", news(0), Breach::StatusMissing),
        ("a second handshake", behind(message(1, HELLO, b"hello")), Breach::StatusTwice),
        ("more requests than may wait", behind(requests), Breach::TooManyRequests),
    ]
}

/// eth-stream section 4: each row ends the session and the connection, with blame.
#[tokio::test]
async fn every_breach_of_the_table_ends_the_session_for_its_reason() {
    let mut scene = Scene::set(Chat::new(), strict()).await;
    for (name, bytes, breach) in table() {
        let liar = Liar::connect(scene.addr).await;
        let _io = liar.send(&bytes).await;
        let ended = scene.ended(liar.id).await;
        assert_eq!(ended, Disconnected::local(DisconnectReason::Breach(breach)), "{name}");
        let record = scene.node.record(liar.id).await.unwrap_or_default();
        assert_eq!((ended.fault(), record.breaches), (Fault::Peer, 1), "{name}");
        within(SOON, name, liar.connection.ended()).await;
        scene.still_serves(name).await;
    }
    scene.over().await;
}

/// E7, eth-stream section 4: lengths are read before anything is inflated.
#[tokio::test]
async fn every_breach_of_compression_ends_the_session_for_its_reason() {
    let node_config = strict();
    let chat = Chat::with_snappy();
    let node = chat.start(node_config).await;
    let mut events = node.events();
    let Endpoint::Tcp(addr) = node.listening()[0].clone().endpoint else { panic!("not TCP") };
    let mut trailing = snappy::compress(b"12345678 and more").to_vec();
    trailing.extend_from_slice(b"behind");
    let cases = [
        ("4 GiB claimed", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], Breach::TooLarge),
        ("one byte above the cap", snappy::compress(&vec![0; 100_001]).to_vec(), Breach::TooLarge),
        ("a copy before the start", vec![16, 0x01, 0x01, 0x01], Breach::Compression),
        ("an empty body", vec![], Breach::Compression),
        ("less than claimed", vec![200, 0x01, 0, b'x'], Breach::Compression),
        ("bytes behind the block", trailing, Breach::Compression),
    ];
    for (name, body, breach) in cases {
        let liar = Liar::connect(addr).await;
        let _io = liar.send(&[message(0, HELLO, b"hello"), message(1, NEWS, &body)].concat()).await;
        let ended = end_of(&mut events, liar.id).await;
        assert_eq!(ended, Disconnected::local(DisconnectReason::Breach(breach)), "{name}");
    }
    node.over().await;
}

/// G1: a handshake that disagrees, or does not come, is no breach; a message that stops is slow.
#[tokio::test]
async fn what_is_no_breach_has_its_own_reason_and_blame() {
    let mut scene = Scene::set(Chat::new(), strict()).await;
    let half = [message(0, HELLO, b"hello"), open(1, &[NEWS])].concat();
    let timed_out = DisconnectReason::TimedOut;
    let cases = [
        ("another genesis", message(0, HELLO, FOREIGN), DisconnectReason::GenesisMismatch, Fault::Useless),
        ("no handshake", vec![], timed_out(Deadline::Status), Fault::Slow),
        ("half a handshake", open(0, &[HELLO]), timed_out(Deadline::Status), Fault::Slow),
        ("half a message", half, timed_out(Deadline::Segment), Fault::Slow),
    ];
    for (name, bytes, reason, fault) in cases {
        let liar = Liar::connect(scene.addr).await;
        let _io = liar.send(&bytes).await;
        let ended = scene.ended(liar.id).await;
        assert_eq!((ended, ended.fault()), (Disconnected::local(reason), fault), "{name}");
        let record = scene.node.record(liar.id).await.unwrap_or_default();
        assert_eq!(record.breaches, 0, "{name}");
        scene.still_serves(name).await;
    }
    scene.over().await;
}

/// F14, eth-stream section 3: a half-close ends the exchange, not the connection; what was whole
/// before it counts, half a message does not.
#[tokio::test]
async fn a_half_close_ends_the_exchange_only() {
    let scene = Scene::set(Chat::new(), strict()).await;
    let liar = Liar::connect(scene.addr).await;
    let bytes = [message(0, HELLO, b"hello"), message(1, NEWS, b"whole"), open(2, b"\x04half")].concat();
    let mut io = liar.send(&bytes).await;
    io.close().await.unwrap();
    let ended = within(SOON, "the end", scene.chat.down(liar.id)).await;
    assert_eq!(ended, Disconnected::remote(DisconnectReason::SubstreamClosed));
    let heard = Heard::News(liar.id, bytes::Bytes::from_static(b"whole"));
    assert_eq!(scene.chat.log().iter().filter(|entry| matches!(entry, Heard::News(..))).count(), 1);
    assert!(scene.chat.log().contains(&heard));
    assert_eq!(scene.node.peer(&liar.id).expect("still connected").ended(), None);
    assert_eq!(scene.node.record(liar.id).await, None);
    scene.still_serves("a half-close").await;
    drop(liar);
    scene.over().await;
}

/// F1 F5 F18: strange answers are counted against the peer, its session goes on.
#[tokio::test]
async fn strange_answers_are_counted_and_survived() {
    let scene = Scene::set(Chat::new(), strict()).await;
    let liar = Liar::connect(scene.addr).await;
    let mut io = liar.send(&message(0, HELLO, b"hello")).await;
    let is_up = |log: &[Heard]| log.contains(&Heard::Up(liar.id));
    within(SOON, "the session", scene.chat.until(is_up)).await;
    let peer = scene.node.peer(&liar.id).unwrap();
    let ask = |text: &'static str| {
        let peer = peer.clone();
        tokio::spawn(async move { peer.request(Say::new(text)).await })
    };
    let mut questions = Questions::behind_selection(&mut io).await;
    let asked = ask("of what kind?");
    let id = questions.next(&mut io).await;
    io.write_all(&message(1, ANSWER, &question(0xdead_beef, b"nobody asked"))).await.unwrap();
    io.write_all(&message(2, OTHER_ANSWER, &question(id, b"another kind"))).await.unwrap();
    let result = within(SOON, "the result", asked).await.unwrap();
    assert!(matches!(result, Err(trunkline::RequestError::WrongKind)), "{result:?}");
    io.write_all(&message(3, ANSWER, &question(id, b"once more"))).await.unwrap();
    let asked = ask("how many?");
    let id = questions.next(&mut io).await;
    io.write_all(&message(4, ANSWER, &question(id, b"too many"))).await.unwrap();
    let result = within(SOON, "the result", asked).await.unwrap();
    assert!(matches!(result, Err(trunkline::RequestError::Malformed(_))), "{result:?}");
    let asked = ask("and now?");
    let id = questions.next(&mut io).await;
    io.write_all(&message(5, ANSWER, &question(id, b"fine"))).await.unwrap();
    assert_eq!(within(SOON, "the result", asked).await.unwrap().unwrap(), "fine");
    let counted = async {
        loop {
            let record = scene.node.record(liar.id).await.unwrap_or_default();
            if record.misdeeds == 4 {
                return record;
            }
            tokio::task::yield_now().await;
        }
    };
    let record: Record = within(SOON, "four misdeeds", counted).await;
    assert_eq!((record.breaches, peer.ended()), (0, None));
    scene.still_serves("strange answers").await;
    drop(liar);
    scene.over().await;
}

/// Finds the node's questions in what it sends.
#[derive(Default)]
struct Questions {
    decoder: SegmentDecoder,
    assembler: Assembler,
    buffer: bytes::BytesMut,
}

impl Questions {
    /// Reads past the selection.
    async fn behind_selection(io: &mut Substream) -> Self {
        let mut selection = vec![0; MULTISTREAM.len() + proposal(CHAT).len()];
        io.read_exact(&mut selection).await.unwrap();
        Self::default()
    }

    /// The id of the next one.
    async fn next(&mut self, io: &mut Substream) -> u64 {
        let mut byte = [0];
        loop {
            while let Some(segment) = self.decoder.decode(&mut self.buffer).unwrap() {
                match self.assembler.on_segment(segment).unwrap() {
                    Some(asked) if asked.code == QUESTION => {
                        return u64::from_be_bytes(asked.body[..8].try_into().unwrap());
                    }
                    _ => {}
                }
            }
            within(SOON, "a question", io.read_exact(&mut byte)).await.unwrap();
            self.buffer.extend_from_slice(&byte);
        }
    }
}

/// D1 D2 D3 D4 D8 D9 D13 D15: the muxer's rules, each broken by frames of its own.
#[tokio::test]
async fn every_breach_of_the_muxer_ends_the_session() {
    let mut scene = Scene::set(Chat::new(), strict()).await;
    let one = frame(WINDOW_UPDATE, SYN, 1, 0);
    let ids = |count: u32| (0..count).map(|n| 1 + 2 * n);
    let cases: [(&str, Vec<u8>); 8] = [
        ("D1", data(SYN, 1, &vec![0; (256 << 10) + 1])),
        ("D2", [&one[..], &frame(WINDOW_UPDATE, 0, 1, 0xffff_0000)].concat()),
        ("D3", frame(WINDOW_UPDATE, SYN, 1, 0xffff_ffff)),
        ("D4", ids(16 + 65).flat_map(|id| frame(WINDOW_UPDATE, SYN, id, 0)).collect()),
        (
            "D8",
            ids(60)
                .flat_map(|id| [frame(0, SYN, id, 0), frame(0, RST, id, 0), frame(0, RST, id, 0)])
                .flatten()
                .collect(),
        ),
        ("D9", data(0, 1, b"").repeat(101)),
        ("D13", frame(WINDOW_UPDATE, SYN, 2, 0)),
        ("D15", vec![7; 12]),
    ];
    for (name, bytes) in cases {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let mut mux = RawMux::connect(scene.addr, &key).await.unwrap();
        mux.open(101, CHAT, &message(0, HELLO, b"hello")).await.unwrap();
        within(SOON, "the session", scene.chat.until(|log| log.contains(&Heard::Up(id)))).await;
        // The node may hang up before the last byte is out.
        let _ = mux.send(&bytes).await;
        let ended = scene.ended(id).await;
        assert_eq!(ended, Disconnected::local(DisconnectReason::Breach(Breach::Muxer)), "{name}");
        let record = scene.node.record(id).await.unwrap_or_default();
        assert_eq!(record.breaches, 1, "{name}");
        within(SOON, name, mux.closed()).await;
        scene.still_serves(name).await;
    }
    scene.over().await;
}

/// D9: 10,000 honest questions, each in a frame of its own, are no fault.
#[tokio::test]
async fn ten_thousand_small_frames_are_no_fault() {
    let scene = Scene::set(Chat::new(), strict()).await;
    let liar = Liar::connect(scene.addr).await;
    let io = liar.send(&message(0, HELLO, b"hello")).await;
    let (mut from, mut to) = io.split();
    let reading = async {
        // The selection, the handshake and the answers, by length alone.
        let answer = message(1, ANSWER, &question(1, b"")).len();
        let mut expected = MULTISTREAM.len() + proposal(CHAT).len() + message(0, HELLO, b"hello").len();
        expected += (1..=10_000u64)
            .map(|number| answer + usize::from(number >= 64) + usize::from(number >= 8192))
            .sum::<usize>();
        let (mut got, mut chunk) = (0, vec![0; 16 << 10]);
        while got < expected {
            got += from.read(&mut chunk).await.expect("the session lives");
        }
        assert_eq!(got, expected);
    };
    let writing = async {
        for number in 1..=10_000u64 {
            to.write_all(&message(number, QUESTION, &question(number, b""))).await.unwrap();
            to.flush().await.unwrap();
            if number % 200 == 0 {
                // At most 256 may wait to be served.
                within(SOON, "the questions", scene.chat.until_asked(number as usize)).await;
            }
        }
    };
    within(Duration::from_secs(30), "all answers", futures::future::join(reading, writing)).await;
    assert_eq!(scene.node.record(liar.id).await, None);
    scene.still_serves("small frames").await;
    drop(liar);
    scene.over().await;
}
