//! What blocks, and what blocked: the cause in words and by name.
//!
//! Two sweeps over a model. `now`: where things stand at its end. `past`: what was slow or failed
//! before, explained by what was going on meanwhile. Requests that one episode held up are one
//! finding, however many they are.

mod describe;
mod now;
mod other;
mod past;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use super::filter::Subject;
use super::model::{Life, Model};
use super::show;
use crate::trace::record::{EventId, Name};

pub use other::explain_by_other_side;

/// A finding names so many requests; the others are counted.
const REQUESTS_MAX: usize = 16;

/// Why something waits. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A message waits in a mailbox, or found it full.
    Mailbox,
    /// A handler of an actor runs for long.
    Handler,
    /// A thread does not come back.
    StalledThread,
    /// The peer gives no room for more bytes on a substream.
    Window,
    /// The peer's socket takes no more bytes, or replies it asked for are not taken.
    PeerNotReading,
    /// The peer does not answer.
    PeerNotAnswering,
    /// A limit of ours holds it back.
    Limiter,
    /// The protocol that was given the request does not answer.
    NobodyServing,
    /// The protocol answered, but took long.
    SlowServing,
    /// It stands behind others in what is to be written.
    Outbox,
    /// Security, muxer or protocols are not agreed on.
    Negotiation,
    /// A dial gets no socket.
    Dial,
    /// The caller has gone, or is slow.
    Caller,
    /// The answer came when nobody waited for it any more.
    LateAnswer,
    /// The answer was one to another kind of question.
    WrongKind,
    /// The answer could not be decoded.
    Malformed,
    /// The peer does not speak the protocol.
    Unsupported,
    /// The connection ended.
    Disconnected,
    /// A handler panicked.
    Panic,
    /// It has no end although it should: the network lost track of it.
    Orphan,
}

impl Cause {
    /// Its name, as in `--json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Handler => "handler",
            Self::StalledThread => "stalled_thread",
            Self::Window => "window",
            Self::PeerNotReading => "peer_not_reading",
            Self::PeerNotAnswering => "peer_not_answering",
            Self::Limiter => "limiter",
            Self::NobodyServing => "nobody_serving",
            Self::SlowServing => "slow_serving",
            Self::Outbox => "outbox",
            Self::Negotiation => "negotiation",
            Self::Dial => "dial",
            Self::Caller => "caller",
            Self::LateAnswer => "late_answer",
            Self::WrongKind => "wrong_kind",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::Disconnected => "disconnected",
            Self::Panic => "panic",
            Self::Orphan => "orphan",
        }
    }
}

/// What counts as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// In the past, and for a peer's answer, in nanoseconds.
    pub over_ns: u64,
    /// For what is going on at the end of the trace within this process.
    pub now_ns: u64,
}

impl Options {
    /// Longer than this is long; what goes on at the end of the trace is long from 100 ms on.
    pub fn over(over_ns: u64) -> Self {
        Self { over_ns, now_ns: over_ns.min(100_000_000) }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::over(1_000_000_000)
    }
}

/// An actor, by number and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Its number.
    pub actor: u32,
    /// Its type.
    pub name: Option<Name>,
}

/// A request, as far as a finding speaks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// The exchange.
    pub proto: Option<Name>,
    /// Its kind.
    pub kind: Option<Name>,
    /// `out`: ours; `in`: the peer's.
    pub dir: &'static str,
    /// Its id on the wire.
    pub wire: Option<u64>,
    /// The last step it reached.
    pub step: Option<&'static str>,
    /// `open`, or how it ended.
    pub state: String,
}

/// Something that blocks or blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Why.
    pub cause: Cause,
    /// It was still so when the trace ended.
    pub now: bool,
    /// Since when, in nanoseconds since the trace began.
    pub from_ns: u64,
    /// Until when.
    pub until_ns: u64,
    /// How long.
    pub duration_ns: u64,
    /// What it is, in a sentence for people.
    pub sentence: String,
    /// The actor that is busy, or whose mailbox it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Who>,
    /// What it handles, or what waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Name>,
    /// Messages that wait for the actor.
    #[serde(skip_serializing_if = "is_zero")]
    pub messages_waiting: u64,
    /// The connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn: Option<u32>,
    /// The peer at its other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Name>,
    /// When the last byte had come from the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_byte_ns: Option<u64>,
    /// The request that waited longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Asked>,
    /// Requests it concerns, the longest first, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// How many there are.
    pub requests_total: u64,
    /// Events around it were lost or skipped: it may not be so.
    pub uncertain: bool,
    /// Where it stood at the other node, if its trace was given as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_side: Option<String>,
    /// The keys of the requests, for joining with the other side.
    #[serde(skip)]
    pub(crate) keys: Vec<EventId>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Everything that blocks or blocked, what is going on still first, then the longest first.
pub fn find(model: &Model, options: Options) -> Vec<Finding> {
    let mut findings = now::find(model, options);
    findings.extend(past::find(model, options));
    findings.sort_by_key(|finding| {
        (!finding.now, std::cmp::Reverse(finding.duration_ns), finding.from_ns, finding.cause)
    });
    findings
}

