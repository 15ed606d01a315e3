//! A node from its first dial to its last line.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use trunkline::chain::{BlockRef, ChainSpec, export};
use trunkline::error::StartError;
use trunkline::offload::BlockingThreads;
use trunkline::protocols::eth::{Chain as _, Eth};
use trunkline::sync::{EthSource, MemoryStore, SyncConfig, SyncError, SyncHandle, Syncer};
use trunkline::{Config, Events, Network, NetworkEvent, PeerAddr};

use super::args::NodeArgs;
use super::chain::{Chain, off_thread};
use super::discovery::Discovering;
use super::ends::{Ends, Why};
use super::event::{End, Event};
use super::identity::Identity;
use super::output::Output;
use super::receipts::ReceiptsWatch;
use crate::duration;
use crate::escape::escape;
use crate::failure::Failure;
use crate::signals::DumpSignals;
use crate::trace_ui::TraceUi;

/// Head and progress are told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How a node syncs. `anchor` is a trusted block that is still to be fetched.
pub(super) fn sync_config(args: &NodeArgs, anchor: Option<B256>) -> SyncConfig {
    // Only the development chain chooses between branches by their weight.
    let heaviest = args.chain == ChainSpec::dev().name();
    let receipts = args.receipts.policy();
    SyncConfig { trusted_head: args.head, anchor, heaviest, receipts, ..SyncConfig::default() }
}

/// What a node's end means for the exit code.
pub(super) fn verdict(why: Why, until_block: Option<u64>, head: BlockRef) -> Result<(), Failure> {
    let when = match why {
        Why::Broken(why) => return Err(Failure::Failed(why)),
        Why::Timeout(after) => format!("within {}", duration::format(after)),
        Why::Signal | Why::Left => "before it was told to end".to_owned(),
        Why::Ttl | Why::Reached => "before the time to live was over".to_owned(),
    };
    match until_block {
        Some(until) if head.number < until => {
            let head = head.number;
            Err(Failure::failed(format!("block {until} was not reached {when}: the head is block {head}")))
        }
        _ => Ok(()),
    }
}

/// A running node.
pub(super) struct Node {
    network: Network,
    discovering: Option<Discovering>,
    eth: Arc<Eth>,
    store: Arc<MemoryStore>,
    sync: SyncHandle,
    syncing: JoinHandle<Result<(), SyncError>>,
    events: Events,
    output: Output,
    /// Whether to show the table; and the table, while it is shown.
    wants_ui: bool,
    ui: Option<TraceUi>,
    until_block: Option<u64>,
    export: Option<PathBuf>,
    /// When the first peer was dialled.
    dialled: Option<Instant>,
    /// When the head last moved, and where to.
    head_at: Option<Instant>,
    head: BlockRef,
    /// What was told last.
    told_head: BlockRef,
    told: (u64, u64, u64, u64),
    receipts: ReceiptsWatch,
    told_dumps: usize,
}

impl Node {
    /// Binds the listen addresses, writes a missing key file, starts to dial and to sync.
    pub(super) async fn start(
        args: &NodeArgs,
        config: Config,
        identity: &Identity,
        chain: Chain,
        output: Output,
    ) -> Result<Self, Failure> {
        let Chain { store, anchor, .. } = chain;
        let eth = Eth::builder(store.clone()).versions(|version| args.speaks(version)).build();
        let builder = Network::builder(config, identity.keypair()).exchange(eth.clone());
        let network = builder.start().await.map_err(|error| match error {
            StartError::Listen { .. } | StartError::Trace(_) => Failure::unusable(error),
            error => Failure::failed(error),
        })?;
        let discovering = args.discovery.start(&network, &identity.keypair(), store.clone()).await;
        let discovering = match discovering.and_then(|running| identity.save().map(|()| running)) {
            Ok(running) => running,
            Err(failure) => {
                network.shutdown().await;
                return Err(failure);
            }
        };
        let events = network.events();
        let source = Arc::new(EthSource::new(network.peer_table(), eth.clone()));
        let offload = Arc::new(BlockingThreads);
        let syncer = Syncer::new(source, store.clone(), offload, sync_config(args, anchor));
        let sync = syncer.handle();
        let head = store.status().latest;
        let mut node = Self {
            network,
            discovering,
            eth,
            store,
            sync,
            syncing: tokio::spawn(syncer.run()),
            events,
            output,
            wants_ui: args.trace_ui,
            ui: None,
            until_block: args.until_block,
            export: args.export.clone(),
            dialled: None,
            head_at: None,
            head,
            told_head: head,
            told: (0, 0, 0, 0),
            receipts: ReceiptsWatch::new(args.receipts, args.until_block),
            told_dumps: 0,
        };
        node.connect(&args.connect).await;
        Ok(node)
    }

