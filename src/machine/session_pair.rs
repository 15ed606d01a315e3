//! Test support: a machine with everything it asked for, and two of them under a virtual clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::super::*;
use crate::machine::pending::Slots;
use crate::wire::segment::SegmentDecoder;

pub(super) const STATUS: u8 = 0;
pub(super) const QUESTION: u8 = 1;
pub(super) const ANSWER: u8 = 2;
pub(super) const OTHER_ANSWER: u8 = 3;
pub(super) const NEWS: u8 = 4;
/// A Status that is refused.
pub(super) const FOREIGN: &[u8] = b"foreign";

/// A protocol whose bodies start with the request id in eight bytes.
#[derive(Debug, Clone)]
pub(super) struct TestRules {
    pub(super) handshake: bool,
}

impl Rules for TestRules {
    fn handshake_code(&self) -> Option<u8> {
        self.handshake.then_some(STATUS)
    }

    fn accept(&self, theirs: Bytes) -> Result<(), DisconnectReason> {
        if theirs == FOREIGN { Err(DisconnectReason::GenesisMismatch) } else { Ok(()) }
    }

    fn classify(&self, code: u8, body: &Bytes) -> Result<Class, Breach> {
        let id = body.first_chunk().map(|id| u64::from_be_bytes(*id));
        match (code, id) {
            (QUESTION, Some(id)) => Ok(Class::Request(id)),
            (ANSWER | OTHER_ANSWER, Some(id)) => Ok(Class::Answer(id)),
            (NEWS, _) => Ok(Class::OneWay),
            (QUESTION | ANSWER | OTHER_ANSWER, None) => Err(Breach::Malformed),
            _ => Err(Breach::UnknownCode),
        }
    }

    fn disconnect(&self, reason: DisconnectReason) -> Payload {
        Payload { code: DISCONNECT_CODE, body: vec![reason.code()].into() }
    }

    fn read_disconnect(&self, body: &Bytes) -> DisconnectReason {
        DisconnectReason::from_code(body.first().copied().unwrap_or(0))
    }
}

pub(super) fn status(body: &'static [u8]) -> Payload {
    Payload { code: STATUS, body: Bytes::from_static(body) }
}

pub(super) fn with_id(code: u8, id: u64, size: usize) -> Payload {
    let mut body = id.to_be_bytes().to_vec();
    body.resize(8 + size, code);
    Payload { code, body: body.into() }
}

pub(super) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) type Machine = SessionMachine<u32, TestRules>;

/// One machine and everything it asked for.
pub(super) struct End {
    pub(super) machine: Machine,
    pub(super) slots: Arc<Slots>,
    /// Requests are answered at once; otherwise they pile up in `serving`.
    pub(super) answers: bool,
    pub(super) serving: Vec<Payload>,
    pub(super) taken: Vec<Payload>,
    pub(super) outcomes: BTreeMap<u32, Vec<Result<Bytes, Failure>>>,
    pub(super) misdeeds: Vec<Misdeed>,
    pub(super) ups: Vec<Option<Bytes>>,
    pub(super) downs: Vec<(Disconnected, bool)>,
    /// Segments that go out, one every time the link has room.
    pub(super) decoder: SegmentDecoder,
}

impl End {
    pub(super) fn new(now: Instant, hello: Option<Payload>, limits: SessionLimits) -> Self {
        let rules = TestRules { handshake: hello.is_some() };
        Self {
            machine: SessionMachine::new(now, rules, hello, limits),
            slots: Slots::new(4096),
            answers: true,
            serving: Vec::new(),
            taken: Vec::new(),
            outcomes: BTreeMap::new(),
            misdeeds: Vec::new(),
            ups: Vec::new(),
            downs: Vec::new(),
            decoder: SegmentDecoder::default(),
        }
    }

