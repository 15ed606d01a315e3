//! The heartbeat of a session: carries out what its machines decided, serves, writes, keeps time.
//!
//! One future in the actor's context, polled behind the readers: whatever a mailbox drain or a
//! batch of segments has caused leaves in one write.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::fut::ActorFuture;
use futures::StreamExt;
use tokio::time::Instant;

use super::lane::{LaneEvent, State};
use super::messages::Notice;
use super::{PeerSession, ended_by, stop};
use crate::actor::Ctx;
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::ids::Direction;
use crate::trace::{Event, Kind, Label};

/// See the module.
pub(super) struct Pump;

impl ActorFuture<PeerSession> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut PeerSession,
        ctx: &mut Ctx<PeerSession>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !session.waker.will_wake(cx.waker()) {
            session.waker = cx.waker().clone();
        }
        session.shared.orders.register(cx.waker());
        session.poll_connection(ctx, cx);
        session.take_orders();
        session.poll_tasks(cx);
        (0..session.lanes.len()).for_each(|index| session.turn_lane(index, ctx, cx));
        session.check_settled();
        session.keep_time(ctx, cx);
        if session.is_done() {
            stop(ctx);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl PeerSession {
    fn poll_connection(&mut self, ctx: &mut Ctx<Self>, cx: &mut Context<'_>) {
        while let Some(inbound) = &mut self.inbound {
            match inbound.poll_recv(cx) {
                Poll::Ready(Some(substream)) => self.attach_inbound(ctx, substream),
                Poll::Ready(None) => self.inbound = None,
                Poll::Pending => break,
            }
        }
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(end) = Pin::new(driver).poll(cx)
        {
            self.driver = None;
            // A driver that panicked is a connection that broke.
            let end = end.unwrap_or(crate::transport::mux::MuxEnd::RemoteClosed);
            self.shared.trace.say(|| Event::new(Kind::ConnClosed), &end);
            self.mux_end = Some(end);
        }
        // What arrived before the end is read first: the readers end by themselves.
        let readers_live = self.lanes.iter_mut().filter_map(|lane| lane.live()).any(|live| !live.ended);
        if let Some(end) = &self.mux_end
            && self.ended.is_none()
            && !readers_live
        {
            tracing::debug!(peer = %self.shared.peer, %end, "connection ended");
            let ended = ended_by(end);
            self.end(ended);
        }
    }

    fn take_orders(&mut self) {
        if !self.shared.orders.take_changed() {
            return;
        }
        if let Some(reason) = self.shared.orders.take_disconnect() {
            self.end(Disconnected::local(reason));
        }
        let now = Instant::now().into_std();
        if let Some(told) = self.shared.orders.take_tell_open() {
            self.lanes.iter_mut().filter_map(|lane| lane.live()).for_each(|live| live.tell_open(now));
            drop(told);
        }
        for lane in &mut self.lanes {
            let shared = Arc::clone(&lane.shared);
            let Some(live) = lane.live() else { continue };
            let (malformed, excess) = shared.take_reports();
            if malformed {
                live.machine.on_malformed_answer(false);
            }
            if excess {
                live.machine.on_malformed_answer(true);
            }
            shared.take_announcements(|message| live.machine.announce(now, message));
        }
    }

    fn poll_tasks(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(end)) = self.tasks.poll_next_unpin(cx) {
            self.on_task_end(end);
        }
    }

    /// Carries out what the machine of one lane has decided, serves, and writes what waits.
    pub(super) fn turn_lane(&mut self, index: usize, ctx: &mut Ctx<Self>, cx: &mut Context<'_>) {
        let lane = &mut self.lanes[index];
        let lane_shared = Arc::clone(&lane.shared);
        let Some(live) = lane.live() else { return };
        if live.ended && live.down.is_none() {
            let how = match &self.mux_end {
                Some(end) => ended_by(end),
                None => Disconnected::remote(DisconnectReason::SubstreamClosed),
            };
            live.machine.on_closed(how);
        }
        let mut events = Vec::new();
        live.turn(cx, &lane_shared, &self.shared, &mut events);
        for event in events {
            match event {
                LaneEvent::Misdeed(misdeed) => {
                    let (proto, name) = (lane_shared.proto, Label::of(misdeed.name()));
                    self.shared.trace.record(|| Event::new(Kind::Misdeed).proto(proto).name(name));
                    // Counting is worth a place in the queue, not a wait.
                    drop(self.notices.other.try_send(Notice::Misdeed(self.shared.peer, misdeed)));
                }
                LaneEvent::Down { ended, close_connection: true } => self.end(ended),
                LaneEvent::Down { .. } => {}
            }
        }
        self.close_lane_if_over(ctx, index);
    }

    /// A lane whose machine is over and whose last word is out gives its substream back.
    fn close_lane_if_over(&mut self, ctx: &mut Ctx<Self>, index: usize) {
        let lane = &mut self.lanes[index];
        let Some(live) = lane.live() else { return };
        if live.down.is_none() || !live.flushed {
            return;
        }
        let token = live.token;
        lane.state = match self.shared.direction {
            Direction::Outbound if self.ended.is_none() && self.by_substreams => lane.pause(),
            _ => State::Over { again_at: None },
        };
        self.detach(ctx, token);
    }

    fn check_settled(&mut self) {
        if self.notices.settled.is_none() || self.ended.is_some() {
            return;
        }
        let ready = self.identified && self.lanes.iter().all(super::Lane::is_settled);
        if ready || Instant::now() >= self.settle_by {
            self.settle();
        }
    }

    /// Lets deadlines pass and sets the alarm to the next one. The alarm is only moved when a
    /// deadline is earlier than it: most are met long before, and firing early once is cheaper.
    fn keep_time(&mut self, ctx: &mut Ctx<Self>, cx: &mut Context<'_>) {
        loop {
            let Some(next) = self.next_deadline() else { return };
            let alarm = match &mut self.alarm {
                Some(alarm) => alarm,
                none => none.insert(Box::pin(tokio::time::sleep_until(next))),
            };
            if next < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(next);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            self.on_alarm(ctx);
            cx.waker().wake_by_ref();
            if self.next_deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                // Whatever is due now is done in the next round, behind what it causes.
                return;
            }
        }
    }

    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        let settle = self.notices.settled.is_some().then_some(self.settle_by);
        let mut next = [settle, self.close_by].into_iter().flatten().min();
        for lane in &mut self.lanes {
            let deadline = match &mut lane.state {
                State::Live(live) => live.machine.poll_timeout().map(Instant::from_std),
                State::Over { again_at } => *again_at,
                State::Waiting | State::Unsupported => None,
            };
            next = [next, deadline].into_iter().flatten().min();
        }
        next
    }

    fn on_alarm(&mut self, ctx: &mut Ctx<Self>) {
        let _running = ctx.timer_fired("session alarm");
        let now = Instant::now();
        for index in 0..self.lanes.len() {
            match &mut self.lanes[index].state {
                State::Live(live) => live.machine.on_timeout(now.into_std()),
                State::Over { again_at: Some(at) } if *at <= now => {
                    if self.ended.is_none() && self.mux_end.is_none() {
                        self.open_lane(ctx, index);
                    } else {
                        self.lanes[index].state = State::Over { again_at: None };
                    }
                }
                _ => {}
            }
        }
        if self.notices.settled.is_some() && self.settle_by <= now && self.ended.is_some() {
            self.notices.settled = None;
        }
    }

    /// Ended, and nothing left to say or no time left to say it.
    fn is_done(&mut self) -> bool {
        let (Some(close_by), Some(ended)) = (self.close_by, self.ended) else { return false };
        let said = self.lanes.iter_mut().filter_map(|lane| lane.live()).all(|live| live.flushed);
        if said && self.driver.is_some() {
            self.control.close(ended.reason);
        }
        self.driver.is_none() || Instant::now() >= close_by
    }
}
