//! How exchanges come to a session: over a substream of ours or the peer's, or as a channel of the
//! transport; and what becomes of them when negotiation fails.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, SpawnHandle};
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::PeerSession;
use super::lane::{Lane, Live, State};
use super::reader::{self, ReaderItem};
use super::writer::Writer;
use crate::actor::Ctx;
use crate::disconnect::{Breach, DisconnectReason, Disconnected};
use crate::ids::{Direction, ProtocolId};
use crate::router::Route;
use crate::transport::channel::Channel;
use crate::transport::mux::Substream;

/// One attached stream.
pub(super) struct Reader {
    pub(super) handle: SpawnHandle,
    pub(super) opened: Opened,
}

/// Who opened a substream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// We did, for the exchange with this index.
    ForLane(usize),
    /// The peer did.
    ByPeer,
    /// Nobody had to: it is a channel of the transport.
    ByTransport,
}

/// How long after the end of an exchange its dialer opens it again, at the earliest.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const REOPEN_CAP: Duration = Duration::from_secs(30);
/// Substreams of an exchange beyond the one, within a minute, before they are a breach.
const EXCESS_MAX: usize = 3;

impl PeerSession {
    /// Attaches a substream as a stream whose first step is negotiation.
    pub(super) fn attach(
        &mut self,
        ctx: &mut Ctx<Self>,
        opened: Opened,
        stream: impl FnOnce(u64) -> BoxStream<'static, ReaderItem>,
    ) {
        let token = self.next_token;
        self.next_token += 1;
        let handle = ctx.add_stream(stream(token));
        self.readers.insert(token, Reader { handle, opened });
        self.respawn_pump(ctx);
    }

    /// Drops a stream, and with it its half of the substream.
    pub(super) fn detach(&mut self, ctx: &mut Ctx<Self>, token: u64) {
        if let Some(reader) = self.readers.remove(&token) {
            ctx.cancel_future(reader.handle);
        }
    }

    /// The dialer asks for the substream of an exchange.
    pub(super) fn open_lane(&mut self, ctx: &mut Ctx<Self>, index: usize) {
        let ids = self.lanes[index].shared.exchange.ids().to_vec();
        let (control, limits) = (self.control.clone(), self.limits());
        self.lanes[index].state = State::Waiting;
        self.attach(ctx, Opened::ForLane(index), |token| {
            reader::outbound(token, index, control, ids, limits)
        });
    }

    pub(super) fn on_exchange(
        &mut self,
        ctx: &mut Ctx<Self>,
        token: u64,
        index: usize,
        version: u32,
        writer: Writer,
    ) {
        let now = Instant::now().into_std();
        let Some(reader) = self.readers.get(&token) else { return };
        // Identify lists what a peer accepts: a dialer that lists nothing may still open.
        let may_open = !matches!(self.lanes[index].state, State::Live(_)) && self.ended.is_none();
        let by_listener = self.shared.direction == Direction::Outbound && reader.opened == Opened::ByPeer;
        if !may_open || by_listener {
            self.detach(ctx, token);
            if self.lanes[index].excess.exceeds(now, Duration::from_secs(60), EXCESS_MAX) {
                self.end(Disconnected::local(DisconnectReason::Breach(Breach::SubstreamFlood)));
            }
            return;
        }
        let lane = &mut self.lanes[index];
        let live = Live::new(now, token, version, writer, &lane.shared, &self.shared);
        lane.state = State::Live(Box::new(live));
    }

    /// Takes the exchanges that the transport has negotiated; there will be no others.
    pub(super) fn attach_channels(&mut self, ctx: &mut Ctx<Self>, channels: Vec<Channel>) {
        for lane in &mut self.lanes {
            lane.state = State::Unsupported;
        }
        for channel in channels {
            // Only ids of the router were offered.
            let Some(Route::Exchange { index, version }) = self.router.route(&channel.id) else { continue };
            self.lanes[index].state = State::Waiting;
            self.attach(ctx, Opened::ByTransport, |token| reader::channel(token, index, version, channel));
        }
    }

    pub(super) fn attach_inbound(&mut self, ctx: &mut Ctx<Self>, substream: Substream) {
        let (router, ids, limits) = (Arc::clone(&self.router), Arc::clone(&self.ids), self.limits());
        let trace = self.shared.trace.clone();
        self.attach(ctx, Opened::ByPeer, |token| {
            reader::inbound(token, substream, router, ids, limits, trace)
        });
    }

    /// Negotiation of a substream came to nothing.
    pub(super) fn on_not_agreed(&mut self, token: u64, unsupported: bool) {
        let Some(Reader { opened: Opened::ForLane(index), .. }) = self.readers.remove(&token) else { return };
        let lane = &mut self.lanes[index];
        lane.state = if unsupported { State::Unsupported } else { lane.pause() };
    }

    /// A listener need not wait for exchanges that the dialer does not speak.
    pub(super) fn rule_out_unlisted(&mut self, protocols: &[String]) {
        if self.shared.direction == Direction::Outbound {
            return;
        }
        for lane in &mut self.lanes {
            let speaks = |(id, _): &(ProtocolId, u32)| protocols.iter().any(|p| p == id.as_str());
            if matches!(lane.state, State::Waiting) && !lane.shared.exchange.ids().iter().any(speaks) {
                lane.state = State::Unsupported;
            }
        }
    }
}

impl Lane {
    /// A pause before the substream is opened again, longer each time.
    pub(super) fn pause(&mut self) -> State {
        let pause = REOPEN_AFTER.saturating_mul(1 << self.endings.min(5)).min(REOPEN_CAP);
        self.endings = self.endings.saturating_add(1);
        State::Over { again_at: Some(Instant::now() + pause) }
    }
}
