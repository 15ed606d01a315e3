//! One exchange with one peer: handshake, active, over. Decides; the session actor carries out.
//!
//! Inputs are `on_*` and verbs, outputs come from [`SessionMachine::poll_action`]. The machine
//! reads only the envelope of a message; bodies stay `Bytes`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use super::action::{Action, Counters, DISCONNECT_CODE, Fact, Failure, Fate, Misdeed, Rules};
pub use super::limits::SessionLimits;
use super::message::{Class, Payload};
use super::outbox::{Outbox, Pushed, Rank, Tag};
use super::pending::{Answer, PendingRequests, Permit};
use crate::disconnect::{Breach, Deadline, DisconnectReason, Disconnected};
use crate::ids::RequestId;
use crate::wire::segment::{Assembler, Message, Segment};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Negotiated; the peer's handshake has not arrived.
    Handshake {
        deadline: Instant,
    },
    Active,
    Over,
}

/// One exchange with one peer, over one long-lived substream.
#[derive(Debug)]
pub struct SessionMachine<W, R> {
    rules: R,
    phase: Phase,
    assembler: Assembler,
    outbox: Outbox,
    pending: PendingRequests<W>,
    serving: usize,
    waiting: VecDeque<Payload>,
    waiting_bytes: usize,
    inbox: VecDeque<Payload>,
    inbox_bytes: usize,
    taking: bool,
    last_segment: Instant,
    last_written: Instant,
    /// Bytes were taken from the outbox that the substream does not take.
    write_blocked: bool,
    actions: VecDeque<Action<W>>,
    /// Only kept when somebody watches, who takes them with the actions of the same turn.
    facts: VecDeque<Fact>,
    watched: bool,
    /// Requests of the peer that have arrived, and that were let through.
    arrived: Tag,
    served: Tag,
    counters: Counters,
    limits: SessionLimits,
}

impl<W, R: Rules> SessionMachine<W, R> {
    /// A session on a substream whose protocol was just agreed on. `hello` is our own handshake.
    pub fn new(now: Instant, rules: R, hello: Option<Payload>, limits: SessionLimits) -> Self {
        let mut outbox = Outbox::new(limits.outbox);
        let mut actions = VecDeque::new();
        let phase = match hello {
            Some(hello) => {
                outbox.push(Rank::Control, hello);
                Phase::Handshake { deadline: now + limits.status_timeout }
            }
            None => {
                actions.push_back(Action::Up(None));
                Phase::Active
            }
        };
        Self {
            rules,
            phase,
            assembler: Assembler::new(limits.segment),
            outbox,
            pending: PendingRequests::new(limits.late_grace),
            serving: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            taking: false,
            last_segment: now,
            last_written: now,
            write_blocked: false,
            actions,
            facts: VecDeque::new(),
            watched: false,
            arrived: 0,
            served: 0,
            counters: Counters::default(),
            limits,
        }
    }

    /// From now on facts are told, and messages in the outbox are tagged: requests of ours with
    /// their id plus one, replies with the number of their request.
    pub fn watch(&mut self) {
        self.watched = true;
    }

    /// What happened meanwhile.
    pub fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    /// A request of ours. It may follow our own handshake immediately.
    pub fn request(
        &mut self,
        now: Instant,
        permit: Permit,
        question: Payload,
        answer_code: u8,
        timeout: Duration,
        waiter: W,
    ) {
        if self.phase == Phase::Over {
            let ended = Disconnected::local(DisconnectReason::SubstreamClosed);
            self.complete(waiter, Err(Failure::Disconnected(ended)));
            return;
        }
        let (id, bytes) = (permit.id(), question.wire_bytes());
        let too_large = bytes > self.limits.segment.message_bytes_max;
        if too_large || self.push(now, Rank::Request, id.as_u64() + 1, question) == Pushed::Full {
            self.complete(waiter, Err(Failure::Busy));
            return;
        }
        self.tell(Fact::Queued { id, bytes });
        self.pending.insert(permit, answer_code, now, now + timeout, waiter);
    }

