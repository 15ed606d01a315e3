//! Receipts between whole nodes, in each version of eth: both forms, in parts, and what a version
//! cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use trunkline::chain::{ChainSpec, DevChain, HeaderFacts};
use trunkline::error::RequestError;
use trunkline::protocols::eth::{Chain, Eth, GetReceipts, ReceiptLists, receipts};
use trunkline::sync::{ChainStore as _, MemoryStore};
use trunkline::{Config, Keypair, Network, PeerHandle};

use crate::support::{Over, within};

const TRANSACTIONS: usize = 5;

/// A development chain with the receipts of all its blocks.
fn store() -> Arc<MemoryStore> {
    let store = MemoryStore::new(Arc::new(ChainSpec::dev()));
    let mut chain = DevChain::new(1);
    let (blocks, receipts) = (0..12).map(|n| chain.next_block(TRANSACTIONS, 1_700_000_000 + n)).unzip();
    store.extend(blocks, receipts).expect("fits");
    Arc::new(store)
}

async fn node(store: Arc<MemoryStore>, version: u32, listen: &str) -> Network {
    let eth = Eth::builder(store).versions(|ours| ours == version).build();
    let config = match listen {
        "" => Config::builder(),
        listen => Config::builder().listen(listen.parse().expect("an address")),
    };
    let config = config.build().expect("a configuration");
    Network::builder(config, Keypair::generate_secp256k1()).exchange(eth).start().await.expect("starts")
}

/// The hashes of the blocks from this one on.
fn hashes(store: &MemoryStore, from: u64) -> Vec<B256> {
    (from..=12).map(|number| store.block(number).expect("held").hash).collect()
}

async fn lists(peer: &PeerHandle, asked: GetReceipts) -> ReceiptLists {
    let answer = within(Duration::from_secs(20), "an answer", peer.request(asked.raw())).await;
    answer.expect("answered")
}

/// Receipts of 12 MB: a log that no block of this chain could hold, 24 times.
fn large() -> Bytes {
    use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, TxType};
    use alloy_primitives::{Address, Log};
    let log = Log::new(Address::repeat_byte(6), Vec::new(), vec![7; 500_000].into()).expect("no topics");
    let receipt = |at: u64| Receipt {
        status: Eip658Value::Eip658(true),
        cumulative_gas_used: 21_000 * at,
        logs: vec![log.clone()],
    };
    let all: Vec<_> =
        (1..=24).map(|at| ReceiptEnvelope::from_typed(TxType::Eip1559, receipt(at).with_bloom())).collect();
    let mut out = Vec::new();
    alloy_rlp::encode_list(&all, &mut out);
    out.into()
}

#[tokio::test]
async fn receipts_come_in_the_form_of_each_version_and_have_their_roots() {
    for version in [68, 69, 70] {
        let store = store();
        let server = node(store.clone(), version, "/ip4/127.0.0.1/tcp/0").await;
        let client = node(self::store(), version, "").await;
        let to = server.listening()[0].clone();
        let peer = client.dial(to).await.expect("connects");

        let answer = lists(&peer, GetReceipts::new(hashes(&store, 1))).await;
        assert_eq!((answer.blocks.len(), answer.last_incomplete), (12, false));
        for (number, list) in (1..).zip(&answer.blocks) {
            let block = store.block(number).expect("held");
            let facts = HeaderFacts::read(&block.header).expect("a header");
            assert_eq!(receipts::verify(&facts, TRANSACTIONS, list), Ok(()));
            assert!(list.len() <= receipts::bytes_max(&facts));
            let held = store.receipts(&block.hash).expect("held");
            assert_eq!(*list == held, version == 68, "consensus form up to eth/68 only");
        }
        let typed = peer.request(GetReceipts::new(hashes(&store, 11))).await.expect("answered");
        assert_eq!(typed.blocks.iter().map(Vec::len).collect::<Vec<_>>(), [TRANSACTIONS; 2]);

        // Where an index cannot be said the question ends at once, and the session lives on.
        let indexed = GetReceipts::new(hashes(&store, 11)).from_index(3);
        match peer.request(indexed.clone().raw()).await {
            Err(RequestError::Unsupported(_)) => assert!(version < 70),
            Ok(answer) => {
                assert_eq!(version, 70);
                assert_eq!(receipts::count(&answer.blocks[0]), Ok(TRANSACTIONS - 3));
                assert_eq!(receipts::count(&answer.blocks[1]), Ok(TRANSACTIONS));
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(matches!(peer.request(indexed).await, Err(RequestError::Unsupported(_))), version < 70);
        assert_eq!(lists(&peer, GetReceipts::new(hashes(&store, 12))).await.blocks.len(), 1);
        client.over().await;
        server.over().await;
    }
}

/// A block above 10 MiB: alone up to eth/69, in parts from eth/70 on; the same bytes in the end.
#[tokio::test]
async fn a_block_with_more_receipts_than_fit_in_ten_mebibytes_arrives_in_each_version() {
    let large = large();
    let flat = receipts::flatten(&large).expect("receipts");
    for version in [68, 69, 70] {
        let store = store();
        let block = store.block(3).expect("held").hash;
        store.put_receipts(vec![(block, large.clone())]).expect("held");
        let server = node(store.clone(), version, "/ip4/127.0.0.1/tcp/0").await;
        let client = node(self::store(), version, "").await;
        let to = server.listening()[0].clone();
        let peer = client.dial(to).await.expect("connects");

        let first = lists(&peer, GetReceipts::new(hashes(&store, 1))).await;
        let (mut parts, mut next) = (Vec::new(), 0);
        if version == 70 {
            assert_eq!((first.blocks.len(), first.last_incomplete), (3, true));
            parts.push(first.blocks[2].clone());
            next = receipts::count(&parts[0]).expect("a list") as u64;
        } else {
            assert_eq!((first.blocks.len(), first.last_incomplete), (2, false));
        }
        let answer = lists(&peer, GetReceipts::new(hashes(&store, 3)).from_index(next)).await;
        assert!(!answer.last_incomplete);
        assert_eq!(answer.blocks.len(), if version == 70 { 10 } else { 1 });
        parts.push(answer.blocks[0].clone());
        let whole = receipts::join(&parts, receipts::JOINED_BYTES_MAX).expect("joins");
        assert_eq!(whole, if version == 68 { &large } else { &flat });
        client.over().await;
        server.over().await;
    }
}
