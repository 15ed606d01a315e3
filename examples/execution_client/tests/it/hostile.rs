//! One peer of three lies, or is silent: the client ends at the right head, and names the liar.
//!
//! The liar is there first, and the honest ones come when its lie was told: every case happens.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::B256;
use serde_json::json;
use tokio::sync::watch;
use trunkline::sync::MemoryStore;

use crate::support::chains::{Blocks, ethtest};
use crate::support::client::{Client, Ended};
use crate::support::forge::forged;
use crate::support::liar::{Lie, LyingChain};
use crate::support::peer::{Listen, Peer};
use crate::support::within;

/// The block that is wrong in a forged chain.
const BAD: u64 = 300;
/// Blocks made up behind the last real one, so that the forged chain is the one that is followed.
const MORE: usize = 40;

/// A liar alone, then two honest peers.
struct Scene {
    blocks: Arc<Blocks>,
    folder: tempfile::TempDir,
    liar: Peer,
    told: watch::Receiver<bool>,
}

impl Scene {
    async fn set(lie: Lie) -> Option<Self> {
        let blocks = ethtest()?;
        let (liar, told) = Peer::lying(LyingChain::new(blocks.store(), lie), Listen::Libp2p).await;
        Some(Self { blocks, folder: folder(), liar, told })
    }

    /// The liar serves a chain with a header that was changed.
    async fn forged(change: impl Fn(&mut Header)) -> Option<Self> {
        let blocks = ethtest()?;
        let store = MemoryStore::new(blocks.chain.spec.clone());
        store.extend(forged(&blocks.blocks, BAD, change, MORE), Vec::new()).expect("fits");
        let last = (blocks.blocks.len() + MORE) as u64;
        let (liar, told) = Peer::lying(LyingChain::new(store, Lie::Watched(last)), Listen::Libp2p).await;
        Some(Self { blocks, folder: folder(), liar, told })
    }

    fn client(&self, options: &[&str]) -> Client {
        let always = ["--until-block", "600"];
        Client::start(&self.blocks.genesis, &self.folder.path().join("data"), &[&always, options].concat())
    }

    /// The client gets to the head although the liar was there first; it and the liar's id.
    async fn with_two_honest(self, options: &[&str]) -> (Ended, String) {
        let client = self.client(&[options, &["--timeout", "80s"]].concat());
        self.finished_with_two_honest(client, true).await
    }

