//! What recording costs where it can be counted: no allocation per event.

use std::time::Duration;

use tokio::task::LocalSet;
use trunkline::trace::TraceConfig;
use trunkline::{Keypair, Network};

use crate::support::{self, Blob, ECHO, GetBlob, addr, config};

/// Allocations of so many requests between two nodes on this thread, and the events they left.
fn allocations(ring_events: usize, port: u64, requests: u32) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let set = LocalSet::new();
    let node = async |listen: &str, key: u8| {
        let mut config = config(listen);
        // No keepalive, no published metrics: only requests are counted.
        (config.ping_interval, config.ping_timeout) = (Duration::from_secs(3600), Duration::from_secs(3600));
        config.trace = TraceConfig { ring_events, ..TraceConfig::default() };
        let key = Keypair::ed25519_from_bytes([key; 32]).expect("a key");
        Network::builder(config, key).protocol(Blob).start_local().await.expect("starts")
    };
    let (server, client, peer) = set.block_on(&runtime, async {
        let server = node(&format!("/memory/{port}"), 1).await;
        let client = node("", 2).await;
        let peer = client.dial(addr(&format!("/memory/{port}"))).await.expect("connects");
        (server, client, peer)
    });
    let ask = |requests: u32| {
        set.block_on(&runtime, async {
            for _ in 0..requests {
                peer.ask::<Blob>(GetBlob(ECHO, 100)).await.expect("an answer");
            }
        });
    };
    // Buffers and tables find their size first.
    ask(500);
    let recorded =
        |nodes: [&Network; 2]| nodes.map(|node| node.trace().counts().recorded).iter().sum::<u64>();
    let before = recorded([&server, &client]);
    let counted = allocation_counter::measure(|| ask(requests));
    let events = recorded([&server, &client]) - before;
    set.block_on(&runtime, async {
        use support::Over;
        if ring_events > 0 {
            client.over().await;
            server.over().await;
        }
    });
    (counted.count_total, events)
}

#[test]
fn recording_allocates_nothing_per_event() {
    let (off, none) = allocations(0, 7401, 1000);
    let (on, events) = allocations(1024, 7402, 1000);
    assert_eq!(none, 0);
    assert!(off > 1000, "the requests themselves allocate, or nothing was counted: {off}");
    assert!(events > 15_000, "{events} events of 1,000 requests");
    assert!(on <= off + 20, "{on} allocations with the recorder, {off} without, {events} events");
}
