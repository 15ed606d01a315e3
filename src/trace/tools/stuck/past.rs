//! What was slow or failed, explained by what went on meanwhile.

use std::collections::HashMap;

use super::describe::{describe, stood_still};
use super::{Cause, Episode, Finding, Findings, Options, words};
use crate::ids::Direction;
use crate::trace::tools::model::{Conn, Life, Model, Step, Trouble, TroubleKind};
use crate::trace::tools::show::{self, duration, moment};

/// So many troubles are looked at to explain one wait.
const LOOKED_AT_MAX: usize = 512;

pub(super) fn find(model: &Model, options: Options) -> Vec<Finding> {
    let mut past = Past::new(model, options);
    for index in 0..past.troubles.len() {
        past.trouble(index);
    }
    model.conns.values().for_each(|conn| past.came_to_nothing(conn));
    for life in model.lives.values() {
        past.ended(life);
    }
    past.found.finish()
}

struct Past<'a> {
    model: &'a Model,
    options: Options,
    found: Findings<'a>,
    troubles: Vec<&'a Trouble>,
    /// Troubles of a connection, in the order in which they were over.
    by_conn: HashMap<u32, Vec<usize>>,
    /// Long handlers and stalled threads of an actor.
    by_actor: HashMap<u32, Vec<usize>>,
    /// Long handlers of a thread.
    by_ring: HashMap<u16, Vec<usize>>,
    /// Sockets that took no bytes, by connection.
    by_socket: HashMap<u32, Vec<usize>>,
    /// Spans in which the whole process did not run.
    standstills: Vec<usize>,
    /// Handlers that panicked, by actor.
    panicked: HashMap<u32, usize>,
    /// Answers that nobody got, by connection and id on the wire.
    dropped: HashMap<(u32, u64), usize>,
}

impl<'a> Past<'a> {
    fn new(model: &'a Model, options: Options) -> Self {
        let mut troubles: Vec<&Trouble> = model.troubles.iter().collect();
        troubles.sort_by_key(|trouble| (trouble.until, trouble.event));
        let mut past = Self {
            model,
            options,
            found: Findings::new(model),
            troubles,
            by_conn: HashMap::new(),
            by_actor: HashMap::new(),
            by_ring: HashMap::new(),
            by_socket: HashMap::new(),
            standstills: Vec::new(),
            panicked: HashMap::new(),
            dropped: HashMap::new(),
        };
        for (index, trouble) in past.troubles.iter().enumerate() {
            match trouble.kind {
                TroubleKind::Silence | TroubleKind::SocketBlocked | TroubleKind::WindowBlocked => {
                    past.by_conn.entry(trouble.conn).or_default().push(index);
                    if trouble.kind == TroubleKind::SocketBlocked {
                        past.by_socket.entry(trouble.conn).or_default().push(index);
                    }
                }
                TroubleKind::Handler | TroubleKind::SlowPoll => {
                    past.by_actor.entry(trouble.actor).or_default().push(index);
                    past.by_ring.entry(trouble.event.ring()).or_default().push(index);
                }
                TroubleKind::Stalled if trouble.actor == 0 => past.standstills.push(index),
                TroubleKind::Panicked => drop(past.panicked.insert(trouble.actor, index)),
                TroubleKind::Stalled => past.by_actor.entry(trouble.actor).or_default().push(index),
                TroubleKind::AnswerDropped => {
                    past.dropped.insert((trouble.conn, trouble.n), index);
                }
                _ => {}
            }
        }
        past
    }

    /// The trouble of a list that covers most of a span, if it covers half of it.
    fn covering(&self, list: Option<&Vec<usize>>, from: u64, until: u64) -> Option<usize> {
        let list = list?;
        let start = list.partition_point(|index| self.troubles[*index].until <= from);
        let near = list[start..].iter().take(LOOKED_AT_MAX);
        let half = until.saturating_sub(from) / 2;
        let best = near.max_by_key(|index| {
            let trouble = self.troubles[**index];
            let overlap = trouble.overlap(from, until);
            // A handler says more than the poll that it is part of, and a little shorter than; why
            // the socket takes nothing is why its substreams take nothing.
            let says_more = matches!(trouble.kind, TroubleKind::Handler | TroubleKind::SocketBlocked);
            (says_more && overlap > half, overlap)
        })?;
        (self.troubles[*best].overlap(from, until) > half).then_some(*best)
    }

    /// What kept the session of a connection from running: its own handler, or another one on the
    /// same thread.
    fn kept_busy(&self, conn: u32, ring: u16, from: u64, until: u64) -> Option<usize> {
        let actor = self.session_of(conn);
        self.covering(self.by_actor.get(&actor), from, until)
            .or_else(|| self.covering(self.by_ring.get(&ring), from, until))
    }

