//! Answers that wait for being verified, and those that are.

use std::collections::BTreeMap;

use super::check::Check;
use super::pace::{Kind, PerKind};
use super::requests::{Purpose, Ticket};
use crate::ids::SessionId;

/// An answer, or an announced block, on its way through verification.
#[derive(Debug)]
pub(super) struct Checking {
    pub(super) session: SessionId,
    /// What was asked; nothing for an announced block.
    pub(super) purpose: Option<Purpose>,
    pub(super) kind: Kind,
    pub(super) bytes: usize,
    /// Whether the sender was blamed meanwhile.
    pub(super) discard: bool,
}

/// The lowest blocks are verified first, receipts last; as many at a time as allowed.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: BTreeMap<(bool, u64, Ticket), (Checking, Check)>,
    running: BTreeMap<Ticket, Checking>,
    bytes: PerKind<usize>,
}

impl Checks {
    /// Takes in an answer about the blocks from `number` on.
    pub(super) fn push(&mut self, number: u64, ticket: Ticket, checking: Checking, check: Check) {
        self.bytes[checking.kind] += checking.bytes;
        let last = checking.kind == Kind::Receipts;
        self.waiting.insert((last, number, ticket), (checking, check));
    }

    /// The next one to verify, while fewer than `max` are being verified.
    pub(super) fn start(&mut self, max: usize) -> Option<(Ticket, Check)> {
        if self.running.len() >= max {
            return None;
        }
        let ((_, _, ticket), (checking, check)) = self.waiting.pop_first()?;
        self.running.insert(ticket, checking);
        Some((ticket, check))
    }

    pub(super) fn finish(&mut self, ticket: Ticket) -> Option<Checking> {
        let checking = self.running.remove(&ticket)?;
        self.bytes[checking.kind] -= checking.bytes;
        Some(checking)
    }

    /// What a peer sent is of no use any more: what waits is returned, what runs is marked.
    pub(super) fn discard(&mut self, session: SessionId) -> Vec<(Ticket, Checking)> {
        for checking in self.running.values_mut().filter(|checking| checking.session == session) {
            checking.discard = true;
        }
        let theirs: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, (checking, _))| checking.session == session)
            .map(|(key, _)| *key)
            .collect();
        let mut dropped = Vec::with_capacity(theirs.len());
        for key in theirs {
            if let Some((checking, _)) = self.waiting.remove(&key) {
                self.bytes[checking.kind] -= checking.bytes;
                dropped.push((key.2, checking));
            }
        }
        dropped
    }

    /// Bytes of answers here.
    pub(super) fn bytes(&self, kind: Kind) -> usize {
        self.bytes[kind]
    }
}