    async fn connect(&mut self, addrs: &[PeerAddr]) {
        for addr in addrs {
            self.dialled.get_or_insert_with(Instant::now);
            self.network.add_static_peer(addr.clone()).await;
        }
    }

    /// Tells what there is to tell first, runs until something ends it, then drains and prints the
    /// last line.
    pub(super) async fn run(
        mut self,
        mut ends: Ends,
        mut dumps: DumpSignals,
        first: impl IntoIterator<Item = Event>,
    ) -> Result<(), Failure> {
        let first = first.into_iter().chain(self.discovering.as_ref().map(Discovering::event));
        let told = first.into_iter().try_for_each(|event| self.output.print(&event));
        let followed = match told.and_then(|()| self.show_ui()) {
            Ok(()) => self.follow(&mut ends, &mut dumps).await,
            Err(error) => Err(error),
        };
        self.close_ui().await;
        let why = match followed {
            Ok(why) => why,
            Err(error) => Why::Broken(format!("results cannot be written: {error}")),
        };
        let exported = self.finish().await;
        let head = self.store.status().latest;
        let took = match (self.dialled, self.head_at) {
            (Some(dialled), Some(head_at)) => head_at.saturating_duration_since(dialled),
            _ => Duration::ZERO,
        };
        let stats = self.network.stats();
        let (bytes_in, bytes_out) = self.network.traffic();
        let (requests, orphans) = (stats.outcomes(), stats.in_flight());
        if let Err(failure) = &exported {
            drop(self.output.print(&Event::Error(failure.to_string())));
        }
        // If nobody reads it any more, the exit code still tells.
        let receipts = self.receipts.sum(&self.store, self.dialled);
        let end = End { head, requests, orphans, bytes_in, bytes_out, took, receipts };
        drop(self.output.print(&Event::End(end)));
        exported.and(verdict(why, self.until_block, head)).and_then(|()| self.receipts.verdict(&self.store))
    }

    fn show_ui(&mut self) -> io::Result<()> {
        if self.wants_ui {
            let shown = self.output.leave_terminal();
            let trace = self.network.trace().clone();
            let picture = move || {
                let trace = trace.clone();
                async move { trace.snapshot().await }
            };
            self.ui = Some(TraceUi::start(picture, shown)?);
        }
        Ok(())
    }

    /// Dumps the flight recorder, because of a signal.
    async fn dump(&mut self) -> io::Result<()> {
        let failed = match self.network.trace().dump("signal").await {
            Some(Ok(file)) => {
                tracing::warn!(target: "trunkline::trace", path = %file.display(), "flight recorder dumped");
                return self.tell_dumps();
            }
            Some(Err(error)) => format!("no dump: {error}"),
            None => "no dump: the trace is off, or there have been 8 dumps".to_owned(),
        };
        self.output.print(&Event::Error(failed))
    }

    /// Says which dumps there are since it last did, whatever made them.
    fn tell_dumps(&mut self) -> io::Result<()> {
        for (file, reason) in self.network.trace().dumps().into_iter().skip(self.told_dumps) {
            self.told_dumps += 1;
            self.output.print(&Event::TraceDump { file, reason })?;
        }
        Ok(())
    }

    async fn close_ui(&mut self) {
        if let Some(ui) = self.ui.take() {
            ui.close().await;
        }
        self.output.return_to_terminal();
    }

