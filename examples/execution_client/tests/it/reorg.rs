//! A peer with a heavier branch comes: the client changes over, or lets it be if it leaves too early.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use trunkline::PeerAddr;
use trunkline::sync::MemoryStore;

use crate::support::branches::Branch;
use crate::support::client::Client;
use crate::support::liar::{Lie, LyingChain};
use crate::support::peer::{Listen, Peer};
use crate::support::within;

/// A client at the head of a branch, of which one peer has told it.
struct Scene {
    first: Peer,
    store: Arc<MemoryStore>,
    client: Client,
    addr: PeerAddr,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn at(branch: &Branch, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut client = Client::start(Path::new("dev"), &folder.path().join("data"), options);
        let (addr, _) = client.addrs().await;
        let store = Arc::new(branch.store());
        let first = Peer::start(store.clone(), Listen::Libp2p).await;
        first.dial(&addr).await;
        let (number, ..) = branch.head();
        client.event("head", |head| head["number"] == number).await;
        Self { first, store, client, addr, _folder: folder }
    }
}

fn assert_head(told: &Value, branch: &Branch) {
    let (number, hash, root) = branch.head();
    assert_eq!((&told["number"], &told["hash"]), (&json!(number), &json!(hash)));
    assert_eq!(told["root"], json!(root));
}

/// The client leaves a branch of `ours` blocks for one of `theirs`, which have `common` in common.
async fn changes_over(common: usize, ours: usize, theirs: usize) {
    let trunk = Branch::new(common);
    let (first, second) = (trunk.fork(2, ours - common), trunk.fork(3, theirs - common));
    let scene = Scene::at(&first, &["--until-block", &theirs.to_string(), "--timeout", "80s"]).await;
    let heavier = Peer::start(Arc::new(second.store()), Listen::Rlpx).await;
    heavier.dial(&scene.addr).await;
    let ended = scene.client.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{:#?}", ended.told);
    assert_head(ended.end(), &second);
    let (from, from_hash, _) = first.head();
    let reorgs = ended.events("reorg");
    let told: Vec<_> =
        reorgs.iter().map(|reorg| (&reorg["common"], &reorg["from"], &reorg["from_hash"])).collect();
    assert_eq!(told, [(&json!(common), &json!(from), &json!(from_hash))]);
    assert_eq!(ended.events("bad-block").len(), 0);
    for peer in [scene.first, heavier] {
        assert_eq!(ended.blamed(&peer.id()), [""; 0], "to have another branch is no malice");
        peer.over().await;
    }
}

#[tokio::test]
async fn a_heavier_branch_is_changed_over_to() {
    changes_over(20, 40, 45).await;
}

#[tokio::test]
async fn a_branch_that_leaves_64_blocks_back_is_changed_over_to() {
    changes_over(36, 100, 101).await;
}

/// Where it leaves ours is beyond what is looked at: it is let be, and ours goes on.
#[tokio::test]
async fn a_branch_that_leaves_65_blocks_back_does_no_harm() {
    let trunk = Branch::new(35);
    let (mut ours, theirs) = (trunk.fork(2, 65), trunk.fork(3, 100));
    let mut scene = Scene::at(&ours, &[]).await;
    // What is 64 blocks back is the last that is looked at.
    let chain = LyingChain::new(theirs.store(), Lie::Watched(36));
    let (heavier, mut seen) = Peer::lying(chain, Listen::Libp2p).await;
    heavier.dial(&scene.addr).await;
    within("the search", seen.wait_for(|seen| *seen)).await.expect("the peer lives");
    // By the last of these it would have changed over.
    for _ in 0..12 {
        let (block, receipts) = ours.grow(1)[0].clone();
        scene.store.extend(vec![block.clone()], vec![receipts]).expect("fits");
        scene.first.eth.announce_block(&block, ours.total_difficulty());
        let head = scene.client.event("head", |head| head["number"] == block.number).await;
        assert_head(&head, &ours);
    }
    scene.client.interrupt();
    let ended = scene.client.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_head(ended.end(), &ours);
    assert_eq!(ended.events("reorg").len() + ended.events("bad-block").len(), 0);
    for peer in [scene.first, heavier] {
        assert_eq!(ended.blamed(&peer.id()), [""; 0], "to have another branch is no malice");
        peer.over().await;
    }
}

/// There and back, each time with the branch that has grown longer.
#[tokio::test]
async fn two_branches_that_overtake_each_other_are_followed_in_turn() {
    let trunk = Branch::new(10);
    let mut branches = [trunk.fork(2, 5), trunk.fork(3, 4)];
    let mut scene = Scene::at(&branches[0], &[]).await;
    let second = Arc::new(branches[1].store());
    let stores = [scene.store.clone(), second.clone()];
    let peers = [scene.first, Peer::start(second, Listen::Libp2p).await];
    peers[1].dial(&scene.addr).await;
    for turn in 1..=2 {
        let at = turn % 2;
        let grown = branches[at].grow(2).to_vec();
        for (block, receipts) in grown {
            stores[at].extend(vec![block.clone()], vec![receipts]).expect("fits");
            peers[at].eth.announce_block(&block, branches[at].total_difficulty());
        }
        let (number, hash, _) = branches[at].head();
        let head = scene.client.event("head", |head| head["number"] == number && head["hash"] == json!(hash));
        assert_head(&head.await, &branches[at]);
    }
    scene.client.interrupt();
    let ended = scene.client.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let common: Vec<_> = ended.events("reorg").iter().map(|reorg| reorg["common"].clone()).collect();
    assert_eq!(common, [10, 10].map(Value::from));
    assert_eq!(ended.events("bad-block").len(), 0);
    for peer in peers {
        assert_eq!(ended.blamed(&peer.id()), [""; 0]);
        peer.over().await;
    }
}
