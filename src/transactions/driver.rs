//! Carries out what the plan decides: requests, lots for the pool, messages, blame.

use std::sync::Arc;

use alloy_primitives::B256;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::action::{Action, News};
use super::config::TransactionsConfig;
use super::handle::{LOTS_MAX, TransactionCounts, TransactionsError, TransactionsHandle};
use super::plan::TransactionPlan;
use super::pool::{TransactionPool, Verdict};
use super::source::{Source, SourceEvent};
use crate::disconnect::DisconnectReason;
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::offload::{self, Offload};
use crate::protocols::eth::PooledTransaction;

/// Fills a pool from the peers, and hands on what is in it.
///
/// Made with [`Transactions::new`], watched, fed and stopped through [`Transactions::handle`], driven
/// by [`Transactions::run`]. Questions of peers are not answered here, but by
/// [`Eth`](crate::protocols::eth::Eth), which is given the same pool.
///
/// ```no_run
/// # async fn embed(
/// #     pool: std::sync::Arc<dyn trunkline::transactions::TransactionPool>,
/// #     chain: std::sync::Arc<dyn trunkline::protocols::eth::Chain>,
/// #     config: trunkline::Config,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use trunkline::offload::BlockingThreads;
/// use trunkline::protocols::eth::Eth;
/// use trunkline::transactions::{EthPeers, Transactions, TransactionsConfig};
/// use trunkline::{Keypair, Network};
///
/// let eth = Eth::builder(chain).pool(pool.clone()).build();
/// let network = Network::builder(config, Keypair::generate_secp256k1()).exchange(eth.clone()).start().await?;
/// let peers = Arc::new(EthPeers::new(network.peer_table(), eth));
/// let service = Transactions::new(peers, pool, Arc::new(BlockingThreads), TransactionsConfig::default());
/// let transactions = service.handle();
/// tokio::spawn(service.run());
/// println!("{} transactions were added", transactions.counts().added);
/// # Ok(())
/// # }
/// ```
pub struct Transactions<S: ?Sized> {
    source: Arc<S>,
    pool: Arc<dyn TransactionPool>,
    offload: Arc<dyn Offload>,
    config: TransactionsConfig,
    counts: watch::Sender<TransactionCounts>,
    spread: (mpsc::Sender<Vec<B256>>, mpsc::Receiver<Vec<B256>>),
    stop: CancellationToken,
}

impl<S: Source + ?Sized> Transactions<S> {
    /// Between the peers of `source` and `pool`, which checks transactions through `offload`, one lot
    /// of at most 256 at a time. Nothing happens before [`run`](Self::run).
    pub fn new(
        source: Arc<S>,
        pool: Arc<dyn TransactionPool>,
        offload: Arc<dyn Offload>,
        config: TransactionsConfig,
    ) -> Self {
        let (counts, _) = watch::channel(TransactionCounts::default());
        let (spread, stop) = (mpsc::channel(LOTS_MAX), CancellationToken::new());
        Self { source, pool, offload, config: config.bounded(), counts, spread, stop }
    }

    /// To watch, feed and stop it, before and while it runs.
    pub fn handle(&self) -> TransactionsHandle {
        TransactionsHandle {
            counts: self.counts.subscribe(),
            spread: self.spread.0.clone(),
            stop: self.stop.clone(),
        }
    }

    /// Goes on until the handle's `stop` is called or the source's events end.
    ///
    /// Dropping the future drops every request. A lot that the pool was given may still arrive there.
    pub async fn run(self) -> Result<(), TransactionsError>
    where
        S: 'static,
    {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            result = Driver::new(self).run() => result,
        }
    }
}

/// What a task of ours came to.
enum Done {
    Answer(SessionId, Result<Vec<PooledTransaction>, RequestError>),
    Verdicts(Option<Vec<Verdict>>),
    /// What the host ordered to be spread, of what the pool still has.
    Ordered(Option<Vec<PooledTransaction>>),
}

