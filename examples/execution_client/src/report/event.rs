//! Everything that is told on stdout.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::B256;
use serde_json::{Map, Value, json};
use trunkline::chain::BlockRef;
use trunkline::sync::Fetched;
use trunkline::{Disconnected, PeerAddr, PeerHandle, PeerId, Wire};

use crate::pipeline::{BadBlock, Progress};
use crate::pool::PoolStatus;

/// At most so many characters of a peer's text are printed.
const PEER_TEXT_MAX: usize = 256;

/// Something that is told on stdout.
#[derive(Debug)]
pub enum Event {
    /// The store is open: its last executed block.
    Opened {
        head: BlockRef,
        root: B256,
        datadir: PathBuf,
    },
    Listening {
        addr: PeerAddr,
        peer: PeerId,
    },
    Discovery {
        enode: String,
        enr: String,
    },
    Metrics {
        addr: SocketAddr,
    },
    PeerUp {
        peer: PeerHandle,
    },
    /// A peer has gone, or was refused before it was up.
    PeerDown {
        peer: PeerId,
        ended: Disconnected,
    },
    Progress(Progress),
    /// Executed, its state root checked, and on disk.
    Head {
        block: BlockRef,
        root: B256,
    },
    /// A block that failed; `blamed` says whether its sender loses by it.
    BadBlock {
        bad: BadBlock,
        blamed: bool,
    },
    Reorg {
        from: BlockRef,
        to: BlockRef,
        common: BlockRef,
    },
    Produced {
        block: BlockRef,
        transactions: usize,
    },
    Pool(PoolStatus),
    /// Transactions of --tx-file.
    Submitted {
        accepted: usize,
        refused: usize,
    },
    Error(String),
    End(End),
}

