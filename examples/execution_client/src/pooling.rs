//! Keeps the pool at the head: what was mined goes, what a reorganisation dropped comes back, and what
//! the command line submits goes in once.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::B256;
use bytes::Bytes;
use trunkline::chain::RawBlock;
use trunkline::transactions::PooledTransaction;

use crate::evm::Executor;
use crate::pool::{Head, Pool, PoolStatus};
use crate::report::Event;
use crate::store::Store;

pub struct Pooling {
    store: Arc<Store>,
    pool: Arc<Pool>,
    executor: Arc<Executor>,
    /// What is still to be submitted.
    own: Vec<PooledTransaction>,
    told: PoolStatus,
}

/// What came of a head.
#[derive(Debug, Default)]
pub struct Submitted {
    pub events: Vec<Event>,
    /// Transactions of our own to hand on.
    pub spread: Vec<B256>,
}

impl Pooling {
    pub fn new(
        store: Arc<Store>,
        pool: Arc<Pool>,
        executor: Arc<Executor>,
        own: Option<Vec<PooledTransaction>>,
    ) -> Self {
        Self { store, pool, executor, own: own.unwrap_or_default(), told: PoolStatus::default() }
    }

    /// The head is this one now. Our own transactions are submitted with the first.
    pub async fn on_head(&mut self, header: Header, mined: Vec<B256>, dropped: Vec<RawBlock>) -> Submitted {
        let (base_fee, blob_base_fee) = self.executor.next_fees(&header);
        let head = Head {
            number: header.number,
            time: header.timestamp,
            base_fee,
            blob_base_fee,
            gas_limit: header.gas_limit,
        };
        let (store, pool, executor) = (self.store.clone(), self.pool.clone(), self.executor.clone());
        let own = std::mem::take(&mut self.own);
        let work = move || {
            let back = dropped.into_iter().flat_map(|block| transactions_of(&executor, block)).collect();
            pool.on_head(head, Arc::new(store.state()), &mined, back);
            let submitted = submit(&pool, own);
            (submitted, pool.status())
        };
        // A panic in there is one of ours; the next head finds the pool as it was.
        let Ok((mut submitted, status)) = tokio::task::spawn_blocking(work).await else {
            return Submitted::default();
        };
        submitted.events.extend(self.changed(status));
        submitted
    }

    /// The pool's numbers, if they are others than those told last.
    pub fn changed(&mut self, status: PoolStatus) -> Option<Event> {
        (std::mem::replace(&mut self.told, status) != status).then_some(Event::Pool(status))
    }
}

fn submit(pool: &Pool, own: Vec<PooledTransaction>) -> Submitted {
    if own.is_empty() {
        return Submitted::default();
    }
    let mut submitted = Submitted::default();
    let count = own.len();
    for transaction in own {
        let hash = transaction.hash;
        match pool.add_local(transaction) {
            Ok(hash) => submitted.spread.push(hash),
            Err(refusal) => {
                submitted.events.push(Event::Error(format!("transaction {hash} is refused: {refusal}")));
            }
        }
    }
    let accepted = submitted.spread.len();
    submitted.events.push(Event::Submitted { accepted, refused: count - accepted });
    submitted
}

/// The transactions of a block, as the pool takes them. Those with blobs are without them here; the
/// pool has kept what it needs.
fn transactions_of(executor: &Executor, block: RawBlock) -> Vec<PooledTransaction> {
    let Ok(prepared) = executor.prepare(block) else { return Vec::new() };
    let transactions = prepared.transactions.iter();
    let pooled = transactions.map(|transaction| PooledTransaction {
        hash: *transaction.tx_hash(),
        kind: u8::from(transaction.tx_type()),
        encoded: Bytes::from(transaction.encoded_2718()),
    });
    pooled.collect()
}
