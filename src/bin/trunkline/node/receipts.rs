//! What a node does about receipts, and whether it has enough of them to end.

use tokio::time::{Duration, Instant};
use trunkline::chain::BlockRef;
use trunkline::sync::{ChainStore as _, MemoryStore, Progress, Receipts, ReceiptsState};

use crate::failure::Failure;

/// What `--receipts` says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReceiptsOption {
    /// Takes what peers have.
    #[default]
    Auto,
    /// Asks for none.
    None,
    /// Waits until all are there.
    Required,
}

impl ReceiptsOption {
    /// The same for the sync.
    pub(super) fn policy(self) -> Receipts {
        match self {
            Self::Auto => Receipts::Available,
            Self::None => Receipts::None,
            Self::Required => Receipts::Required,
        }
    }
}

/// What is told of receipts at the end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReceiptsSum {
    /// Blocks above the genesis whose receipts are here, those without transactions included.
    pub(super) held: u64,
    /// Blocks whose receipts are not.
    pub(super) missing: u64,
    /// From the first dial until the last ones came; zero if none did.
    pub(super) took: Duration,
}

/// Watches the receipts come.
#[derive(Debug)]
pub(super) struct ReceiptsWatch {
    option: ReceiptsOption,
    until_block: Option<u64>,
    to: Option<u64>,
    moved_at: Option<Instant>,
}

impl ReceiptsWatch {
    pub(super) fn new(option: ReceiptsOption, until_block: Option<u64>) -> Self {
        Self { option, until_block, to: None, moved_at: None }
    }

    /// The sync has come so far.
    pub(super) fn on_progress(&mut self, progress: &Progress) {
        if self.to.replace(progress.receipts).is_some_and(|to| to != progress.receipts) {
            self.moved_at = Some(Instant::now());
        }
    }

    /// Whether `--until-block` is reached, with its receipts as far as they are waited for: with
    /// `auto` while some peer gives them.
    pub(super) fn is_enough(&self, head: BlockRef, progress: &Progress, syncing: bool) -> bool {
        let Some(until) = self.until_block.filter(|until| head.number >= *until) else { return false };
        if self.option == ReceiptsOption::None || !syncing {
            return true;
        }
        // The sync hears of its store's head a moment later, and only then looks for receipts.
        let there = progress.bodies >= until && progress.receipts >= until;
        let nobody = progress.bodies >= until && progress.receipts_state == ReceiptsState::Unavailable;
        there || nobody && self.option == ReceiptsOption::Auto
    }

    /// Whether receipts that were required are missing at the end.
    pub(super) fn verdict(&self, store: &MemoryStore) -> Result<(), Failure> {
        let Some(until) = self.until_block.filter(|_| self.option == ReceiptsOption::Required) else {
            return Ok(());
        };
        match store.missing_receipts(0, until).first() {
            Some(missing) => {
                let first = missing.facts.number;
                let why = format!("receipts are missing from block {first} on, up to block {until}");
                Err(Failure::failed(why))
            }
            None => Ok(()),
        }
    }

    /// What is told at the end.
    pub(super) fn sum(&self, store: &MemoryStore, dialled: Option<Instant>) -> ReceiptsSum {
        let (held, missing) = store.receipt_counts();
        let took = match (dialled, self.moved_at) {
            (Some(dialled), Some(moved_at)) => moved_at.saturating_duration_since(dialled),
            _ => Duration::ZERO,
        };
        ReceiptsSum { held, missing, took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_waited_for_as_the_option_says() {
        let head = BlockRef { number: 600, hash: Default::default() };
        let at = |bodies, receipts, receipts_state| Progress {
            bodies,
            receipts,
            receipts_state,
            ..Progress::default()
        };
        let cases = [
            (at(600, 600, ReceiptsState::Complete), true, true),
            (at(600, 40, ReceiptsState::Fetching), false, false),
            (at(600, 40, ReceiptsState::Unavailable), true, false),
            (at(90, 40, ReceiptsState::Unavailable), false, false),
            (at(700, 650, ReceiptsState::Fetching), true, true),
        ];
        for (progress, auto, required) in cases {
            let enough = |option| ReceiptsWatch::new(option, Some(600)).is_enough(head, &progress, true);
            assert!(enough(ReceiptsOption::None));
            assert_eq!((enough(ReceiptsOption::Auto), enough(ReceiptsOption::Required)), (auto, required));
            let watch = ReceiptsWatch::new(ReceiptsOption::Auto, Some(601));
            assert!(!watch.is_enough(head, &progress, false), "the head comes first");
        }
    }
}
