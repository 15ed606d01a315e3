//! The traces of the three nodes on one clock, as one file, and what they say of a block's way.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use execution_client::failure::Failure;
use trunkline::ids::Direction;
use trunkline::trace::tools::model::{Keep, Model};
use trunkline::trace::tools::read::Reader;
use trunkline::trace::tools::{Node, Picture, merge};
use trunkline::trace::{Kind, Line, Record};

use crate::child::Role;

/// Not `.jsonl`: whoever asks the folder asks the traces, and this is another kind of file.
const MERGED: &str = "merged.ndjson";

/// What came of it.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) path: PathBuf,
    pub(crate) events: usize,
    /// Connections that two of the nodes share, and requests that both of their ends have seen.
    pub(crate) links: usize,
    pub(crate) pairs: usize,
    /// How the largest of the announced blocks went, hop by hop. Empty if a part of it is missing.
    pub(crate) hops: Vec<Hop>,
}

/// A step of a block on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) role: Role,
    /// Since the first one.
    pub(crate) after: Duration,
    pub(crate) what: String,
}

/// Copies the traces below `from` to `to`, one file per node, and writes them as one beside.
pub(crate) fn merge(from: &Path, to: &Path) -> Result<Merged, Failure> {
    let mut picture = Picture::default();
    let mut files = Vec::new();
    for role in Role::ALL {
        let file = to.join(format!("{}.jsonl", role.name()));
        let written = only_file(&from.join(role.name()))?;
        std::fs::copy(&written, &file).map_err(|error| failed(&file, &error))?;
        let model = Model::read(open(&file)?, Keep::All).map_err(|error| failed(&file, &error))?;
        picture.nodes.push(Node { model, ..Node::default() });
        files.push(file);
    }
    let joined = merge::join(&mut picture);
    // What joining finds of the clocks is as exact as a request is fast. Here all three nodes have the
    // clock of one machine.
    let began =
        picture.nodes.iter().map(|node| node.model.header.as_ref().map_or(0, |header| header.unix_ns));
    let began: Vec<u64> = began.collect();
    for (node, at) in picture.nodes.iter_mut().zip(&began) {
        let first = began.first().copied().unwrap_or(0);
        node.offset_ns = i64::try_from(i128::from(*at) - i128::from(first)).unwrap_or(0);
    }
    let offsets: Vec<i64> = picture.nodes.iter().map(|node| node.offset_ns).collect();
    let path = to.join(MERGED);
    let readers = files.iter().map(|file| open(file)).collect::<Result<Vec<_>, _>>()?;
    let mut out = BufWriter::new(File::create(&path).map_err(|error| failed(&path, &error))?);
    merge::write_view(readers, &offsets, &mut out).map_err(|error| failed(&path, &error))?;
    out.flush().map_err(|error| failed(&path, &error))?;
    let events = picture.nodes.iter().map(|node| node.model.events as usize).sum();
    let hops = hops(&picture, &files)?.unwrap_or_default();
    Ok(Merged { path, events, links: joined.links, pairs: joined.pairs, hops })
}

/// The largest block that the follower was sent unasked, backwards to the producer.
fn hops(picture: &Picture, files: &[PathBuf]) -> Result<Option<Vec<Hop>>, Failure> {
    let conns = |a: Role, b: Role| {
        let mut links = picture.links.iter();
        links.find_map(|[x, y]| (x.0 == a as usize && y.0 == b as usize).then_some((x.1, y.1)))
    };
    let (Some((p_to_r, r_to_p)), Some((r_to_f, f_to_r))) =
        (conns(Role::Producer, Role::Relay), conns(Role::Relay, Role::Follower))
    else {
        return Ok(None);
    };
    // The event of a file that is wanted, and for which this is the least.
    let least =
        |role: Role, by: &dyn Fn(i64, &Record) -> Option<u64>| -> Result<Option<(i64, Record)>, Failure> {
            let (file, offset) = (&files[role as usize], picture.nodes[role as usize].offset_ns);
            let mut found: Option<(u64, i64, Record)> = None;
            for line in open(file)? {
                let Line::Event(record) = line.map_err(|error| failed(file, &error))? else { continue };
                let at = i64::try_from(record.at).unwrap_or(i64::MAX).saturating_add(offset);
                let Some(rank) = by(at, &record) else { continue };
                if found.as_ref().is_none_or(|(least, ..)| rank < *least) {
                    found = Some((rank, at, record));
                }
            }
            Ok(found.map(|(_, at, record)| (at, record)))
        };
    let came = |record: &Record, conn: u32| {
        let name = record.name.as_deref();
        record.kind == Kind::OneWay && record.conn == conn && name == Some("NewBlock")
    };
    let largest = least(Role::Follower, &|_, record| came(record, f_to_r).then_some(u64::MAX - record.x))?;
    let Some((at_follower, got)) = largest else { return Ok(None) };
    let bytes = got.x;
    // A write is recorded when it is done: the other end may have recorded more by then.
    let wrote = |conn: u32, when: i64| {
        move |at: i64, record: &Record| {
            let is = record.kind == Kind::SocketWrote && record.conn == conn && record.x >= bytes;
            is.then_some(at.abs_diff(when))
        }
    };
    let Some((relayed, _)) = least(Role::Relay, &wrote(r_to_f, at_follower))? else { return Ok(None) };
    let before = |at: i64, until: i64| (at <= until).then(|| until.abs_diff(at));
    let at_relay = least(Role::Relay, &|at, record| before(at, relayed).filter(|_| came(record, r_to_p)))?;
    let Some((at_relay, _)) = at_relay else { return Ok(None) };
    let Some((sent, _)) = least(Role::Producer, &wrote(p_to_r, at_relay))? else { return Ok(None) };
    let (relayed, sent) = (relayed.min(at_follower), sent.min(at_relay));
    let mut hops = vec![
        (sent, Role::Producer, format!("wrote NewBlock to the relay over libp2p, {bytes} bytes")),
        (at_relay, Role::Relay, "received it".to_owned()),
    ];
    let asked = |record: &Record| {
        record.kind == Kind::ReqEnded && record.conn == r_to_p && record.dir == Some(Direction::Outbound)
    };
    let answered = least(Role::Relay, &|at, record| before(at, relayed).filter(|_| asked(record)))?;
    if let Some((at, record)) = answered.filter(|(at, _)| *at >= at_relay) {
        let took = Duration::from_nanos(record.y);
        let name = record.name.as_deref().unwrap_or("a request");
        hops.push((at, Role::Relay, format!("had its answer to {name} from the producer, after {took:.1?}")));
    }
    hops.push((relayed, Role::Relay, "had executed it, and wrote it to the follower over RLPx".to_owned()));
    hops.push((at_follower, Role::Follower, "received it".to_owned()));
    let since = |at: i64| Duration::from_nanos(u64::try_from(at.saturating_sub(sent)).unwrap_or(0));
    Ok(Some(hops.into_iter().map(|(at, role, what)| Hop { role, after: since(at), what }).collect()))
}

fn only_file(folder: &Path) -> Result<PathBuf, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    let mut files = entries.flatten().map(|entry| entry.path());
    let file = files.find(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    file.ok_or_else(|| failed(folder, &"there is no trace in it"))
}

fn open(file: &Path) -> Result<Reader<BufReader<File>>, Failure> {
    Reader::open(file).map_err(|error| failed(file, &error))
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}