    async fn follow(&mut self, ends: &mut Ends, dumps: &mut DumpSignals) -> io::Result<Why> {
        let mut progress = self.sync.subscribe();
        let mut tell = interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut syncing = true;
        let mut moved = false;
        loop {
            if self.receipts.is_enough(self.head, &self.sync.progress(), syncing) {
                return Ok(Why::Reached);
            }
            tokio::select! {
                biased;
                why = ends.next() => return Ok(why),
                left = left(self.ui.as_mut()) => return left.map(|()| Why::Left),
                () = dumps.asked() => self.dump().await?,
                ended = &mut self.syncing, if syncing => {
                    syncing = false;
                    self.on_progress();
                    match ended {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Ok(Why::Broken(format!("the sync has failed: {error}"))),
                        Err(error) => return Ok(Why::Broken(format!("the sync has died: {error}"))),
                    }
                }
                Ok(()) = progress.changed(), if syncing => {
                    self.on_progress();
                    let now = self.sync.progress();
                    if !moved && now.bodies > now.start {
                        // The first blocks are told at once: a short sync has no second occasion.
                        // The longer pause after it keeps to five a second.
                        moved = true;
                        self.tell()?;
                        tell.reset_after(2 * TELL_EVERY);
                    }
                }
                event = self.events.next() => match event {
                    Some(event) => self.on_event(event)?,
                    None => return Ok(Why::Broken("the network has ended".to_owned())),
                },
                _ = tell.tick() => {
                    self.tell()?;
                    if let Some(discovering) = &mut self.discovering {
                        discovering.on_head().await;
                    }
                }
            }
        }
    }

    fn on_progress(&mut self) {
        self.receipts.on_progress(&self.sync.progress());
        let head = self.store.status().latest;
        if head != self.head {
            self.head = head;
            self.head_at = Some(Instant::now());
            self.eth.announce_range_if_due();
        }
    }

    fn tell(&mut self) -> io::Result<()> {
        let progress = self.sync.progress();
        let told = (progress.headers, progress.bodies, progress.receipts, progress.target);
        if std::mem::replace(&mut self.told, told) != told && progress.target > 0 {
            self.output.print(&Event::Progress(progress))?;
        }
        self.tell_dumps()?;
        self.tell_head()
    }

    fn tell_head(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.told_head, self.head) == self.head {
            return Ok(());
        }
        self.output.print(&Event::Head(self.head))
    }

    fn on_event(&mut self, event: NetworkEvent) -> io::Result<()> {
        let event = match event {
            NetworkEvent::Listening { addr } => Event::Listening { addr, peer: self.network.id() },
            NetworkEvent::PeerUp { peer } => Event::PeerUp { peer },
            NetworkEvent::PeerDown { peer, ended, .. } | NetworkEvent::PeerRefused { peer, ended, .. } => {
                Event::PeerDown { peer, ended }
            }
            NetworkEvent::DialFailed { addr, error, again_in } => {
                let again = again_in.map_or(String::new(), |pause| format!("; again in {pause:.1?}"));
                Event::Error(format!("dial of {addr} failed: {}{again}", escape(&error)))
            }
            NetworkEvent::Missed(missed) => Event::Error(format!("{missed} events were missed")),
            _ => return Ok(()),
        };
        self.output.print(&event)
    }

    /// Ends sync, sessions and listeners, tells what is left to tell, and writes the export.
    async fn finish(&mut self) -> Result<(), Failure> {
        if let Some(discovering) = self.discovering.take() {
            discovering.shutdown().await;
        }
        self.sync.stop();
        if !self.syncing.is_finished() {
            let _ = (&mut self.syncing).await;
        }
        self.network.shutdown().await;
        // Everything that will ever happen has happened, and waits in the queue.
        while let Some(Some(event)) = self.events.next().now_or_never() {
            drop(self.on_event(event));
        }
        self.on_progress();
        drop(self.tell_dumps());
        drop(self.tell_head());
        let Some(path) = self.export.take() else { return Ok(()) };
        let store = self.store.clone();
        off_thread(move || export::write(&path, store.blocks()).map(drop).map_err(Failure::failed)).await
    }
}

/// Waits until the user leaves the table, if there is one.
async fn left(ui: Option<&mut TraceUi>) -> io::Result<()> {
    match ui {
        Some(ui) => ui.left().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::ZERO }
    }

    #[test]
    fn the_exit_code_says_whether_the_block_was_reached() {
        for why in [Why::Signal, Why::Left, Why::Ttl, Why::Timeout(Duration::ZERO)] {
            assert_eq!(verdict(why.clone(), None, head(0)), Ok(()));
            assert_eq!(verdict(why.clone(), Some(5), head(5)), Ok(()));
            let missed = verdict(why, Some(6), head(5)).unwrap_err();
            assert_eq!(missed.exit_code(), 1, "{missed}");
        }
        assert_eq!(verdict(Why::Reached, Some(5), head(7)), Ok(()));
        let broken = verdict(Why::Broken("x".to_owned()), None, head(5)).unwrap_err();
        assert_eq!(broken.exit_code(), 1);
    }
}
