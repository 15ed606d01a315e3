//! What the trace hears of one exchange: the life lines of its requests, both directions.
//!
//! Fed with the machine's facts and the writer's progress; knows which event began each request. It
//! decides nothing, and without a trace there is none.

use std::collections::VecDeque;
use std::time::Instant;

use crate::disconnect::{DisconnectReason, Disconnected, Side};
use crate::ids::{Direction, RequestId};
use crate::machine::message::Payload;
use crate::machine::outbox::{Cut, Rank, Tag};
use crate::machine::session::{Fact, Fate};
use crate::protocols::Exchange;
use crate::trace::{ConnTrace, Event, EventId, Kind, Label};

/// Requests of the peer that are followed at a time. More can only be when a peer asks much and
/// takes nothing; further ones are served all the same and not followed.
const SERVED_MAX: usize = 4096;

/// The trace of one exchange of a session.
pub(super) struct LaneWatch {
    trace: ConnTrace,
    proto: Label,
    /// Names of messages, by code.
    names: [Label; 256],
    /// Our requests, by slot: id and key. As many as there are permits.
    asked: Vec<Asked>,
    /// Their requests that have not ended, from number `first` on.
    served: VecDeque<Option<Served>>,
    first: Tag,
    /// The number of the request that is served next.
    next_served: Tag,
    /// Since when the substream takes no bytes.
    blocked: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    id: RequestId,
    key: EventId,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Served {
    key: EventId,
    id: u64,
    name: Label,
    arrived: Instant,
    encoded: bool,
}

impl LaneWatch {
    /// `None`: there is no trace.
    pub(super) fn new(trace: &ConnTrace, exchange: &dyn Exchange) -> Option<Self> {
        if !trace.is_on() {
            return None;
        }
        let mut names = [Label::NONE; 256];
        for (code, name) in names.iter_mut().enumerate() {
            *name = exchange.message_name(code as u8).map_or(Label::NONE, Label::of);
        }
        Some(Self {
            trace: trace.clone(),
            proto: Label::of(exchange.name()),
            names,
            asked: Vec::new(),
            served: VecDeque::new(),
            first: 1,
            next_served: 1,
            blocked: None,
        })
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
            self.asked.resize(id.slot() + 1, Asked { id, key: EventId::NONE, bytes: 0 });
        }
        self.asked[id.slot()] = Asked { id, key, bytes: 0 };
    }

    /// The request of ours with this id; one that has ended and whose slot is taken again is gone.
    fn asked(&self, id: RequestId) -> Option<&Asked> {
        self.asked.get(id.slot()).filter(|asked| asked.id == id && asked.key != EventId::NONE)
    }

    fn key(&self, id: RequestId) -> Option<EventId> {
        self.asked(id).map(|asked| asked.key)
    }

    fn on_ours(&self, now: Instant, kind: Kind, id: RequestId, bytes: usize) {
        // A request that has ended meanwhile has no life line to add to.
        if let Some(key) = self.key(id) {
            let event = || self.ours(kind).key(key).x(id.as_u64()).y(bytes as u64);
            self.trace.record_at(now, event);
        }
    }

    /// What the machine tells.
    pub(super) fn on_fact(&mut self, now: Instant, fact: Fact) {
        match fact {
            Fact::Queued { id, bytes } => {
                if let Some(asked) = self.asked.get_mut(id.slot()) {
                    asked.bytes = bytes;
                }
                self.on_ours(now, Kind::ReqQueued, id, bytes);
            }
            Fact::AnswerBegan(id) => self.on_ours(now, Kind::ReqFirstByte, id, 0),
            Fact::Answered { id, bytes, fate: Fate::Delivered } => {
                self.on_ours(now, Kind::ReqFirstByte, id, 0);
                self.on_ours(now, Kind::ReqReceived, id, bytes);
            }
            Fact::Answered { id, bytes, fate } => {
                let how = match fate {
                    Fate::Delivered | Fate::Unknown => Label::UNKNOWN,
                    Fate::WrongKind => Label::WRONG_KIND,
                    Fate::Late => Label::LATE,
                    Fate::Duplicate => Label::DUPLICATE,
                };
                let dropped = self.ours(Kind::AnswerDropped).how(how).x(id.as_u64()).y(bytes as u64);
                self.trace.record_at(now, || dropped.key(self.key(id).unwrap_or(EventId::NONE)));
            }
            Fact::Arrived { id, code, bytes } => self.on_arrived(now, id, code, bytes),
            Fact::Waits { owed } => {
                if let Some(Some(served)) = self.served.back() {
                    let how = if owed { Label::OWED } else { Label::SERVING };
                    self.trace.record_at(now, || self.theirs(Kind::ReqQueued, served).how(how));
                }
            }
            Fact::Unserved(from) => {
                let last = self.first + self.served.len() as Tag;
                (from..last).for_each(|number| self.end(now, number, Label::DISCONNECTED));
            }
            Fact::Oversized(number) => self.end(now, number, Label::UNSUPPORTED),
            Fact::OneWay { code, bytes, dropped } => {
                let how = if dropped { Label::DROPPED } else { Label::TAKEN };
                let event = Event::new(Kind::OneWay).proto(self.proto).dir(Direction::Inbound).how(how);
                self.trace.record_at(now, || event.name(self.names[usize::from(code)]).x(bytes as u64));
            }
            Fact::Displaced(count) => {
                let event = Event::new(Kind::OneWayDropped).proto(self.proto).dir(Direction::Outbound);
                self.trace.record_at(now, || event.x(count as u64));
            }
        }
    }

