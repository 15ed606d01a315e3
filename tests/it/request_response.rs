//! Requests and answers between two nodes, over each transport.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use trunkline::RequestError;

use crate::support::Over;
use crate::support::{Blob, Bytes4, ECHO, GetBlob, SILENCE, pattern, two_nodes, within};

async fn asks_and_is_answered(listen: &str) {
    let (server, client, peer) = two_nodes(listen).await;
    for size in [0, 1, 600, 16_383, 16_384, 100_000, 2_000_000] {
        let answer =
            within(Duration::from_secs(10), "an answer", peer.ask::<Blob>(GetBlob(ECHO, size))).await;
        assert_eq!(answer.unwrap(), Bytes4(pattern(size)));
    }
    client.over().await;
    server.over().await;
    assert_eq!(client.stats().in_flight(), 0);
}

#[tokio::test]
async fn over_memory_every_size_is_answered() {
    asks_and_is_answered("/memory/0").await;
}

#[tokio::test]
async fn over_tcp_noise_and_yamux_every_size_is_answered() {
    asks_and_is_answered("/ip4/127.0.0.1/tcp/0").await;
}

/// F12: answers find their callers, however many are in flight.
#[tokio::test]
async fn many_requests_in_flight_each_get_their_own_answer() {
    let (server, client, peer) = two_nodes("/ip4/127.0.0.1/tcp/0").await;
    let asks = (0..2000u32).map(|n| {
        let peer = peer.clone();
        async move {
            loop {
                match peer.ask::<Blob>(GetBlob(ECHO, n)).await {
                    Err(RequestError::Busy) => tokio::task::yield_now().await,
                    other => return assert_eq!(other.unwrap(), Bytes4(pattern(n))),
                }
            }
        }
    });
    within(Duration::from_secs(20), "all answers", futures::future::join_all(asks)).await;
    client.over().await;
    server.over().await;
}

/// F15: a full table refuses at once and recovers.
#[tokio::test]
async fn a_full_table_refuses_at_once() {
    let (_server, client, peer) = two_nodes("/memory/0").await;
    let ask = || peer.ask::<Blob>(GetBlob(SILENCE, 0));
    let mut waiting: futures::stream::FuturesUnordered<_> = (0..64).map(|_| ask()).collect();
    assert!(waiting.next().now_or_never().is_none());
    let refused = peer.ask::<Blob>(GetBlob(ECHO, 1)).await;
    assert!(matches!(refused, Err(RequestError::Busy)), "{refused:?}");
    drop(waiting);
    client.over().await;
    assert_eq!(client.stats().in_flight(), 0);
}
