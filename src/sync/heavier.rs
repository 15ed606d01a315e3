//! What a heavier branch means: it is followed back, weighed, and taken when its blocks are here.
//! Until then nothing in the store is touched.

use std::time::{Duration, Instant};

use super::check::Header;
use super::fork::Weighed;
use super::plan::{BRANCH_PAUSE, Switch, SyncPlan};
use super::requests::Purpose;
use super::window::Window;
use crate::ids::SessionId;

/// How long a peer's branch is not looked at again after it was found not to be heavier.
const LIGHTER_PAUSE: Duration = Duration::from_secs(1);
/// How long the bodies of a heavier branch may take before it is given up.
const BODIES_WITHIN: Duration = Duration::from_secs(60);
/// How many more headers of a branch are asked for at a time.
const BRANCH_HEADERS: u64 = 128;

impl SyncPlan {
    /// Looks for the block where a peer's branch leaves ours, unless another one is being looked at.
    pub(super) fn search_branch(&mut self, now: Instant, session: SessionId) {
        let (Some(stored), Some(peer)) = (self.stored, self.peers.get_mut(session)) else { return };
        if self.forks.is_busy() || self.switch.is_some() || peer.fork_until.is_some() {
            return;
        }
        let start = peer.believed().map_or(stored.number, |believed| believed.min(stored.number));
        peer.fork_until = Some(now + BRANCH_PAUSE);
        self.forks.search(session);
        self.ask(now, session, Purpose::Ancestor { start }, false);
    }

    pub(super) fn ancestors_verified(&mut self, now: Instant, session: SessionId, falling: Vec<Header>) {
        if self.forks.searched() == Some(session) {
            let weighed = self.forks.on_ancestors(falling);
            self.on_weighed(now, session, weighed);
        }
    }

    pub(super) fn branch_verified(&mut self, now: Instant, session: SessionId, rising: Vec<Header>) {
        if self.forks.searched() == Some(session) {
            let weighed = self.forks.on_branch(rising);
            self.on_weighed(now, session, weighed);
        }
    }

    fn on_weighed(&mut self, now: Instant, session: SessionId, weighed: Weighed) {
        match weighed {
            Weighed::Heavier => {}
            Weighed::More(start) => {
                self.ask(now, session, Purpose::Branch { start, len: BRANCH_HEADERS }, false);
            }
            Weighed::Not => {
                self.forks.give_up();
                if let Some(peer) = self.peers.get_mut(session) {
                    peer.fork_until = Some(now + LIGHTER_PAUSE);
                    peer.headers_until = Some(now + LIGHTER_PAUSE);
                }
            }
        }
    }

    /// Puts a heavier branch into the window once the store is idle, or gives up one whose bodies
    /// do not come.
    pub(super) fn take_heavier(&mut self, now: Instant) {
        if self.window.is_storing() || self.is_rejecting() {
            return;
        }
        if self.switch.is_some_and(|switch| switch.until <= now) {
            self.replan();
        }
        let Some(branch) = self.forks.take_heavier() else { return };
        self.replan();
        self.window = Window::new(branch.base.number + 1, branch.base.hash);
        for header in branch.headers {
            self.window.push(header, branch.session, None);
        }
        self.restart_line(self.window.next());
        let window = &self.window;
        self.peers.keep_gaps(|block| window.hash_at(block.number) == Some(block.hash));
        self.switch = Some(Switch { base: branch.base, until: now + BODIES_WITHIN });
        if let Some(peer) = self.peers.get_mut(branch.session) {
            (peer.headers_until, peer.fork_until) = (None, None);
            peer.on_shown(self.line.next() - 1);
        }
    }
}
