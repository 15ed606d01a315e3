//! Receipts from node to node: over every version of eth, and through a node in between.

use std::sync::Arc;
use std::time::Duration;

use trunkline::chain::{ChainSpec, DevChain};
use trunkline::protocols::eth::Chain;
use trunkline::sync::{MemoryStore, Progress, Receipts, ReceiptsState, SyncConfig, SyncHandle};

use crate::header_body_sync::Node;
use crate::support::{Over, within};

const S: Duration = Duration::from_secs(1);

/// A chain of so many blocks, with its receipts or without.
fn made(blocks: u64, receipts: bool) -> MemoryStore {
    let store = MemoryStore::new(Arc::new(ChainSpec::dev()));
    let mut chain = DevChain::new(1);
    for n in 0..blocks {
        let (block, list) = chain.next_block((n % 4) as usize, 1_700_000_000 + n);
        let lists = if receipts { vec![list] } else { Vec::new() };
        store.extend(vec![block], lists).expect("fits");
    }
    store
}

fn config(receipts: Receipts) -> SyncConfig {
    SyncConfig { heaviest: true, receipts, ..SyncConfig::default() }
}

async fn comes(handle: &SyncHandle, what: &str, is: impl FnMut(&Progress) -> bool) {
    let mut progress = handle.subscribe();
    let came = within(30 * S, what, progress.wait_for(is)).await.is_ok();
    assert!(came, "the sync has ended before {what}");
}

fn same(a: &MemoryStore, b: &MemoryStore) {
    assert_eq!(a.blocks(), b.blocks());
    for block in a.blocks() {
        assert_eq!(a.receipts(&block.hash), b.receipts(&block.hash), "receipts of block {}", block.number);
    }
}

/// 68 has blooms, 69 has none, 70 has an index.
#[tokio::test]
async fn receipts_arrive_over_every_version_of_eth() {
    for version in [68, 69, 70] {
        let server = Node::start_with(made(200, true), "/memory/0", |ours| ours == version).await;
        let follower = Node::start(made(0, true), "").await;
        follower.network.dial(server.addr()).await.expect("connects");
        let (handle, _task) = follower.follow(config(Receipts::Required));
        comes(&handle, "the head with its receipts", |progress| progress.at_target && progress.bodies == 200)
            .await;
        let progress = handle.progress();
        assert_eq!((progress.receipts, progress.receipts_state), (200, ReceiptsState::Complete));
        same(&server.store, &follower.store);
        follower.network.over().await;
        server.network.over().await;
    }
}

/// A node between two others serves the receipts that it has fetched.
#[tokio::test]
async fn receipts_are_relayed_while_they_are_fetched() {
    let server = Node::start(made(300, true), "/memory/0").await;
    let relay = Node::start(made(0, true), "/memory/0").await;
    let last = Node::start(made(0, true), "").await;
    last.network.dial(relay.addr()).await.expect("connects");
    let (handle, _last) = last.follow(config(Receipts::Required));
    relay.network.dial(server.addr()).await.expect("connects");
    let (relaying, _relay) = relay.follow(config(Receipts::Available));
    comes(&relaying, "the head", |progress| progress.bodies == 300).await;
    relay.eth.announce_range_if_due();
    comes(&handle, "the head with its receipts", |progress| progress.at_target && progress.bodies == 300)
        .await;
    same(&server.store, &last.store);
    last.network.over().await;
    relay.network.over().await;
    server.network.over().await;
}

/// Who imported a chain has no receipts: the head is reached without them, and that nobody has them
/// can be told.
#[tokio::test]
async fn a_chain_without_receipts_is_followed_and_they_are_said_to_be_unavailable() {
    let server = Node::start(made(150, false), "/memory/0").await;
    let follower = Node::start(made(0, true), "").await;
    follower.network.dial(server.addr()).await.expect("connects");
    let (handle, _task) = follower.follow(config(Receipts::Available));
    comes(&handle, "the head", |progress| progress.at_target && progress.bodies == 150).await;
    comes(&handle, "the news", |progress| progress.receipts_state == ReceiptsState::Unavailable).await;
    assert!(follower.store.receipt_counts().1 > 100);
    follower.network.over().await;
    server.network.over().await;
}
