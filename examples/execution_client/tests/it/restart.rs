//! The client is stopped and killed in the middle, again and again: it goes on where it was.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::chains::{Blocks, ethtest};
use crate::support::client::{Client, Ended};
use crate::support::liar::{Lie, LyingChain};
use crate::support::peer::{Listen, Peer};
use crate::support::within;

/// Blocks that the peer has at first, and gets in each round while the client is at work.
const FIRST: usize = 120;
const STEP: usize = 90;
const ROUNDS: u64 = 5;
/// After so many headers, bodies and receipts of a step a run ends; so many more in each round.
const INTO_STEP: u64 = 35;

/// How a run is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Ctrl-C.
    Interrupt,
    /// Kill -9.
    Kill,
}

/// One folder, and a peer whose chain grows.
struct Scene {
    blocks: Arc<Blocks>,
    chain: Arc<LyingChain>,
    peer: Peer,
    folder: tempfile::TempDir,
    /// The head told last, and the highest block of which it was told that its body is stored.
    head: u64,
    bodies: u64,
}

impl Scene {
    async fn set() -> Option<Self> {
        let blocks = ethtest()?;
        let chain = LyingChain::new(blocks.store_to(FIRST), Lie::Watched(0));
        let chain = Arc::new(chain);
        let peer = Peer::start(chain.clone(), Listen::Libp2p).await;
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { blocks, chain, peer, folder, head: 0, bodies: 0 })
    }

    fn datadir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The client opens at least where it was told to be, and at a block of the chain.
    async fn start(&self, options: &[&str]) -> Client {
        let addr = self.peer.addr().to_string();
        let options = [&["--bootnode", &addr], options].concat();
        let mut client = Client::start(&self.blocks.genesis, &self.datadir(), &options);
        let opened = client.event("opened", |_| true).await;
        assert!(self.is_true(&opened) >= self.head, "{opened} after block {} was told", self.head);
        client
    }

    /// The number of a block that was told, which has the hash and the state root of ours.
    fn is_true(&self, told: &Value) -> u64 {
        let number = told["number"].as_u64().expect("a number");
        let header = self.blocks.header(number);
        assert_eq!((&told["hash"], &told["root"]), (&json!(header.hash_slow()), &json!(header.state_root)));
        number
    }

    fn has(&self) -> usize {
        self.chain.store().blocks().len()
    }

    fn grow(&self) {
        let from = self.has();
        let range = from..(from + STEP).min(self.blocks.blocks.len());
        let (blocks, receipts) = (&self.blocks.blocks[range.clone()], &self.blocks.receipts[range]);
        self.chain.store().extend(blocks.to_vec(), receipts.to_vec()).expect("fits");
        self.peer.eth.announce_range();
    }

    /// Remembers what was told.
    fn note(&mut self, told: &[Value]) {
        for event in told {
            match event["event"].as_str() {
                Some("head" | "end") => {
                    self.head = self.is_true(event);
                    self.bodies = self.bodies.max(self.head);
                }
                Some("progress") => {
                    self.bodies = self.bodies.max(event["bodies"].as_u64().expect("a number"));
                }
                _ => {}
            }
        }
    }

    /// Nothing that was told to be stored before is fetched again.
    fn fetched_what_was_missing(&self, ended: &Ended) {
        let fetched = ended.end()["fetched"]["bodies"].as_u64().expect("a number");
        let missing = self.has() as u64 - self.bodies;
        assert!(fetched <= missing, "{fetched} bodies where {missing} were missing: {:#?}", ended.told);
    }

    /// One run, ended while there is something to do.
    async fn round(&mut self, round: u64, how: How) {
        let mut client = self.start(&[]).await;
        let has = self.has() as u64;
        client.event("head", |head| head["number"] == has).await;
        let mut items = self.chain.items();
        let until = *items.borrow() + round * INTO_STEP;
        self.grow();
        within("questions", items.wait_for(|items| *items >= until)).await.expect("the peer lives");
        match how {
            How::Interrupt => {
                client.interrupt();
                let ended = client.ended().await;
                assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{:#?}", ended.told);
                self.fetched_what_was_missing(&ended);
                self.note(&ended.told);
            }
            How::Kill => {
                let told = client.kill().await;
                self.note(&told);
            }
        }
    }

    async fn rounds(mut self, how: impl Fn(u64) -> How) {
        for round in 1..=ROUNDS {
            self.round(round, how(round)).await;
        }
        while self.has() < self.blocks.blocks.len() {
            self.grow();
        }
        let client = self.start(&["--until-block", "600", "--timeout", "80s"]).await;
        let ended = client.ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{:#?}", ended.told);
        assert_eq!(self.is_true(ended.end()), 600);
        self.fetched_what_was_missing(&ended);
        self.peer.over().await;
    }
}

#[tokio::test]
async fn a_client_that_is_interrupted_goes_on_where_it_was() {
    let Some(scene) = Scene::set().await else { return };
    scene.rounds(|_| How::Interrupt).await;
}

#[tokio::test]
async fn a_client_that_is_killed_goes_on_where_it_was() {
    let Some(scene) = Scene::set().await else { return };
    scene.rounds(|round| if round == 3 { How::Interrupt } else { How::Kill }).await;
}
