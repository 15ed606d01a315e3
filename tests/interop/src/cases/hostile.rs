//! Peers that break rules at each layer. We may drop them; we must not fall, and must serve the
//! next honest peer.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::PeerId;
use tokio::net::TcpStream;

use super::they_dial::{meet, serves_an_honest_peer};
use super::{Case, case};
use crate::check::{Failure, Outcome, need, random_bytes, skipped, within};
use crate::exercises;
use crate::node::{Node, STEP};
use crate::raw::{self, Muxed, ends, message, yamux_header};
use crate::services::{CALL_BACK, ECHO, PERF, SINK};
use crate::subject::{Listening, Subject};

/// A socket that breaks a rule must be closed within this.
const AT_ONCE: Duration = Duration::from_secs(5);
/// A socket that says nothing must be closed within this (10 s are customary).
const IN_TIME: Duration = Duration::from_secs(25);

const SYN: u16 = 1;
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const KIB: u32 = 1024;

/// The cases of this question.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        dialled("hostile: a peer resets 100 substreams mid-way", resets),
        dialled("hostile: garbage on substreams of every protocol", garbage_on_substreams),
        dialled("hostile: call-back asked for nonsense", call_back_nonsense),
        dialled("hostile: perf asked for without the eight bytes", perf_cut_short),
        dialled("hostile: a peer leaves in the middle of transfers", leaves),
        dialled("hostile: a peer asks for an endless download and leaves", endless_download),
        attack("hostile: random bytes on the TCP socket", async |c| raw_tcp(c, &random_bytes(4096)).await),
        attack("hostile: HTTP on the TCP socket", async |c| {
            raw_tcp(c, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await
        }),
        attack("hostile: TLS on the TCP socket", async |c| raw_tcp(c, TLS_HELLO).await),
        attack("hostile: a message of zero length in the negotiation", async |c| raw_tcp(c, &[0; 8]).await),
        attack("hostile: an over-long length in the negotiation", async |c| raw_tcp(c, &[0xff; 6]).await),
        attack("hostile: a negotiation message without line feed", async |c| {
            raw_tcp(c, &[raw::HEADER, b"\x07/noisex"].concat()).await
        }),
        attack("hostile: the negotiation header twice", async |c| {
            raw_tcp(c, &[raw::HEADER, raw::HEADER].concat()).await
        }),
        attack("hostile: 100,000 proposals of unknown protocols", endless_proposals),
        attack("hostile: silence at each step of the upgrade", silence),
        attack("hostile: 40 sockets that say nothing, then an honest peer", idle_sockets),
        attack("hostile: a socket closed at each step of the upgrade", closes_at_each_step),
        attack("hostile: garbage instead of the noise handshake", garbage_for_noise),
        attack("hostile: a noise handshake frame of the greatest size", huge_noise_frame),
        attack("hostile: a damaged noise frame after the handshake", damaged_noise_frame),
        attack("hostile: garbage after noise, instead of yamux", garbage_after_noise),
        attack("hostile: garbage instead of yamux frames", garbage_for_yamux),
        attack("hostile: garbage in the negotiation of a substream", garbage_in_negotiation),
        attack("hostile: 600 substreams that never negotiate", silent_substreams),
        attack("hostile: 2,000 yamux pings at once", ping_flood),
    ];
    cases.extend(VIOLATIONS.iter().map(|violation| {
        case(format!("hostile: yamux: {}", violation.what), async move |s| breaks_yamux(s, violation).await)
    }));
    cases.push(case("hostile: all of that on one node", all_on_one));
    cases
}

/// A case in which a connected rust-libp2p node misbehaves on its substreams. The connection may
/// end, but the next peer must be served.
fn dialled(name: &'static str, misbehave: impl AsyncFnOnce(&Node, PeerId) -> Outcome + 'static) -> Case {
    case(name, async move |subject: Subject| {
        let (mut child, node) = meet(&subject).await?;
        misbehave(&node, child.peer).await?;
        serves_an_honest_peer(&mut child).await
    })
}

