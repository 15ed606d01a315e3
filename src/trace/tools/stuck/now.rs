//! Where things stand at the end of a trace.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cause, Episode, Finding, Findings, Options, words};
use crate::ids::Direction;
use crate::trace::record::Name;
use crate::trace::tools::model::{ActorInfo, Conn, Life, Mark, Model, Step};
use crate::trace::tools::show::{self, duration};

pub(super) fn find(model: &Model, options: Options) -> Vec<Finding> {
    let mut now =
        Now { model, options, end: model.span.1, serving: serving(model), found: Findings::new(model) };
    now.handlers();
    now.mailboxes();
    for conn in model.conns.values().filter(|conn| !conn.is_over()) {
        now.coming_up(conn);
        now.negotiating(conn);
        now.blocked(conn);
    }
    for life in model.lives.values().filter(|life| life.end.is_none()) {
        now.open(life);
    }
    let mut findings = now.found.finish();
    findings.iter_mut().for_each(|finding| finding.now = true);
    findings
}

struct Now<'a> {
    model: &'a Model,
    options: Options,
    end: u64,
    /// Exchanges, by connection, that are serving requests of the peer.
    serving: BTreeSet<(u32, Option<Name>)>,
    found: Findings<'a>,
}

impl Now<'_> {
    fn since(&self, from: u64) -> u64 {
        self.end.saturating_sub(from)
    }

    /// Handlers that have begun and not returned.
    fn handlers(&mut self) {
        let waiting = messages_by_actor(self.model);
        for info in self.model.actors.values() {
            let Some((from, name, _)) = &info.busy else { continue };
            if self.since(*from) < self.options.now_ns || info.life.1.is_some() {
                continue;
            }
            let waiting = waiting.get(&info.number).map_or(0, |(count, ..)| *count);
            let who = words::actor(self.model, info.number);
            let message = show::escape(name);
            let sentence = format!(
                "{who} has been handling {message} for {}{}",
                duration(self.since(*from)),
                words::waiting(waiting)
            );
            let mut finding = self.about(info, Cause::Handler, *from, sentence);
            finding.message = Some(name.clone());
            finding.messages_waiting = waiting;
            finding.uncertain = self.model.doubted_at().is_some_and(|at| at >= *from);
            self.found.add(Episode::Actor(info.number), finding);
        }
    }

    fn about(&self, info: &ActorInfo, cause: Cause, from: u64, sentence: String) -> Finding {
        Finding::new(cause, from, self.end, sentence).of(self.model, info.number).on(self.model, info.conn)
    }

    /// Messages that wait for actors which are not busy with anything.
    fn mailboxes(&mut self) {
        for (actor, (count, from, name, uncertain)) in messages_by_actor(self.model) {
            let stopped = self.model.actors.get(&actor).is_some_and(|info| info.life.1.is_some());
            if self.since(from) < self.options.now_ns || stopped || self.found.has(&Episode::Actor(actor)) {
                continue;
            }
            let who = words::actor(self.model, actor);
            let last = self.model.loads.get(&actor).map_or(0, |load| load.last);
            let heard = match last {
                0 => "it has not been heard of".to_owned(),
                last => format!("it was last heard of {} ago", duration(self.since(last))),
            };
            let sentence = format!(
                "{} has been in the mailbox of {who} for {}; {heard}{}",
                words::name(name.as_ref()),
                duration(self.since(from)),
                words::waiting(count)
            );
            let conn = self.model.actors.get(&actor).map_or(0, |info| info.conn);
            let mut finding = Finding::new(Cause::Mailbox, from, self.end, sentence);
            finding = finding.of(self.model, actor).on(self.model, conn);
            finding.message = name;
            finding.messages_waiting = count;
            finding.uncertain = uncertain;
            self.found.add(Episode::Actor(actor), finding);
        }
    }

    /// Dials, upgrades and negotiations that have not come to an end.
    fn coming_up(&mut self, conn: &Conn) {
        if self.since(conn.began) < self.options.over_ns || conn.settled.is_some() {
            return;
        }
        let place = words::conn(self.model, conn.number);
        let took = duration(self.since(conn.began));
        let (cause, sentence) = match (conn.session, conn.socket) {
            (Some(_), _) => {
                let from = conn.session_at.unwrap_or(conn.began);
                let took = duration(self.since(from));
                (
                    Cause::Negotiation,
                    format!("{place} has had a session for {took}, but no protocols agreed on"),
                )
            }
            (None, None) if conn.steps.is_empty() && conn.peer.is_none() && conn.last_in.is_none() => {
                (Cause::Dial, format!("{place} has been dialled for {took} and has no socket"))
            }
            (None, _) => {
                let step = words::last_step(conn);
                let heard = match conn.heard_at() {
                    Some(last) => format!("last byte from it {} ago", duration(self.since(last))),
                    None => "no byte has come from it".to_owned(),
                };
                (Cause::Negotiation, format!("{place} has been coming up for {took}: {step}; {heard}"))
            }
        };
        let mut finding = Finding::new(cause, conn.began, self.end, sentence).on(self.model, conn.number);
        finding.last_byte_ns = conn.heard_at();
        self.found.add(Episode::Like(cause, conn.number, None, None), finding);
    }

    /// Substreams whose protocol has not been agreed on.
    fn negotiating(&mut self, conn: &Conn) {
        let oldest = conn.negotiating.values().min_by_key(|(from, _)| *from);
        let Some((from, proposed)) = oldest.filter(|(from, _)| self.since(*from) >= self.options.over_ns)
        else {
            return;
        };
        let heard = match conn.last_in {
            Some(last) => format!("last byte from it {} ago", duration(self.since(last))),
            None => "no byte has come from it".to_owned(),
        };
        let sentence = format!(
            "a substream with {} has been in negotiation for {} ({}); {heard}",
            words::peer(self.model, conn.number),
            duration(self.since(*from)),
            match proposed.is_empty() || &**proposed == "?" {
                true => "the peer opened it and has proposed nothing that we speak".to_owned(),
                false => show::escape(proposed),
            }
        );
        let mut finding =
            Finding::new(Cause::Negotiation, *from, self.end, sentence).on(self.model, conn.number);
        finding.last_byte_ns = conn.last_in;
        let episode = Episode::Like(Cause::Negotiation, conn.number, None, Some("substream".into()));
        self.found.add(episode, finding);
    }

    /// Sockets and substreams that take no bytes.
    fn blocked(&mut self, conn: &Conn) {
        let peer = words::peer(self.model, conn.number);
        if let Some(from) = conn.blocked_since.filter(|from| self.since(*from) >= self.options.now_ns) {
            let sentence = format!(
                "{peer} is not reading: its socket has taken no bytes for {}",
                duration(self.since(from))
            );
            let finding = Finding::new(Cause::PeerNotReading, from, self.end, sentence);
            self.found.add(socket(conn.number), finding.on(self.model, conn.number));
            // Whatever substream takes no bytes, it is because of that.
            return;
        }
        for (proto, from) in &conn.window_blocked {
            if self.since(*from) < self.options.now_ns {
                continue;
            }
            let sentence = format!(
                "{peer} gives no room on the substream of {}: it has taken no bytes for {}, {} wait",
                show::escape(proto),
                duration(self.since(*from)),
                show::bytes(conn.window_bytes)
            );
            let finding = Finding::new(Cause::Window, *from, self.end, sentence);
            self.found.add(window(conn.number, proto), finding.on(self.model, conn.number));
        }
    }

    /// A request that has not ended.
    fn open(&mut self, life: &Life) {
        let Some((step, mark)) = life.path().last().copied() else { return };
        let conn = self.model.conns.get(&life.conn);
        if self.model.closed.is_some() || conn.is_some_and(Conn::is_over) {
            self.orphan(life, step, mark);
            return;
        }
        let (cause, what) = self.place(life, step, mark, conn);
        let patience = match cause {
            Cause::PeerNotAnswering | Cause::Caller => self.options.over_ns,
            _ => self.options.now_ns,
        };
        if self.since(mark.at) < patience {
            return;
        }
        let blamed = self.blamed(life, step, mark, conn);
        let alike = (life.dir == Direction::Inbound).then(|| life.name.clone()).flatten();
        let own = Episode::Like(cause, life.conn, life.proto.clone(), alike);
        let episode = blamed.clone().unwrap_or(own);
        if blamed.is_none() {
            let sentence = format!("{}: {what}", words::request(self.model, life));
            let mut finding = Finding::new(cause, mark.at, self.end, sentence).on(self.model, life.conn);
            finding.last_byte_ns = conn.and_then(|conn| conn.last_in);
            finding.request = Some(words::asked(life));
            finding.uncertain = life.uncertain;
            self.found.add(episode.clone(), finding);
        }
        self.found.concerns(&episode, life);
    }

    /// What has been found already and holds this request up.
    fn blamed(&self, life: &Life, step: Step, mark: Mark, conn: Option<&Conn>) -> Option<Episode> {
        let actor = conn.and_then(|conn| conn.session).map_or(0, |(_, actor)| actor);
        let inside = match life.dir {
            Direction::Outbound => matches!(step, Step::Created | Step::Queued | Step::Received),
            // A protocol that keeps the thread is part of the handler that is busy.
            Direction::Inbound if step == Step::Delivered => {
                let busy = self.model.actors.get(&actor).and_then(|info| info.busy.as_ref());
                busy.is_some_and(|(from, ..)| mark.at >= *from)
            }
            Direction::Inbound => matches!(step, Step::Received | Step::Queued),
        };
        let to_write = match life.dir {
            Direction::Outbound => matches!(step, Step::Queued | Step::Encoded),
            Direction::Inbound => step == Step::Encoded || (step == Step::Queued && self.is_owed(life)),
        };
        let mut candidates = Vec::new();
        if inside {
            candidates.push(Episode::Actor(actor));
        }
        if to_write {
            candidates.extend(life.proto.as_ref().map(|proto| window(life.conn, proto)));
            candidates.push(socket(life.conn));
        }
        candidates.into_iter().find(|episode| self.found.has(episode))
    }

    /// Whether a request of the peer waits until replies before it are taken. What it was queued for
    /// may be over: when nobody is being served any more, replies are all that it can wait for.
    fn is_owed(&self, life: &Life) -> bool {
        life.queued_for.as_deref() == Some("owed") || !self.serving.contains(&(life.conn, life.proto.clone()))
    }

    /// What a request at this step waits for.
    fn place(&self, life: &Life, step: Step, mark: Mark, conn: Option<&Conn>) -> (Cause, String) {
        let ago = duration(self.since(mark.at));
        match (life.dir, step) {
            (Direction::Outbound, Step::Created) if life.conn == 0 => {
                (Cause::Limiter, format!("made {ago} ago, waits for a place on a connection"))
            }
            (Direction::Outbound, Step::Created) => {
                (Cause::Mailbox, format!("made {ago} ago, its session has not taken it up"))
            }
            (Direction::Outbound, Step::Queued | Step::Encoded) => {
                (Cause::Outbox, format!("waits to be written for {ago}, behind what was there before"))
            }
            (Direction::Outbound, Step::Written) => {
                let said = match conn.and_then(|conn| conn.last_in) {
                    Some(last) => format!("last byte from it {} ago", duration(self.since(last))),
                    None => "no byte has come from it".to_owned(),
                };
                (Cause::PeerNotAnswering, format!("written {ago} ago, peer is not answering: {said}"))
            }
            (Direction::Outbound, Step::FirstByte) => {
                (Cause::PeerNotAnswering, format!("its answer began {ago} ago and is not complete"))
            }
            (Direction::Outbound, Step::Received) => {
                (Cause::Handler, format!("its answer came {ago} ago and has not been handed to the caller"))
            }
            (Direction::Outbound, Step::Delivered | Step::Decoded) => {
                (Cause::Caller, format!("the caller has had the answer for {ago} and is not done with it"))
            }
            (Direction::Inbound, Step::Queued) if self.is_owed(life) => (
                Cause::PeerNotReading,
                format!("waits for {ago}: the peer does not take the replies it asked for before"),
            ),
            (Direction::Inbound, Step::Queued) => {
                (Cause::Limiter, format!("waits for {ago} for a place: as many as may be are being served"))
            }
            (Direction::Inbound, Step::Delivered) => {
                (Cause::NobodyServing, format!("the protocol has had it for {ago} and has not answered"))
            }
            (Direction::Inbound, Step::Encoded) => {
                (Cause::Outbox, format!("its reply waits to be written for {ago}"))
            }
            (Direction::Inbound, _) => (Cause::Handler, format!("came {ago} ago and has not been taken up")),
        }
    }

    /// Nobody will end it any more.
    fn orphan(&mut self, life: &Life, step: Step, mark: Mark) {
        let why = match self.model.closed {
            Some(_) => "the trace was closed",
            None => "its connection is over",
        };
        let sentence = format!(
            "{}: {why}, but it never ended; it had got to {}",
            words::request(self.model, life),
            step.name()
        );
        let mut finding = Finding::new(Cause::Orphan, mark.at, self.end, sentence).on(self.model, life.conn);
        finding.uncertain = life.uncertain || self.model.lost > 0;
        finding.request = Some(words::asked(life));
        // Where events are missing, its end may be among them.
        let over = self.model.conns.get(&life.conn).and_then(Conn::over_at).unwrap_or(mark.at);
        let recent = self.model.closed.is_none() && self.since(over) < self.options.now_ns;
        if recent || finding.uncertain {
            return;
        }
        let episode = Episode::Like(Cause::Orphan, life.conn, life.proto.clone(), None);
        self.found.add(episode.clone(), finding);
        self.found.concerns(&episode, life);
    }
}

