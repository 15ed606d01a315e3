//! Runs the stages, and decides when to commit, to go back, and to reject.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trunkline::chain::BlockRef;
use trunkline::protocols::eth::Chain as _;
use trunkline::sync::SyncHandle;

use super::execution::{Execution, Ran};
use super::senders::{CHUNKS_MAX, Chunk, From, Senders};
use super::told::{BadBlock, Committed, PipelineError, Told, Wait};
use crate::evm::Executor;
use crate::store::Store;

/// What was executed waits no longer for its commit.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The stages behind the sync.
pub struct Pipeline {
    pub store: Arc<Store>,
    pub executor: Arc<Executor>,
    pub sync: SyncHandle,
    pub wait: Wait,
    /// Who is told. Bounded: execution waits until it is heard.
    pub told: mpsc::Sender<Told>,
}

impl Pipeline {
    /// Executes until `stop`, or until something is wrong that no peer can mend. What was executed by
    /// then is committed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), PipelineError> {
        let Self { store, executor, sync, wait, told } = self;
        let opened = {
            let (store, executor) = (store.clone(), executor.clone());
            tokio::task::spawn_blocking(move || Execution::new(executor, store))
        };
        let execution = opened.await.map_err(|_| PipelineError::Died)??;
        let first = From { generation: 0, next: execution.head().number + 1 };
        let (from, heard) = watch::channel(first);
        let (out, chunks) = mpsc::channel(CHUNKS_MAX);
        let senders = Senders { store: store.clone(), executor, from: heard, wait, out };
        let senders = AbortOnDropHandle::new(tokio::spawn(senders.run()));
        let mut driver = Driver {
            stored: store.watch_stored(),
            store,
            sync,
            told,
            execution: Some(execution),
            from,
            chunks,
            committed: Instant::now(),
        };
        let ran = match driver.run(&stop).await {
            Ok(()) => driver.commit(true).await,
            error => error,
        };
        drop((driver.from, driver.chunks));
        match (ran, senders.await) {
            // Without chunks there is nothing to execute: why there are none is worth more.
            (Err(PipelineError::Died), Ok(Err(failure))) => Err(failure.into()),
            (ran, _) => ran,
        }
    }
}

struct Driver {
    store: Arc<Store>,
    sync: SyncHandle,
    told: mpsc::Sender<Told>,
    /// Missing only while it is at work on a blocking thread.
    execution: Option<Execution>,
    from: watch::Sender<From>,
    chunks: mpsc::Receiver<Chunk>,
    stored: watch::Receiver<BlockRef>,
    committed: Instant,
}

impl Driver {
    /// Returns when it is told to stop. Work that was begun is finished first.
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), PipelineError> {
        loop {
            self.go_back_if_left().await?;
            if self.chunks.is_empty() && self.is_caught_up() {
                // Whoever follows wants each block at once.
                self.commit(true).await?;
            }
            let chunk = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                chunk = self.chunks.recv() => chunk.ok_or(PipelineError::Died)?,
                changed = self.stored.changed() => {
                    changed.map_err(|_| PipelineError::Died)?;
                    continue;
                }
                () = sleep_until(self.committed + COMMIT_EVERY), if self.has_uncommitted() => {
                    self.commit(false).await?;
                    continue;
                }
            };
            if chunk.generation != self.from.borrow().generation {
                continue;
            }
            let Chunk { blocks, bad, .. } = chunk;
            let ran = self.work(move |execution| execution.run(blocks)).await?;
            let bad =
                bad.map(|(block, error)| BadBlock { block, what: error.what(), why: error.to_string() });
            match ran {
                Ran::All => match bad {
                    None if self.execution.as_ref().is_some_and(Execution::is_full) => {
                        self.commit(false).await?
                    }
                    None => {}
                    Some(bad) => self.reject(bad, stop).await?,
                },
                Ran::Bad(bad) => self.reject(bad, stop).await?,
                Ran::Elsewhere => {
                    self.commit(false).await?;
                    self.restart()?;
                }
            }
        }
    }

    /// A block failed: what is before it is kept, the sync is told, and when the block is gone it
    /// goes on from the block before.
    async fn reject(&mut self, bad: BadBlock, stop: &CancellationToken) -> Result<(), PipelineError> {
        self.commit(false).await?;
        let block = bad.block;
        let blamed = self.sync.reject(block).await;
        let _ = self.told.send(Told::Bad { bad: bad.clone(), blamed }).await;
        while self.store.number(&block.hash).is_some() {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.stored.changed() => changed.map_err(|_| PipelineError::Died)?,
                // A sync that has ended drops nothing any more: the trusted head builds on it.
                () = ended(&self.sync) => {
                    return Err(PipelineError::Trusted { number: block.number, why: bad.why });
                }
            }
        }
        self.restart()
    }

    /// Goes back to the stored chain if the executed head is not a block of it any more.
    async fn go_back_if_left(&mut self) -> Result<(), PipelineError> {
        let Some(execution) = &self.execution else { return Err(PipelineError::Died) };
        if execution.is_canonical() {
            return Ok(());
        }
        let from = execution.head();
        self.commit(false).await?;
        let common = self.work(Execution::unwind).await?;
        let _ = self.told.send(Told::Unwound { from, common }).await;
        self.restart()
    }

    async fn commit(&mut self, caught_up: bool) -> Result<(), PipelineError> {
        let wrote = self.work(Execution::commit).await?;
        self.committed = Instant::now();
        let Some(wrote) = wrote else { return Ok(()) };
        let committed = Committed {
            head: wrote.head,
            header: wrote.header,
            mined: wrote.mined,
            // Until then the store keeps them: the pool looks at heads that it has caught up with only.
            dropped: if caught_up { self.store.take_dropped() } else { Vec::new() },
            caught_up,
        };
        let _ = self.told.send(Told::Committed(Box::new(committed))).await;
        Ok(())
    }

    fn is_caught_up(&self) -> bool {
        let stored = self.store.stored().number;
        self.execution.as_ref().is_some_and(|execution| stored <= execution.head().number)
    }

    fn has_uncommitted(&self) -> bool {
        self.execution.as_ref().is_some_and(Execution::has_uncommitted)
    }

    /// Senders are recovered from the block after the executed head on.
    fn restart(&mut self) -> Result<(), PipelineError> {
        let head = self.execution.as_ref().ok_or(PipelineError::Died)?.head();
        self.from.send_modify(|from| *from = From { generation: from.generation + 1, next: head.number + 1 });
        Ok(())
    }

    /// Lets the execution work on a blocking thread.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Execution) -> Result<T, PipelineError> + Send + 'static,
    ) -> Result<T, PipelineError> {
        let mut execution = self.execution.take().ok_or(PipelineError::Died)?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(&mut execution);
            (execution, result)
        });
        let (execution, result) = worked.await.map_err(|_| PipelineError::Died)?;
        self.execution = Some(execution);
        result
    }
}

async fn ended(sync: &SyncHandle) {
    let mut progress = sync.subscribe();
    while progress.changed().await.is_ok() {}
}
