//! Actors: what they handle, how long that takes, what waits for them.

use super::trouble::{Trouble, TroubleKind};
use super::{ACTORS_MAX, ActorInfo, Model};
use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Name, Record};
use crate::trace::tools::histogram::Histogram;

/// So many messages in mailboxes are kept.
const WAITING_MAX: usize = 65_536;
/// So many kinds of work are told apart.
const WORKS_MAX: usize = 1024;

/// How one type of actor was kept busy by one type of message, item or timer.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// How long messages waited in the mailbox. Empty for items and timers.
    pub wait: Histogram,
    /// How long the handler ran.
    pub run: Histogram,
    /// Messages whose caller had gone.
    pub abandoned: u64,
    /// Messages that found the mailbox full or the actor stopped.
    pub refused: u64,
    /// Messages that were in the mailbox when the actor ended.
    pub dropped: u64,
}

/// A mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// How many messages wait. Below zero where the trace began after they were put there.
    pub depth: i64,
    /// The most there were.
    pub depth_max: i64,
    /// When the message was put there that was last taken out. Mailboxes keep the order, so older
    /// ones are gone as well.
    pub taken: u64,
    /// When the actor was last heard of.
    pub last: u64,
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Since when.
    pub since: u64,
    /// Whose mailbox.
    pub to: u32,
    /// Its type.
    pub name: Option<Name>,
    /// Events were lost meanwhile: it may be gone.
    pub uncertain: bool,
}

impl Model {
    pub(super) fn on_actor(&mut self, record: &Record) {
        let at = record.at;
        match record.kind {
            Kind::MsgEnqueued => {
                self.enqueued(record);
                return;
            }
            Kind::MsgRefused => {
                let to = record.x as u32;
                self.work(to, &record.name, |work| work.refused += 1);
                self.trouble(record, TroubleKind::Refused, at, to);
                return;
            }
            Kind::MsgDropped => {
                let to = record.x as u32;
                self.left(record, to, at.saturating_sub(record.y));
                self.work(to, &record.name, |work| work.dropped += 1);
                return;
            }
            _ => {}
        }
        let actor = record.actor;
        if actor == 0 {
            if record.kind == Kind::Stalled {
                // The whole process: told once, by whoever noticed.
                self.trouble(record, TroubleKind::Stalled, at.saturating_sub(record.y), 0);
            }
            return;
        }
        match record.kind {
            Kind::MsgStarted => {
                let since = at.saturating_sub(record.y);
                self.left(record, actor, since);
                self.work(actor, &record.name, |work| work.wait.record(record.y));
                self.trouble(record, TroubleKind::Mailbox, since, actor);
                self.begins(record);
            }
            Kind::ItemStarted | Kind::TimerStarted => self.begins(record),
            Kind::MsgFinished | Kind::ItemFinished | Kind::TimerFinished => {
                self.work(actor, &record.name, |work| work.run.record(record.y));
                self.trouble(record, TroubleKind::Handler, at.saturating_sub(record.y), actor);
                self.actor(record, |info| info.busy = None);
            }
            Kind::MsgAbandoned => {
                let since = at.saturating_sub(record.y);
                self.left(record, actor, since);
                self.work(actor, &record.name, |work| work.abandoned += 1);
                self.trouble(record, TroubleKind::Abandoned, since, actor);
            }
            Kind::PollSlow => self.trouble(record, TroubleKind::SlowPoll, at.saturating_sub(record.y), actor),
            Kind::Stalled => self.stalled(record),
            Kind::ActorStarted => self.actor(record, |info| {
                info.life = (at, None);
                info.name.clone_from(&record.name);
                info.conn = record.conn;
            }),
            Kind::ActorStopped => self.actor(record, |info| {
                info.life.1 = Some(at);
                info.busy = None;
            }),
            Kind::ActorPanicked => {
                let since =
                    self.actors.get(&actor).and_then(|info| info.busy.as_ref()).map_or(at, |busy| busy.0);
                self.trouble(record, TroubleKind::Panicked, since, actor);
                self.actor(record, |info| {
                    info.panicked = Some(record.name.clone().unwrap_or_else(|| "?".into()));
                    info.life.1 = Some(at);
                    info.busy = None;
                });
            }
            _ => {}
        }
    }

    /// Whatever an actor does, it is alive then.
    pub(super) fn heard_of(&mut self, actor: u32, at: u64) {
        if let Some(load) = self.loads.get_mut(&actor) {
            load.last = load.last.max(at);
        }
    }