/// Which exchanges have been given requests that they have not answered.
fn serving(model: &Model) -> BTreeSet<(u32, Option<Name>)> {
    let open = model.lives.values().filter(|life| life.end.is_none() && life.dir == Direction::Inbound);
    let last = |life: &Life| life.path().last().map(|(step, _)| *step);
    let served = open.filter(|life| last(life) == Some(Step::Delivered));
    served.map(|life| (life.conn, life.proto.clone())).collect()
}

fn socket(conn: u32) -> Episode {
    Episode::Like(Cause::PeerNotReading, conn, None, Some("socket".into()))
}

fn window(conn: u32, proto: &Name) -> Episode {
    Episode::Like(Cause::Window, conn, Some(proto.clone()), None)
}

/// By actor: how many messages wait, the oldest one's time and type, whether that is certain.
fn messages_by_actor(model: &Model) -> BTreeMap<u32, (u64, u64, Option<Name>, bool)> {
    let mut found: BTreeMap<u32, (u64, u64, Option<Name>, bool)> = BTreeMap::new();
    for waiting in model.waiting.values() {
        let taken = model.loads.get(&waiting.to).map_or(0, |load| load.taken);
        // Events were lost, and a later message has been taken out: so has this one.
        if waiting.uncertain && taken > waiting.since {
            continue;
        }
        let entry = found.entry(waiting.to).or_insert((0, u64::MAX, None, false));
        entry.0 += 1;
        if waiting.since < entry.1 {
            *entry = (entry.0, waiting.since, waiting.name.clone(), waiting.uncertain);
        }
    }
    found
}
