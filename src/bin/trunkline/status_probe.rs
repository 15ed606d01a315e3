//! eth as `ping` speaks it: reads a peer's Status, whatever its chain, and is never a follower.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Notify;
use trunkline::disconnect::{Breach, Disconnected};
use trunkline::ids::{Direction, ProtocolId, SessionId};
use trunkline::protocols::eth::{self, INFLATED_BYTES_MAX, Status, StatusClaim, code, payload};
use trunkline::protocols::{Capability, Class, Encoding, Exchange, From, Outlet, Payload, ServeError};

use alloy_primitives::hex;

/// Negotiates eth and keeps the Status of each peer.
///
/// It says nothing first, because a Status must name a chain and we have none. Then it mirrors the
/// peer's: the same chain, of which we hold the genesis alone, so that nobody asks us for blocks.
#[derive(Debug)]
pub(crate) struct StatusProbe {
    ids: [(ProtocolId, u32); 3],
    /// Bound: the sessions there are; `ping` has one.
    peers: Mutex<HashMap<SessionId, Met>>,
    changed: Notify,
}

#[derive(Debug)]
struct Met {
    outlet: Arc<dyn Outlet>,
    status: Option<Status>,
}

impl Default for StatusProbe {
    fn default() -> Self {
        let id = |name, version| (ProtocolId::new(name), version);
        Self {
            ids: [id("/eth/70/1.0.0", 70), id("/eth/69/1.0.0", 69), id("/eth/68/1.0.0", 68)],
            peers: Mutex::default(),
            changed: Notify::new(),
        }
    }
}

impl StatusProbe {
    /// Waits for the Status of a session. `None` when its eth has ended without.
    pub(crate) async fn status(&self, session: SessionId) -> Option<Status> {
        loop {
            let changed = self.changed.notified();
            match self.peers().get(&session) {
                Some(Met { status: None, .. }) => {}
                Some(Met { status, .. }) => return *status,
                None => return None,
            }
            changed.await;
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<SessionId, Met>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_status(&self, from: From, body: &[u8]) -> Result<(), ServeError> {
        let status = Status::from_body(body).map_err(ServeError::Breach)?;
        if let Some(met) = self.peers().get_mut(&from.session) {
            met.status = Some(status);
            met.outlet.send(payload(code::STATUS, &mirror(status)));
        }
        self.changed.notify_waiters();
        Ok(())
    }
}

/// A Status that the peer agrees with, and that promises nothing.
fn mirror(theirs: Status) -> Status {
    let claim = match theirs.claim {
        StatusClaim::TotalDifficulty(_) => StatusClaim::TotalDifficulty(Default::default()),
        StatusClaim::Range { .. } => StatusClaim::Range { earliest: 0, latest: 0 },
    };
    Status { head: theirs.genesis, claim, ..theirs }
}

impl Exchange for StatusProbe {
    fn name(&self) -> &'static str {
        "eth"
    }

    fn ids(&self) -> &[(ProtocolId, u32)] {
        &self.ids
    }

    fn capability(&self, version: u32) -> Option<Capability> {
        Some(eth::capability(version))
    }

    fn encoding(&self) -> Encoding {
        Encoding::Snappy { inflated_max: INFLATED_BYTES_MAX }
    }

    /// Everything is taken as an announcement: we have no chain to answer from, and ask nothing.
    fn classify(&self, _: u32, _: u8, _: &[u8]) -> Result<Class, Breach> {
        Ok(Class::OneWay)
    }

    fn serve(self: Arc<Self>, _: From, _: Payload) -> BoxFuture<'static, Result<Payload, ServeError>> {
        Box::pin(async { Err(ServeError::Unavailable) })
    }

    fn on_message(
        self: Arc<Self>,
        from: From,
        message: Payload,
    ) -> BoxFuture<'static, Result<(), ServeError>> {
        Box::pin(async move {
            match message.code {
                code::STATUS => self.on_status(from, &message.body),
                _ => Ok(()),
            }
        })
    }

    fn on_up(&self, from: From, _: Direction, _: Option<Bytes>, outlet: Arc<dyn Outlet>) {
        self.peers().insert(from.session, Met { outlet, status: None });
    }

    fn on_down(&self, from: From, _: Disconnected) {
        self.peers().remove(&from.session);
        self.changed.notify_waiters();
    }
}

/// A Status for people and for programs.
pub(crate) fn describe(status: &Status) -> (String, Value) {
    let fork = hex::encode(status.fork_id.hash.0);
    let mut value = json!({
        "version": status.version, "network": status.network_id, "genesis": status.genesis.to_string(),
        "head": status.head.to_string(), "fork_id": fork, "fork_next": status.fork_id.next,
    });
    let claim = match status.claim {
        StatusClaim::TotalDifficulty(total) => {
            value["total_difficulty"] = json!(total.to_string());
            format!("total difficulty {total}")
        }
        StatusClaim::Range { earliest, latest } => {
            value["earliest"] = json!(earliest);
            value["latest"] = json!(latest);
            format!("blocks {earliest} to {latest}")
        }
    };
    let text = format!(
        "version {}, network {}, {claim}\n           genesis {}\n           head    {}\n           \
         fork    {fork}, next {}",
        status.version, status.network_id, status.genesis, status.head, status.fork_id.next
    );
    (text, value)
}