/// A case in which somebody misbehaves below what rust-libp2p would do.
fn attack(name: &'static str, attack: impl AsyncFnOnce(&Listening) -> Outcome + 'static) -> Case {
    case(name, async move |subject: Subject| {
        let mut child = subject.listen(&[]).await?;
        attack(&child).await?;
        serves_an_honest_peer(&mut child).await
    })
}

async fn all_on_one(subject: Subject) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    for round in 0..3 {
        let node = Node::dialer().await?;
        let peer = node.dial(&child.addr).await?;
        let attacks = async {
            resets(&node, peer).await?;
            garbage_on_substreams(&node, peer).await?;
            raw_tcp(&child, &random_bytes(4096)).await?;
            garbage_for_noise(&child).await?;
            damaged_noise_frame(&child).await?;
            garbage_for_yamux(&child).await?;
            garbage_in_negotiation(&child).await?;
            closes_at_each_step(&child).await
        };
        attacks.await.map_err(|f| f.during(&format!("round {round}")))?;
        serves_an_honest_peer(&mut child).await?;
    }
    Ok(())
}

// Over substreams of rust-libp2p.

async fn resets(node: &Node, peer: PeerId) -> Outcome {
    for round in 0..100 {
        let Ok(mut stream) = node.open(peer, if round % 2 == 0 { ECHO } else { SINK }).await else {
            return Ok(());
        };
        // A refusal of these bytes would be fine as well: what counts is the drop, which resets.
        let _ = stream.write_all(&random_bytes(round * 600)).await;
        let _ = stream.flush().await;
    }
    Ok(())
}

async fn garbage_on_substreams(node: &Node, peer: PeerId) -> Outcome {
    for protocol in ["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", PERF, SINK, CALL_BACK] {
        for n in [1, 31, 33, 5000] {
            let Ok(mut stream) = node.open(peer, protocol).await else { continue };
            let _ = stream.write_all(&random_bytes(n)).await;
            let _ = stream.close().await;
            // However it answers, it must come to an end and not take anything along.
            let mut answer = Vec::new();
            let mut bounded = stream.take(64 * 1024);
            let reading = bounded.read_to_end(&mut answer);
            let _ = within(AT_ONCE, &format!("the answer to garbage on {protocol}"), reading).await?;
        }
    }
    Ok(())
}

async fn call_back_nonsense(node: &Node, peer: PeerId) -> Outcome {
    let lines: [&[u8]; 8] = [
        b"\n",
        b"5\n",
        b"-1 /echo/1.0.0\n",
        b"99999999999999999999 /echo/1.0.0\n",
        b"4000000000 /echo/1.0.0\n",
        b"3 echo\n",
        b"3 /\xff\xfe\n",
        &[b'9'; 100_000],
    ];
    for line in lines {
        let Ok(mut stream) = node.open(peer, CALL_BACK).await else { continue };
        let _ = stream.write_all(line).await;
        let _ = stream.close().await;
        let what = format!("the answer to {:?}", String::from_utf8_lossy(&line[..line.len().min(40)]));
        let _ = within(STEP, &what, stream.read_to_end(&mut Vec::new())).await?;
    }
    Ok(())
}

async fn perf_cut_short(node: &Node, peer: PeerId) -> Outcome {
    for n in 0..8 {
        let mut stream = node.open(peer, PERF).await?;
        stream.write_all(&vec![0xff; n]).await?;
        stream.close().await?;
        let mut answer = Vec::new();
        let _ = within(AT_ONCE, "the end of perf", stream.read_to_end(&mut answer)).await?;
        need(answer.is_empty(), || format!("{} bytes although only {n} of 8 were sent", answer.len()))?;
    }
    exercises::perf(node, peer, 10, 10).await.map_err(|f| f.during("perf on the same connection"))
}

