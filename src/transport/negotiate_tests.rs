//! Both roles of a negotiation against bytes as they are on the wire.

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;
use crate::transport::pipe::{self, Pipe};
use crate::wire::fixtures::{Junk, unhex};

const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";
const NEW: ProtocolId = ProtocolId::new("/eth/69/1.0.0");
const OLD: ProtocolId = ProtocolId::new("/eth/68/1.0.0");
const BOTH: [ProtocolId; 2] = [NEW, OLD];

fn limits() -> TransportLimits {
    TransportLimits::default()
}

/// A proposal, an echo, or any other message.
fn message(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let len = text.len() + 1;
    if len >= 0x80 {
        bytes.push(len as u8 | 0x80);
    }
    bytes.push(if len >= 0x80 { (len >> 7) as u8 } else { len as u8 });
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    bytes
}

fn proposing(texts: &[&str]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    texts.iter().for_each(|text| bytes.extend(message(text)));
    bytes
}

fn pair() -> (Pipe, Pipe) {
    pipe::pair(64 << 10, Duration::ZERO)
}

/// What a listener makes of `sent`, and what it answered, if the dialer then half-closes.
async fn listener_gets(sent: &[u8]) -> (Result<ProtocolId, NegotiateError>, Vec<u8>) {
    let (mut raw, io) = pair();
    let dialling = async {
        // A listener that refuses early resets the pipe under us.
        let _ = raw.write_all(sent).await;
        let _ = raw.close().await;
        let mut answer = Vec::new();
        let mut chunk = [0; 512];
        while let Ok(read @ 1..) = raw.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..read]);
        }
        answer
    };
    let listening = async {
        match listen(io, &BOTH, &limits()).await {
            Ok((id, mut io)) => {
                io.close().await.unwrap();
                let mut rest = Vec::new();
                io.read_to_end(&mut rest).await.unwrap();
                Ok(id)
            }
            Err(error) => Err(error),
        }
    };
    join(listening, dialling).await
}

fn is_protocol_error(result: &Result<ProtocolId, NegotiateError>) -> bool {
    matches!(result, Err(NegotiateError::Failed(NegotiationError::ProtocolError(_))))
}

/// libp2p.md section 2.1.
#[tokio::test]
async fn the_vectors_hold_on_the_wire() {
    let header = unhex("13 2f6d756c746973747265616d2f312e302e30 0a");
    assert_eq!(header, HEADER);
    let ping = [&header[..], &unhex("11 2f697066732f70696e672f312e302e30 0a")].concat();
    let (mut raw, io) = pair();
    let ids = [ProtocolId::new("/ipfs/ping/1.0.0")];
    let limits = limits();
    let answering = async {
        let mut sent = vec![0; ping.len()];
        raw.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, ping);
        raw.write_all(&ping).await.unwrap();
    };
    let (agreed, ()) = join(dial(io, &ids, &limits), answering).await;
    assert_eq!(agreed.unwrap().0, ids[0]);
    let (agreed, answer) = listener_gets(&proposing(&["/eth/69/1.0.0"])).await;
    assert_eq!((agreed.unwrap(), answer), (NEW, proposing(&["/eth/69/1.0.0"])));
}

/// C8: both ends say the same, whatever they have in common.
#[tokio::test]
async fn both_ends_agree_on_the_outcome() {
    let cases: [(&[ProtocolId], &[ProtocolId], Option<ProtocolId>); 6] = [
        (&BOTH, &BOTH, Some(NEW)),
        (&BOTH, &[OLD], Some(OLD)),
        (&[OLD], &BOTH, Some(OLD)),
        (&[OLD, NEW], &BOTH, Some(OLD)),
        (&[NEW], &[OLD], None),
        (&[ProtocolId::new("/eth/69/1.0"), ProtocolId::new("/ETH/69/1.0.0")], &BOTH, None),
    ];
    for (ours, theirs, common) in cases {
        let (near, far) = pair();
        let limits = limits();
        let (dialled, listened) = join(dial(near, ours, &limits), listen(far, theirs, &limits)).await;
        match common {
            Some(id) => assert_eq!((dialled.unwrap().0, listened.unwrap().0), (id.clone(), id)),
            None => {
                assert!(dialled.unwrap_err().is_unsupported());
                assert!(listened.is_err());
            }
        }
    }
}