/// The running exchange. Tasks are requests, one per peer, one lot with the pool and one order being
/// looked up; all of them live in this value and end with it.
struct Driver<S: ?Sized> {
    source: Arc<S>,
    pool: Arc<dyn TransactionPool>,
    offload: Arc<dyn Offload>,
    config: TransactionsConfig,
    counts: watch::Sender<TransactionCounts>,
    orders: mpsc::Receiver<Vec<B256>>,
    /// Whether an order is being looked up: the next one waits.
    ordering: bool,
    /// Keeps the orders open, however few handles there are.
    _orders_open: mpsc::Sender<Vec<B256>>,
    plan: TransactionPlan,
    tasks: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl<S: Source + ?Sized> Driver<S> {
    fn new(service: Transactions<S>) -> Self {
        let Transactions { source, pool, offload, config, counts, spread: (open, orders), .. } = service;
        let known = pool.clone();
        let plan = TransactionPlan::new(config.clone(), Box::new(move |hash| known.knows(hash)));
        let tasks = FuturesUnordered::new();
        Self {
            source,
            pool,
            offload,
            config,
            counts,
            orders,
            ordering: false,
            _orders_open: open,
            plan,
            tasks,
        }
    }

    async fn run(mut self) -> Result<(), TransactionsError> {
        // First listen, then look, so that no peer is missed in between.
        let mut events = self.source.events();
        self.read_peers();
        loop {
            while let Some(action) = self.plan.poll_action() {
                self.act(action);
            }
            self.publish();
            let due = self.plan.poll_timeout().map(Instant::from_std);
            let timeout = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // Our own tasks first: their number is bounded, that of announcements is not.
                Some(done) = self.tasks.next() => self.on_done(done)?,
                Some(hashes) = self.orders.recv(), if !self.ordering => self.look_up(hashes),
                event = events.next() => match event {
                    Some(event) => self.on_event(event),
                    None => return Ok(()),
                },
                () = timeout => self.plan.on_timeout(now()),
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Ask { session, hashes } => {
                let answer = self.source.transactions(session, hashes, self.config.timeout);
                self.tasks.push(answer.map(move |answer| Done::Answer(session, answer)).boxed());
            }
            Action::Add(transactions) => {
                let pool = self.pool.clone();
                let verdicts = offload::run(&self.offload, move || pool.add(transactions));
                self.tasks.push(verdicts.map(Done::Verdicts).boxed());
            }
            Action::Tell { to, news: News::Hashes(hashes) } => self.source.announce(&to, hashes),
            Action::Tell { to, news: News::Whole(transactions) } => self.source.send(&to, transactions),
            Action::Blame { session, why } => {
                tracing::debug!(%session, %why, "bad data");
                self.source.blame(session, DisconnectReason::BadData);
            }
        }
    }

    fn on_done(&mut self, done: Done) -> Result<(), TransactionsError> {
        match done {
            Done::Answer(session, answer) => self.plan.on_answer(now(), session, answer),
            Done::Verdicts(Some(verdicts)) => self.plan.on_verdicts(now(), &verdicts),
            Done::Ordered(Some(transactions)) => {
                self.ordering = false;
                self.plan.spread(&transactions);
            }
            Done::Verdicts(None) | Done::Ordered(None) => return Err(TransactionsError::OffloadLost),
        }
        Ok(())
    }

    fn look_up(&mut self, hashes: Vec<B256>) {
        let pool = self.pool.clone();
        let found = offload::run(&self.offload, move || {
            let pooled = |hash: &B256| PooledTransaction::from_encoded(pool.pooled(hash)?).ok();
            hashes.iter().filter_map(pooled).collect()
        });
        self.ordering = true;
        self.tasks.push(found.map(Done::Ordered).boxed());
    }

    fn on_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Up(session) => self.on_up(session),
            SourceEvent::Down(session) => {
                let full = self.plan.is_full();
                self.plan.on_peer_down(now(), session);
                if full {
                    // Somebody who was turned away may take the place.
                    self.read_peers();
                }
            }
            SourceEvent::Hashes { session, hashes } => self.plan.on_hashes(now(), session, &hashes),
            SourceEvent::Transactions { session, transactions } => {
                self.plan.on_transactions(now(), session, &transactions);
            }
            SourceEvent::Lagged => self.read_peers(),
        }
    }

    fn read_peers(&mut self) {
        let sessions = self.source.peers();
        self.plan.on_peers(now(), &sessions);
        sessions.into_iter().for_each(|session| self.on_up(session));
    }

    fn on_up(&mut self, session: SessionId) {
        if self.plan.is_new(session) {
            self.plan.on_peer_up(session, self.pool.hashes());
        }
    }

    fn publish(&mut self) {
        let counts = self.plan.counts();
        self.counts.send_if_modified(|last| std::mem::replace(last, counts) != counts);
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
