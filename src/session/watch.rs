//! What the trace hears of one exchange: the life lines of its requests, both directions.
//!
//! Fed with the machine's facts and the writer's progress; knows which event began each request. It
//! decides nothing, and without a trace there is none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::drained::Progress;
use super::shared::LaneShared;
use crate::disconnect::{DisconnectReason, Disconnected, Side};
use crate::ids::{Direction, RequestId};
use crate::machine::message::Payload;
use crate::machine::outbox::{Rank, Tag};
use crate::machine::session::{Fact, Fate};
use crate::trace::{ConnTrace, Event, EventId, Kind, Label, Local, nanos};

/// Requests of the peer that are followed at a time. More can only be when a peer asks much and
/// takes nothing; further ones are served all the same and not followed.
const SERVED_MAX: usize = 4096;

/// The trace of one exchange of a session.
pub(super) struct LaneWatch {
    trace: ConnTrace,
    proto: Label,
    /// Knows the names of messages.
    lane: Arc<LaneShared>,
    /// Our requests, by slot: id and key. As many as there are permits.
    asked: Vec<Asked>,
    /// Their requests that have not ended, from number `first` on.
    served: VecDeque<Option<Served>>,
    first: Tag,
    /// The number of the request that is served next.
    next_served: Tag,
    /// Since when the substream takes no bytes.
    blocked: Option<u64>,
    /// The `req.delivered` of answers that have not been handed over yet, in their order: at most
    /// those of one batch of segments.
    delivered: VecDeque<EventId>,
    epoch: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    id: RequestId,
    key: EventId,
    bytes: usize,
    /// The first part of its answer has been told.
    began: bool,
}

#[derive(Debug, Clone, Copy)]
struct Served {
    key: EventId,
    id: u64,
    name: Label,
    arrived: u64,
    encoded: bool,
}

impl LaneWatch {
    /// `None`: there is no trace.
    pub(super) fn new(trace: &ConnTrace, lane: &Arc<LaneShared>) -> Option<Self> {
        Some(Self {
            epoch: trace.tracer.epoch()?,
            delivered: VecDeque::new(),
            trace: trace.clone(),
            proto: lane.proto,
            lane: Arc::clone(lane),
            asked: Vec::new(),
            served: VecDeque::new(),
            first: 1,
            next_served: 1,
            blocked: None,
        })
    }

    /// An instant in nanoseconds since the trace began: looked up once for all that happens then.
    pub(super) fn at(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }

    #[inline]
    fn record(&self, at: u64, event: impl FnOnce() -> Event) -> EventId {
        let record = |local: &Local| local.record(at, event().conn(self.trace.conn));
        self.trace.tracer.with(record).unwrap_or(EventId::NONE)
    }

    fn ours(&self, kind: Kind) -> Event {
        Event::new(kind).proto(self.proto).dir(Direction::Outbound)
    }

    fn theirs(&self, kind: Kind, served: &Served) -> Event {
        let event = Event::new(kind).proto(self.proto).dir(Direction::Inbound);
        event.key(served.key).name(served.name).x(served.id)
    }

    /// A request of ours is about to be given to the machine.
    pub(super) fn on_asked(&mut self, id: RequestId, key: EventId) {
        if self.asked.len() <= id.slot() {
            self.asked.resize(id.slot() + 1, Asked { id, key: EventId::NONE, bytes: 0, began: false });
        }
        self.asked[id.slot()] = Asked { id, key, bytes: 0, began: false };
    }

    /// The request of ours with this id; one that has ended and whose slot is taken again is gone.
    fn asked(&self, id: RequestId) -> Option<&Asked> {
        self.asked.get(id.slot()).filter(|asked| asked.id == id && asked.key != EventId::NONE)
    }

    fn key(&self, id: RequestId) -> Option<EventId> {
        self.asked(id).map(|asked| asked.key)
    }

    fn on_ours(&self, at: u64, kind: Kind, id: RequestId, bytes: usize) -> EventId {
        // A request that has ended meanwhile has no life line to add to.
        let Some(key) = self.key(id) else { return EventId::NONE };
        self.record(at, || self.ours(kind).key(key).x(id.as_u64()).y(bytes as u64))
    }

    /// The event that says that the next answer is handed over.
    pub(super) fn take_delivered(&mut self) -> EventId {
        self.delivered.pop_front().unwrap_or(EventId::NONE)
    }

