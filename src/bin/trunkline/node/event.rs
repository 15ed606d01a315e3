//! What a node tells: each event as JSON and as a line for people.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline::chain::BlockRef;
use trunkline::sync::Progress;
use trunkline::{Disconnected, PeerAddr, PeerHandle, PeerId, Wire};

use super::receipts::ReceiptsSum;
use crate::escape::escape;

/// Something that is told on stdout.
#[derive(Debug)]
pub(super) enum Event {
    /// The node listens.
    Listening { addr: PeerAddr, peer: PeerId },
    /// Discovery runs.
    Discovery { enode: String, enr: String, udp: u16 },
    /// Metrics are served.
    Metrics { addr: SocketAddr },
    /// The flight recorder was dumped.
    TraceDump { file: PathBuf, reason: String },
    /// A file was imported.
    Imported { blocks: usize, head: BlockRef, took: Duration },
    /// Identify and the eth negotiation of a peer are through.
    PeerUp { peer: PeerHandle },
    /// A peer has gone, or was refused before it was up.
    PeerDown { peer: PeerId, ended: Disconnected },
    /// How far the sync is: highest linked header, highest verified block, block to get to.
    Progress(Progress),
    /// The verified head has changed.
    Head(BlockRef),
    /// Something went wrong, and the node goes on.
    Error(String),
    /// The last line.
    End(End),
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct End {
    /// The verified head.
    pub(super) head: BlockRef,
    /// Requests by outcome.
    pub(super) requests: Vec<(&'static str, u64)>,
    /// Requests that never ended: always 0.
    pub(super) orphans: u64,
    /// Bytes received on all connections.
    pub(super) bytes_in: u64,
    /// Bytes sent.
    pub(super) bytes_out: u64,
    /// From the first dial to the verified head.
    pub(super) took: Duration,
    /// What became of the receipts.
    pub(super) receipts: ReceiptsSum,
}

impl Event {
    /// The end of a node that was stopped before it began.
    pub(super) fn nothing_done(head: BlockRef) -> Self {
        let requests = vec![("ok", 0), ("timed_out", 0)];
        let (took, receipts) = (Duration::ZERO, ReceiptsSum::default());
        Self::End(End { head, requests, orphans: 0, bytes_in: 0, bytes_out: 0, took, receipts })
    }

    /// One object, with the fields of the command line's contract.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Listening { addr, peer } => {
                let (port, text, peer) = (addr.endpoint.port(), addr.to_string(), peer.to_string());
                // Nodes of devp2p are known by their enode.
                let name = if addr.endpoint.wire() == Wire::Rlpx { "enode" } else { "addr" };
                let wire = addr.endpoint.wire().to_string();
                json!({"event": "listening", name: text, "peer": peer, "port": port, "wire": wire})
            }
            Self::Discovery { enode, enr, udp } => {
                json!({"event": "discovery", "enode": enode, "enr": enr, "udp": udp})
            }
            Self::Metrics { addr } => json!({"event": "metrics", "addr": addr.to_string()}),
            Self::TraceDump { file, reason } => {
                json!({"event": "trace-dump", "file": file.to_string_lossy(), "reason": reason})
            }
            Self::Imported { blocks, head, took } => json!({
                "event": "imported", "blocks": blocks, "number": head.number,
                "hash": head.hash.to_string(), "ms": millis(*took),
            }),
            Self::PeerUp { peer } => json!({
                "event": "peer-up", "peer": peer.id().to_string(), "wire": peer.wire().to_string(),
                "direction": peer.direction().to_string(), "agent": agent(peer), "protocols": protocols(peer),
                "addr": peer.remote_addr().to_string(),
            }),
            Self::PeerDown { peer, ended } => json!({
                "event": "peer-down", "peer": peer.to_string(), "side": ended.side.to_string(),
                "reason": ended.reason.to_string(),
            }),
            Self::Progress(Progress {
                headers, bodies, receipts, target, rate_blocks_per_s, eta, ..
            }) => json!({
                "event": "progress", "headers": headers, "bodies": bodies, "receipts": receipts, "target": target,
                "blocks_per_s": rate_blocks_per_s.round(), "eta_ms": eta.map(millis),
            }),
            Self::Head(head) => {
                json!({"event": "head", "number": head.number, "hash": head.hash.to_string()})
            }
            Self::Error(error) => json!({"event": "error", "error": error}),
            Self::End(end) => {
                let requests = end.requests.iter().map(|(name, count)| ((*name).to_owned(), json!(count)));
                json!({
                    "event": "end", "number": end.head.number, "hash": end.head.hash.to_string(),
                    "requests": Value::Object(requests.collect()), "orphans": end.orphans,
                    "bytes_in": end.bytes_in, "bytes_out": end.bytes_out, "ms": millis(end.took),
                    "receipts": {"held": end.receipts.held, "missing": end.receipts.missing},
                    "receipts_ms": millis(end.receipts.took),
                })
            }
        }
    }

    /// One line.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Listening { addr, .. } => format!("listening  {addr}"),
            Self::Discovery { enode, enr, .. } => format!("discovery  {enode} {enr}"),
            Self::Metrics { addr } => format!("metrics    http://{addr}/metrics"),
            Self::TraceDump { file, reason } => {
                format!("dump       {} ({reason})", escape(&file.to_string_lossy()))
            }
            Self::Imported { blocks, head, took } => {
                format!("imported   {blocks} blocks in {} ms, up to {}", millis(*took), block(head))
            }
            Self::PeerUp { peer } => {
                let (id, direction, protocols) = (peer.id(), peer.direction(), protocols(peer).join(" "));
                format!("peer up    {id} {direction} {} {} {protocols}", peer.wire(), agent(peer))
            }
            Self::PeerDown { peer, ended } => format!("peer down  {peer} {ended}"),
            Self::Progress(Progress { headers, bodies, receipts, target, rate_blocks_per_s, .. }) => {
                let (rate, up_to) = (rate_blocks_per_s, target);
                format!(
                    "progress   {bodies} blocks, {headers} headers, receipts to {receipts} of {up_to}, {rate:.0} blocks/s"
                )
            }
            Self::Head(head) => format!("head       {}", block(head)),
            Self::Error(error) => format!("error      {error}"),
            Self::End(end) => {
                let requests = end.requests.iter().map(|(name, count)| format!("{count} {name}"));
                format!(
                    "end        {} after {} ms; receipts of {} blocks, {} missing; requests: {}; {} B in, {} B out",
                    block(&end.head),
                    millis(end.took),
                    end.receipts.held,
                    end.receipts.missing,
                    requests.collect::<Vec<_>>().join(", "),
                    end.bytes_in,
                    end.bytes_out
                )
            }
        }
    }
}

