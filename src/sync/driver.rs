//! Carries out what the plan decides: requests, hashing, deliveries, progress.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use futures::StreamExt;
use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::action::{Action, Answer, Query, Start};
use super::check::Verdict;
use super::config::{Receipts, SyncConfig};
use super::fork::Stored;
use super::handle::{Rejection, SyncError, SyncHandle};
use super::plan::SyncPlan;
use super::progress::{Meter, Progress, ReceiptsState, eta};
use super::receipt_window::Scan;
use super::requests::Ticket;
use super::source::{Candidate, Source, SourceEvent};
use super::store::{ChainStore, MissingReceipts, StoreError};
use crate::chain::{BlockRef, HeaderFacts};
use crate::disconnect::DisconnectReason;
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::offload::{self, Offload};

/// So often in a row the store may refuse what follows its own head before that is an error.
const MOVES_MAX: u32 = 3;
/// So many rejected blocks wait to be looked at; more have to wait before they are told.
const REJECTIONS_MAX: usize = 16;
/// Progress other than a new head is told at most this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// Brings a chain to the head of its peers and keeps it there.
///
/// Made with [`Syncer::new`], watched and stopped through [`Syncer::handle`], driven by
/// [`Syncer::run`].
pub struct Syncer<S: ?Sized> {
    source: Arc<S>,
    store: Arc<dyn ChainStore>,
    offload: Arc<dyn Offload>,
    config: SyncConfig,
    progress: watch::Sender<Progress>,
    stop: CancellationToken,
    rejections: (mpsc::Sender<Rejection>, mpsc::Receiver<Rejection>),
    moved: Arc<Notify>,
}

impl<S: Source + ?Sized> Syncer<S> {
    /// A sync from `source` into `store`, which hashes through `offload`. Nothing happens before
    /// [`run`](Self::run).
    pub fn new(
        source: Arc<S>,
        store: Arc<dyn ChainStore>,
        offload: Arc<dyn Offload>,
        config: SyncConfig,
    ) -> Self {
        let head = store.head();
        let number = head.map_or(0, |head| head.number);
        let progress = Progress {
            start: number,
            headers: number,
            bodies: number,
            target: number,
            head,
            // Until somebody has looked.
            receipts_state: match config.receipts {
                Receipts::None => ReceiptsState::Off,
                Receipts::Available | Receipts::Required => ReceiptsState::Fetching,
            },
            ..Progress::default()
        };
        let (progress, _) = watch::channel(progress);
        let (stop, rejections) = (CancellationToken::new(), mpsc::channel(REJECTIONS_MAX));
        let (config, moved) = (config.bounded(), Arc::default());
        Self { source, store, offload, config, progress, stop, rejections, moved }
    }

    /// To watch and stop it, before and while it runs.
    pub fn handle(&self) -> SyncHandle {
        SyncHandle {
            progress: self.progress.subscribe(),
            stop: self.stop.clone(),
            rejections: self.rejections.0.clone(),
            moved: self.moved.clone(),
        }
    }

    /// Follows the peers until the trusted head is stored, the handle's `stop` is called, or the
    /// source's events end; without a trusted head it goes on for ever. Whether a trusted head is
    /// enough, or receipts have to come as well, [`SyncConfig::receipts`] says.
    ///
    /// Dropping the future drops every request. A batch handed to the store may still arrive there.
    pub async fn run(self) -> Result<(), SyncError>
    where
        S: 'static,
    {
        let stop = self.stop.clone();
        if self.config.receipts == Receipts::None
            && let Some(trusted) = self.config.trusted_head
            && self.store.number(&trusted).is_some()
        {
            self.progress.send_modify(|progress| progress.at_target = true);
            return Ok(());
        }
        let driver = Driver::new(self);
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            result = driver.run() => result,
        }
    }
}

/// What a task of ours came to.
enum Done {
    Answer(Ticket, Result<Answer, RequestError>),
    Verdict(Ticket, Option<Verdict>),
    Stored(Option<Result<(), StoreError>>),
    Dropped(Option<Result<(), StoreError>>),
    Found(Scan, Option<Vec<MissingReceipts>>),
    ReceiptsStored(Option<Result<(), StoreError>>),
}

/// The running sync. Tasks are requests (bounded by the plan), at most `checks_max` checks, one
/// delivery of blocks, one of receipts and one look into the store; all of them live in this value and end with it.
struct Driver<S: ?Sized> {
    syncer: Syncer<S>,
    plan: SyncPlan,
    tasks: FuturesUnordered<BoxFuture<'static, Option<Done>>>,
    requests: BTreeMap<Ticket, AbortHandle>,
    meter: Meter,
    published: Option<Instant>,
    moves: u32,
    /// Cancelled when a delivery is not to wait for room any more.
    hurry: CancellationToken,
}

impl<S: Source + ?Sized> Driver<S> {
    fn new(syncer: Syncer<S>) -> Self {
        let start = start_of(&*syncer.store, &syncer.config);
        let plan = SyncPlan::new(now(), syncer.config.clone(), start);
        Self {
            syncer,
            plan,
            tasks: FuturesUnordered::new(),
            requests: BTreeMap::new(),
            meter: Meter::default(),
            published: None,
            moves: 0,
            hurry: CancellationToken::new(),
        }
    }