    fn session_of(&self, conn: u32) -> u32 {
        self.model.conns.get(&conn).and_then(|conn| conn.session).map_or(0, |(_, actor)| actor)
    }

    /// The time in which this process did not run, if that is most of a span: then nobody else is
    /// to blame for it.
    fn stood_still(&self, from: u64, until: u64) -> Option<usize> {
        self.covering(Some(&self.standstills), from, until)
    }

    fn is_long_and_ours(&self, index: usize) -> bool {
        let trouble = self.troubles[index];
        let ours = matches!(
            trouble.kind,
            TroubleKind::Handler | TroubleKind::SlowPoll | TroubleKind::Stalled | TroubleKind::Mailbox
        );
        ours && trouble.took() >= self.options.over_ns
    }

    /// Adds the finding for a trouble, unless it is there.
    fn episode(&mut self, index: usize) -> Episode {
        let episode = Episode::Trouble(index);
        if !self.found.has(&episode) {
            let finding = describe(self.model, self.troubles[index]);
            self.found.add(episode.clone(), finding);
        }
        episode
    }

    /// A trouble that is worth speaking of by itself.
    fn trouble(&mut self, index: usize) {
        let trouble = self.troubles[index];
        let long = trouble.took() >= self.options.over_ns;
        if long && let Some(still) = self.stood_still(trouble.from, trouble.until) {
            self.episode(still);
            return;
        }
        match trouble.kind {
            TroubleKind::Panicked => drop(self.episode(index)),
            TroubleKind::Refused if trouble.how.as_deref() == Some("full") => {
                let finding = describe(self.model, trouble);
                let alike = Episode::Like(Cause::Mailbox, trouble.actor, trouble.name.clone(), None);
                self.found.add(alike, finding);
            }
            TroubleKind::Refused | TroubleKind::AnswerDropped => {}
            // Told by the handler, if it returned; if not, by where things stand.
            TroubleKind::Stalled if self.is_still_busy(trouble) => {}
            TroubleKind::SlowPoll | TroubleKind::Stalled if long => {
                let mine = self.by_actor.get(&trouble.actor);
                let same = self.covering(mine, trouble.from, trouble.until);
                let handler = same.filter(|same| self.troubles[*same].kind == TroubleKind::Handler);
                self.episode(handler.unwrap_or(index));
            }
            // The thread was busy: that is why nothing was read, and nothing taken out.
            TroubleKind::Silence | TroubleKind::Negotiation if long => {
                let ring = trouble.event.ring();
                let busy = self.kept_busy(trouble.conn, ring, trouble.from, trouble.until);
                self.episode(busy.unwrap_or(index));
            }
            TroubleKind::Mailbox if long => {
                let actor = self.by_actor.get(&trouble.actor);
                let ring = self.by_ring.get(&trouble.event.ring());
                let busy = self.covering(actor, trouble.from, trouble.until);
                let busy = busy.or_else(|| self.covering(ring, trouble.from, trouble.until));
                self.episode(busy.unwrap_or(index));
            }
            TroubleKind::WindowBlocked if long => {
                let socket = self.covering(self.by_socket.get(&trouble.conn), trouble.from, trouble.until);
                self.episode(socket.unwrap_or(index));
            }
            _ if long => drop(self.episode(index)),
            _ => {}
        }
    }

    /// Whether the handler that a stall was told of had not returned when the trace ended.
    fn is_still_busy(&self, trouble: &Trouble) -> bool {
        let info = self.model.actors.get(&trouble.actor);
        let busy = info.and_then(|info| info.busy.as_ref());
        busy.is_some_and(|(from, ..)| *from <= trouble.until)
    }

    /// A connection that took long to come to nothing.
    fn came_to_nothing(&mut self, conn: &Conn) {
        let Some((at, why)) = &conn.failed else {
            let slow = conn.steps.iter().max_by_key(|(.., took)| *took);
            if let Some((at, name, how, took)) = slow.filter(|(.., took)| *took >= self.options.over_ns) {
                let sentence = format!(
                    "{}: {} took {} ({})",
                    words::conn(self.model, conn.number),
                    show::escape(name),
                    duration(*took),
                    show::escape(how)
                );
                let finding = Finding::new(Cause::Negotiation, at.saturating_sub(*took), *at, sentence);
                let episode = Episode::Like(Cause::Negotiation, conn.number, None, None);
                self.found.add(episode, finding.on(self.model, conn.number));
            }
            return;
        };
        let took = at.saturating_sub(conn.began);
        if took < self.options.over_ns {
            return;
        }
        let cause = match conn.socket {
            None if conn.steps.is_empty() => Cause::Dial,
            _ => Cause::Negotiation,
        };
        let step = match cause {
            Cause::Dial => String::new(),
            _ => format!("; {}", words::last_step(conn)),
        };
        let sentence = format!(
            "{} never became a session: {} after {}{step}",
            words::conn(self.model, conn.number),
            show::escape(why),
            duration(took)
        );
        let mut finding = Finding::new(cause, conn.began, *at, sentence).on(self.model, conn.number);
        finding.last_byte_ns = conn.heard_at();
        self.found.add(Episode::Like(cause, conn.number, None, None), finding);
    }