    fn on_arrived(&mut self, now: Instant, id: u64, code: u8, bytes: usize) {
        if self.served.len() >= SERVED_MAX {
            return self.served.push_back(None);
        }
        let name = self.names[usize::from(code)];
        let received = Event::new(Kind::ReqReceived).proto(self.proto).dir(Direction::Inbound).name(name);
        let key = self.trace.record_at(now, || received.x(id).y(bytes as u64));
        self.trace.tracer.count_served(false);
        self.served.push_back(Some(Served { key, id, name, arrived: now, encoded: false }));
    }

    fn served(&mut self, number: Tag) -> Option<&mut Served> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.served.get_mut(index)?.as_mut()
    }

    /// The next request of the peer is handed to the protocol. Returns its number.
    pub(super) fn on_serve(&mut self, now: Instant) -> Tag {
        let number = self.next_served;
        self.next_served += 1;
        if let Some(served) = self.served(number).copied() {
            self.trace.record_at(now, || self.theirs(Kind::ReqDelivered, &served));
        }
        number
    }

    /// The protocol has answered, or not.
    pub(super) fn on_reply(
        &mut self,
        now: Instant,
        number: Tag,
        reply: &Result<Option<Payload>, DisconnectReason>,
    ) {
        match reply {
            Ok(Some(reply)) => {
                let bytes = reply.wire_bytes() as u64;
                if let Some(served) = self.served(number) {
                    served.encoded = true;
                    let served = *served;
                    self.trace.record_at(now, || self.theirs(Kind::ReqEncoded, &served).y(bytes));
                }
            }
            Ok(None) => self.end(now, number, Label::UNSUPPORTED),
            Err(DisconnectReason::Breach(_) | DisconnectReason::BadData) => {
                self.end(now, number, Label::MALFORMED);
            }
            Err(_) => self.end(now, number, Label::DISCONNECTED),
        }
    }

    /// A segment was cut off a message.
    pub(super) fn on_cut(&mut self, now: Instant, cut: Cut) {
        if cut.last && cut.rank == Rank::Request && cut.tag > 0 {
            let id = RequestId::from_wire(cut.tag - 1);
            let bytes = self.asked(id).map_or(0, |asked| asked.bytes);
            self.on_ours(now, Kind::ReqEncoded, id, bytes);
        }
    }

    /// The last byte of a message was taken by the substream.
    pub(super) fn on_written(&mut self, now: Instant, rank: Rank, tag: Tag) {
        match rank {
            Rank::Request => self.on_ours(now, Kind::ReqWritten, RequestId::from_wire(tag - 1), 0),
            Rank::Reply => {
                if let Some(served) = self.served(tag).copied() {
                    self.trace.record_at(now, || self.theirs(Kind::ReqWritten, &served));
                    self.end(now, tag, Label::OK);
                }
            }
            Rank::Control | Rank::Announcement => {}
        }
    }

    /// A round of writing is over: whether the substream takes no more, and what then waits.
    pub(super) fn on_blocked(&mut self, now: Instant, blocked: bool, bytes: usize) {
        let proto = self.proto;
        match self.blocked {
            None if blocked => {
                self.blocked = Some(now);
                let event = Event::new(Kind::WindowBlocked).proto(proto).x(bytes as u64);
                self.trace.record_at(now, || event);
            }
            Some(since) if !blocked => {
                self.blocked = None;
                let ns = now.saturating_duration_since(since).as_nanos() as u64;
                self.trace.record_at(now, || Event::new(Kind::WindowReady).proto(proto).y(ns));
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
    pub(super) fn on_gone(&mut self, now: Instant, ended: Option<Disconnected>) {
        let how = match ended {
            Some(Disconnected { reason: DisconnectReason::Panicked, .. }) => Label::PANICKED,
            Some(Disconnected { side: Side::Local, reason: DisconnectReason::ClientQuitting }) => {
                Label::SHUTDOWN
            }
            _ => Label::DISCONNECTED,
        };
        let last = self.first + self.served.len() as Tag;
        (self.first..last).for_each(|number| self.end(now, number, how));
    }

    fn end(&mut self, now: Instant, number: Tag, how: Label) {
        let Some(index) = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok()) else {
            return;
        };
        if let Some(served) = self.served.get_mut(index).and_then(Option::take) {
            let ns = now.saturating_duration_since(served.arrived).as_nanos() as u64;
            self.trace.record_at(now, || self.theirs(Kind::ReqEnded, &served).how(how).y(ns));
            self.trace.tracer.count_served(true);
        }
        // Those that are not followed go with their neighbours.
        while self.served.front().is_some_and(Option::is_none) {
            self.served.pop_front();
            self.first += 1;
        }
    }

    /// Tells where every request stands that has not ended.
    pub(super) fn tell_open(
        &self,
        now: Instant,
        waiting: Vec<(Rank, Tag)>,
        pending: impl Iterator<Item = (RequestId, Instant)>,
    ) {
        for (id, asked) in pending {
            let Some(key) = self.key(id) else { continue };
            let queued = waiting.contains(&(Rank::Request, id.as_u64() + 1));
            let how = if queued { Label::QUEUED } else { Label::WRITTEN };
            let ns = now.saturating_duration_since(asked).as_nanos() as u64;
            self.trace.record_at(now, || self.ours(Kind::ReqOpen).key(key).how(how).x(id.as_u64()).y(ns));
        }
        for (index, served) in self.served.iter().enumerate() {
            let Some(served) = served else { continue };
            let how = match self.first + index as Tag {
                _ if served.encoded => Label::ENCODED,
                number if number < self.next_served => Label::DELIVERED,
                _ => Label::QUEUED,
            };
            let ns = now.saturating_duration_since(served.arrived).as_nanos() as u64;
            self.trace.record_at(now, || self.theirs(Kind::ReqOpen, served).how(how).y(ns));
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
