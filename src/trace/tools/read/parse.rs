//! One line: JSON to a [`Line`].

use std::borrow::Cow;

use serde::Deserialize;

use super::Words;
use super::scan::scan;
use crate::ids::Direction;
use crate::trace::kind::{Field, Kind};
use crate::trace::record::{EventId, Header, Line, Record};

/// What a line says.
pub(super) enum Parsed {
    /// Something this program knows.
    Line(Line),
    /// An event of a kind it does not know.
    Unknown,
}

/// A string that is borrowed from the line unless it holds escapes. (Inside an `Option` serde
/// borrows only what asks for it itself.)
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Every field that a line may have, whatever it is.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Raw<'a> {
    #[serde(borrow)]
    ev: Option<Text<'a>>,
    t: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    by: Option<Text<'a>>,
    a: u32,
    c: u32,
    #[serde(borrow)]
    dir: Option<Text<'a>>,
    #[serde(borrow)]
    r: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    proto: Option<Text<'a>>,
    #[serde(borrow)]
    how: Option<Text<'a>>,
    wire: u64,
    to: u64,
    bytes: u64,
    ns: u64,
    stream: u64,
    n: u64,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    v: u32,
    #[serde(borrow)]
    node: Option<Text<'a>>,
    unix_ns: u64,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    ring: u16,
    requests: u64,
    events: u64,
    orphans: u64,
}

impl<'a> Raw<'a> {
    /// Fills in a field that holds a string; `None`: no such field does.
    pub(super) fn set_text(&mut self, key: &str, value: Text<'a>) -> Option<()> {
        let field = match key {
            "ev" => &mut self.ev,
            "id" => &mut self.id,
            "by" => &mut self.by,
            "dir" => &mut self.dir,
            "r" => &mut self.r,
            "name" => &mut self.name,
            "proto" => &mut self.proto,
            "how" => &mut self.how,
            "text" => &mut self.text,
            "node" => &mut self.node,
            "reason" => &mut self.reason,
            _ => return None,
        };
        *field = Some(value);
        Some(())
    }

    /// Fills in a field that holds a number; `None`: no such field does, or it is too large.
    pub(super) fn set_number(&mut self, key: &str, value: u64) -> Option<()> {
        match key {
            "t" => self.t = Some(value),
            "a" => self.a = value.try_into().ok()?,
            "c" => self.c = value.try_into().ok()?,
            "wire" => self.wire = value,
            "to" => self.to = value,
            "bytes" => self.bytes = value,
            "ns" => self.ns = value,
            "stream" => self.stream = value,
            "n" => self.n = value,
            "v" => self.v = value.try_into().ok()?,
            "unix_ns" => self.unix_ns = value,
            "ring" => self.ring = value.try_into().ok()?,
            "requests" => self.requests = value,
            "events" => self.events = value,
            "orphans" => self.orphans = value,
            _ => return None,
        }
        Some(())
    }
}

/// The version that a header names, whatever else it says.
pub(super) fn version(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        ev: String,
        v: u64,
    }
    let found: Version = serde_json::from_slice(line).ok()?;
    (found.ev == "trace.start").then_some(found.v)
}

/// Reads one line.
pub(super) fn line(line: &[u8], words: &mut Words) -> Result<Parsed, String> {
    let raw = match scan(line) {
        Some(raw) => raw,
        None => serde_json::from_slice(line).map_err(|error| said(&error))?,
    };
    let Some(ev) = &raw.ev else { return Err("no ev".to_owned()) };
    let line = match &*ev.0 {
        "trace.start" => Line::Header(Header {
            version: raw.v,
            node: words.share(raw.node.as_ref().map_or("", |node| &node.0)),
            unix_ns: raw.unix_ns,
            reason: words.share(raw.reason.as_ref().map_or("", |reason| &reason.0)),
        }),
        "trace.lost" => Line::Lost { ring: raw.ring, n: raw.n },
        "trace.skipped" => Line::Skipped { requests: raw.requests, events: raw.events },
        "trace.end" => Line::End { events: raw.events, orphans: raw.orphans },
        name => match Kind::by_name(name) {
            Some(kind) => Line::Event(event(kind, &raw, words)?),
            None => return Ok(Parsed::Unknown),
        },
    };
    Ok(Parsed::Line(line))
}

/// What the parser says, which counts the lines of what it was given: always one.
fn said(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

fn event(kind: Kind, raw: &Raw<'_>, words: &mut Words) -> Result<Record, String> {
    let (x, y) = kind.fields();
    let mut share = |text: &Option<Text<'_>>| text.as_ref().map(|text| words.share(&text.0));
    Ok(Record {
        at: raw.t.ok_or("no t")?,
        id: id("id", &raw.id)?.ok_or("no id")?,
        cause: id("by", &raw.by)?,
        actor: raw.a,
        kind,
        conn: raw.c,
        dir: match raw.dir.as_ref().map(|dir| &*dir.0) {
            None => None,
            Some("out") => Some(Direction::Outbound),
            Some("in") => Some(Direction::Inbound),
            Some(_) => return Err("dir is neither out nor in".to_owned()),
        },
        key: id("r", &raw.r)?,
        name: share(&raw.name),
        proto: share(&raw.proto),
        how: share(&raw.how),
        x: number(x, raw),
        y: number(y, raw),
        text: if x == Field::Text || y == Field::Text { share(&raw.text) } else { None },
    })
}

fn id(field: &str, text: &Option<Text<'_>>) -> Result<Option<EventId>, String> {
    let Some(text) = text else { return Ok(None) };
    text.0.parse().map(Some).map_err(|()| format!("{field} is not RING.NUMBER"))
}

fn number(what: Field, raw: &Raw<'_>) -> u64 {
    match what {
        Field::None | Field::Text => 0,
        Field::Wire => raw.wire,
        Field::To => raw.to,
        Field::Bytes => raw.bytes,
        Field::Ns => raw.ns,
        Field::Stream => raw.stream,
        Field::Count => raw.n,
    }
}