async fn leaves(node: &Node, peer: PeerId) -> Outcome {
    let mut streams = Vec::new();
    for protocol in [ECHO, SINK, PERF, ECHO] {
        let mut stream = node.open(peer, protocol).await?;
        stream.write_all(&[0; 50_000]).await?;
        streams.push(stream);
    }
    node.disconnect(peer)
}

async fn endless_download(node: &Node, peer: PeerId) -> Outcome {
    let mut stream = node.open(peer, PERF).await?;
    stream.write_all(&u64::MAX.to_be_bytes()).await?;
    stream.close().await?;
    let mut some = vec![0; 4 << 20];
    within(STEP, "the start of the download", stream.read_exact(&mut some)).await??;
    drop(stream);
    exercises::echo(node, peer, 1000).await.map_err(|f| f.during("after the download was reset"))
}

// Below the substreams.

/// The start of a TLS ClientHello.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03";

async fn raw_tcp(child: &Listening, bytes: &[u8]) -> Outcome {
    let mut socket = raw::tcp(child.port()).await?;
    // The peer may close while we still write.
    let _ = socket.write_all(bytes).await;
    let _ = socket.flush().await;
    ends(&mut socket, IN_TIME).await
}

async fn endless_proposals(child: &Listening) -> Outcome {
    let (mut reader, mut writer) = raw::tcp(child.port()).await?.split();
    let proposing = async {
        let _ = writer.write_all(raw::HEADER).await;
        let hundred: Vec<u8> = (0..100).flat_map(|i| message(&format!("/unknown/{i}"))).collect();
        for _ in 0..1000 {
            if writer.write_all(&hundred).await.is_err() {
                return;
            }
        }
        let _ = writer.close().await;
    };
    let (ended, ()) = futures::join!(ends(&mut reader, IN_TIME), async {
        let _ = within(IN_TIME, "proposing", proposing).await;
    });
    ended
}

async fn silence(child: &Listening) -> Outcome {
    let port = child.port();
    let after_tcp = async { ends(&mut raw::tcp(port).await?, IN_TIME).await };
    let after_header = async {
        let mut socket = raw::tcp(port).await?;
        socket.write_all(raw::HEADER).await?;
        ends(&mut socket, IN_TIME).await
    };
    let after_agreement = async { ends(&mut raw::agreed_on_noise(port).await?, IN_TIME).await };
    let after_noise = async { ends(&mut raw::secured(port).await?.1, IN_TIME).await };
    futures::try_join!(
        told("after TCP", after_tcp),
        told("after the header", after_header),
        told("after the agreement on noise", after_agreement),
        told("after noise", after_noise),
    )?;
    Ok(())
}

async fn told(what: &str, work: impl Future<Output = Outcome>) -> Outcome {
    work.await.map_err(|f| f.during(what))
}

