//! Which peers we have, want and refuse.
//!
//! Owns: the peer table, slots, static peers, blame, listeners, subscriptions. Never: a byte of a
//! connection; sessions live by themselves and report through bounded notices. The rules are in
//! `machine::admission` and `machine::backoff`; this actor carries them out.

mod admit;
pub(crate) mod blame;
pub(crate) mod events;
mod handlers;
pub(crate) mod home;
pub(crate) mod listener;
pub(crate) mod messages;
pub(crate) mod pending;
mod statics;
pub(crate) mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, StreamHandler};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use blame::BlameBook;
use events::NetworkEvent;
use home::Home;
use listener::Listener;
use pending::{DialReply, Kit, PendingCounts};
use statics::Statics;
use table::PeerTable;

use crate::actor::{self, Address, Ctx};
use crate::config::Config;
use crate::disconnect::Disconnected;
use crate::error::DialError;
use crate::ids::{Direction, Keypair, PeerId, ProtocolId, SessionId};
use crate::machine::admission::Occupancy;
use crate::metrics::{self, Publisher};
use crate::router::Router;
use crate::session::PeerHandle;
use crate::session::messages::Notice;
use crate::stats::RequestStats;
use crate::trace::Tracer;
use crate::transport::addr::PeerAddr;

/// Notices that may wait for the manager; three are reserved per session before it starts.
const NOTICES_MAX: usize = 16 << 10;
/// How long an existing session gets to answer the ping that decides about a duplicate.
const PROBE: std::time::Duration = std::time::Duration::from_secs(1);

/// What the manager needs to start.
pub(crate) struct Setup {
    pub(crate) keypair: Keypair,
    pub(crate) config: Arc<Config>,
    pub(crate) router: Arc<Router>,
    pub(crate) stats: Arc<RequestStats>,
    pub(crate) table: PeerTable,
    pub(crate) events: broadcast::Sender<NetworkEvent>,
    pub(crate) home: Home,
    pub(crate) tracer: Tracer,
    pub(crate) publisher: Publisher,
    pub(crate) listeners: Vec<Listener>,
    #[cfg(feature = "rlpx")]
    pub(crate) rlpx: Option<crate::transport::rlpx::local::Local>,
    /// Resolved when the manager has ended.
    pub(crate) finished: oneshot::Sender<()>,
}

/// One session, from its admission to its end.
struct Entry {
    direction: Direction,
    since: Instant,
    is_static: bool,
    handle: Option<PeerHandle>,
    /// Announced to subscribers.
    up: bool,
    waiting: Vec<DialReply>,
}

/// A dial that waits for the connection which won against its own.
struct Parked {
    peer: PeerId,
    waiting: Vec<DialReply>,
    ended: Disconnected,
}

/// The actor that knows all peers.
pub(crate) struct ConnectionManager {
    us: PeerId,
    kit: Option<Kit>,
    setup: Option<Setup>,
    config: Arc<Config>,
    table: PeerTable,
    events: broadcast::Sender<NetworkEvent>,
    home: Home,
    counts: PendingCounts,
    /// In the order of their admission, so that runs are reproducible.
    sessions: BTreeMap<SessionId, Entry>,
    by_peer: HashMap<PeerId, SessionId>,
    /// Sessions that have ended and still say goodbye.
    leaving: usize,
    next_session: u64,
    /// Dials whose connection lost against another one that has not arrived yet: failed after a
    /// moment. Bounded by the dials in flight.
    parked: Vec<Parked>,
    statics: Statics,
    blame: BlameBook,
    rng: StdRng,
    notices: mpsc::Sender<Notice>,
    listeners: Vec<AbortOnDropHandle<()>>,
    shutdown: Option<Vec<oneshot::Sender<()>>>,
    finished: Option<oneshot::Sender<()>>,
}

