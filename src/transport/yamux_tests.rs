//! Multiplexed connections over an in-memory socket: two of ours, and one against raw frames.

use futures::FutureExt;
use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::disconnect::DisconnectReason;
use crate::testing::raw_peer::{DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW_UPDATE, data, frame};
use crate::transport::pipe::{self, Pipe};

fn limits() -> TransportLimits {
    TransportLimits { inbound_substreams_max: 4, outbound_substreams_max: 8, ..TransportLimits::default() }
}

/// A running connection.
struct Side {
    control: Control,
    inbound: mpsc::Receiver<Substream>,
    driver: JoinHandle<MuxEnd>,
}

impl Side {
    fn start(socket: Pipe, direction: Direction) -> Self {
        let Mux { control, inbound, driver } = yamux(socket, direction, &limits());
        Self { control, inbound, driver: tokio::spawn(driver) }
    }

    async fn end(self) -> MuxEnd {
        soon(self.driver).await.unwrap()
    }
}

/// The dialer's and the listener's side.
fn two_sides() -> (Side, Side) {
    let (near, far) = pipe::pair(64 << 10, Duration::ZERO);
    (Side::start(near, Direction::Outbound), Side::start(far, Direction::Inbound))
}

/// Our listening side, and the raw end of its socket.
fn against_raw() -> (Side, Pipe) {
    let (near, far) = pipe::pair(1 << 20, Duration::ZERO);
    (Side::start(far, Direction::Inbound), near)
}

/// Fails the test instead of hanging it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("it happens soon")
}

/// One substream, opened by `a`, seen from both ends.
async fn opened(a: &Side, b: &mut Side) -> (Substream, Substream) {
    let mut near = a.control.open().await.unwrap();
    near.write_all(b"hi").await.unwrap();
    let mut far = soon(b.inbound.recv()).await.unwrap();
    let mut hi = [0; 2];
    far.read_exact(&mut hi).await.unwrap();
    (near, far)
}

async fn echo(a: &Side, b: &mut Side) {
    let (mut near, far) = opened(a, b).await;
    let sent: Vec<u8> = (0..600_000u32).map(|k| (k % 251) as u8).collect();
    let echoing = async {
        let (mut from, mut to) = far.split();
        futures::io::copy(&mut from, &mut to).await.unwrap();
        to.close().await.unwrap();
    };
    let asking = async {
        let (mut from, mut to) = (&mut near).split();
        let sending = async {
            to.write_all(&sent).await.unwrap();
            to.close().await.unwrap();
        };
        let mut got = Vec::new();
        let (read, ()) = join(from.read_to_end(&mut got), sending).await;
        read.unwrap();
        got
    };
    let (got, ()) = join(asking, echoing).await;
    assert!(got == sent, "{} bytes came back", got.len());
}

#[tokio::test]
async fn bytes_cross_both_ways_on_substreams_of_either_side() {
    let (mut a, mut b) = two_sides();
    echo(&a, &mut b).await;
    echo(&b, &mut a).await;
}

/// D12: after a half-close the other direction goes on.
#[tokio::test]
async fn a_half_close_ends_one_direction() {
    let (a, mut b) = two_sides();
    let (mut near, mut far) = opened(&a, &mut b).await;
    near.close().await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(far.read_to_end(&mut rest).await.unwrap(), 0);
    far.write_all(b"still here").await.unwrap();
    far.close().await.unwrap();
    near.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"still here");
}

