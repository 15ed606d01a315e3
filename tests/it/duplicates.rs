//! Several connections between the same two nodes, and what becomes of those who wait for one.

use std::time::Duration;

use futures::future::{join, join_all};
use futures::io::AsyncWriteExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::task::LocalSet;
use trunkline::disconnect::DisconnectReason;
use trunkline::ids::ProtocolId;
use trunkline::protocols::RawSubstream;
use trunkline::testing::raw_peer::{MULTISTREAM, RawConnection, message, proposal};
use trunkline::transport::addr::Endpoint;
use trunkline::{Keypair, Network, NetworkEvent, PeerAddr, PeerId, SubstreamError};

use crate::support::Over;
use crate::support::{Blob, config, within};

const HOLD: ProtocolId = ProtocolId::new("/test/hold/1");

async fn node(listen: &str) -> Network {
    let hold = |substream: RawSubstream| async move {
        let _held = substream;
        std::future::pending::<()>().await;
    };
    let builder = Network::builder(config(listen), Keypair::generate_secp256k1());
    builder.protocol(Blob).substream_handler(HOLD, hold).start_local().await.expect("starts")
}

fn addr(node: &Network) -> PeerAddr {
    node.listening()[0].clone()
}

fn memory_port(node: &Network) -> u64 {
    match addr(node).endpoint {
        Endpoint::Memory(port) => port,
        other => panic!("not a memory address: {other:?}"),
    }
}

/// L1: whoever loses the tie-break gets the connection that won.
#[tokio::test]
async fn both_dials_of_a_simultaneous_dial_succeed() {
    let rounds = async {
        for _ in 0..20 {
            let (a, b) = (node("/memory/0").await, node("/memory/0").await);
            let dials = join(a.dial(addr(&b)), b.dial(addr(&a)));
            let (to_b, to_a) = within(Duration::from_secs(10), "both dials", dials).await;
            assert_eq!(to_b.expect("a reaches b").id(), b.id());
            assert_eq!(to_a.expect("b reaches a").id(), a.id());
            a.over().await;
            b.over().await;
        }
    };
    LocalSet::new().run_until(rounds).await;
}

#[tokio::test]
async fn many_dials_of_one_address_share_a_session() {
    let dials = async {
        let (a, b) = (node("/memory/0").await, node("").await);
        let dialled = join_all((0..10).map(|_| b.dial(addr(&a)))).await;
        let sessions: Vec<_> = dialled.into_iter().map(|peer| peer.expect("reaches a").session()).collect();
        assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    };
    LocalSet::new().run_until(dials).await;
}

#[tokio::test]
async fn dialling_after_a_disconnect_makes_a_new_session() {
    let redial = async {
        let (a, b) = (node("/memory/0").await, node("").await);
        let first = b.dial(addr(&a)).await.expect("reaches a");
        first.disconnect(DisconnectReason::Requested);
        let redialled = async {
            loop {
                // The other end may not have noticed yet, and then refuses.
                if let Ok(second) = b.dial(addr(&a)).await {
                    return second;
                }
            }
        };
        let second = within(Duration::from_secs(10), "a second session", redialled).await;
        assert_ne!(second.session(), first.session());
    };
    LocalSet::new().run_until(redial).await;
}

/// L3: a dead first session does not let its identity take slot after slot.
#[tokio::test(start_paused = true)]
async fn one_silent_identity_has_at_most_one_session() {
    let flood = async {
        let a = node("/memory/0").await;
        let mut events = a.events();
        let us = PeerId::random();
        let _held: Vec<_> =
            (0..45).map(|_| RawConnection::dial_memory(memory_port(&a), us).expect("connects")).collect();
        // Probes are over when the honest node is in and its events are through.
        let honest = node("").await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        honest.dial(addr(&a)).await.expect("there is room");
        let mut live = 0i32;
        loop {
            match within(Duration::from_secs(10), "an event", events.next()).await.expect("runs") {
                NetworkEvent::PeerUp { peer } if peer.id() == honest.id() => break,
                NetworkEvent::PeerUp { .. } => live += 1,
                NetworkEvent::PeerDown { .. } => live -= 1,
                _ => {}
            }
        }
        assert!(live <= 1, "{live} sessions of one identity");
    };
    LocalSet::new().run_until(flood).await;
}

/// A dialer that accepts nothing itself lists nothing: it may still open its substream.
#[tokio::test]
async fn a_dialer_that_lists_no_protocol_is_served() {
    let dial = async {
        use futures::io::AsyncReadExt as _;
        let a = node("/memory/0").await;
        let mut peer = RawConnection::dial_memory(memory_port(&a), PeerId::random()).expect("connects");
        // The node asks who we are; we are somebody who accepts nothing.
        let mut asked = peer.accept().await.expect("identify");
        let identify = [MULTISTREAM, &proposal("/ipfs/id/1.0.0")[..]].concat();
        let mut got = vec![0; identify.len()];
        asked.read_exact(&mut got).await.expect("a proposal");
        asked.write_all(&identify).await.expect("written");
        asked.write_all(&[0]).await.expect("written");
        futures::io::AsyncWriteExt::close(&mut asked).await.expect("closed");
        // It knows our list when it has let go of the substream.
        let _ = asked.read_to_end(&mut Vec::new()).await;
        let mut substream = peer.open().await.expect("opens");
        let selection = [MULTISTREAM, &proposal("/test/blob/1")[..]].concat();
        let question = message(0, 1, &[7, 0, 0, 0, 0, 1]);
        substream.write_all(&[&selection[..], &question].concat()).await.expect("written");
        let mut answer = vec![0; selection.len() + 5];
        let reading = substream.read_exact(&mut answer);
        within(Duration::from_secs(5), "an answer", reading).await.expect("not reset");
    };
    LocalSet::new().run_until(dial).await;
}

/// A substream that was shut down and dropped gives its place back.
#[tokio::test]
async fn dropped_substreams_free_their_places() {
    let open = async {
        let (a, b) = (node("/ip4/127.0.0.1/tcp/0").await, node("").await);
        let peer = b.dial(addr(&a)).await.expect("reaches a");
        for round in 0..40 {
            let opened = async {
                loop {
                    match peer.open_substream(HOLD).await {
                        Err(SubstreamError::Busy) => tokio::task::yield_now().await,
                        other => return other,
                    }
                }
            };
            let opened = within(Duration::from_secs(5), "a place", opened).await;
            let Ok(mut substream) = opened else { continue };
            substream.write_all(b"x").await.expect("written");
            if round % 2 == 0 {
                substream.shutdown().await.expect("shut down");
            }
        }
    };
    LocalSet::new().run_until(open).await;
}

/// Our own substreams may take every place: keepalive does not blame the peer for that.
#[tokio::test(start_paused = true)]
async fn a_busy_host_does_not_time_out_its_peer() {
    let hold = async {
        let (a, b) = (node("/memory/0").await, node("").await);
        let peer = b.dial(addr(&a)).await.expect("reaches a");
        let mut held = Vec::new();
        while let Ok(substream) = peer.open_substream(HOLD).await {
            held.push(substream);
        }
        assert!(held.len() > 10);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(peer.ended(), None);
    };
    LocalSet::new().run_until(hold).await;
}