    async fn run(mut self) -> Result<(), SyncError> {
        // First listen, then look, so that no peer is missed in between.
        let mut events = self.syncer.source.events();
        self.read_candidates();
        loop {
            while let Some(action) = self.plan.poll_action() {
                if self.act(action)? {
                    self.published = None;
                    self.publish();
                    return Ok(());
                }
            }
            let publish_due = self.publish();
            let plan_due = self.plan.poll_timeout().map(Instant::from_std);
            if plan_due.is_some_and(|due| due <= Instant::now()) {
                self.plan.on_timeout(now());
                continue;
            }
            let due = plan_due.into_iter().chain(publish_due).min();
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
                Some(rejection) = self.syncer.rejections.1.recv() => self.on_rejected(rejection),
                () = self.syncer.moved.notified() => self.on_host_moved(),
                event = events.next() => match event {
                    Some(event) => self.on_event(event),
                    None => return Ok(()),
                },
                // Whichever was due: the loop looks again.
                () = timeout => {}
            }
        }
    }

    /// Does one thing the plan decided. Whether the sync is over.
    fn act(&mut self, action: Action) -> Result<bool, SyncError> {
        match action {
            Action::Ask { ticket, session, query, timeout } => self.ask(ticket, session, query, timeout),
            Action::Cancel(ticket) => {
                if let Some(request) = self.requests.remove(&ticket) {
                    request.abort();
                }
            }
            Action::Verify(ticket, check) => {
                let verdict = offload::run(&self.syncer.offload, move || check.run());
                self.tasks.push(verdict.map(move |verdict| Some(Done::Verdict(ticket, verdict))).boxed());
            }
            Action::Deliver { truncate, blocks } => {
                let store = self.syncer.store.clone();
                let offload = self.syncer.offload.clone();
                let hurried = self.hurry.clone().cancelled_owned();
                let stored = async move {
                    // A host that rejects a block may not make room before that is done.
                    futures::future::select(store.ready(), std::pin::pin!(hurried)).await;
                    let append = move || {
                        if let Some(number) = truncate {
                            store.truncate(number)?;
                        }
                        store.append(blocks)
                    };
                    Some(Done::Stored(offload::run(&offload, append).await))
                };
                self.tasks.push(stored.boxed());
            }
            Action::Drop { above } => {
                let store = self.syncer.store.clone();
                let dropped = offload::run(&self.syncer.offload, move || store.truncate(above));
                self.tasks.push(dropped.map(|dropped| Some(Done::Dropped(dropped))).boxed());
            }
            Action::FindReceipts(scan) => {
                let store = self.syncer.store.clone();
                let found =
                    offload::run(&self.syncer.offload, move || store.missing_receipts(scan.from, scan.to));
                self.tasks.push(found.map(move |found| Some(Done::Found(scan, found))).boxed());
            }
            Action::DeliverReceipts(receipts) => {
                let store = self.syncer.store.clone();
                let stored = offload::run(&self.syncer.offload, move || store.put_receipts(receipts));
                self.tasks.push(stored.map(|stored| Some(Done::ReceiptsStored(stored))).boxed());
            }
            Action::Blame { session, why } => {
                tracing::debug!(%session, %why, "bad data");
                self.syncer.source.blame(session, DisconnectReason::BadData);
            }
            Action::HeadReached(head) => {
                tracing::debug!(number = head.number, hash = %head.hash, "head reached")
            }
            Action::Finished(head) => {
                tracing::debug!(number = head.number, "trusted head stored");
                return Ok(true);
            }
            Action::TrustedRejected { number } => return Err(SyncError::TrustedRejected { number }),
            Action::Impossible { number } => return Err(SyncError::OtherBranch { number }),
        }
        Ok(false)
    }

    fn ask(&mut self, ticket: Ticket, session: SessionId, query: Query, timeout: Duration) {
        let source = &self.syncer.source;
        let answer: BoxFuture<'static, Result<Answer, RequestError>> = match query {
            Query::Headers(query) => {
                source.headers(session, query, timeout).map(|answer| answer.map(Answer::from)).boxed()
            }
            Query::Bodies(hashes) => {
                source.bodies(session, hashes, timeout).map(|answer| answer.map(Answer::from)).boxed()
            }
            Query::Receipts { hashes, first_index } => {
                let answer = source.receipts(session, hashes, first_index, timeout);
                answer.map(|answer| answer.map(Answer::from)).boxed()
            }
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.requests.insert(ticket, abort);
        let answer = Abortable::new(answer, registration);
        let done = answer.map(move |result| result.ok().map(|answer| Done::Answer(ticket, answer)));
        self.tasks.push(done.boxed());
    }

    fn on_done(&mut self, done: Option<Done>) -> Result<(), SyncError> {
        match done {
            // A request that was cancelled.
            None => {}
            Some(Done::Answer(ticket, answer)) => {
                self.requests.remove(&ticket);
                self.plan.on_answer(now(), ticket, answer);
            }
            Some(Done::Verdict(ticket, Some(verdict))) => self.plan.on_verified(now(), ticket, verdict),
            Some(Done::Stored(Some(Ok(())))) => {
                self.moves = 0;
                self.plan.on_stored(now());
            }
            Some(Done::Stored(Some(Err(StoreError::Gap { .. })))) if self.moves < MOVES_MAX => {
                // The host moved the head itself: go on from where it is now.
                let start = start_of(&*self.syncer.store, &self.syncer.config);
                self.moves = if start.head == self.plan.stored() { self.moves + 1 } else { 0 };
                self.plan.on_moved(now(), start);
            }
            Some(Done::Dropped(Some(Ok(())))) => {
                self.hurry = CancellationToken::new();
                let start = start_of(&*self.syncer.store, &self.syncer.config);
                self.plan.on_moved(now(), start);
            }
            Some(Done::Found(scan, Some(found))) => self.plan.on_found(now(), scan, found),
            Some(Done::ReceiptsStored(Some(Ok(())))) => self.plan.on_receipts_stored(now()),
            Some(
                Done::Stored(Some(Err(error)))
                | Done::Dropped(Some(Err(error)))
                | Done::ReceiptsStored(Some(Err(error))),
            ) => return Err(error.into()),
            Some(
                Done::Verdict(_, None)
                | Done::Stored(None)
                | Done::Dropped(None)
                | Done::Found(_, None)
                | Done::ReceiptsStored(None),
            ) => return Err(SyncError::OffloadLost),
        }
        Ok(())
    }

    /// The host says that it moved the head. A delivery that is under way will show it.
    fn on_host_moved(&mut self) {
        let start = start_of(&*self.syncer.store, &self.syncer.config);
        if start.head != self.plan.stored() && !self.plan.is_delivering() {
            self.plan.on_moved(now(), start);
        }
    }

    fn on_rejected(&mut self, (block, reply): Rejection) {
        let stored = self.syncer.store.number(&block.hash) == Some(block.number);
        if stored {
            self.hurry.cancel();
        }
        // Who does not wait for it any more has dropped the future.
        let _ = reply.send(self.plan.on_rejected(now(), block, stored));
    }

    fn on_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Up(candidate) => self.on_candidate(candidate),
            SourceEvent::Down(session) => {
                let full = self.plan.progress().peers >= self.syncer.config.peers_max;
                self.plan.on_peer_down(now(), session);
                if full {
                    // Somebody who was turned away may take the place.
                    self.read_candidates();
                }
            }
            SourceEvent::Range { session, earliest, head } => {
                self.plan.on_claim(now(), session, earliest, head)
            }
            SourceEvent::NewBlock { session, header, body } => {
                self.plan.on_new_block(now(), session, header, body);
            }
            SourceEvent::Lagged => self.read_candidates(),
        }
    }

    fn read_candidates(&mut self) {
        let candidates = self.syncer.source.candidates();
        let sessions: Vec<_> = candidates.iter().map(|candidate| candidate.session).collect();
        self.plan.on_peers(now(), &sessions);
        candidates.into_iter().for_each(|candidate| self.on_candidate(candidate));
    }

    fn on_candidate(&mut self, candidate: Candidate) {
        self.plan.on_peer_up(now(), candidate.session, candidate.earliest, candidate.head);
    }

    /// Tells those who watch: at once when the head moved, else now and then. Returns when to try
    /// again, if something is left to tell.
    fn publish(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut progress = self.plan.progress();
        let rate = self.meter.on_number(now.into_std(), progress.bodies);
        let last = *self.syncer.progress.borrow();
        let points = |of: &Progress| (of.head, of.at_target, of.receipts_state);
        let news = points(&progress) != points(&last);
        let due = self.published.map_or(now, |at| at + PUBLISH_EVERY);
        if !news && due > now {
            let same =
                Progress { rate_blocks_per_s: last.rate_blocks_per_s, eta: last.eta, ..progress } == last;
            return (!same).then_some(due);
        }
        progress.rate_blocks_per_s = rate;
        progress.eta = eta(progress.target - progress.bodies, rate);
        let changed = |last: &mut Progress| std::mem::replace(last, progress) != progress;
        if self.syncer.progress.send_if_modified(changed) {
            self.published = Some(now);
        }
        None
    }
}

/// What the store holds, as far as the plan needs it.
fn start_of(store: &dyn ChainStore, config: &SyncConfig) -> Start {
    let Some(head) = store.head() else { return Start::default() };
    let status = store.status();
    let lowest = head.number.saturating_sub(config.fork_depth_max);
    let facts = (lowest..=head.number).rev().map_while(|number| {
        let facts = HeaderFacts::read(&store.header(number)?).ok()?;
        Some(Stored { block: BlockRef::from(&facts), difficulty: facts.difficulty })
    });
    let mut recent: Vec<_> = facts.collect();
    recent.reverse();
    let trusted = config.trusted_head.and_then(|trusted| store.number(&trusted));
    let total_difficulty: U256 = status.total_difficulty;
    Start { first: status.earliest, head: Some(head), total_difficulty, recent, trusted }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
