//! Negotiation and frames as one stream, attached to the actor before the substream exists.
//!
//! The first step of each stream is negotiation; its items then are batches of segments, one per
//! read. No byte can arrive before somebody listens, because the listener is what reads it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures::Stream;
use futures::future::Either;
use futures::io::{AsyncReadExt, ReadHalf};
use futures::stream::{self, BoxStream, StreamExt};

use super::message_writer::MessageWriter;
use super::segment_writer::{LaneIo, SegmentWriter};
use super::writer::Writer;
use crate::disconnect::Breach;
use crate::ids::{Direction, ProtocolId};
use crate::protocols::SubstreamHandler;
use crate::router::{Route, Router};
use crate::trace::{ConnTrace, EventId, Kind};
use crate::transport::TransportLimits;
use crate::transport::channel::Channel;
use crate::transport::mux::{Control, Substream};
use crate::transport::negotiate::{self, NegotiateError};
use crate::transport::scratch::{self, READ_BYTES as BATCH_BYTES};
use crate::wire::segment::{Message, Segment, SegmentDecoder};

/// Segments of one batch.
const BATCH_SEGMENTS: usize = 64;

/// What happens on one substream. `token` tells substreams of a session apart.
pub(super) struct ReaderItem {
    pub(super) token: u64,
    pub(super) event: ReaderEvent,
}

pub(super) enum ReaderEvent {
    /// An exchange was agreed on; its segments or messages follow.
    Exchange { lane: usize, version: u32, writer: Writer },
    /// A raw substream was agreed on; nothing follows.
    Handler { protocol: ProtocolId, handler: Arc<dyn SubstreamHandler>, io: Box<LaneIo> },
    /// Segments of an exchange.
    Segments(Vec<Segment>),
    /// Whole messages of an exchange.
    Messages(Vec<Message>),
    /// Bytes of an exchange that are no segment; nothing follows.
    BadFraming(Breach),
    /// No protocol was agreed on; nothing follows.
    Failed(NegotiateError),
    /// The muxer gave no substream; nothing follows.
    NotOpened,
    /// The end of an exchange's substream: clean, or with an error.
    Ended(Option<io::Error>),
}

/// Opens a substream for one exchange: the dialer's part.
pub(super) fn outbound(
    token: u64,
    lane: usize,
    control: Control,
    ids: Vec<(ProtocolId, u32)>,
    limits: TransportLimits,
) -> BoxStream<'static, ReaderItem> {
    let opening = async move {
        let asked = Asked::new(&control.trace, Direction::Outbound, ids.first().map(|(id, _)| id));
        let substream = match control.open().await {
            Ok(substream) => substream,
            Err(error) => {
                asked.failed(error);
                return one(token, ReaderEvent::NotOpened);
            }
        };
        let names: Vec<ProtocolId> = ids.iter().map(|(id, _)| id.clone()).collect();
        match negotiate::dial(substream, &names, &limits).await {
            Ok((id, io)) => {
                asked.agreed(&id);
                let version = ids.iter().find(|(known, _)| *known == id).map_or(0, |(_, version)| *version);
                Either::Right(exchange(token, lane, version, io))
            }
            Err(error) => {
                asked.failed(&error);
                one(token, ReaderEvent::Failed(error))
            }
        }
    };
    stream::once(opening).flatten().boxed()
}

/// Takes a substream that the peer opened: the listener's part.
pub(super) fn inbound(
    token: u64,
    substream: Substream,
    router: Arc<Router>,
    ids: Arc<[ProtocolId]>,
    limits: TransportLimits,
    trace: ConnTrace,
) -> BoxStream<'static, ReaderItem> {
    let opening = async move {
        let asked = Asked::new(&trace, Direction::Inbound, None);
        let (protocol, io) = match negotiate::listen(substream, &ids, &limits).await {
            Ok(agreed) => agreed,
            Err(error) => {
                asked.failed(&error);
                return one(token, ReaderEvent::Failed(error));
            }
        };
        asked.agreed(&protocol);
        match router.route(&protocol) {
            Some(Route::Exchange { index, version }) => Either::Right(exchange(token, index, version, io)),
            Some(Route::Handler(handler)) => {
                one(token, ReaderEvent::Handler { protocol, handler, io: Box::new(io) })
            }
            // Only ids of the router were offered.
            None => one(token, ReaderEvent::NotOpened),
        }
    };
    stream::once(opening).flatten().boxed()
}