/// The last line.
#[derive(Debug)]
pub struct End {
    pub head: BlockRef,
    pub root: B256,
    /// How requests ended, by outcome.
    pub requests: Vec<(&'static str, u64)>,
    /// Requests that never ended.
    pub orphans: u64,
    pub bytes: (u64, u64),
    /// From the first dial to the last head.
    pub took: Duration,
    pub stages: Vec<StageSum>,
    /// What came from peers, item by item.
    pub fetched: Fetched,
    /// Transactions that came, were kept and were handed on.
    pub transactions: Vec<(&'static str, u64)>,
}

/// What one stage did.
#[derive(Debug, Clone, Copy)]
pub struct StageSum {
    pub name: &'static str,
    pub blocks: u64,
    /// From the first dial to its last block.
    pub took: Duration,
}

impl StageSum {
    pub fn blocks_per_s(&self) -> f64 {
        if self.took.is_zero() { 0.0 } else { self.blocks as f64 / self.took.as_secs_f64() }
    }
}

impl Event {
    pub fn json(&self) -> Value {
        match self {
            Self::Opened { head, root, datadir } => json!({
                "event": "opened", "number": head.number, "hash": head.hash, "root": root,
                "datadir": datadir.display().to_string(),
            }),
            Self::Listening { addr, peer } => {
                let wire = addr.endpoint.wire();
                let name = if wire == Wire::Rlpx { "enode" } else { "addr" };
                let port = addr.endpoint.port();
                json!({
                    "event": "listening", name: addr.to_string(), "peer": peer.to_string(), "port": port,
                    "wire": wire.to_string(),
                })
            }
            Self::Discovery { enode, enr } => json!({ "event": "discovery", "enode": enode, "enr": enr }),
            Self::Metrics { addr } => json!({ "event": "metrics", "addr": addr.to_string() }),
            Self::PeerUp { peer } => json!({
                "event": "peer-up", "peer": peer.id().to_string(), "wire": peer.wire().to_string(),
                "direction": peer.direction().to_string(), "agent": agent(peer), "protocols": peer.protocols(),
            }),
            Self::PeerDown { peer, ended } => json!({
                "event": "peer-down", "peer": peer.to_string(), "side": ended.side.to_string(),
                "reason": ended.reason.to_string(),
            }),
            Self::Progress(now) => json!({
                "event": "progress", "headers": now.headers, "bodies": now.bodies, "receipts": now.receipts,
                "executed": now.executed, "target": now.target,
            }),
            Self::Head { block, root } => {
                json!({ "event": "head", "number": block.number, "hash": block.hash, "root": root })
            }
            Self::BadBlock { bad, blamed } => json!({
                "event": "bad-block", "number": bad.block.number, "hash": bad.block.hash,
                "what": bad.what, "why": bad.why, "blamed": blamed,
            }),
            Self::Reorg { from, to, common } => json!({
                "event": "reorg", "from": from.number, "from_hash": from.hash, "to": to.number,
                "to_hash": to.hash, "common": common.number,
            }),
            Self::Produced { block, transactions } => json!({
                "event": "produced", "number": block.number, "hash": block.hash,
                "transactions": transactions,
            }),
            Self::Pool(pool) => json!({ "event": "pool", "pending": pool.pending, "queued": pool.queued }),
            Self::Submitted { accepted, refused } => {
                json!({ "event": "submitted", "accepted": accepted, "refused": refused })
            }
            Self::Error(error) => json!({ "event": "error", "error": error }),
            Self::End(end) => end.json(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Opened { head, datadir, .. } => {
                format!("opened {} at block {}", datadir.display(), head.number)
            }
            Self::Listening { addr, .. } => format!("listening at {addr}"),
            Self::Discovery { enode, .. } => format!("found as {enode}"),
            Self::Metrics { addr } => format!("metrics at http://{addr}/metrics"),
            Self::PeerUp { peer } => {
                format!("peer {} is up over {}: {}", peer.id(), peer.wire(), agent(peer).unwrap_or_default())
            }
            Self::PeerDown { peer, ended } => format!("peer {peer} is down: {}", ended.reason),
            Self::Progress(now) => format!(
                "headers {} bodies {} receipts {} executed {} of {}",
                now.headers, now.bodies, now.receipts, now.executed, now.target
            ),
            Self::Head { block, root } => format!("head {} {} state {root}", block.number, block.hash),
            Self::BadBlock { bad, blamed } => {
                let blamed = if *blamed { "its sender is blamed" } else { "nobody is blamed" };
                format!("block {} {} is bad: {}; {blamed}", bad.block.number, bad.block.hash, bad.why)
            }
            Self::Reorg { from, to, common } => {
                format!(
                    "reorganised from block {} to {}: common is {}",
                    from.number, to.number, common.number
                )
            }
            Self::Produced { block, transactions } => {
                format!("made block {} with {transactions} transactions", block.number)
            }
            Self::Pool(pool) => format!("pool: {} pending, {} queued", pool.pending, pool.queued),
            Self::Submitted { accepted, refused } => {
                format!("transactions submitted: {accepted} accepted, {refused} refused")
            }
            Self::Error(error) => format!("error: {error}"),
            Self::End(end) => end.text(),
        }
    }
}

impl End {
    fn json(&self) -> Value {
        let counts = |of: &[(&str, u64)]| -> Map<String, Value> {
            of.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
        };
        let stages: Map<String, Value> = self
            .stages
            .iter()
            .map(|stage| {
                let took = u64::try_from(stage.took.as_millis()).unwrap_or(u64::MAX);
                let sum = json!({
                    "blocks": stage.blocks, "ms": took, "blocks_per_s": stage.blocks_per_s().round(),
                });
                (stage.name.to_owned(), sum)
            })
            .collect();
        json!({
            "event": "end", "number": self.head.number, "hash": self.head.hash, "root": self.root,
            "requests": counts(&self.requests), "orphans": self.orphans,
            "bytes_in": self.bytes.0, "bytes_out": self.bytes.1,
            "ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "stages": stages,
            "fetched": {
                "headers": self.fetched.headers, "bodies": self.fetched.bodies, "receipts": self.fetched.receipts,
            },
            "transactions": counts(&self.transactions),
        })
    }

    fn text(&self) -> String {
        let stages: Vec<_> = self
            .stages
            .iter()
            .map(|stage| format!("{} {} ({:.0}/s)", stage.name, stage.blocks, stage.blocks_per_s()))
            .collect();
        format!(
            "end at block {} {}, state {}: {} in {}",
            self.head.number,
            self.head.hash,
            self.root,
            stages.join(", "),
            humantime::format_duration(Duration::from_millis(
                u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
            ))
        )
    }
}

/// What a peer says it is, fit for a terminal.
fn agent(peer: &PeerHandle) -> Option<String> {
    let agent = &peer.identity()?.agent;
    Some(agent.escape_default().take(PEER_TEXT_MAX).collect())
}