    /// A request that has ended: was it slow, did it fail, and why?
    fn ended(&mut self, life: &Life) {
        let Some(end) = &life.end else { return };
        let took = life.took(end.mark.at);
        let slow = took >= self.options.over_ns;
        let ours = life.dir == Direction::Outbound;
        let how = &*end.how;
        let matters = match how {
            "ok" | "cancelled" | "shutdown" => slow,
            // A server's `unsupported`: the protocol gave no answer.
            "disconnected" => slow || (ours && self.was_torn(life.conn)),
            _ => true,
        };
        if !matters || how == "shutdown" {
            return;
        }
        let hop = longest_hop(life, end.mark.at);
        let blamed = match how {
            "ok" | "timed_out" | "cancelled" => self.blamed(life, &hop),
            // It did not end because of what it waited for, unless this side could not go on.
            "disconnected" => self.blamed(life, &hop).filter(|index| self.is_long_and_ours(*index)),
            "panicked" => self.panicked.get(&self.session_of(life.conn)).copied(),
            _ => None,
        };
        let late = self.dropped.get(&(life.conn, life.wire.unwrap_or(u64::MAX))).copied();
        let late = late.filter(|index| how == "timed_out" && self.troubles[*index].until >= hop.until);
        if let Some(index) = blamed {
            let episode = self.episode(index);
            self.found.concerns(&episode, life);
        }
        // What was late is told although the peer was silent altogether; not when this side is why.
        let silent = blamed.is_some_and(|index| self.troubles[index].kind == TroubleKind::Silence);
        if blamed.is_some() && !(silent && late.is_some()) {
            return;
        }
        let (cause, what) = self.why(life, how, &hop, late.map(|index| self.troubles[index]));
        let sentence = format!("{}: {what}", words::request(self.model, life));
        let mut finding = Finding::new(cause, hop.from, hop.until, sentence).on(self.model, life.conn);
        finding.request = Some(words::asked(life));
        finding.uncertain = life.uncertain;
        let came = late.map(|index| self.troubles[index].until);
        finding.last_byte_ns = came.or(life.heard.filter(|_| cause == Cause::PeerNotAnswering));
        let episode = Episode::Like(cause, life.conn, life.proto.clone(), life.name.clone());
        self.found.add(episode.clone(), finding);
        self.found.concerns(&episode, life);
    }

    /// Whether a connection broke, instead of being ended by somebody.
    fn was_torn(&self, conn: u32) -> bool {
        let conn = self.model.conns.get(&conn);
        conn.and_then(|conn| conn.ended.as_ref()).is_some_and(|(_, side, _)| &**side == "transport")
    }

    /// The trouble that a hop was spent in.
    fn blamed(&self, life: &Life, hop: &Hop) -> Option<usize> {
        let ring = hop.ring;
        let ours = life.dir == Direction::Outbound;
        let busy = || self.kept_busy(life.conn, ring, hop.from, hop.until);
        let wire = || self.covering(self.by_conn.get(&life.conn), hop.from, hop.until);
        // Only what stands between this step and the next one can be the reason.
        let wanted: &[TroubleKind] = match (ours, hop.step) {
            (true, Step::Queued | Step::Encoded) | (false, Step::Encoded | Step::Queued) => {
                &[TroubleKind::WindowBlocked, TroubleKind::SocketBlocked]
            }
            (true, Step::Written | Step::FirstByte) => &[TroubleKind::Silence],
            _ => &[],
        };
        let decoded = ours && hop.step == Step::Delivered;
        let busy = if decoded { None } else { busy() };
        let still = self.stood_still(hop.from, hop.until);
        still.or(busy).or_else(|| wire().filter(|index| wanted.contains(&self.troubles[*index].kind)))
    }