async fn idle_sockets(child: &Listening) -> Outcome {
    let mut sockets = Vec::new();
    for _ in 0..40 {
        sockets.push(within(STEP, "TCP connect", TcpStream::connect(("127.0.0.1", child.port()))).await??);
    }
    // They are still open: an honest peer may have to wait for them to time out, not for ever.
    let node = Node::dialer().await?;
    let served = async {
        loop {
            if let Ok(peer) = node.dial(&child.addr).await {
                return exercises::echo(&node, peer, 1000).await;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    within(IN_TIME, "an honest peer beside 40 idle sockets", served).await?
}

async fn closes_at_each_step(child: &Listening) -> Outcome {
    let port = child.port();
    drop(raw::tcp(port).await?);
    drop(raw::agreed_on_noise(port).await?);
    drop(raw::secured(port).await?);
    drop(raw::muxable(port).await?);
    let muxed = Muxed::connect(port).await?;
    let mut stream = muxed.open().await?;
    stream.write_all(&message("/multistream/1.0.0")).await?;
    Ok(())
}

async fn garbage_for_noise(child: &Listening) -> Outcome {
    let mut io = raw::agreed_on_noise(child.port()).await?;
    // A frame of 32 bytes is a well-formed first message: any 32 bytes are a key. What follows is not.
    let mut bytes = vec![0, 32];
    bytes.extend(random_bytes(32));
    bytes.extend([0, 64]);
    bytes.extend(random_bytes(64));
    io.write_all(&bytes).await?;
    io.flush().await?;
    ends(&mut io, AT_ONCE).await
}

async fn huge_noise_frame(child: &Listening) -> Outcome {
    let mut io = raw::agreed_on_noise(child.port()).await?;
    let mut bytes = vec![0xff, 0xff];
    bytes.extend(random_bytes(65535));
    let _ = io.write_all(&bytes).await;
    let _ = io.flush().await;
    ends(&mut io, IN_TIME).await
}

async fn damaged_noise_frame(child: &Listening) -> Outcome {
    // The handshake runs through a relay of ours that, once it is over, adds a frame of its own.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let through = listener.local_addr()?.port();
    let port = child.port();
    let relay = async {
        let (near, _) = listener.accept().await?;
        let far = TcpStream::connect(("127.0.0.1", port)).await?;
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
        let back = tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
        let forth = tokio::io::copy(&mut near_in, &mut far_out);
        // The dialler says nothing more after the agreement on yamux.
        let _ = tokio::time::timeout(Duration::from_millis(700), forth).await;
        let mut frame = vec![0, 40];
        frame.extend(random_bytes(40));
        tokio::io::AsyncWriteExt::write_all(&mut far_out, &frame).await?;
        let closed = tokio::time::timeout(AT_ONCE, back).await;
        Ok::<_, Failure>(closed.is_ok())
    };
    let dialling = async {
        let io = raw::muxable(through).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(io);
        Ok(())
    };
    let (closed, ()) = futures::try_join!(relay, dialling)?;
    need(closed, || format!("the connection is still open {AT_ONCE:?} after a damaged frame"))
}

async fn garbage_after_noise(child: &Listening) -> Outcome {
    let (_, mut io) = raw::secured(child.port()).await?;
    let mut bytes = message("/multistream/1.0.0");
    bytes.extend([0xff; 64]);
    let _ = io.write_all(&bytes).await;
    let _ = io.flush().await;
    ends(&mut io, IN_TIME).await
}

async fn garbage_for_yamux(child: &Listening) -> Outcome {
    let mut io = raw::muxable(child.port()).await?;
    let mut bytes = vec![0xff; 12];
    bytes.extend(random_bytes(4096));
    let _ = io.write_all(&bytes).await;
    let _ = io.flush().await;
    ends(&mut io, AT_ONCE).await
}

async fn garbage_in_negotiation(child: &Listening) -> Outcome {
    let muxed = Muxed::connect(child.port()).await?;
    let junk: [Vec<u8>; 6] = [
        random_bytes(1000),
        vec![0xff; 100],
        vec![0; 100],
        [raw::HEADER, b"\x05abcd\n"].concat(),
        [raw::HEADER, raw::HEADER].concat(),
        [raw::HEADER, b"\x03na\n", b"\x03na\n"].concat(),
    ];
    for bytes in junk {
        let Ok(mut stream) = muxed.open().await else { return Ok(()) };
        let _ = stream.write_all(&bytes).await;
        let _ = stream.close().await;
        ends(&mut stream, IN_TIME).await?;
    }
    Ok(())
}

async fn silent_substreams(child: &Listening) -> Outcome {
    let mut io = raw::muxable(child.port()).await?;
    for n in 0..600 {
        if io.write_all(&yamux_header(0, WINDOW_UPDATE, SYN, 1 + 2 * n, 0)).await.is_err() {
            return Ok(());
        }
    }
    let _ = io.flush().await;
    // They stay open while an honest peer is served.
    let node = Node::dialer().await?;
    let peer = node.dial(&child.addr).await?;
    exercises::echo(&node, peer, 1000).await
}

async fn ping_flood(child: &Listening) -> Outcome {
    let mut io = raw::muxable(child.port()).await?;
    for n in 0..2000 {
        if io.write_all(&yamux_header(0, 2, SYN, 0, n)).await.is_err() {
            return Ok(());
        }
    }
    let _ = io.flush().await;
    Ok(())
}

/// A yamux rule, and how it is broken.
#[derive(Debug)]
struct Violation {
    what: &'static str,
    frames: fn() -> Vec<u8>,
    /// rust-libp2p itself keeps the peer that does this.
    tolerated_by_yamux: bool,
}

const VIOLATIONS: &[Violation] = &[
    Violation {
        what: "an unknown version",
        frames: || yamux_header(9, DATA, SYN, 1, 0),
        tolerated_by_yamux: false,
    },
    Violation {
        what: "an unknown frame type",
        frames: || yamux_header(0, 7, SYN, 1, 0),
        tolerated_by_yamux: false,
    },
    Violation {
        what: "a data frame of 16 MiB",
        frames: || yamux_header(0, DATA, SYN, 1, 16 * KIB * KIB),
        tolerated_by_yamux: false,
    },
    Violation {
        what: "a substream id of the other side",
        frames: || yamux_header(0, WINDOW_UPDATE, SYN, 2, 0),
        tolerated_by_yamux: true,
    },
    Violation {
        what: "substream id 0",
        frames: || yamux_header(0, DATA, SYN, 0, 0),
        tolerated_by_yamux: true,
    },
    Violation {
        what: "a substream id in use",
        frames: || {
            [yamux_header(0, WINDOW_UPDATE, SYN, 1, 0), yamux_header(0, WINDOW_UPDATE, SYN, 1, 0)].concat()
        },
        tolerated_by_yamux: true,
    },
    Violation {
        what: "more data with the first frame than the window",
        frames: || {
            let mut frames = yamux_header(0, DATA, SYN, 1, 300 * KIB);
            frames.resize(frames.len() + 300 * KIB as usize, 0);
            frames
        },
        tolerated_by_yamux: true,
    },
    Violation {
        what: "more data than the window, to an echo that is never read",
        frames: || {
            let negotiation = [raw::HEADER, &message(ECHO)].concat();
            let mut frames = yamux_header(0, DATA, SYN, 1, negotiation.len() as u32);
            frames.extend(negotiation);
            // We grant no credit, so the echo stops, and with it the credit that we are given.
            for _ in 0..256 {
                frames.extend(yamux_header(0, DATA, 0, 1, 16 * KIB));
                frames.resize(frames.len() + 16 * KIB as usize, 0);
            }
            frames
        },
        tolerated_by_yamux: true,
    },
    Violation {
        what: "credit beyond 32 bits",
        frames: || {
            let mut frames = yamux_header(0, WINDOW_UPDATE, SYN, 1, 0);
            frames.extend(yamux_header(0, WINDOW_UPDATE, 0, 1, u32::MAX));
            frames.extend(yamux_header(0, WINDOW_UPDATE, 0, 1, u32::MAX));
            frames
        },
        tolerated_by_yamux: true,
    },
];

async fn breaks_yamux(subject: Subject, violation: &Violation) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    let mut io = raw::muxable(child.port()).await?;
    let frames = (violation.frames)();
    let _ = within(AT_ONCE, "sending", async {
        io.write_all(&frames).await?;
        io.flush().await
    })
    .await;
    let ended = ends(&mut io, AT_ONCE).await;
    serves_an_honest_peer(&mut child).await?;
    if subject.lenient && violation.tolerated_by_yamux && ended.is_err() {
        return skipped("rust-yamux keeps such a peer, and --lenient allows it");
    }
    ended
}