fn agent(peer: &PeerHandle) -> String {
    escape(peer.identity().map_or("", |identity| &identity.agent))
}

fn protocols(peer: &PeerHandle) -> Vec<String> {
    peer.protocols().iter().map(|protocol| escape(protocol)).collect()
}

fn block(block: &BlockRef) -> String {
    format!("#{} {}", block.number, block.hash)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use trunkline::DisconnectReason;

    use super::*;

    fn events() -> Vec<Event> {
        let peer = trunkline::Keypair::generate_secp256k1().public().to_peer_id();
        let head = BlockRef { number: 600, hash: Default::default() };
        let addr: PeerAddr = format!("/ip4/127.0.0.1/tcp/40001/p2p/{peer}").parse().unwrap();
        let rlpx = format!("/ip4/127.0.0.1/tcp/40001/rlpx/p2p/{peer}").parse().unwrap();
        vec![
            Event::Listening { addr, peer },
            Event::Listening { addr: rlpx, peer },
            Event::Imported { blocks: 600, head, took: Duration::from_millis(12) },
            Event::PeerDown { peer, ended: Disconnected::remote(DisconnectReason::GenesisMismatch) },
            Event::Progress(Progress { headers: 3, bodies: 2, target: 4, ..Progress::default() }),
            Event::Head(head),
            Event::Error("a".to_owned()),
            Event::nothing_done(head),
            Event::Metrics { addr: ([127, 0, 0, 1], 9100).into() },
            Event::TraceDump { file: "/tmp/a\nb".into(), reason: "signal".to_owned() },
        ]
    }

    #[test]
    fn every_event_has_the_fields_of_the_contract() {
        let fields = [
            "event addr peer port",
            "event enode peer port",
            "event blocks number hash ms",
            "event peer side reason",
            "event headers bodies receipts target",
            "event number hash",
            "event error",
            "event number hash requests orphans bytes_in bytes_out ms receipts receipts_ms",
            "event addr",
            "event file reason",
        ];
        for (event, fields) in events().iter().zip(fields) {
            let json = event.json();
            for field in fields.split(' ') {
                assert!(!json[field].is_null(), "{field} of {json}");
            }
        }
        let json = events()[0].json();
        assert_eq!((&json["event"], &json["port"]), (&json!("listening"), &json!(40001)));
        assert_eq!(events()[3].json()["side"], json!("remote"));
        assert_eq!(events()[7].json()["requests"], json!({"ok": 0, "timed_out": 0}));
    }

    #[test]
    fn every_event_is_one_line() {
        for event in events() {
            assert!(!event.text().contains('\n') && !event.json().to_string().contains('\n'));
        }
    }
}
