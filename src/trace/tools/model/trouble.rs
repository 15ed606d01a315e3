//! What was slow or went wrong, with its span: the causes that waits are explained by.

use crate::trace::record::{EventId, Name};

/// So many are kept. When there are more, the floor doubles and the short ones go.
const TROUBLES_MAX: usize = 65_536;
/// Shorter than this is no trouble, in nanoseconds.
const FLOOR_NS: u64 = 10_000_000;

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TroubleKind {
    /// Nothing came in on a connection while requests of ours waited for an answer. `n`: how many.
    Silence,
    /// The socket took no bytes.
    SocketBlocked,
    /// The substream of an exchange took no bytes. `n`: bytes that waited.
    WindowBlocked,
    /// A substream's protocol was not agreed on for long. `name`: what came of it.
    Negotiation,
    /// A handler ran for long. `name`: what it handled.
    Handler,
    /// An actor kept its thread for long in one go.
    SlowPoll,
    /// A thread did not come back; told while it lasted. Without an actor: the whole process did not run.
    Stalled,
    /// A message waited long in a mailbox. `name`: its type.
    Mailbox,
    /// A message found no mailbox. `how`: `full` or `stopped`.
    Refused,
    /// A message reached its actor after its caller had gone.
    Abandoned,
    /// A handler panicked. `name`: what it handled.
    Panicked,
    /// An answer that nobody got. `how`: why; `n`: its id on the wire.
    AnswerDropped,
}

impl TroubleKind {
    /// Whether it is kept however short it was.
    fn always(self) -> bool {
        matches!(self, Self::Refused | Self::Panicked | Self::AnswerDropped)
    }
}

/// Something that was slow or went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it was.
    pub kind: TroubleKind,
    /// Its connection; 0: none.
    pub conn: u32,
    /// Its actor; 0: none.
    pub actor: u32,
    /// What it was about.
    pub name: Option<Name>,
    /// Its exchange.
    pub proto: Option<Name>,
    /// How it went.
    pub how: Option<Name>,
    /// When it began.
    pub from: u64,
    /// When it was over.
    pub until: u64,
    /// The event that told of it.
    pub event: EventId,
    /// A number; its meaning is said with the kind.
    pub n: u64,
    /// Of a silence: when the last byte before it had come.
    pub last_in: Option<u64>,
}

impl Trouble {
    /// How long it lasted.
    pub fn took(&self) -> u64 {
        self.until.saturating_sub(self.from)
    }

    /// How much of a span it covers.
    pub fn overlap(&self, from: u64, until: u64) -> u64 {
        self.until.min(until).saturating_sub(self.from.max(from))
    }
}

/// Troubles, in the order in which they were over.
#[derive(Debug, Clone)]
pub struct Troubles {
    list: Vec<Trouble>,
    floor_ns: u64,
    /// How often each of those that are always kept may still come: they have no length to be
    /// judged by.
    instants: usize,
}

impl Default for Troubles {
    fn default() -> Self {
        Self { list: Vec::new(), floor_ns: FLOOR_NS, instants: 0 }
    }
}

impl Troubles {
    /// All that were kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Trouble> {
        self.list.iter()
    }

    /// How long one has to last by now.
    pub fn floor_ns(&self) -> u64 {
        self.floor_ns
    }

    /// Whether one of this length is kept.
    pub(super) fn takes(&self, kind: TroubleKind, took: u64) -> bool {
        took >= self.floor_ns || kind.always()
    }

    /// Makes a recent one longer that is still going on.
    pub(super) fn prolong(&mut self, kind: TroubleKind, actor: u32, from: u64, until: u64) -> bool {
        let same = |trouble: &&mut Trouble| {
            trouble.kind == kind && trouble.actor == actor && trouble.overlap(from, until) > 0
        };
        let Some(trouble) = self.list.iter_mut().rev().take(64).find(same) else { return false };
        trouble.until = trouble.until.max(until);
        true
    }

    /// Adds one if it is long enough. Answers how many had to go.
    pub(super) fn add(&mut self, trouble: Trouble) -> u64 {
        if trouble.kind.always() {
            if self.instants >= TROUBLES_MAX / 4 {
                return 1;
            }
            self.instants += 1;
        } else if !self.takes(trouble.kind, trouble.took()) {
            return 0;
        }
        self.list.push(trouble);
        let mut gone = 0;
        while self.list.len() > TROUBLES_MAX {
            self.floor_ns = self.floor_ns.saturating_mul(2);
            let before = self.list.len();
            self.list.retain(|trouble| trouble.kind.always() || trouble.took() >= self.floor_ns);
            // Hostile lengths: all as long as can be.
            self.list.truncate(if self.floor_ns == u64::MAX { TROUBLES_MAX / 2 } else { usize::MAX });
            gone += (before - self.list.len()) as u64;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(from: u64, until: u64) -> Trouble {
        Trouble {
            kind: TroubleKind::Handler,
            conn: 0,
            actor: 1,
            name: None,
            proto: None,
            how: None,
            from,
            until,
            event: EventId::new(1, 1),
            n: 0,
            last_in: None,
        }
    }

    #[test]
    fn short_ones_are_no_trouble_unless_their_kind_always_is() {
        let mut troubles = Troubles::default();
        troubles.add(handler(0, FLOOR_NS - 1));
        assert_eq!(troubles.iter().count(), 0);
        troubles.add(handler(0, FLOOR_NS));
        troubles.add(Trouble { kind: TroubleKind::Panicked, ..handler(5, 5) });
        assert_eq!(troubles.iter().count(), 2);
    }

    #[test]
    fn one_too_many_drives_out_the_short_ones() {
        let mut troubles = Troubles::default();
        let long = 1 << 40;
        troubles.add(handler(0, long));
        for _ in 0..TROUBLES_MAX {
            troubles.add(handler(0, FLOOR_NS));
        }
        assert_eq!(troubles.iter().map(Trouble::took).collect::<Vec<_>>(), [long]);
        for _ in 0..3 * TROUBLES_MAX {
            troubles.add(handler(0, u64::MAX));
            troubles.add(Trouble { kind: TroubleKind::Refused, ..handler(5, 5) });
        }
        assert!(troubles.iter().count() <= TROUBLES_MAX);
    }

    #[test]
    fn an_overlap_is_what_both_have() {
        assert_eq!(handler(10, 20).overlap(15, 30), 5);
        assert_eq!(handler(10, 20).overlap(0, 100), 10);
        assert_eq!(handler(10, 20).overlap(20, 100), 0);
    }
}