    /// What the machine tells.
    pub(super) fn on_fact(&mut self, at: u64, fact: Fact) {
        match fact {
            Fact::Queued { id, bytes } => {
                if let Some(asked) = self.asked.get_mut(id.slot()) {
                    asked.bytes = bytes;
                }
                self.on_ours(at, Kind::ReqQueued, id, bytes);
            }
            Fact::AnswerBegan(id) => {
                self.on_ours(at, Kind::ReqFirstByte, id, 0);
                if let Some(asked) = self.asked.get_mut(id.slot()).filter(|asked| asked.id == id) {
                    asked.began = true;
                }
            }
            Fact::Answered { id, bytes, fate: Fate::Delivered } => {
                let delivered = if self.asked(id).is_some_and(|asked| asked.began) {
                    self.on_ours(at, Kind::ReqReceived, id, bytes);
                    self.on_ours(at, Kind::ReqDelivered, id, 0)
                } else {
                    self.on_ours(at, Kind::PackAnswered, id, bytes).packed(2)
                };
                self.delivered.push_back(delivered);
            }
            Fact::Answered { id, bytes, fate } => {
                let how = match fate {
                    Fate::Delivered | Fate::Unknown => Label::UNKNOWN,
                    Fate::WrongKind => Label::WRONG_KIND,
                    Fate::Late => Label::LATE,
                    Fate::Duplicate => Label::DUPLICATE,
                };
                let dropped = self.ours(Kind::AnswerDropped).how(how).x(id.as_u64()).y(bytes as u64);
                self.record(at, || dropped.key(self.key(id).unwrap_or(EventId::NONE)));
            }
            Fact::Arrived { id, code, bytes } => self.on_arrived(at, id, code, bytes),
            Fact::Waits { owed } => {
                if let Some(Some(served)) = self.served.back() {
                    let how = if owed { Label::OWED } else { Label::SERVING };
                    self.record(at, || self.theirs(Kind::ReqQueued, served).how(how));
                }
            }
            Fact::Unserved(from) => {
                let last = self.first + self.served.len() as Tag;
                (from..last).for_each(|number| self.end(at, number, Label::DISCONNECTED));
            }
            Fact::Oversized(number) => self.end(at, number, Label::UNSUPPORTED),
            Fact::OneWay { code, bytes, dropped } => {
                let how = if dropped { Label::DROPPED } else { Label::TAKEN };
                let event = Event::new(Kind::OneWay).proto(self.proto).dir(Direction::Inbound).how(how);
                self.record(at, || event.name(self.lane.names[usize::from(code)]).x(bytes as u64));
            }
            Fact::Displaced(count) => {
                let event = Event::new(Kind::OneWayDropped).proto(self.proto).dir(Direction::Outbound);
                self.record(at, || event.x(count as u64));
            }
        }
    }

    fn on_arrived(&mut self, at: u64, id: u64, code: u8, bytes: usize) {
        if self.served.len() >= SERVED_MAX {
            return self.served.push_back(None);
        }
        let name = self.lane.names[usize::from(code)];
        let received = Event::new(Kind::ReqReceived).proto(self.proto).dir(Direction::Inbound).name(name);
        let key = self.record(at, || received.x(id).y(bytes as u64));
        self.trace.tracer.count_served(false);
        self.served.push_back(Some(Served { key, id, name, arrived: at, encoded: false }));
    }