    /// The cause when no trouble explains it.
    fn why(&self, life: &Life, how: &str, hop: &Hop, late: Option<&Trouble>) -> (Cause, String) {
        let took = duration(hop.until.saturating_sub(hop.from));
        let ours = life.dir == Direction::Outbound;
        let failed = match how {
            "ok" => String::new(),
            how => format!("{} after {}; ", show::escape(how), duration(life.took(hop.until))),
        };
        match how {
            "wrong_kind" => {
                return (Cause::WrongKind, format!("{failed}the answer was one to another kind of question"));
            }
            "malformed" => return (Cause::Malformed, format!("{failed}what came could not be decoded")),
            "busy" => return (Cause::Limiter, format!("{failed}all places for requests were taken")),
            "panicked" => return (Cause::Panic, format!("{failed}a handler panicked")),
            "unsupported" if ours => {
                return (Cause::Unsupported, format!("{failed}the peer does not speak it"));
            }
            "unsupported" => return (Cause::NobodyServing, format!("{failed}the protocol gave no answer")),
            "cancelled" if ours => {
                let step = hop.step.name();
                return (
                    Cause::Caller,
                    format!(
                        "the caller gave it up after {}; it had got to {step}",
                        duration(life.took(hop.until))
                    ),
                );
            }
            "disconnected" if ours => {
                return (Cause::Disconnected, format!("{failed}{}", self.end_of(life.conn)));
            }
            _ => {}
        }
        if let Some(late) = late {
            let after = duration(late.until.saturating_sub(hop.until));
            let how = show::escape(late.how.as_deref().unwrap_or("late"));
            return (
                Cause::LateAnswer,
                format!("{failed}its answer came {after} too late and was dropped ({how})"),
            );
        }
        if ours && hop.step == Step::Written && life.heard.is_none_or(|last| last <= hop.from) {
            let last = match life.heard {
                Some(last) => format!("last byte then at {} s", moment(last)),
                None => "no byte ever came".to_owned(),
            };
            let what = format!("{failed}peer was not answering: written, and nothing came from it; {last}");
            return (Cause::PeerNotAnswering, what);
        }
        let (cause, what) = match (ours, hop.step) {
            (true, Step::Created) if life.conn == 0 => {
                (Cause::Limiter, "waited for a place on a connection for")
            }
            (true, Step::Created) => (Cause::Mailbox, "its session did not take it up for"),
            (true, Step::Queued | Step::Encoded) => {
                (Cause::Outbox, "waited to be written, behind what was there before, for")
            }
            (true, Step::Written) => (
                Cause::PeerNotAnswering,
                "written, and the peer did not answer it, though it sent other things, for",
            ),
            (true, Step::FirstByte) => (Cause::PeerNotAnswering, "its answer came in pieces for"),
            (true, Step::Received) => (Cause::Handler, "its answer was not handed to the caller for"),
            (true, _) => (Cause::Caller, "the caller took its answer and was not done with it for"),
            (false, Step::Queued) if life.queued_for.as_deref() == Some("owed") => {
                (Cause::PeerNotReading, "waited until the peer took the replies it had asked for before, for")
            }
            (false, Step::Queued) => {
                (Cause::Limiter, "as many as may be were being served; it waited for a place for")
            }
            (false, Step::Delivered) => (Cause::SlowServing, "the protocol took"),
            (false, Step::Encoded) => (Cause::Outbox, "its reply waited to be written for"),
            (false, _) => (Cause::Handler, "was not taken up for"),
        };
        let still = if ours { "" } else { stood_still(self.model, hop.from, hop.until) };
        (cause, format!("{failed}{what} {took}{still}"))
    }

    /// How a connection ended, in words.
    fn end_of(&self, conn: u32) -> String {
        let ended = self.model.conns.get(&conn).and_then(|conn| conn.ended.as_ref());
        match ended {
            Some((at, side, reason)) => {
                let (side, reason) = (show::escape(side), show::escape(reason));
                format!("the connection ended at {} s ({side}: {reason})", moment(*at))
            }
            None => "the connection ended".to_owned(),
        }
    }
}

/// The longest wait of a request.
struct Hop {
    /// The step it had reached.
    step: Step,
    from: u64,
    until: u64,
    /// The thread on which it went on.
    ring: u16,
}

fn longest_hop(life: &Life, end: u64) -> Hop {
    let path = life.path();
    let after = path.iter().skip(1).map(|(_, mark)| (mark.at, mark.id.ring()));
    let last = life.end.as_ref().map_or(0, |end| end.mark.id.ring());
    let after = after.chain(std::iter::once((end, last)));
    let hops = path.iter().zip(after).map(|((step, mark), (until, ring))| Hop {
        step: *step,
        from: mark.at,
        until,
        ring,
    });
    let none = Hop { step: Step::Created, from: end, until: end, ring: last };
    hops.max_by_key(|hop| hop.until.saturating_sub(hop.from)).unwrap_or(none)
}
