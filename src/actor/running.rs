//! A handler while it runs: what is recorded meanwhile is its doing.

use std::rc::Rc;

use crate::trace::{Event, EventId, Kind, Label, Local};

/// From the start of a handler to its return, or to its panic.
pub(crate) struct Running {
    local: Rc<Local>,
    begun: u64,
    started: EventId,
    name: Label,
    finished: Kind,
    before: EventId,
}

impl Running {
    /// A handler that begins now with the event `started`, and will end with one of kind `finished`.
    pub(super) fn new(local: Rc<Local>, now: u64, started: Event, finished: Kind) -> Self {
        let name = started.name;
        let started = local.record(now, started);
        local.set_fresh(false);
        let before = local.set_current(started);
        Self { local, begun: now, started, name, finished, before }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.local.set_current(self.before);
        let now = self.local.now();
        let panicked = std::thread::panicking();
        let kind = if panicked { Kind::ActorPanicked } else { self.finished };
        let ended = Event::new(kind).name(self.name).cause(self.started);
        self.local.record(now, ended.y(now.saturating_sub(self.begun)));
        self.local.set_fresh(!panicked);
        if panicked {
            self.local.set_panicked();
        }
    }
}