    fn served(&mut self, number: Tag) -> Option<&mut Served> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.served.get_mut(index)?.as_mut()
    }

    /// The next request of the peer is handed to the protocol. Returns its number.
    pub(super) fn on_serve(&mut self, at: u64) -> Tag {
        let number = self.next_served;
        self.next_served += 1;
        if let Some(served) = self.served(number).copied() {
            self.record(at, || self.theirs(Kind::ReqDelivered, &served));
        }
        number
    }

    /// The protocol has answered, or not.
    pub(super) fn on_reply(
        &mut self,
        at: u64,
        number: Tag,
        reply: &Result<Option<Payload>, DisconnectReason>,
    ) {
        match reply {
            Ok(Some(reply)) => {
                let bytes = reply.wire_bytes() as u64;
                if let Some(served) = self.served(number) {
                    served.encoded = true;
                    let served = *served;
                    self.record(at, || self.theirs(Kind::ReqEncoded, &served).y(bytes));
                }
            }
            Ok(None) => self.end(at, number, Label::UNSUPPORTED),
            Err(DisconnectReason::Breach(_) | DisconnectReason::BadData) => {
                self.end(at, number, Label::MALFORMED);
            }
            Err(_) => self.end(at, number, Label::DISCONNECTED),
        }
    }

    /// A tagged message was cut to its end, and `written`: the substream has taken its last byte.
    /// Each is told once; both at one go, mostly.
    pub(super) fn on_progress(&mut self, at: u64, progress: Progress) {
        match progress {
            Progress { rank: Rank::Request, tag, cut, written } => {
                let id = RequestId::from_wire(tag - 1);
                let kind = match (cut, written) {
                    (true, true) => Kind::PackSent,
                    (true, false) => Kind::ReqEncoded,
                    (false, _) => Kind::ReqWritten,
                };
                let bytes = self.asked(id).map_or(0, |asked| asked.bytes);
                self.on_ours(at, kind, id, bytes);
            }
            Progress { rank: Rank::Reply, tag, written: true, .. } => {
                if let Some(served) = self.take_served(tag) {
                    let ns = at.saturating_sub(served.arrived);
                    self.record(at, || self.theirs(Kind::PackServed, &served).how(Label::OK).y(ns));
                }
            }
            _ => {}
        }
    }

    /// A round of writing is over: whether the substream takes no more, and what then waits.
    pub(super) fn on_blocked(&mut self, at: u64, blocked: bool, bytes: usize) {
        let proto = self.proto;
        match self.blocked {
            None if blocked => {
                self.blocked = Some(at);
                let event = Event::new(Kind::WindowBlocked).proto(proto).x(bytes as u64);
                self.record(at, || event);
            }
            Some(since) if !blocked => {
                self.blocked = None;
                let ns = at.saturating_sub(since);
                self.record(at, || Event::new(Kind::WindowReady).proto(proto).y(ns));
            }
            _ => {}
        }
    }

    /// The exchange is up.
    pub(super) fn on_up(&self, version: u32) {
        self.trace.record(|| Event::new(Kind::LaneUp).proto(self.proto).x(u64::from(version)));
    }

    /// The exchange is over.
    pub(super) fn on_down(&self, ended: Disconnected) {
        let how = side(ended.side);
        self.trace.say(|| Event::new(Kind::LaneDown).proto(self.proto).how(how), ended.reason);
    }

    /// Nothing more will be written: what the peer has asked and not got has ended.
    pub(super) fn on_gone(&mut self, at: u64, ended: Option<Disconnected>) {
        let how = match ended {
            Some(Disconnected { reason: DisconnectReason::Panicked, .. }) => Label::PANICKED,
            Some(Disconnected { side: Side::Local, reason: DisconnectReason::ClientQuitting }) => {
                Label::SHUTDOWN
            }
            _ => Label::DISCONNECTED,
        };
        let last = self.first + self.served.len() as Tag;
        (self.first..last).for_each(|number| self.end(at, number, how));
    }

    fn end(&mut self, at: u64, number: Tag, how: Label) {
        if let Some(served) = self.take_served(number) {
            let ns = at.saturating_sub(served.arrived);
            self.record(at, || self.theirs(Kind::ReqEnded, &served).how(how).y(ns));
        }
    }

    /// A request of the peer ends: it is no longer followed.
    fn take_served(&mut self, number: Tag) -> Option<Served> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let served = self.served.get_mut(index)?.take();
        // Those that are not followed go with their neighbours.
        while self.served.front().is_some_and(Option::is_none) {
            self.served.pop_front();
            self.first += 1;
        }
        if served.is_some() {
            self.trace.tracer.count_served(true);
        }
        served
    }

    /// Tells where every request stands that has not ended.
    pub(super) fn tell_open(
        &self,
        at: u64,
        waiting: Vec<(Rank, Tag)>,
        pending: impl Iterator<Item = (RequestId, Instant)>,
    ) {
        for (id, asked) in pending {
            let Some(key) = self.key(id) else { continue };
            let queued = waiting.contains(&(Rank::Request, id.as_u64() + 1));
            let how = if queued { Label::QUEUED } else { Label::WRITTEN };
            let ns = at.saturating_sub(self.at(asked));
            self.record(at, || self.ours(Kind::ReqOpen).key(key).how(how).x(id.as_u64()).y(ns));
        }
        for (index, served) in self.served.iter().enumerate() {
            let Some(served) = served else { continue };
            let how = match self.first + index as Tag {
                _ if served.encoded => Label::ENCODED,
                number if number < self.next_served => Label::DELIVERED,
                _ => Label::QUEUED,
            };
            let ns = at.saturating_sub(served.arrived);
            self.record(at, || self.theirs(Kind::ReqOpen, served).how(how).y(ns));
        }
    }
}

/// The side's word.
pub(crate) fn side(side: Side) -> Label {
    match side {
        Side::Local => Label::LOCAL,
        Side::Remote => Label::REMOTE,
        Side::Transport => Label::TRANSPORT,
    }
}