    /// The caller of a request gave up. Nothing if it has ended already.
    pub fn cancel(&mut self, now: Instant, id: RequestId) {
        drop(self.pending.cancel(now, id));
    }

    /// An announcement of ours.
    pub fn announce(&mut self, now: Instant, message: Payload) {
        if self.phase == Phase::Over {
            return;
        }
        if message.wire_bytes() > self.limits.segment.message_bytes_max {
            self.counters.oversized += 1;
            return;
        }
        let dropped = match self.push(now, Rank::Announcement, 0, message) {
            Pushed::Queued => return,
            Pushed::Displaced(count) => count,
            Pushed::Full => 1,
        };
        self.counters.announcements_dropped += dropped as u64;
        self.tell(Fact::Displaced(dropped));
    }

    /// A segment arrived.
    pub fn on_segment(&mut self, now: Instant, segment: Segment) {
        if self.phase == Phase::Over {
            return;
        }
        self.last_segment = now;
        if self.watched && segment.more {
            self.look_ahead(&segment);
        }
        match self.assembler.on_segment(segment) {
            Ok(None) => {}
            Ok(Some(message)) => self.on_message(now, message),
            Err(breach) => self.breach(breach),
        }
    }

    /// A whole message arrived, over a transport that does not cut them and bounds their size.
    pub fn on_whole(&mut self, now: Instant, message: Message) {
        if self.phase == Phase::Over {
            return;
        }
        self.on_message(now, message);
    }

    /// Bytes arrived that are no segment.
    pub fn on_bad_framing(&mut self, breach: Breach) {
        self.breach(breach);
    }

    /// The request of the peer with this number was served (they are served in their order, from 1 on;
    /// only who watches need count them). `Ok(None)`: there is no answer.
    pub fn on_reply(&mut self, now: Instant, to: Tag, reply: Result<Option<Payload>, DisconnectReason>) {
        self.serving = self.serving.saturating_sub(1);
        if self.phase == Phase::Over {
            return;
        }
        match reply {
            // What the peer must refuse as too large is not sent: it counts as no answer.
            Ok(Some(reply)) if reply.wire_bytes() > self.limits.segment.message_bytes_max => {
                self.counters.oversized += 1;
                self.tell(Fact::Oversized(to));
            }
            Ok(Some(reply)) => {
                self.push(now, Rank::Reply, to, reply);
            }
            Ok(None) => {}
            Err(reason) => return self.end(reason),
        }
        self.serve_more();
    }

    /// An announcement of the peer was handled.
    pub fn on_taken(&mut self, result: Result<(), DisconnectReason>) {
        self.taking = false;
        if self.phase == Phase::Over {
            return;
        }
        match result {
            Ok(()) => self.take_more(),
            Err(reason) => self.end(reason),
        }
    }

    /// A caller could not decode an answer it was given.
    pub fn on_malformed_answer(&mut self, excess: bool) {
        if self.phase == Phase::Over {
            return;
        }
        if excess {
            self.actions.push_back(Action::Misdeed(Misdeed::Excess));
        } else {
            self.breach(Breach::Malformed);
        }
    }

    /// A round of writing is over: whether bytes went out, and whether some remain that the peer
    /// does not take now.
    pub fn on_written(&mut self, now: Instant, progress: bool, blocked: bool) {
        if progress || (blocked && !self.write_blocked) {
            self.last_written = now;
        }
        self.write_blocked = blocked;
        if progress {
            self.serve_more();
        }
    }

    /// The substream or the connection is over.
    pub fn on_closed(&mut self, ended: Disconnected) {
        self.over(ended, false);
    }