impl ConnectionManager {
    /// Starts the manager on this thread.
    pub(crate) fn launch(mut setup: Setup) -> Address<Self> {
        let (notices, inbox) = mpsc::channel(NOTICES_MAX);
        let (finished, _) = oneshot::channel();
        let config = Arc::clone(&setup.config);
        let rng = match config.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::seed_from_u64(rand::random()),
        };
        let finished = std::mem::replace(&mut setup.finished, finished);
        let tracer = setup.tracer.clone();
        let actor = Self {
            us: setup.keypair.public().to_peer_id(),
            kit: None,
            table: setup.table.clone(),
            events: setup.events.clone(),
            home: setup.home.clone(),
            counts: PendingCounts::default(),
            sessions: BTreeMap::new(),
            by_peer: HashMap::new(),
            leaving: 0,
            next_session: 1,
            parked: Vec::new(),
            statics: Statics::default(),
            blame: BlameBook::new(config.peer_records_max, config.avoid),
            rng,
            notices,
            listeners: Vec::new(),
            shutdown: None,
            finished: Some(finished),
            config,
            setup: Some(setup),
        };
        actor::start(&tracer, 0, |ctx| {
            ctx.set_mailbox_capacity(256);
            let notices = futures::stream::unfold(inbox, |mut inbox| async {
                inbox.recv().await.map(|notice| (notice, inbox))
            });
            ctx.add_stream(notices);
            actor
        })
    }

    fn emit(&self, event: NetworkEvent) {
        // Nobody listens: fine.
        drop(self.events.send(event));
    }

    fn occupancy(&self) -> Occupancy {
        let counted = || self.sessions.values().filter(|entry| !entry.is_static);
        Occupancy {
            peers: counted().count(),
            inbound: counted().filter(|entry| entry.direction == Direction::Inbound).count(),
            ..Occupancy::default()
        }
    }

    fn dial(&mut self, addr: PeerAddr, static_index: Option<usize>, reply: Option<DialReply>) {
        let max = self.config.slots.pending_outbound_max;
        let (Some(kit), Some(guard)) = (self.kit.clone(), self.counts.begin(Direction::Outbound, max)) else {
            if let Some(reply) = reply {
                drop(reply.send(Err(DialError::NoSlot)));
            }
            return;
        };
        self.home.spawn(move || kit.dial(addr, static_index, reply, guard));
    }

    fn dial_static(&mut self, ctx: &mut Ctx<Self>, index: usize) {
        if self.shutdown.is_some() {
            return;
        }
        let connected = self.statics.peer(index).is_some_and(|peer| self.by_peer.contains_key(&peer));
        if connected || self.statics.is_given_up(index) {
            self.statics.on_dial_ended(index);
            return;
        }
        if self.counts.is_full(Direction::Outbound, self.config.slots.pending_outbound_max) {
            self.statics.on_dial_ended(index);
            self.schedule(ctx, index);
            return;
        }
        self.dial(self.statics.addr(index).clone(), Some(index), None);
    }

    /// Dials a static peer after its next pause. Returns the pause.
    fn schedule(&mut self, ctx: &mut Ctx<Self>, index: usize) -> Option<std::time::Duration> {
        let unit = self.rng.random::<f64>();
        let pause = self.statics.next_pause(index, &self.config.backoff, unit)?;
        ctx.run_later(pause, move |manager, ctx| manager.dial_static(ctx, index));
        Some(pause)
    }

    fn on_settled(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let Some(handle) = entry.handle.clone() else { return };
        if std::mem::replace(&mut entry.up, true) {
            return;
        }
        for reply in std::mem::take(&mut entry.waiting) {
            drop(reply.send(Ok(handle.clone())));
        }
        self.emit(NetworkEvent::PeerUp { peer: handle });
    }

    fn on_down(&mut self, ctx: &mut Ctx<Self>, session: SessionId, peer: PeerId, ended: Disconnected) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        self.leaving += 1;
        self.table.remove(&peer, session);
        let lived = entry.since.elapsed();
        self.blame.on_ended(Instant::now().into_std(), peer, ended.fault());
        let direction = entry.direction;
        if entry.up {
            self.emit(NetworkEvent::PeerDown { peer, session, ended, direction });
        } else {
            self.emit(NetworkEvent::PeerRefused { peer, ended, direction });
        }
        self.pass_on(ctx, peer, session, entry.waiting, ended);
        if self.by_peer.get(&peer) == Some(&session) {
            self.by_peer.remove(&peer);
            for index in self.statics.on_session_ended(&peer, &self.config.backoff, lived) {
                self.schedule(ctx, index);
            }
        }
    }

    /// Sessions have gone, or shutdown began: is it over?
    fn check_finished(&mut self, ctx: &mut Ctx<Self>) {
        if self.shutdown.is_some() && self.sessions.is_empty() && self.leaving == 0 {
            self.finish(ctx);
        }
    }

    fn finish(&mut self, ctx: &mut Ctx<Self>) {
        for reply in self.shutdown.take().into_iter().flatten() {
            let _ = reply.send(());
        }
        // The kit holds our own address: without this the actor would outlive everybody.
        self.kit = None;
        if let Some(finished) = self.finished.take() {
            let _ = finished.send(());
        }
        ctx.stop();
    }
}

impl Actor for ConnectionManager {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(setup) = self.setup.take() else { return };
        let ids: Arc<[ProtocolId]> = setup.router.ids().into();
        let kit = Kit {
            manager: ctx.traced_address(),
            keypair: setup.keypair,
            config: setup.config,
            router: setup.router,
            ids,
            stats: setup.stats,
            counts: self.counts.clone(),
            table: self.table.clone(),
            tracer: setup.tracer,
            #[cfg(feature = "rlpx")]
            rlpx: setup.rlpx,
        };
        for listener in setup.listeners {
            let run = listener.run(kit.clone(), self.home.clone(), self.counts.clone());
            self.listeners.push(AbortOnDropHandle::new(tokio::task::spawn_local(run)));
        }
        self.kit = Some(kit);
        if cfg!(feature = "metrics") {
            let mut publisher = setup.publisher;
            ctx.run_interval(metrics::PUBLISH_EVERY, move |_, _| publisher.publish());
        }
        for addr in self.config.static_peers.clone() {
            if let Some(index) = self.statics.add(addr) {
                self.dial_static(ctx, index);
            }
        }
    }
}

impl StreamHandler<Notice> for ConnectionManager {
    fn handle(&mut self, notice: Notice, ctx: &mut Self::Context) {
        match notice {
            Notice::Settled(session) => self.on_settled(session),
            Notice::Down(session, peer, ended) => self.on_down(ctx, session, peer, ended),
            Notice::Misdeed(peer, misdeed) => self.blame.on_misdeed(peer, misdeed),
            Notice::Gone => self.leaving = self.leaving.saturating_sub(1),
        }
        self.check_finished(ctx);
    }
}
