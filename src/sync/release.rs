//! What is open again when a request, a peer or a branch is over.

use std::time::Instant;

use super::action::Action;
use super::bad_data::BadData;
use super::plan::{SyncPlan, above};
use super::requests::{Purpose, Ticket};
use super::window::Window;
use crate::ids::SessionId;

impl SyncPlan {
    /// Ends a session over what it sent, and everything that came of it and is not stored.
    pub(super) fn blame(&mut self, now: Instant, session: SessionId, why: BadData) {
        self.counts.bad_data += 1;
        self.actions.push_back(Action::Blame { session, why });
        self.peers.ban(session);
        self.forget(now, session);
        self.line.drop_from(session);
        for (ticket, checking) in self.checks.discard(session) {
            self.over(ticket, checking.purpose.as_ref());
        }
        let tail = self.window.tail_of(session);
        if tail < self.window.next() {
            self.cut(tail);
        }
    }

    /// Drops the joined headers from `number` on.
    pub(super) fn cut(&mut self, number: u64) {
        self.window.cut(number);
        self.restart_line(self.window.next());
    }

    /// The header line continues from `next`; what is in flight for it does not count any more.
    pub(super) fn restart_line(&mut self, next: u64) {
        self.line.restart(next);
        self.requests.forget_lines();
    }

    /// Starts again above the store.
    pub(super) fn replan(&mut self) {
        let (first, below) = above(self.stored);
        self.window = Window::new(first, below);
        self.restart_line(first);
        self.switch = None;
        self.conflict = None;
        self.forks.give_up();
        self.reached = false;
    }

    /// A request is over without anything of use: what it was for is open again.
    pub(super) fn over(&mut self, ticket: Ticket, purpose: Option<&Purpose>) {
        match purpose {
            Some(Purpose::Headers { start, len, era }) if *era == self.line.era() => {
                self.range_over(*start, *len);
            }
            Some(Purpose::Bodies(blocks)) => {
                blocks.iter().for_each(|block| self.window.on_over(block.number, ticket));
            }
            Some(Purpose::Receipts { blocks, .. }) => {
                blocks.iter().for_each(|block| self.receipts.on_over(block.number, ticket));
            }
            Some(Purpose::Ancestor { .. } | Purpose::Branch { .. }) => self.forks.give_up(),
            _ => {}
        }
    }

    /// A range of headers did not come. What somebody else is asked for as well is not open yet.
    pub(super) fn range_over(&mut self, start: u64, len: u64) {
        let asked = self.requests.line_len(start).unwrap_or(0);
        self.line.give_back(start.saturating_add(asked), start.saturating_add(len));
    }

    /// A peer is gone: what was asked of it is open again.
    pub(super) fn forget(&mut self, now: Instant, session: SessionId) {
        for ticket in self.requests.of(session) {
            if let Some(asked) = self.requests.close(ticket) {
                self.counts.cancelled += 1;
                self.actions.push_back(Action::Cancel(ticket));
                self.over(ticket, Some(&asked.purpose));
            }
        }
        self.receipts.give_up(session);
        if self.forks.searched() == Some(session) {
            self.forks.give_up();
        }
        self.undefended(now, session);
    }
}
