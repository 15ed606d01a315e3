//! What it means that the host found a stored block to be invalid: who sent it loses by it, it is
//! dropped with everything above, and whoever sends it again loses as well.

use std::time::Instant;

use super::action::Action;
use super::bad_data::BadData;
use super::check::Header;
use super::plan::SyncPlan;
use crate::chain::BlockRef;
use crate::ids::SessionId;

impl SyncPlan {
    /// The host found a block to be invalid. `stored` says whether the store has it.
    ///
    /// What the trusted head builds on cannot be wrong: then nobody is to blame, and the sync has
    /// nothing left to do. Gives who is blamed.
    pub(super) fn on_rejected(&mut self, now: Instant, block: BlockRef, stored: bool) -> Option<SessionId> {
        if stored && self.is_trusted(block.number) {
            self.actions.push_back(Action::TrustedRejected { number: block.number });
            return None;
        }
        self.rejected.insert(block.hash);
        let sender = self.senders.of(block.number).filter(|from| stored && self.peers.get(*from).is_some());
        if stored {
            if let Some(session) = sender {
                self.blame(now, session, BadData::Rejected { number: block.number });
            }
            let keep = block.number.saturating_sub(1);
            self.dropping = Some(self.dropping.map_or(keep, |other| other.min(keep)));
        }
        self.turn(now);
        sender
    }

    /// Has the store drop rejected blocks once it is idle.
    pub(super) fn drop_rejected(&mut self) {
        if self.is_dropping || self.window.is_storing() {
            return;
        }
        if let Some(keep) = self.dropping.take() {
            self.is_dropping = true;
            self.actions.push_back(Action::Drop { above: keep });
        }
    }

    /// Whether rejected blocks are still in the store.
    pub(super) fn is_rejecting(&self) -> bool {
        self.is_dropping || self.dropping.is_some()
    }

    /// Blames who sent a header that was rejected. Whether there was one.
    pub(super) fn refuse_rejected(&mut self, now: Instant, session: SessionId, headers: &[Header]) -> bool {
        let Some(block) = self.rejected.find(headers) else { return false };
        self.blame(now, session, BadData::Rejected { number: block.number });
        true
    }

    /// Whether the trusted head is known to build on our block with this number.
    fn is_trusted(&self, number: u64) -> bool {
        let trusted = self.trusted.and_then(|trusted| trusted.number);
        self.holds_trusted || trusted.is_some_and(|trusted| number <= trusted && self.line.next() > trusted)
    }
}