/// C7: whatever follows the agreement belongs to the protocol, in both roles, at every cut.
#[tokio::test]
async fn bytes_behind_the_agreement_are_kept_at_every_cut() {
    let payload: Vec<u8> = (0..600u32).map(|k| k as u8).collect();
    let mut sent = proposing(&["/nope/1", "/eth/68/1.0.0"]);
    sent.extend_from_slice(&payload);
    let mut answer = HEADER.to_vec();
    answer.extend(message("na"));
    answer.extend(message("/eth/68/1.0.0"));
    answer.extend_from_slice(&payload);
    for cut in (0..=sent.len()).step_by(3) {
        let (mut raw, io) = pair();
        let limits = limits();
        let feeding = async {
            raw.write_all(&sent[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            raw.write_all(&sent[cut..]).await.unwrap();
        };
        let reading = async {
            let (id, mut io) = listen(io, &BOTH, &limits).await.unwrap();
            let mut got = vec![0; payload.len()];
            io.read_exact(&mut got).await.unwrap();
            (id, got)
        };
        let ((id, got), ()) = join(reading, feeding).await;
        assert_eq!((id, &got), (OLD, &payload), "listener, {cut}");
    }
    for cut in (0..=answer.len()).step_by(3) {
        let (mut raw, io) = pair();
        let limits = limits();
        let feeding = async {
            raw.write_all(&answer[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            raw.write_all(&answer[cut..]).await.unwrap();
        };
        let reading = async {
            let (id, mut io) = dial(io, &BOTH, &limits).await.unwrap();
            let mut got = vec![0; payload.len()];
            io.read_exact(&mut got).await.unwrap();
            (id, got)
        };
        let ((id, got), ()) = join(reading, feeding).await;
        assert_eq!((id, &got), (OLD, &payload), "dialer, {cut}");
    }
}

/// C1: refused sixteen times is enough; one fewer still agrees.
#[tokio::test]
async fn proposals_are_limited() {
    let unknown = |count: usize| {
        let mut texts = vec!["/nope/1"; count];
        texts.push("/eth/69/1.0.0");
        proposing(&texts)
    };
    let (agreed, answer) = listener_gets(&unknown(16)).await;
    assert_eq!(agreed.unwrap(), NEW);
    assert_eq!(answer.windows(4).filter(|part| *part == REFUSAL).count(), 16);
    let (agreed, _) = listener_gets(&unknown(17)).await;
    assert!(is_protocol_error(&agreed), "{agreed:?}");
}

/// C1: a refusal counts however its bytes are cut.
#[tokio::test]
async fn refusals_count_however_their_bytes_leave() {
    let (mut raw, io) = pipe::pair(1, Duration::ZERO);
    let sent = proposing(&["/a"; 40]);
    let limits = limits();
    let flooding = async {
        let (mut from, mut to) = (&mut raw).split();
        let sink = async {
            let mut answer = Vec::new();
            let _ = from.read_to_end(&mut answer).await;
        };
        let source = async {
            let _ = to.write_all(&sent).await;
            let _ = to.close().await;
        };
        join(sink, source).await;
    };
    let (agreed, _) = join(async { listen(io, &BOTH, &limits).await.map(|(id, _)| id) }, flooding).await;
    assert!(is_protocol_error(&agreed), "{agreed:?}");
}

/// C1: so many bytes and no more, however few proposals they are.
#[tokio::test]
async fn bytes_are_limited() {
    let long = format!("/{}", "x".repeat(4000));
    let (agreed, _) = listener_gets(&proposing(&[&long, "/eth/69/1.0.0"])).await;
    assert_eq!(agreed.unwrap(), NEW);
    let (agreed, _) = listener_gets(&proposing(&[&long, &long, &long, "/eth/69/1.0.0"])).await;
    assert!(is_protocol_error(&agreed), "{agreed:?}");
}

/// C1: the budget is for the negotiation; what comes after it is not counted.
#[tokio::test]
async fn nothing_is_limited_behind_the_agreement() {
    let payload = REFUSAL.repeat(100_000);
    let (near, far) = pair();
    let limits = limits();
    let dialling = async {
        let (_, mut io) = dial(near, &BOTH, &limits).await.unwrap();
        io.write_all(&payload).await.unwrap();
        io.close().await.unwrap();
        let mut got = Vec::new();
        io.read_to_end(&mut got).await.unwrap();
        got.len()
    };
    let listening = async {
        let (_, mut io) = listen(far, &BOTH, &limits).await.unwrap();
        let mut got = Vec::new();
        io.read_to_end(&mut got).await.unwrap();
        io.write_all(&got).await.unwrap();
        io.close().await.unwrap();
        got.len()
    };
    assert_eq!(join(dialling, listening).await, (payload.len(), payload.len()));
}

/// C2 C3: each piece of nonsense has one outcome, and none of them hangs.
#[tokio::test]
async fn nonsense_is_refused() {
    let header = |rest: &[u8]| [HEADER, rest].concat();
    let cases: [(&str, Vec<u8>); 11] = [
        ("no header", message("/eth/69/1.0.0")),
        ("another version", message("/multistream/2.0.0")),
        ("header twice", header(HEADER)),
        ("length of three bytes", header(&[0x80, 0x80, 0x01, b'/', b'a', b'\n'])),
        ("length of zero", header(&[0, b'/', b'a', b'\n'])),
        ("no newline", header(b"\x0e/eth/69/1.0.0x")),
        ("newline inside", header(b"\x05/a\nb\n")),
        ("not UTF-8", header(b"\x04/\xff\xfe\n")),
        ("no slash", header(b"\x04abc\n")),
        ("na from a dialer", header(b"\x03na\n")),
        ("sixteen thousand bytes", header(&[0xff, 0x7f])),
    ];
    for (name, sent) in cases {
        let (agreed, answer) = listener_gets(&sent).await;
        assert!(agreed.is_err(), "{name}: {agreed:?}");
        assert!(answer.len() <= HEADER.len() + REFUSAL.len(), "{name}: {answer:?}");
    }
    // `ls` is answered, and the negotiation goes on.
    let (agreed, answer) = listener_gets(&proposing(&["ls", "/eth/68/1.0.0"])).await;
    assert_eq!(agreed.unwrap(), OLD);
    assert!(answer.windows(13).any(|part| part == b"/eth/69/1.0.0"));
}

/// C3: wherever the dialer gives up, the listener does too.
#[tokio::test]
async fn every_truncation_fails() {
    let sent = proposing(&["/nope/1", "/eth/69/1.0.0"]);
    for cut in 0..sent.len() {
        let (agreed, _) = listener_gets(&sent[..cut]).await;
        assert!(agreed.is_err(), "{cut}: {agreed:?}");
    }
}

/// C4: a dialer that settled by itself and sent data behind a refused proposal gets no agreement,
/// and its data is not taken for a protocol.
#[tokio::test]
async fn a_refused_optimist_and_the_listener_both_fail() {
    for payload in [&b"\xff\xff\xff\xff\xff\xff"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 40]] {
        let sent = [&proposing(&["/nope/1"])[..], payload].concat();
        let (agreed, answer) = listener_gets(&sent).await;
        assert!(agreed.is_err(), "{agreed:?}");
        // Nothing but the header and the refusal, or a reset that overtook them.
        assert!([HEADER, REFUSAL].concat().starts_with(&answer), "{answer:?}");
    }
}

/// C6: neither role waits longer than its limit.
#[tokio::test(start_paused = true)]
async fn silence_times_out() {
    let limits = limits();
    let start = Instant::now();
    let (mut raw, io) = pair();
    raw.write_all(&HEADER[..7]).await.unwrap();
    let listened = listen(io, &BOTH, &limits).await.map(drop);
    assert!(matches!(listened, Err(NegotiateError::TimedOut(after)) if after == limits.negotiation_timeout));
    let (_raw, io) = pair();
    let dialled = dial(io, &BOTH, &limits).await.map(drop);
    assert!(matches!(dialled, Err(NegotiateError::TimedOut(_))));
    assert_eq!(start.elapsed(), limits.negotiation_timeout * 2);
}

/// A dialer whose listener answers with nonsense, with another protocol, or with `na` for ever.
#[tokio::test]
async fn a_dialer_survives_any_answer() {
    let answers: [&[u8]; 6] = [
        b"\x13/multistream/9.0.0\n",
        b"\x13/multistream/1.0.0\n\x0a/perf/9.9\n",
        b"\x13/multistream/1.0.0\n\x03na\n\x03na\n\x03na\n",
        b"\x13/multistream/1.0.0\n\x03ls\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
    ];
    for answer in answers {
        let (mut raw, io) = pair();
        raw.write_all(answer).await.unwrap();
        raw.close().await.unwrap();
        assert!(dial(io, &BOTH, &limits()).await.is_err(), "{answer:?}");
    }
}

#[tokio::test]
async fn junk_never_agrees_by_accident_and_never_hangs() {
    let mut junk = Junk::seeded(3);
    for _ in 0..300 {
        let mut sent = if junk.below(2) == 0 { HEADER.to_vec() } else { Vec::new() };
        sent.extend(junk.bytes(300));
        let (agreed, _) = listener_gets(&sent).await;
        assert!(agreed.is_err(), "{sent:?}");
    }
}