/// A negotiation in the trace, from its beginning to how it went.
pub(super) struct Asked<'a> {
    trace: &'a ConnTrace,
    dir: Direction,
    event: EventId,
}

impl<'a> Asked<'a> {
    pub(super) fn new(trace: &'a ConnTrace, dir: Direction, proposed: Option<&ProtocolId>) -> Self {
        let proposed = proposed.map_or("", ProtocolId::as_str);
        let event = trace.substream(Kind::SubstreamAsked, dir, EventId::NONE, proposed);
        Self { trace, dir, event }
    }

    pub(super) fn agreed(self, protocol: &ProtocolId) {
        self.trace.substream(Kind::SubstreamAgreed, self.dir, self.event, protocol);
    }

    pub(super) fn failed(self, error: impl std::fmt::Display) {
        self.trace.substream(Kind::SubstreamFailed, self.dir, self.event, error);
    }
}

type One = stream::Once<std::future::Ready<ReaderItem>>;

fn one<R>(token: u64, event: ReaderEvent) -> Either<One, R> {
    Either::Left(stream::once(std::future::ready(ReaderItem { token, event })))
}

fn exchange(
    token: u64,
    lane: usize,
    version: u32,
    io: LaneIo,
) -> impl Stream<Item = ReaderItem> + Send + use<> {
    let (reader, writer) = io.split();
    let writer = Writer::Cut(SegmentWriter::new(writer));
    let agreed = ReaderItem { token, event: ReaderEvent::Exchange { lane, version, writer } };
    let segments = Segments::new(reader).map(move |event| ReaderItem { token, event });
    stream::once(std::future::ready(agreed)).chain(segments)
}

/// Takes an exchange that the transport has negotiated and frames by itself.
pub(super) fn channel(
    token: u64,
    lane: usize,
    version: u32,
    channel: Channel,
) -> BoxStream<'static, ReaderItem> {
    let writer = Writer::Whole(MessageWriter::new(channel.outbound));
    let agreed = ReaderEvent::Exchange { lane, version, writer };
    let batches = stream::unfold(channel.inbound, |mut inbound| async {
        inbound.recv().await.map(|batch| (ReaderEvent::Messages(batch), inbound))
    });
    let ended = stream::once(std::future::ready(ReaderEvent::Ended(None)));
    let events = stream::once(std::future::ready(agreed)).chain(batches).chain(ended);
    events.map(move |event| ReaderItem { token, event }).boxed()
}

/// Reads segments in batches. Between two batches of a busy peer the others get their turn.
struct Segments {
    io: ReadHalf<LaneIo>,
    buffer: BytesMut,
    decoder: SegmentDecoder,
    read_since_yield: usize,
    over: bool,
}

impl Segments {
    fn new(io: ReadHalf<LaneIo>) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
            decoder: SegmentDecoder::default(),
            read_since_yield: 0,
            over: false,
        }
    }

    fn decode(&mut self) -> Option<ReaderEvent> {
        let mut segments = Vec::new();
        while segments.len() < BATCH_SEGMENTS {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(segment)) => segments.push(segment),
                Ok(None) => break,
                // What was good before it is still handed on; the breach is met again next time.
                Err(_) if !segments.is_empty() => break,
                Err(breach) => {
                    self.over = true;
                    return Some(ReaderEvent::BadFraming(breach));
                }
            }
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        (!segments.is_empty()).then_some(ReaderEvent::Segments(segments))
    }
}

impl Stream for Segments {
    type Item = ReaderEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReaderEvent>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            if let Some(event) = this.decode() {
                return Poll::Ready(Some(event));
            }
            if this.read_since_yield >= BATCH_BYTES {
                this.read_since_yield = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match scratch::poll_read(&mut this.io, cx, &mut this.buffer) {
                Poll::Ready(Ok(0)) => {
                    this.over = true;
                    return Poll::Ready(Some(ReaderEvent::Ended(None)));
                }
                Poll::Ready(Ok(read)) => this.read_since_yield += read,
                Poll::Ready(Err(error)) => {
                    this.over = true;
                    return Poll::Ready(Some(ReaderEvent::Ended(Some(error))));
                }
                Poll::Pending => {
                    this.read_since_yield = 0;
                    return Poll::Pending;
                }
            }
        }
    }
}