/// For people: a sentence each, and what it stands on.
pub fn text(model: &Model, findings: &[Finding]) -> String {
    let mut out = String::new();
    if findings.is_empty() {
        out.push_str("nothing is stuck\n");
    }
    for finding in findings {
        let when = match finding.now {
            true => "now".to_owned(),
            false => format!("at {} s", show::moment(finding.from_ns)),
        };
        let perhaps = if finding.uncertain { "; events around it were lost: perhaps" } else { "" };
        out += &format!("{} ({when}{perhaps})\n  {}\n", finding.cause.name(), finding.sentence);
        if finding.requests.len() > 1 || (finding.requests_total == 1 && finding.request.is_none()) {
            let more = finding.requests_total - finding.requests.len() as u64;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            out += &format!("  requests: {}{more}\n", finding.requests.join(" "));
        }
        if let Some(other) = &finding.other_side {
            out += &format!("  the other side: {other}\n");
        }
    }
    out + &caveats(model)
}

/// What the trace cannot say.
pub fn caveats(model: &Model) -> String {
    let mut out = String::new();
    if model.lost > 0 {
        out += &format!("overwritten before it could be written: {}\n", show::count(model.lost, "event"));
    }
    if model.skipped > 0 {
        out += &format!("left out by the budget: {}\n", show::count(model.skipped, "event"));
    }
    if model.unknown > 0 {
        out += &format!("{} of kinds unknown to this program\n", show::count(model.unknown, "event"));
    }
    let beyond = model.beyond;
    for (n, what) in
        [(beyond.conns, "connection"), (beyond.actors, "event of actor"), (beyond.lives, "request")]
    {
        if n > 0 {
            out += &format!("{} did not fit into memory and were passed over\n", show::count(n, what));
        }
    }
    out
}

/// Findings that are being put together: one per episode.
struct Findings<'a> {
    model: &'a Model,
    episodes: BTreeMap<Episode, (Finding, Vec<(u64, EventId)>)>,
}

/// What makes two waits the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Episode {
    /// The same trouble, by its place in the model.
    Trouble(usize),
    /// The same actor, at the end.
    Actor(u32),
    /// The same cause on the same connection for the same kind of thing.
    Like(Cause, u32, Option<Name>, Option<Name>),
}

impl<'a> Findings<'a> {
    fn new(model: &'a Model) -> Self {
        Self { model, episodes: BTreeMap::new() }
    }

    fn has(&self, episode: &Episode) -> bool {
        self.episodes.contains_key(episode)
    }

    /// Adds an episode; of those that are alike, the longest one speaks for all.
    fn add(&mut self, episode: Episode, finding: Finding) {
        match self.episodes.get_mut(&episode) {
            None => drop(self.episodes.insert(episode, (finding, Vec::new()))),
            Some((known, _)) if known.duration_ns < finding.duration_ns => *known = finding,
            Some(_) => {}
        }
    }

    /// Says that an episode concerned a request.
    fn concerns(&mut self, episode: &Episode, life: &Life) {
        let took = life.took(self.model.span.1);
        if let Some((_, requests)) = self.episodes.get_mut(episode) {
            requests.push((took, life.key));
        }
    }

    fn finish(self) -> Vec<Finding> {
        let model = self.model;
        let finish = |(mut finding, mut requests): (Finding, Vec<(u64, EventId)>)| {
            if let Some(served) = words::served_meanwhile(model, &finding, &requests) {
                finding.sentence += &served;
            }
            requests.sort_by_key(|(took, key)| (std::cmp::Reverse(*took), *key));
            requests.dedup();
            finding.requests_total = requests.len() as u64;
            requests.truncate(REQUESTS_MAX);
            finding.keys = requests.iter().map(|(_, key)| *key).collect();
            finding.requests = requests.iter().map(|(_, key)| key.to_string()).collect();
            let longest = finding.keys.first().and_then(|key| model.lives.get(key));
            finding.request = finding.request.take().or_else(|| longest.map(words::asked));
            if finding.requests_total > 1 {
                finding.sentence +=
                    &format!("; {} concerned", show::count(finding.requests_total, "request"));
            }
            finding
        };
        self.episodes.into_values().map(finish).collect()
    }
}

impl Finding {
    /// What filters ask about a finding. `state` is the name of its cause.
    pub fn subject(&self) -> Subject<'_> {
        let request = self.request.as_ref();
        Subject {
            peer: self.peer.as_deref(),
            proto: request.and_then(|request| request.proto.as_deref()),
            kind: request.and_then(|request| request.kind.as_deref()).or(self.message.as_deref()),
            id: request.map(|request| request.id.as_str()),
            dir: request.map(|request| request.dir),
            state: Some(self.cause.name()),
            wait: Some(self.duration_ns),
            conn: self.conn,
        }
    }

    fn new(cause: Cause, from: u64, until: u64, sentence: String) -> Self {
        Self {
            cause,
            now: false,
            from_ns: from,
            until_ns: until,
            duration_ns: until.saturating_sub(from),
            sentence,
            actor: None,
            message: None,
            messages_waiting: 0,
            conn: None,
            peer: None,
            last_byte_ns: None,
            request: None,
            requests: Vec::new(),
            requests_total: 0,
            uncertain: false,
            other_side: None,
            keys: Vec::new(),
        }
    }

    fn on(mut self, model: &Model, conn: u32) -> Self {
        self.conn = (conn != 0).then_some(conn);
        self.peer = model.peer(conn).cloned();
        self
    }

    fn of(mut self, model: &Model, actor: u32) -> Self {
        let name = model.actor_name(actor).cloned();
        self.actor = (actor != 0).then_some(Who { actor, name });
        self
    }
}

#[cfg(test)]
mod blame_tests;
#[cfg(test)]
mod tests;