    /// Carries out what the machine has decided.
    pub(super) fn act(&mut self, now: Instant) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Complete(waiter, result) => {
                    self.outcomes.entry(waiter).or_default().push(result.map(|(body, _)| body));
                }
                Action::Serve(question) if self.answers => {
                    let answer = Payload { code: ANSWER, body: question.body };
                    self.machine.on_reply(now, 0, Ok(Some(answer)));
                }
                Action::Serve(question) => self.serving.push(question),
                Action::Take(message) => self.taken.push(message),
                Action::Up(theirs) => self.ups.push(theirs),
                Action::Misdeed(misdeed) => self.misdeeds.push(misdeed),
                Action::Down { ended, close_connection } => self.downs.push((ended, close_connection)),
            }
        }
    }

    pub(super) fn ask(&mut self, now: Instant, waiter: u32) -> RequestId {
        let permit = self.slots.take().expect("a free slot");
        let id = permit.id();
        let question = with_id(QUESTION, id.as_u64(), 0);
        self.machine.request(now, permit, question, ANSWER, Duration::from_secs(15), waiter);
        self.act(now);
        id
    }

    pub(super) fn next_segment(&mut self) -> Option<Segment> {
        let mut bytes = BytesMut::new();
        self.machine
            .outbox()
            .poll_segment(&mut bytes)
            .is_some()
            .then(|| self.decoder.decode(&mut bytes).ok().flatten())?
    }

    pub(super) fn ended(&self) -> Option<Disconnected> {
        assert!(self.downs.len() <= 1, "down twice: {:?}", self.downs);
        self.downs.first().map(|(ended, _)| *ended)
    }
}

/// Two ends, a link with latency, a virtual clock.
pub(super) struct Pair {
    pub(super) a: End,
    pub(super) b: End,
    pub(super) now: Instant,
    pub(super) latency: Duration,
    pub(super) to_a: VecDeque<(Instant, Segment)>,
    pub(super) to_b: VecDeque<(Instant, Segment)>,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(status(b"a"), status(b"b"), SessionLimits::default())
    }

    pub(super) fn with(hello_a: Payload, hello_b: Payload, limits: SessionLimits) -> Self {
        let now = Instant::now();
        let (a, b) = (End::new(now, Some(hello_a), limits), End::new(now, Some(hello_b), limits));
        Self { a, b, now, latency: millis(50), to_a: VecDeque::new(), to_b: VecDeque::new() }
    }

    /// Moves segments and time until nothing is under way.
    pub(super) fn run(&mut self) {
        loop {
            self.flush();
            let due = [self.to_a.front(), self.to_b.front()].into_iter().flatten().map(|(at, _)| *at).min();
            let Some(due) = due else { return };
            self.now = self.now.max(due);
            while let Some((_, segment)) = self.to_a.pop_front_if(|(at, _)| *at <= self.now) {
                self.a.machine.on_segment(self.now, segment);
            }
            while let Some((_, segment)) = self.to_b.pop_front_if(|(at, _)| *at <= self.now) {
                self.b.machine.on_segment(self.now, segment);
            }
        }
    }

    fn flush(&mut self) {
        let arrival = self.now + self.latency;
        for (end, link) in [(&mut self.a, &mut self.to_b), (&mut self.b, &mut self.to_a)] {
            end.act(self.now);
            let mut progress = false;
            while let Some(segment) = end.next_segment() {
                progress = true;
                link.push_back((arrival, segment));
            }
            end.machine.on_written(self.now, progress, false);
            end.act(self.now);
        }
    }

    /// Sends a message in `a`'s name that `a` knows nothing of.
    pub(super) fn inject(&mut self, message: Payload) {
        self.a.machine.outbox().push(Rank::Control, message);
    }

    /// Time passes; deadlines of both ends are met as they come.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.run();
            let due = [self.a.machine.poll_timeout(), self.b.machine.poll_timeout()];
            let Some(due) = due.into_iter().flatten().min().filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            self.a.machine.on_timeout(self.now);
            self.b.machine.on_timeout(self.now);
        }
        self.now = self.now.max(until);
    }
}