    async fn finished_with_two_honest(mut self, mut client: Client, dials: bool) -> (Ended, String) {
        let honest = [
            Peer::start(Arc::new(self.blocks.store()), Listen::Libp2p).await,
            Peer::start(Arc::new(self.blocks.store()), Listen::Rlpx).await,
        ];
        let (libp2p, rlpx) = client.addrs().await;
        if dials {
            self.liar.dial(&libp2p).await;
        }
        within("the lie", self.told.wait_for(|told| *told)).await.expect("the liar lives");
        honest[0].dial(&libp2p).await;
        honest[1].dial(&rlpx).await;
        let ended = client.ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{:#?}", ended.told);
        assert_at(&self.blocks, &ended, 600);
        let liar = self.liar.id();
        for peer in &honest {
            assert_eq!(ended.blamed(&peer.id()), [""; 0], "an honest peer is not blamed");
        }
        for peer in honest.into_iter().chain([self.liar]) {
            peer.over().await;
        }
        (ended, liar)
    }

    /// With nobody but the liar, who is refused when it comes back, the client stays where it can until
    /// it is told to end.
    async fn alone(self, options: &[&str]) -> Ended {
        let mut client = self.client(options);
        let (libp2p, _) = client.addrs().await;
        self.liar.dial(&libp2p).await;
        let liar = self.liar.id();
        client.event("peer-down", |event| event["peer"] == liar.as_str()).await;
        within("the news", self.liar.left()).await;
        let again = within("a refusal", self.liar.network.dial(libp2p)).await;
        assert!(again.is_err(), "the liar is let in again");
        client.interrupt();
        let ended = client.ended().await;
        self.stays_below(&ended, "before it was told to end");
        assert_gone(&ended, &liar);
        self.liar.over().await;
        ended
    }

    /// The same with someone whom nothing proves to be lying: time runs out.
    async fn alone_until_timeout(self) {
        let addr = self.liar.addr().to_string();
        let ended = self.client(&["--timeout", "2s", "--bootnode", &addr]).ended().await;
        self.stays_below(&ended, "within 2s");
        assert_eq!(ended.end()["number"], 0);
        self.liar.over().await;
    }

    fn stays_below(&self, ended: &Ended, when: &str) {
        let number = ended.end()["number"].as_u64().expect("a number");
        assert!(number < 600, "{number}");
        let line =
            format!("execution_client: block 600 was not reached {when}: the head is block {number}\n");
        assert_eq!((ended.code, &ended.stderr), (Some(1), &line));
        assert_at(&self.blocks, ended, number);
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The last line names this block with its hash and its state root, and no head that was told is of
/// another chain.
fn assert_at(blocks: &Blocks, ended: &Ended, number: u64) {
    let end = ended.end();
    for head in ended.events("head").into_iter().chain([end]) {
        let at = head["number"].as_u64().expect("a number");
        let header = blocks.header(at);
        assert_eq!((&head["hash"], &head["root"]), (&json!(header.hash_slow()), &json!(header.state_root)));
    }
    assert_eq!(end["number"], number);
    assert_eq!(end["orphans"], 0);
}

/// The liar was blamed once, and it did not come back.
fn assert_gone(ended: &Ended, liar: &str) {
    assert_eq!(ended.blamed(liar), ["bad data"], "{:#?}", ended.told);
    let ups = ended.events("peer-up");
    assert_eq!(ups.iter().filter(|up| up["peer"] == liar).count(), 1);
}

macro_rules! scene {
    ($scene:expr) => {
        match $scene.await {
            Some(scene) => scene,
            None => return,
        }
    };
}

#[tokio::test]
async fn bodies_of_other_blocks() {
    let (ended, liar) = scene!(Scene::set(Lie::OtherBodies)).with_two_honest(&[]).await;
    assert_gone(&ended, &liar);
    let ended = scene!(Scene::set(Lie::OtherBodies)).alone(&[]).await;
    assert_eq!(ended.end()["number"], 0);
}

#[tokio::test]
async fn receipts_of_other_blocks() {
    let required = ["--receipts", "required"];
    let (ended, liar) = scene!(Scene::set(Lie::OtherReceipts)).with_two_honest(&required).await;
    assert_gone(&ended, &liar);
    scene!(Scene::set(Lie::OtherReceipts)).alone(&required).await;
}

#[tokio::test]
async fn one_receipt_that_was_changed() {
    let required = ["--receipts", "required"];
    let (ended, liar) = scene!(Scene::set(Lie::OneReceipt(BAD))).with_two_honest(&required).await;
    assert_gone(&ended, &liar);
    let ended = scene!(Scene::set(Lie::OneReceipt(BAD))).alone(&required).await;
    assert!(ended.end()["number"].as_u64().expect("a number") < BAD);
}

#[tokio::test]
async fn headers_that_do_not_link() {
    let (ended, liar) = scene!(Scene::set(Lie::Unlinked(BAD))).with_two_honest(&[]).await;
    assert_gone(&ended, &liar);
    let ended = scene!(Scene::set(Lie::Unlinked(BAD))).alone(&[]).await;
    assert!(ended.end()["number"].as_u64().expect("a number") < BAD);
}

/// A change in a header of a chain that is linked anew above it, and what it is called.
async fn one_header(what: &str, change: impl Fn(&mut Header) + Copy) {
    let none = ["--receipts", "none"];
    let (ended, liar) = scene!(Scene::forged(change)).with_two_honest(&none).await;
    assert_gone(&ended, &liar);
    assert_named(&ended, what);
    let ended = scene!(Scene::forged(change)).alone(&none).await;
    assert_named(&ended, what);
    assert_eq!(ended.end()["number"], BAD - 1, "it stays at the last good block");
}

fn assert_named(ended: &Ended, what: &str) {
    let bad = ended.events("bad-block");
    let named: Vec<_> = bad.iter().map(|bad| (&bad["number"], &bad["what"], &bad["blamed"])).collect();
    assert_eq!(named, [(&json!(BAD), &json!(what), &json!(true))], "{:#?}", ended.told);
}

#[tokio::test]
async fn a_state_root_that_is_wrong() {
    one_header("state-root", |header| header.state_root = B256::repeat_byte(0xbb)).await;
}

#[tokio::test]
async fn a_receipts_root_that_is_wrong() {
    one_header("receipts-root", |header| header.receipts_root = B256::repeat_byte(0xbb)).await;
}

#[tokio::test]
async fn gas_used_that_is_wrong() {
    one_header("gas-used", |header| header.gas_used += 1).await;
}

#[tokio::test]
async fn endless_empty_answers() {
    let (ended, liar) = scene!(Scene::set(Lie::Empty)).with_two_honest(&[]).await;
    assert_eq!(ended.blamed(&liar), [""; 0], "to have nothing is no malice");
    scene!(Scene::set(Lie::Empty)).alone_until_timeout().await;
}

#[tokio::test]
async fn a_head_that_nobody_has() {
    let (ended, liar) = scene!(Scene::set(Lie::Claimed(10_000))).with_two_honest(&[]).await;
    assert_eq!(ended.blamed(&liar), [""; 0], "to have nothing is no malice");
    scene!(Scene::set(Lie::Claimed(10_000))).alone_until_timeout().await;
}

async fn mute() -> Option<Scene> {
    let blocks = ethtest()?;
    let (liar, told) = Peer::mute(Arc::new(blocks.store()), Listen::Libp2p).await;
    Some(Scene { blocks, folder: folder(), liar, told })
}

#[tokio::test]
async fn silence_behind_the_handshake() {
    let (ended, liar) = scene!(mute()).with_two_honest(&[]).await;
    assert_eq!(ended.blamed(&liar), [""; 0], "to be slow is no malice");
    scene!(mute()).alone_until_timeout().await;
}

/// Who is named by hand stays connected, so it comes back; it costs a pause each time, and no block.
#[tokio::test]
async fn a_liar_named_by_hand() {
    let scene = scene!(Scene::set(Lie::Unlinked(BAD)));
    let addr = scene.liar.addr().to_string();
    let client = scene.client(&["--bootnode", &addr, "--timeout", "80s"]);
    let (ended, liar) = scene.finished_with_two_honest(client, false).await;
    let blamed = ended.blamed(&liar);
    assert!(!blamed.is_empty() && blamed.iter().all(|reason| *reason == "bad data"), "{blamed:?}");
}

/// All three are there from the start, so nobody knows whose answers come first.
#[tokio::test]
async fn three_at_once() {
    let Some(blocks) = ethtest() else { return };
    let lies = [Lie::OtherBodies, Lie::OtherReceipts, Lie::Unlinked(BAD), Lie::Empty, Lie::Claimed(10_000)];
    for lie in lies {
        let (liar, _) = Peer::lying(LyingChain::new(blocks.store(), lie), Listen::Rlpx).await;
        let honest = [
            Peer::start(Arc::new(blocks.store()), Listen::Libp2p).await,
            Peer::start(Arc::new(blocks.store()), Listen::Rlpx).await,
        ];
        let folder = folder();
        let addrs = [&liar, &honest[0], &honest[1]].map(|peer| peer.addr().to_string());
        let known = addrs.iter().flat_map(|addr| ["--bootnode", addr]);
        let options = ["--until-block", "600", "--timeout", "80s"].into_iter().chain(known);
        let options: Vec<_> = options.collect();
        let ended = Client::start(&blocks.genesis, &folder.path().join("data"), &options).ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{lie:?}: {:#?}", ended.told);
        assert_at(&blocks, &ended, 600);
        for peer in honest {
            assert_eq!(ended.blamed(&peer.id()), [""; 0], "{lie:?}: an honest peer is not blamed");
            peer.over().await;
        }
        liar.over().await;
    }
}

/// While following, a longer branch comes whose first block is good and whose second is not: it is
/// changed over to, rejected and left, and the state is that of the chain before.
#[tokio::test]
async fn a_longer_branch_that_turns_out_to_be_wrong() {
    const LEAVES: u64 = 580;
    let Some(blocks) = ethtest() else { return };
    let store = MemoryStore::new(blocks.chain.spec.clone());
    // What a header says beside is free. From then on its hash is in the state, and no root is right.
    let branch = forged(&blocks.blocks, LEAVES, |header| header.extra_data = b"another".into(), MORE);
    store.extend(branch, Vec::new()).expect("fits");
    let liar = Peer::start(Arc::new(store), Listen::Libp2p).await;
    let honest = Peer::start(Arc::new(blocks.store()), Listen::Libp2p).await;
    let folder = folder();
    let mut client = Client::start(
        &blocks.genesis,
        &folder.path().join("data"),
        &["--bootnode", &honest.addr().to_string()],
    );
    let (libp2p, _) = client.addrs().await;
    let hash = json!(blocks.header(600).hash_slow());
    client.event("head", |head| head["hash"] == hash).await;
    liar.dial(&libp2p).await;
    let bad = client.event("bad-block", |_| true).await;
    assert_eq!(
        (&bad["number"], &bad["what"], &bad["blamed"]),
        (&json!(581), &json!("state-root"), &json!(true))
    );
    client.event("head", |head| head["hash"] == hash).await;
    client.interrupt();
    let ended = client.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{:#?}", ended.told);
    let header = blocks.header(600);
    assert_eq!((&ended.end()["hash"], &ended.end()["root"]), (&hash, &json!(header.state_root)));
    let reorgs = ended.events("reorg");
    let told: Vec<_> = reorgs.iter().map(|reorg| (&reorg["from"], &reorg["common"])).collect();
    assert_eq!(told, [(&json!(600), &json!(LEAVES - 1)), (&json!(LEAVES), &json!(LEAVES - 1))]);
    assert_gone(&ended, &liar.id());
    assert_eq!(ended.blamed(&honest.id()), [""; 0], "an honest peer is not blamed");
    liar.over().await;
    honest.over().await;
}
