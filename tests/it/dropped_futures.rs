//! Callers drop their request futures at any moment: nothing of them is left (F7).

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trunkline::{PeerHandle, RequestError};

use crate::chat::{Chat, Say};
use crate::support::Over;
use crate::support::{config, within};

/// Drops one request at a moment of its life.
async fn drop_at(moment: u32, peer: PeerHandle, wait: Duration, payload: usize) -> Option<RequestError> {
    let mut request = Box::pin(peer.request(Say::new(vec![b'x'; payload])));
    match moment {
        // Never polled.
        0 => return None,
        // Polled once: its message is in the mailbox.
        1 => return request.as_mut().now_or_never()?.err(),
        // Polled, and dropped at some time while it waits: queued, in flight, answered.
        2 => tokio::time::sleep(wait).now_or_never(),
        _ => None,
    };
    tokio::select! {
        biased;
        result = &mut request => result.err(),
        () = tokio::time::sleep(wait) => None,
    }
}

async fn nothing_is_left_of_dropped_requests(listen: &str) {
    let (chat, ours) = (Chat::new(), Chat::new());
    let server = chat.start(config(listen)).await;
    let client = ours.start(config("")).await;
    let to = server.listening()[0].clone();
    let peer = client.dial(to).await.unwrap();
    let mut rng = StdRng::seed_from_u64(11);
    let mut dropped = 0;
    while dropped < 1000 {
        let batch: Vec<_> = (0..40)
            .map(|_| {
                let moment = rng.random_range(0..4);
                let wait = Duration::from_micros(rng.random_range(0..1500));
                let payload = if rng.random_range(0..20) == 0 { 100_000 } else { rng.random_range(1..500) };
                tokio::spawn(drop_at(moment, peer.clone(), wait, payload))
            })
            .collect();
        for result in join_all(batch).await {
            // A slot may still be taken by a request that was dropped a moment ago.
            let error = result.unwrap();
            assert!(matches!(error, None | Some(RequestError::Busy)), "{error:?}");
            dropped += 1;
        }
    }
    assert_eq!(client.stats().in_flight(), 0);
    // The cancels are in the mailbox; behind them all 64 slots are free, and each request succeeds.
    let all_slots = async {
        loop {
            let asks = (0..64).map(|n| peer.request(Say::new(format!("{n}"))));
            let answers = join_all(asks).await;
            if answers.iter().all(Result::is_ok) {
                return;
            }
            assert!(answers.iter().all(|a| matches!(a, Ok(_) | Err(RequestError::Busy))), "{answers:?}");
        }
    };
    within(Duration::from_secs(10), "64 slots", all_slots).await;
    let idle = async {
        while chat.serving() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(Duration::from_secs(10), "the end of all serving", idle).await;
    let cancelled = client.stats().outcomes().iter().find(|(name, _)| *name == "cancelled").unwrap().1;
    assert!(cancelled > 100, "only {cancelled} were dropped before their end");
    assert_eq!(client.record(server.id()).await, None, "late answers are nobody's fault");
    assert_eq!((client.stats().in_flight(), peer.ended()), (0, None));
    client.over().await;
    server.over().await;
}

#[tokio::test]
async fn nothing_is_left_of_dropped_requests_over_memory() {
    nothing_is_left_of_dropped_requests("/memory/0").await;
}

#[tokio::test]
async fn nothing_is_left_of_dropped_requests_over_tcp() {
    nothing_is_left_of_dropped_requests("/ip4/127.0.0.1/tcp/0").await;
}

/// F7: requests that nobody answers are dropped by the hundred; the slots are back at once.
#[tokio::test]
async fn unanswered_requests_give_their_slots_back_when_dropped() {
    let (chat, ours) = (Chat::new(), Chat::new());
    let server = chat.start(config("/memory/0")).await;
    let client = ours.start(config("")).await;
    let peer = client.dial(server.listening()[0].clone()).await.unwrap();
    for round in 1..=4 {
        let asked: Vec<_> = (0..64)
            .map(|_| {
                let peer = peer.clone();
                tokio::spawn(async move { peer.request(Say::new(".")).await })
            })
            .collect();
        within(Duration::from_secs(10), "the questions", chat.until_asked(64 * round)).await;
        assert!(matches!(peer.request(Say::new("one more")).await, Err(RequestError::Busy)));
        asked.iter().for_each(|task| task.abort());
        join_all(asked).await;
        assert_eq!(client.stats().in_flight(), 0);
        // The mailbox is in order: behind the cancels there is room.
        let freed = async {
            while client.stats().in_flight() == 0 {
                let next = peer.request_within(Say::new("."), Duration::from_millis(1)).await;
                if matches!(next, Err(RequestError::TimedOut(_))) {
                    return;
                }
            }
        };
        within(Duration::from_secs(10), "a free slot", freed).await;
    }
    client.over().await;
    server.over().await;
}
