//! The stage before execution: stored blocks are read in order, decoded, and their senders recovered
//! on all cores.

use std::sync::Arc;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use tokio::sync::{mpsc, watch};
use trunkline::chain::{BlockRef, RawBlock};
use trunkline::sync::Progress;

use super::told::Wait;
use crate::evm::{BlockError, Executor, Prepared};
use crate::store::{Store, StoreFailure};

/// Chunks that wait for execution. When full, no more blocks are read.
pub(super) const CHUNKS_MAX: usize = 4;
/// Blocks of a chunk, at most.
const BLOCKS_MAX: u64 = 64;
/// Bytes of a chunk's blocks, as far as it has more than one.
const BYTES_MAX: usize = 2 << 20;

/// Where to go on, and how often that was said before: a chunk of an earlier time does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct From {
    pub(super) generation: u64,
    pub(super) next: u64,
}

/// Blocks that follow each other, ready to be executed.
pub(super) struct Chunk {
    pub(super) generation: u64,
    pub(super) blocks: Vec<Prepared>,
    /// The block behind them, if it cannot be executed at all.
    pub(super) bad: Option<(BlockRef, BlockError)>,
}

pub(super) struct Senders {
    pub(super) store: Arc<Store>,
    pub(super) executor: Arc<Executor>,
    pub(super) from: watch::Receiver<From>,
    pub(super) wait: Wait,
    pub(super) out: mpsc::Sender<Chunk>,
}

impl Senders {
    /// Runs until nobody takes chunks any more.
    pub(super) async fn run(mut self) -> Result<(), StoreFailure> {
        let mut stored = self.store.watch_stored();
        let mut from = *self.from.borrow_and_update();
        loop {
            let to = stored.borrow_and_update().number.min(self.wait.highest());
            if from.next > to {
                tokio::select! {
                    changed = stored.changed() => if changed.is_err() { return Ok(()) },
                    () = self.wait.changed() => {}
                    changed = self.from.changed() => match changed {
                        Ok(()) => from = *self.from.borrow_and_update(),
                        Err(_) => return Ok(()),
                    },
                }
                continue;
            }
            let (store, executor) = (self.store.clone(), self.executor.clone());
            let prepared = tokio::task::spawn_blocking(move || prepare(&store, &executor, from, to));
            // A panic in there is one of ours: it ends the pipeline as a lost chunk would.
            let Ok(chunk) = prepared.await else { return Ok(()) };
            let chunk = chunk?;
            let (next, halted) = (from.next + chunk.blocks.len() as u64, chunk.bad.is_some());
            tokio::select! {
                sent = self.out.send(chunk) => if sent.is_err() { return Ok(()) },
                changed = self.from.changed() => if changed.is_err() { return Ok(()) },
            }
            if halted {
                // Nothing behind it can be executed. Where to go on, the execution says.
                if self.from.changed().await.is_err() {
                    return Ok(());
                }
            }
            let now = *self.from.borrow_and_update();
            from = if now.generation == from.generation { From { next, ..from } } else { now };
        }
    }
}

fn prepare(store: &Store, executor: &Executor, from: From, to: u64) -> Result<Chunk, StoreFailure> {
    let mut raw: Vec<RawBlock> = Vec::new();
    let mut bytes = 0;
    for number in from.next..=to.min(from.next.saturating_add(BLOCKS_MAX - 1)) {
        // One that is missing was dropped meanwhile.
        let Some(block) = store.block(number)? else { break };
        bytes += block.header.len() + block.body.len();
        if !raw.is_empty() && bytes > BYTES_MAX {
            break;
        }
        raw.push(block);
    }
    let prepared: Vec<_> = raw
        .into_par_iter()
        .map(|block| {
            let of = block.block_ref();
            executor.prepare(block).map_err(|error| (of, error))
        })
        .collect();
    let mut chunk =
        Chunk { generation: from.generation, blocks: Vec::with_capacity(prepared.len()), bad: None };
    for block in prepared {
        match block {
            Ok(block) => chunk.blocks.push(block),
            Err(bad) => {
                chunk.bad = Some(bad);
                break;
            }
        }
    }
    Ok(chunk)
}

impl Wait {
    /// The highest block that may be executed as far as others are concerned.
    fn highest(&mut self) -> u64 {
        match self {
            Self::ForBodies => u64::MAX,
            Self::ForReceipts(progress) => receipts_to(&progress.borrow_and_update()),
        }
    }

    async fn changed(&mut self) {
        let gone = match self {
            Self::ForBodies => true,
            Self::ForReceipts(progress) => progress.changed().await.is_err(),
        };
        if gone {
            std::future::pending().await
        }
    }
}

fn receipts_to(progress: &Progress) -> u64 {
    progress.receipts
}
