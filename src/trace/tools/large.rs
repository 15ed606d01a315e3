//! Large files for measuring: `cargo test --lib write_a_large_file -- --ignored`.

use std::io::Write;

use super::fixtures::name_of;
use crate::ids::Direction;
use crate::trace::json;
use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Header, Line, Record};

/// Writes `TRACE_EVENTS` events (a million) to `TRACE_FILE`: requests on sixteen connections with
/// all that happens around them, one in ten thousand of them stuck.
#[test]
#[ignore = "writes a large file"]
fn write_a_large_file() {
    let events: u64 = std::env::var("TRACE_EVENTS").map_or(1_000_000, |n| n.parse().expect("a number"));
    let path = std::env::var("TRACE_FILE").expect("TRACE_FILE says where to");
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut out = Vec::new();
    let header = Header { version: 1, node: "16Uiu".into(), unix_ns: 1, reason: "file".into() };
    json::write(&Line::Header(header), &mut out);
    let protos = [name_of("eth"), name_of("/ping/1")];
    let words =
        ["GetBlockHeaders", "GetBlockBodies", "Ask", "FrameBatch", "PeerSession", "ok", "tick"].map(name_of);
    let mut number = [0_u64; 4];
    let mut total = 0;
    let mut write = |ring: usize, at: u64, kind: Kind, more: &dyn Fn(&mut Record)| {
        number[ring] += 1;
        total += 1;
        let id = EventId::new(ring as u16, number[ring]);
        let mut record = Record::new(at, id, kind);
        more(&mut record);
        json::write(&Line::Event(record), &mut out);
        if out.len() > 1 << 20 {
            file.write_all(&out).expect("room on the disk");
            out.clear();
        }
        (id, total)
    };
    for conn in 1..=16_u32 {
        let at = u64::from(conn);
        write(0, at, Kind::ActorStarted, &|r| (r.actor, r.name) = (conn, words[4].clone()));
        write(0, at, Kind::ConnAccepted, &|r| {
            (r.conn, r.text) = (conn, name_of("1.2.3.4:5 127.0.0.1:30303"))
        });
        write(0, at, Kind::SessionStarted, &|r| {
            (r.conn, r.actor, r.x, r.text) = (conn, conn, at, Some(format!("16Uiu2HAm{conn}").into()));
        });
        write(0, at, Kind::SessionSettled, &|r| (r.conn, r.actor) = (conn, conn));
    }
    let mut wire = 0;
    loop {
        wire += 1;
        let at = wire * 20_000;
        let conn = (wire % 16) as u32 + 1;
        let ring = (wire % 4) as usize;
        let kind = words[(wire % 2) as usize].clone();
        let proto = protos[0].clone();
        let request = |r: &mut Record| {
            (r.conn, r.dir, r.proto, r.name) = (conn, Some(Direction::Outbound), proto.clone(), kind.clone());
            (r.x, r.y) = (wire, 512);
        };
        let (key, _) = write(ring, at, Kind::ReqCreated, &request);
        let (put, _) = write(ring, at, Kind::MsgEnqueued, &|r| {
            (r.x, r.name, r.cause) = (u64::from(conn), words[2].clone(), Some(key));
        });
        let (begun, _) = write(ring, at + 3000, Kind::MsgStarted, &|r| {
            (r.actor, r.name, r.cause, r.y) = (conn, words[2].clone(), Some(put), 3000);
        });
        let step = |r: &mut Record| {
            request(r);
            (r.key, r.cause, r.actor) = (Some(key), Some(begun), conn);
        };
        write(ring, at + 3000, Kind::ReqQueued, &step);
        write(ring, at + 3500, Kind::ReqEncoded, &step);
        write(ring, at + 4000, Kind::MsgFinished, &|r| {
            (r.actor, r.name, r.cause, r.y) = (conn, words[2].clone(), Some(begun), 1000);
        });
        write(ring, at + 5000, Kind::ReqWritten, &step);
        write(ring, at + 5000, Kind::SocketWrote, &|r| (r.conn, r.x) = (conn, 600));
        let (_, total) = write(ring, at + 6000, Kind::SocketRead, &|r| (r.conn, r.x) = (conn, 4000));
        if wire % 10_000 != 0 {
            write(ring, at + 6000, Kind::ItemStarted, &|r| (r.actor, r.name) = (conn, words[3].clone()));
            write(ring, at + 6500, Kind::ReqFirstByte, &step);
            write(ring, at + 6600, Kind::ReqReceived, &step);
            write(ring, at + 6700, Kind::ReqDelivered, &step);
            write(ring, at + 7000, Kind::ItemFinished, &|r| {
                (r.actor, r.name, r.y) = (conn, words[3].clone(), 1000)
            });
            write(ring, at + 9000, Kind::ReqDecoded, &step);
            write(ring, at + 9000, Kind::ReqEnded, &|r| {
                step(r);
                (r.how, r.y) = (words[5].clone(), 9000);
            });
        }
        if total >= events {
            break;
        }
    }
    file.write_all(&out).expect("room on the disk");
    file.flush().expect("room on the disk");
}