    /// Ends the session for a reason of ours; the peer is told if that needs no waiting.
    pub fn end(&mut self, reason: DisconnectReason) {
        if self.phase == Phase::Over {
            return;
        }
        self.outbox.clear_waiting(|_, _| ());
        self.outbox.push(Rank::Control, self.rules.disconnect(reason));
        self.over(Disconnected::local(reason), true);
    }

    /// Deadlines that have passed.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Over {
            return;
        }
        for (waiter, waited) in self.pending.on_timeout(now) {
            self.complete(waiter, Err(Failure::TimedOut(waited)));
        }
        if let Some((deadline, what)) = self.session_deadline()
            && deadline <= now
        {
            self.end(DisconnectReason::TimedOut(what));
        }
    }

    /// When [`Self::on_timeout`] should be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.session_deadline().map(|(deadline, _)| deadline);
        [session, self.pending.next_deadline()].into_iter().flatten().min()
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action<W>> {
        self.actions.pop_front()
    }

    /// The messages to be written.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether anything waits to be written.
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The requests of ours that wait for answers, with when they were asked.
    pub fn pending(&self) -> impl Iterator<Item = (RequestId, Instant)> {
        self.pending.iter()
    }

    /// How many requests of ours wait for answers.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Whether the session has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// What passed by without consequence so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn on_message(&mut self, now: Instant, message: Message) {
        let Message { code, body } = message;
        if code == DISCONNECT_CODE {
            let reason = self.rules.read_disconnect(&body);
            return self.over(Disconnected::remote(reason), true);
        }
        let is_handshake = self.rules.handshake_code() == Some(code);
        match self.phase {
            Phase::Over => {}
            Phase::Handshake { .. } if !is_handshake => self.breach(Breach::StatusMissing),
            Phase::Handshake { .. } => match self.rules.accept(body.clone()) {
                Ok(()) => {
                    self.phase = Phase::Active;
                    self.actions.push_back(Action::Up(Some(body)));
                }
                Err(reason) => self.end(reason),
            },
            Phase::Active if is_handshake => self.breach(Breach::StatusTwice),
            Phase::Active => match self.rules.classify(code, &body) {
                Err(breach) => self.breach(breach),
                Ok(Class::Answer(id)) => self.on_answer(now, RequestId::from_wire(id), code, body),
                Ok(Class::Request(id)) => self.on_request(id, Payload { code, body }),
                Ok(Class::OneWay) => self.on_announcement(Payload { code, body }),
            },
        }
    }

    /// The first part of a longer answer tells whose it is. What is wrong with it is found when it
    /// is whole.
    fn look_ahead(&mut self, segment: &Segment) {
        let is_first = !self.assembler.has_begun(segment.number);
        if let (true, Phase::Active, Some((code, body))) =
            (is_first, self.phase, segment.data.split_first().map(|(code, body)| (*code, body)))
            && self.pending.expects(code)
            && let Ok(Class::Answer(id)) = self.rules.classify(code, &segment.data.slice_ref(body))
        {
            self.tell(Fact::AnswerBegan(RequestId::from_wire(id)));
        }
    }

    fn tell(&mut self, fact: Fact) {
        if self.watched {
            self.facts.push_back(fact);
        }
    }

    fn on_answer(&mut self, now: Instant, id: RequestId, code: u8, body: Bytes) {
        let answer = self.pending.on_answer(now, id, code);
        if self.watched {
            let fate = match &answer {
                Answer::For(..) => Fate::Delivered,
                Answer::WrongKind(_) => Fate::WrongKind,
                Answer::Late => Fate::Late,
                Answer::Duplicate => Fate::Duplicate,
                Answer::Unknown => Fate::Unknown,
            };
            self.tell(Fact::Answered { id, bytes: 1 + body.len(), fate });
        }
        match answer {
            Answer::For(waiter, asked) => {
                let took = now.saturating_duration_since(asked);
                self.complete(waiter, Ok((body, took)));
            }
            Answer::WrongKind(waiter) => {
                self.complete(waiter, Err(Failure::WrongKind));
                self.actions.push_back(Action::Misdeed(Misdeed::WrongKind));
            }
            Answer::Late => self.counters.late_answers += 1,
            Answer::Duplicate => self.actions.push_back(Action::Misdeed(Misdeed::DuplicateAnswer)),
            Answer::Unknown => self.actions.push_back(Action::Misdeed(Misdeed::UnknownAnswer)),
        }
    }

    fn on_request(&mut self, id: u64, request: Payload) {
        let size = request.wire_bytes();
        let too_many = self.waiting.len() >= self.limits.waiting_max;
        if too_many || (self.waiting_bytes > 0 && self.waiting_bytes + size > self.limits.waiting_bytes_max) {
            return self.breach(Breach::TooManyRequests);
        }
        self.waiting_bytes += size;
        self.arrived += 1;
        self.tell(Fact::Arrived { id, code: request.code, bytes: size });
        self.waiting.push_back(request);
        self.serve_more();
        if !self.waiting.is_empty() {
            self.tell(Fact::Waits { owed: self.serving < self.limits.serving_max });
        }
    }

    fn on_announcement(&mut self, message: Payload) {
        let size = message.wire_bytes();
        let dropped = self.inbox.len() >= self.limits.inbox_max
            || self.inbox_bytes + size > self.limits.inbox_bytes_max;
        self.tell(Fact::OneWay { code: message.code, bytes: size, dropped });
        if dropped {
            self.counters.inbox_dropped += 1;
            return;
        }
        self.inbox_bytes += size;
        self.inbox.push_back(message);
        self.take_more();
    }

    fn serve_more(&mut self) {
        while self.phase == Phase::Active
            && self.serving < self.limits.serving_max
            && self.outbox.owed_bytes() < self.limits.owed_bytes_max
            && self.outbox.owed_replies() < self.limits.owed_replies_max
        {
            let Some(request) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= request.wire_bytes();
            self.serving += 1;
            self.served += 1;
            self.actions.push_back(Action::Serve(request));
        }
    }

    /// Announcements are handled one at a time, in their order.
    fn take_more(&mut self) {
        if self.taking || self.phase != Phase::Active {
            return;
        }
        if let Some(message) = self.inbox.pop_front() {
            self.inbox_bytes -= message.wire_bytes();
            self.taking = true;
            self.actions.push_back(Action::Take(message));
        }
    }

    fn push(&mut self, now: Instant, rank: Rank, tag: Tag, message: Payload) -> Pushed {
        if self.outbox.is_empty() && !self.write_blocked {
            self.last_written = now;
        }
        self.outbox.push_tagged(rank, if self.watched { tag } else { 0 }, message)
    }

    fn complete(&mut self, waiter: W, result: Result<(Bytes, Duration), Failure>) {
        self.actions.push_back(Action::Complete(waiter, result));
    }

    fn breach(&mut self, breach: Breach) {
        self.end(DisconnectReason::Breach(breach));
    }

    fn over(&mut self, ended: Disconnected, close_connection: bool) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        for waiter in self.pending.drain() {
            self.complete(waiter, Err(Failure::Disconnected(ended)));
        }
        if self.served < self.arrived {
            self.tell(Fact::Unserved(self.served + 1));
        }
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.inbox.clear();
        self.inbox_bytes = 0;
        self.actions.push_back(Action::Down { ended, close_connection });
    }

    fn session_deadline(&self) -> Option<(Instant, Deadline)> {
        let handshake = match self.phase {
            Phase::Handshake { deadline } => Some((deadline, Deadline::Status)),
            Phase::Active => None,
            Phase::Over => return None,
        };
        let segment = (self.assembler.open() > 0)
            .then(|| (self.last_segment + self.limits.segment_timeout, Deadline::Segment));
        let write = (!self.outbox.is_empty() || self.write_blocked)
            .then(|| (self.last_written + self.limits.write_timeout, Deadline::Write));
        [handshake, segment, write].into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