/// A reset is an error, never an end of file, also behind data.
#[tokio::test]
async fn a_reset_is_an_error() {
    let (a, mut b) = two_sides();
    let (mut near, mut far) = opened(&a, &mut b).await;
    far.write_all(b"data").await.unwrap();
    let mut got = [0; 4];
    near.read_exact(&mut got).await.unwrap();
    drop(far);
    assert_eq!(near.read(&mut got).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let (mut near, far) = opened(&a, &mut b).await;
    drop(near.close().await);
    drop(far);
    assert_eq!(near.read(&mut got).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// D14: the substreams of a lost connection break; a connection that is over opens none.
#[tokio::test]
async fn a_lost_connection_breaks_its_substreams() {
    let (a, mut b) = two_sides();
    let (mut near, far) = opened(&a, &mut b).await;
    b.driver.abort();
    drop((b, far));
    assert_eq!(near.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let control = a.control.clone();
    let end = a.end().await;
    assert!(matches!(end, MuxEnd::Io(_) | MuxEnd::RemoteClosed), "{end:?}");
    assert_eq!(control.open().await.unwrap_err().kind(), io::ErrorKind::NotConnected);
}

/// D14, A5: a connection that ends in the middle of a frame is lost; nobody is blamed for it.
#[tokio::test]
async fn an_end_inside_a_frame_is_a_loss() {
    let whole = data(SYN, 1, b"hello");
    for cut in 0..whole.len() {
        let (side, mut raw) = against_raw();
        raw.write_all(&whole[..cut]).await.unwrap();
        raw.close().await.unwrap();
        let end = side.end().await;
        assert!(matches!(end, MuxEnd::RemoteClosed), "{cut}: {end:?}");
    }
}

/// D14, A4: the same for a socket that breaks.
#[tokio::test]
async fn a_broken_socket_is_a_loss() {
    for sent in [&[][..], &[0, 1, 0], &data(SYN, 1, b"hello")] {
        let (side, mut raw) = against_raw();
        raw.write_all(sent).await.unwrap();
        tokio::task::yield_now().await;
        raw.reset();
        let end = side.end().await;
        assert!(matches!(end, MuxEnd::Io(_)), "{sent:?}: {end:?}");
    }
}

#[tokio::test]
async fn outbound_substreams_are_limited_and_come_free_again() {
    let (a, _b) = two_sides();
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(a.control.open().await.unwrap());
    }
    assert_eq!(a.control.open().await.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    open.pop();
    a.control.open().await.unwrap();
}

/// D4: the excess is reset, the rest goes on.
#[tokio::test]
async fn inbound_substreams_beyond_their_limit_are_reset() {
    let (a, mut b) = two_sides();
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(opened(&a, &mut b).await);
    }
    let mut fifth = a.control.open().await.unwrap();
    fifth.write_all(b"hi").await.unwrap();
    assert_eq!(soon(fifth.read(&mut [0; 1])).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    streams.pop();
    // The limit counts what lives, so there is room again.
    let (mut near, mut far) = opened(&a, &mut b).await;
    far.write_all(b"x").await.unwrap();
    near.read_exact(&mut [0; 1]).await.unwrap();
}

/// D4: 64 resets in a minute are allowed, one more is a flood.
#[tokio::test]
async fn a_flood_of_substreams_ends_the_connection() {
    let (mut side, mut raw) = against_raw();
    let opens = |from: u32, to: u32| -> Vec<u8> {
        (from..to).flat_map(|n| frame(WINDOW_UPDATE, SYN, 1 + 2 * n, 0)).collect()
    };
    raw.write_all(&opens(0, 4 + 64)).await.unwrap();
    let mut accepted = Vec::new();
    for _ in 0..4 {
        accepted.push(side.inbound.recv().await.unwrap());
    }
    tokio::task::yield_now().await;
    assert!(!side.driver.is_finished());
    raw.write_all(&opens(68, 69)).await.unwrap();
    let end = side.end().await;
    assert!(matches!(end, MuxEnd::Violation(Violation::SubstreamFlood)), "{end:?}");
}

/// D1 D2 D3 D13 D15: what yamux answers with GoAway, or cannot decode, ends the connection.
#[tokio::test]
async fn violations_of_the_muxer_end_the_connection() {
    let open = frame(WINDOW_UPDATE, SYN, 1, 0);
    let cases: [(&str, Vec<u8>); 9] = [
        ("D1: data above the first window", data(SYN, 1, &vec![0; (256 << 10) + 1])),
        ("D2: credit overflow", [&open[..], &frame(WINDOW_UPDATE, 0, 1, 0xffff_0000)].concat()),
        ("D3: overflow with SYN", frame(WINDOW_UPDATE, SYN, 1, 0xffff_ffff)),
        ("D13: even id from a dialer", frame(WINDOW_UPDATE, SYN, 2, 0)),
        ("D13: id in use", [&open[..], &open].concat()),
        ("D13: id zero", frame(WINDOW_UPDATE, SYN, 0, 0)),
        ("D15: version", vec![1; 12]),
        ("D15: type", frame(9, 0, 1, 0)),
        ("D15: length above 1 MiB", frame(DATA, 0, 1, (1 << 20) + 1)),
    ];
    for (name, bytes) in cases {
        let (side, mut raw) = against_raw();
        raw.write_all(&bytes).await.unwrap();
        let end = side.end().await;
        assert!(matches!(end, MuxEnd::Violation(Violation::Protocol(_))), "{name}: {end:?}");
    }
}

/// D5 D9: floods end the connection for a reason of their own.
#[tokio::test]
async fn floods_end_the_connection() {
    let unread = [&frame(WINDOW_UPDATE, SYN, 1, 0)[..], &data(0, 1, b"x").repeat(1025)].concat();
    let cases = [
        (frame(PING, SYN, 0, 1).repeat(101), Violation::PingFlood),
        (data(0, 1, b"").repeat(101), Violation::EmptyFrames),
        (unread, Violation::UnreadFrames),
    ];
    for (bytes, violation) in cases {
        let (side, mut raw) = against_raw();
        raw.write_all(&bytes).await.unwrap();
        let end = side.end().await;
        assert!(matches!(end, MuxEnd::Violation(found) if found == violation), "{violation}: {end:?}");
    }
}

/// D8: opened, taken and reset, over and over.
#[tokio::test]
async fn a_reset_flood_ends_the_connection() {
    let (mut side, mut raw) = against_raw();
    for n in 0..101u32 {
        raw.write_all(&frame(WINDOW_UPDATE, SYN, 1 + 2 * n, 0)).await.unwrap();
        drop(side.inbound.recv().await.unwrap());
        raw.write_all(&frame(WINDOW_UPDATE, RST, 1 + 2 * n, 0)).await.unwrap();
    }
    let end = side.end().await;
    assert!(matches!(end, MuxEnd::Violation(Violation::ResetFlood)), "{end:?}");
}

/// D9: 10,000 small frames in one go are no fault of a peer whose reader is on the same thread.
#[tokio::test]
async fn small_frames_that_are_consumed_are_no_fault() {
    let (mut side, raw) = against_raw();
    let frames = [&frame(WINDOW_UPDATE, SYN, 1, 0)[..], &data(0, 1, b"request").repeat(10_000)].concat();
    let (mut from, mut to) = raw.split();
    let sending = tokio::spawn(async move { to.write_all(&frames).await.unwrap() });
    let draining = tokio::spawn(async move { futures::io::copy(&mut from, &mut futures::io::sink()).await });
    let mut substream = side.inbound.recv().await.unwrap();
    let mut got = 0;
    while got < 70_000 {
        got += substream.read(&mut [0; 4096]).await.unwrap();
    }
    sending.await.unwrap();
    assert!(!side.driver.is_finished());
    draining.abort();
}

/// D16: whatever its code says, the connection is over and its substreams break.
#[tokio::test]
async fn a_go_away_of_the_peer_ends_the_connection_without_blame() {
    for code in [0, 1, 2] {
        let (mut side, mut raw) = against_raw();
        raw.write_all(&frame(WINDOW_UPDATE, SYN, 1, 0)).await.unwrap();
        let mut substream = side.inbound.recv().await.unwrap();
        raw.write_all(&frame(GO_AWAY, 0, 0, code)).await.unwrap();
        let end = side.end().await;
        assert!(matches!(end, MuxEnd::RemoteClosed), "{code}: {end:?}");
        assert_eq!(substream.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

/// F14: the last bytes and the half-close in one segment are read before the end.
#[tokio::test]
async fn bytes_in_the_segment_of_the_half_close_are_read() {
    let (mut side, mut raw) = against_raw();
    raw.write_all(&data(SYN | FIN, 1, b"all of it")).await.unwrap();
    let mut substream = side.inbound.recv().await.unwrap();
    let mut got = Vec::new();
    substream.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"all of it");
}

#[tokio::test]
async fn closing_says_goodbye_and_ends_both_sides() {
    let (a, b) = two_sides();
    a.control.close(DisconnectReason::Requested);
    a.control.close(DisconnectReason::Requested);
    assert!(matches!(a.end().await, MuxEnd::Closed));
    let end = b.end().await;
    assert!(matches!(end, MuxEnd::RemoteClosed | MuxEnd::Io(_)), "{end:?}");
}

/// D5: a peer that never reads holds a closing connection up for its deadline and no longer.
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_does_not_hold_up_the_close() {
    let (near, far) = pipe::pair(64, Duration::ZERO);
    let mux = yamux(far, Direction::Inbound, &limits());
    let driver = tokio::spawn(mux.driver);
    let mut substream = mux.control.open().await.unwrap();
    let writing = async {
        loop {
            substream.write_all(&[0; 4096]).await.unwrap();
        }
    };
    // Until everything is full.
    tokio::time::timeout(Duration::from_secs(1), writing).map(drop).await;
    let start = Instant::now();
    mux.control.close(DisconnectReason::Requested);
    assert!(matches!(driver.await.unwrap(), MuxEnd::Closed));
    assert_eq!(start.elapsed(), limits().close_timeout);
    drop(near);
}