    fn enqueued(&mut self, record: &Record) {
        let to = record.x as u32;
        if self.build.early.remove(record.id) {
            return;
        }
        if let Some(load) = self.load(to) {
            load.depth += 1;
            load.depth_max = load.depth_max.max(load.depth);
        }
        if self.waiting.len() >= WAITING_MAX {
            self.beyond.messages += 1;
            return;
        }
        let waiting = Waiting { since: record.at, to, name: record.name.clone(), uncertain: false };
        self.waiting.insert(record.id, waiting);
    }

    /// A message has left a mailbox, one way or another.
    fn left(&mut self, record: &Record, actor: u32, since: u64) {
        let known = record.cause.is_some_and(|cause| self.waiting.remove(&cause).is_some());
        // The two events may stand in the wrong order, by a little.
        if !known
            && let Some(cause) = record.cause
            && self.beyond.messages == 0
            && record.at.saturating_sub(self.span.0) > record.y
        {
            self.build.early.insert(cause);
        }
        if let Some(load) = self.load(actor) {
            if known {
                load.depth -= 1;
            }
            load.taken = load.taken.max(since);
        }
    }

    fn begins(&mut self, record: &Record) {
        let name = record.name.clone().unwrap_or_else(|| self.build.unnamed.clone());
        self.actor(record, |info| info.busy = Some((record.at, name, record.id)));
    }

    /// Told again and again while it lasts: one trouble, that grows.
    fn stalled(&mut self, record: &Record) {
        let from = record.at.saturating_sub(record.y);
        if !self.troubles.prolong(TroubleKind::Stalled, record.actor, from, record.at) {
            self.trouble(record, TroubleKind::Stalled, from, record.actor);
        }
    }

    fn load(&mut self, actor: u32) -> Option<&mut Load> {
        if actor == 0 || (self.loads.len() >= ACTORS_MAX && !self.loads.contains_key(&actor)) {
            return None;
        }
        Some(self.loads.entry(actor).or_default())
    }

    fn actor(&mut self, record: &Record, change: impl FnOnce(&mut ActorInfo)) {
        if let Some(info) = self.actors.get_mut(&record.actor) {
            change(info);
            return;
        }
        if self.actors.len() >= ACTORS_MAX && self.events >= self.build.sweep_actors_at {
            self.build.sweep_actors_at = self.events + ACTORS_MAX as u64 / 4;
            self.actors.retain(|_, info| info.life.1.is_none());
            let actors = &self.actors;
            self.loads.retain(|actor, _| actors.contains_key(actor));
        }
        if self.actors.len() >= ACTORS_MAX {
            self.beyond.actors += 1;
            return;
        }
        let mut info = ActorInfo { number: record.actor, life: (record.at, None), ..ActorInfo::default() };
        change(&mut info);
        self.actors.insert(record.actor, info);
    }

    fn work(&mut self, actor: u32, message: &Option<Name>, change: impl FnOnce(&mut Work)) {
        let kind = self.actor_name(actor).unwrap_or(&self.build.unnamed).clone();
        let key = (kind, message.as_ref().unwrap_or(&self.build.unnamed).clone());
        if let Some(work) = self.works.get_mut(&key) {
            change(work);
        } else if self.works.len() < WORKS_MAX {
            change(self.works.entry(key).or_default());
        }
    }

    pub(super) fn trouble(&mut self, record: &Record, kind: TroubleKind, from: u64, actor: u32) {
        if !self.troubles.takes(kind, record.at.saturating_sub(from)) {
            return;
        }
        self.add_trouble(Trouble {
            kind,
            conn: record.conn,
            actor,
            name: record.name.clone(),
            proto: record.proto.clone(),
            how: record.how.clone(),
            from,
            until: record.at,
            event: record.id,
            n: 0,
            last_in: None,
        });
    }

    pub(super) fn add_trouble(&mut self, trouble: Trouble) {
        self.beyond.troubles += self.troubles.add(trouble);
    }

    /// Events were lost: what was in mailboxes and handlers may be gone.
    pub(super) fn doubt_actors(&mut self) {
        self.waiting.values_mut().for_each(|waiting| waiting.uncertain = true);
        self.build.doubted_at = Some(self.span.1);
    }
}

/// The last few causes whose events have not been seen: they may still come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Early {
    ids: Vec<EventId>,
    next: usize,
}

impl Early {
    const MOST: usize = 64;

    fn insert(&mut self, id: EventId) {
        if self.ids.len() < Self::MOST {
            self.ids.push(id);
        } else {
            self.ids[self.next] = id;
            self.next = (self.next + 1) % Self::MOST;
        }
    }

    fn remove(&mut self, id: EventId) -> bool {
        if self.ids.is_empty() {
            return false;
        }
        let found = self.ids.iter().position(|early| *early == id);
        if let Some(index) = found {
            self.ids.swap_remove(index);
            self.next = 0;
        }
        found.is_some()
    }
}
