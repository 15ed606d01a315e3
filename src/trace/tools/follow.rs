//! One life line: the wait at each hop, and what caused what.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::filter::Filter;
use super::model::{Life, Model};
use super::requests::{self, Request};
use super::show::{self, duration, moment};
use super::stuck::{self, Finding, Options};
use crate::trace::kind::{Field, Kind};
use crate::trace::record::{EventId, Line, Name, Record};

/// So many links between events are kept: about 100 MiB.
const LINKS_MAX: usize = 2 << 20;
/// So many events of a chain are shown.
const CHAIN_MAX: usize = 512;
/// Causes are looked for so long before the request began, in nanoseconds.
const BEFORE_NS: u64 = 10_000_000_000;

/// Which request is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this id, or the only one whose id begins like this.
    Id(String),
    /// The one that began last.
    Last,
    /// The one that took longest.
    Slowest,
}

/// Why there is nothing to follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The filter, or the trace, leaves no request.
    #[error("there is no such request")]
    None,
    /// No request has this id.
    #[error("no request {0}")]
    Unknown(String),
    /// Several requests have ids that begin like this.
    #[error("{n} requests begin with {id}: {examples}")]
    Several {
        /// What was asked for.
        id: String,
        /// How many there are.
        n: usize,
        /// Some of them.
        examples: String,
    },
}

/// One step of a life line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The step; the end of it is called by its outcome.
    pub step: String,
    /// When it was reached, in nanoseconds since the trace began.
    pub at_ns: u64,
    /// How long after the step before.
    pub wait_ns: u64,
    /// The actor it happened in; 0: none.
    pub actor: u32,
    /// That actor's type.
    pub actor_name: Option<Name>,
    /// The event.
    pub event: String,
    /// Its cause.
    pub by: Option<String>,
}

/// An event of the causal chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The event.
    pub event: String,
    /// When.
    pub at_ns: u64,
    /// Its kind.
    pub ev: &'static str,
    /// The actor it happened in; 0: none.
    pub actor: u32,
    /// That actor's type.
    pub actor_name: Option<Name>,
    /// What it says.
    pub says: String,
    /// Its cause.
    pub by: Option<String>,
    /// How many causes it has in this chain.
    pub depth: u32,
    /// It is a step of the request itself.
    pub own: bool,
}

/// A life line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// The request.
    pub request: Request,
    /// Why it was slow, failed or stuck, if it was.
    pub findings: Vec<Finding>,
    /// Its steps.
    pub hops: Vec<Hop>,
    /// How long it has stood at its last step; 0 once it has ended.
    pub standing_ns: u64,
    /// Its events and what caused them, in the order of time.
    pub chain: Vec<Link>,
    /// Causes that are not in the trace: overwritten or left out.
    pub missing: u64,
}

/// The request that is meant, among those that the filter lets through.
pub fn choose<'a>(model: &'a Model, which: &Which, filter: &Filter) -> Result<&'a Life, FollowError> {
    let lives = requests::list(model, filter);
    match which {
        Which::Last => lives.last().copied().ok_or(FollowError::None),
        Which::Slowest => {
            let took = |life: &&Life| (life.took(model.span.1), std::cmp::Reverse(life.key));
            lives.into_iter().max_by_key(took).ok_or(FollowError::None)
        }
        Which::Id(id) => {
            let found: Vec<&Life> =
                lives.iter().copied().filter(|life| life.key.to_string().starts_with(id)).collect();
            let exact = found.iter().find(|life| life.key.to_string() == *id);
            match (exact, found.as_slice()) {
                (Some(life), _) | (None, [life]) => Ok(life),
                (None, []) => Err(FollowError::Unknown(id.clone())),
                (None, several) => {
                    let examples = several.iter().take(4).map(|life| life.key.to_string());
                    let examples = examples.collect::<Vec<_>>().join(" ");
                    Err(FollowError::Several { id: id.clone(), n: several.len(), examples })
                }
            }
        }
    }
}

/// Finds the causal chain of a request in a second and a third reading of its trace.
///
/// The second one keeps who caused whom, for the time of the request and ten seconds before, at most
/// two million links; the third one keeps the events of the chain.
#[derive(Debug)]
pub struct Chain {
    key: EventId,
    span: (u64, u64),
    own: BTreeSet<EventId>,
    causes: HashMap<EventId, EventId>,
    wanted: BTreeSet<EventId>,
    records: Vec<Record>,
}

impl Chain {
    /// For this request.
    pub fn new(model: &Model, life: &Life) -> Self {
        let until = life.end.as_ref().map_or(model.span.1, |end| end.mark.at);
        let from = life.began().unwrap_or(until).saturating_sub(BEFORE_NS);
        Self {
            key: life.key,
            span: (from, until),
            own: BTreeSet::new(),
            causes: HashMap::new(),
            wanted: BTreeSet::new(),
            records: Vec::new(),
        }
    }

    /// Takes in a line of the second reading.
    pub fn link(&mut self, line: &Line) {
        let Line::Event(record) = line else { return };
        let own = record.key == Some(self.key) || record.id == self.key;
        if own && self.own.len() < CHAIN_MAX {
            self.own.insert(record.id);
        }
        if let Some(cause) = record.cause
            && (self.span.0..=self.span.1).contains(&record.at)
            && (own || self.causes.len() < LINKS_MAX)
        {
            self.causes.insert(record.id, cause);
        }
    }

    /// The second reading is over. Handlers that were begun for this request are part of the chain
    /// because what happens in them names them as its cause.
    pub fn linked(&mut self) {
        for id in &self.own {
            let mut next = Some(*id);
            // A hostile file may have circles: what is wanted already is not gone through again.
            while let Some(id) = next.filter(|id| self.wanted.len() < CHAIN_MAX && self.wanted.insert(*id)) {
                next = self.causes.get(&id).copied();
            }
        }
        self.causes = HashMap::new();
    }

    /// Takes in a line of the third reading.
    pub fn collect(&mut self, line: &Line) {
        let Line::Event(record) = line else { return };
        // The end of a handler that belongs to the chain tells how long it ran.
        let finish = matches!(record.kind, Kind::MsgFinished | Kind::ItemFinished | Kind::TimerFinished)
            && record.cause.is_some_and(|cause| self.wanted.contains(&cause));
        if (finish || self.wanted.contains(&record.id)) && self.records.len() < 2 * CHAIN_MAX {
            self.records.push(record.clone());
        }
    }

    fn links(&self, model: &Model) -> (Vec<Link>, u64) {
        let mut records: Vec<&Record> = self.records.iter().collect();
        records.sort_by_key(|record| (record.at, record.id));
        let causes: HashMap<EventId, Option<EventId>> =
            records.iter().map(|record| (record.id, record.cause)).collect();
        let depth = |record: &Record| {
            let (mut depth, mut next) = (0, record.cause);
            while let Some(cause) = next.filter(|_| depth < 64) {
                let Some(before) = causes.get(&cause) else { break };
                (depth, next) = (depth + 1, *before);
            }
            depth
        };
        let link = |record: &&Record| Link {
            event: record.id.to_string(),
            at_ns: record.at,
            ev: record.kind.name(),
            actor: record.actor,
            actor_name: model.actor_name(record.actor).cloned(),
            says: says(model, record),
            by: record.cause.map(|cause| cause.to_string()),
            depth: depth(record),
            own: self.own.contains(&record.id),
        };
        let missing = self.wanted.iter().filter(|id| !causes.contains_key(id)).count() as u64;
        (records.iter().map(link).collect(), missing)
    }
}

/// What an event says besides who and when.
fn says(model: &Model, record: &Record) -> String {
    let words = [&record.proto, &record.name, &record.how, &record.text];
    let mut said: Vec<String> = words.into_iter().flatten().map(|word| word.to_string()).collect();
    let (x, y) = record.kind.fields();
    for (field, value) in [(x, record.x), (y, record.y)] {
        match field {
            Field::To => {
                let name =
                    model.actor_name(value as u32).map_or_else(String::new, |name| format!(" ({name})"));
                said.push(format!("to actor {value}{name}"));
            }
            Field::Ns if value > 0 => said.push(match record.kind {
                Kind::MsgStarted | Kind::MsgAbandoned | Kind::MsgDropped => {
                    format!("waited {}", duration(value))
                }
                Kind::TimerSet => format!("for {}", duration(value)),
                _ => format!("took {}", duration(value)),
            }),
            Field::Wire if value > 0 => said.push(format!("wire {value}")),
            Field::Bytes => said.push(show::bytes(value)),
            Field::Stream => said.push(format!("substream {value}")),
            Field::Count => said.push(value.to_string()),
            _ => {}
        }
    }
    said.join(" ")
}

/// A life line with the chain that was collected for it.
pub fn follow(model: &Model, life: &Life, chain: &Chain, options: Options) -> Followed {
    let (chain, missing) = chain.links(model);
    let path = life.path();
    let mut hops: Vec<Hop> = Vec::new();
    let mut before = life.began().unwrap_or(0);
    let end = life.end.as_ref().map(|end| (end.how.to_string(), end.mark));
    let steps = path.iter().map(|(step, mark)| (step.name().to_owned(), *mark));
    for (step, mark) in steps.chain(end) {
        hops.push(Hop {
            step,
            at_ns: mark.at,
            wait_ns: mark.at.saturating_sub(before),
            actor: mark.actor,
            actor_name: model.actor_name(mark.actor).cloned(),
            event: mark.id.to_string(),
            by: mark.cause.map(|cause| cause.to_string()),
        });
        before = mark.at;
    }
    let standing_ns = if life.end.is_some() { 0 } else { model.span.1.saturating_sub(before) };
    let findings = stuck::find(model, options).into_iter().filter(|finding| finding.keys.contains(&life.key));
    Followed {
        request: requests::row(model, life),
        findings: findings.collect(),
        hops,
        standing_ns,
        chain,
        missing,
    }
}

/// For people.
pub fn text(found: &Followed) -> String {
    let request = &found.request;
    let words = [&request.proto, &request.kind].into_iter().flatten().map(|word| show::escape(word));
    let way = if request.dir == "out" { "to" } else { "from" };
    let mut out = format!(
        "request {}: {} {way} {} (connection {}{}): {} after {}\n",
        request.id,
        words.collect::<Vec<_>>().join(" "),
        show::peer_or_dash(request.peer.as_ref()),
        request.conn,
        request.wire.map_or_else(String::new, |wire| format!(", wire {wire}")),
        show::escape(&request.state),
        duration(request.took_ns),
    );
    for finding in &found.findings {
        out += &format!("cause: {}: {}\n", finding.cause.name(), finding.sentence);
    }
    if request.uncertain {
        out += "events around it were lost: what is missing proves nothing\n";
    }
    let longest = found.hops.iter().map(|hop| hop.wait_ns).chain([found.standing_ns]).max().unwrap_or(0);
    out.push('\n');
    let bar = |ns: u64| "#".repeat((u128::from(ns) * 24 / u128::from(longest.max(1))) as usize);
    for hop in &found.hops {
        let place = place(hop.actor, hop.actor_name.as_ref());
        let line = format!(
            "{:>12} s  {:<12} {:>8} later  {:<26} {}",
            moment(hop.at_ns),
            show::cut(&show::escape(&hop.step), 12),
            duration(hop.wait_ns),
            show::cut(&place, 26),
            bar(hop.wait_ns)
        );
        out += &format!("{}\n", line.trim_end());
    }
    if request.state == "open" {
        out += &format!(
            "{:>14}  {:<12} {:>8} since  {:<26} {}\n",
            "",
            "…",
            duration(found.standing_ns),
            "",
            bar(found.standing_ns)
        );
    }
    out += "\nwhat caused what:\n";
    for link in &found.chain {
        let indent = "  ".repeat(link.depth.min(12) as usize);
        let mut line = format!("{:>12} s  {indent}", moment(link.at_ns));
        line += if link.own { "* " } else { "" };
        line += link.ev;
        if !link.says.is_empty() {
            line += &format!(" {}", show::escape(&link.says));
        }
        if link.actor != 0 {
            line += &format!(" [{}]", place(link.actor, link.actor_name.as_ref()));
        }
        out += &format!("{}\n", show::cut(line.trim_end(), show::WIDTH));
    }
    if found.missing > 0 {
        out += &format!("{} are not in the trace\n", show::count(found.missing, "cause"));
    }
    out
}

fn place(actor: u32, name: Option<&Name>) -> String {
    match (actor, name) {
        (0, _) => "the caller".to_owned(),
        (actor, Some(name)) => format!("{} {actor}", show::escape(name)),
        (actor, None) => format!("actor {actor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tools::fixtures::{MS, Story, name_of};

    fn told(story: &Story, which: Which) -> Followed {
        let model = story.model();
        let life = choose(&model, &which, &Filter::default()).expect("a request");
        let mut chain = Chain::new(&model, life);
        let lines = story.sorted();
        lines.iter().for_each(|line| chain.link(line));
        chain.linked();
        lines.iter().for_each(|line| chain.collect(line));
        follow(&model, life, &chain, Options::default())
    }

    fn story() -> (Story, EventId) {
        let mut story = Story::new();
        let actor = story.session(0, 1);
        story.answered(10, 1, "GetBlockHeaders", 1);
        let key = story.ask(100, 1, "GetBlockBodies");
        let put = story.event(100, Kind::MsgEnqueued, |r| {
            (r.x, r.name, r.cause) = (u64::from(actor), name_of("Ask"), Some(key));
        });
        let begun = story.event(140, Kind::MsgStarted, |r| {
            (r.actor, r.name, r.y, r.cause) = (actor, name_of("Ask"), 40 * MS, Some(put));
        });
        let queued = story.step(140, key, Kind::ReqQueued, 7);
        story.change(queued, |r| (r.cause, r.actor) = (Some(begun), actor));
        story.event(141, Kind::MsgFinished, |r| {
            (r.actor, r.name, r.y, r.cause) = (actor, name_of("Ask"), MS, Some(begun));
        });
        story.step(142, key, Kind::ReqWritten, 7);
        story.until(2000);
        (story, key)
    }

    #[test]
    fn a_life_line_has_the_wait_at_each_hop_and_its_causes() {
        let (story, key) = story();
        let found = told(&story, Which::Id(key.to_string()));
        let hops: Vec<(&str, u64)> =
            found.hops.iter().map(|hop| (hop.step.as_str(), hop.wait_ns / MS)).collect();
        assert_eq!(hops, [("created", 0), ("queued", 40), ("written", 2)]);
        assert_eq!(found.standing_ns, 1858 * MS);
        let chain: Vec<(&str, u32)> = found.chain.iter().map(|link| (link.ev, link.depth)).collect();
        assert_eq!(
            chain,
            [
                ("req.created", 0),
                ("msg.enqueued", 1),
                ("msg.started", 2),
                ("req.queued", 3),
                ("msg.finished", 3),
                ("req.written", 0),
            ]
        );
        assert_eq!(found.findings.len(), 1);
        let text = text(&found);
        assert!(text.contains("cause: peer_not_answering") && text.contains("waited 40.0 ms"), "{text}");
        assert!(text.lines().skip(2).all(|line| line.chars().count() <= show::WIDTH), "{text}");
    }

    #[test]
    fn requests_are_chosen_by_prefix_last_and_slowest() {
        let (mut story, key) = story();
        assert_eq!(told(&story, Which::Slowest).request.id, key.to_string());
        let last = story.answered(2100, 1, "GetBlockHeaders", 3);
        assert_eq!(told(&story, Which::Last).request.id, last.to_string());
        let model = story.model();
        let said = |id: &str| {
            let chosen = choose(&model, &Which::Id(id.to_owned()), &Filter::default());
            chosen.map(|life| life.key).map_err(|error| error.to_string())
        };
        assert_eq!(said("7.1"), Err("no request 7.1".to_owned()));
        assert!(said("1.").is_err_and(|error| error.starts_with("3 requests begin with 1.: 1.")));
        let id = last.to_string();
        assert_eq!(said(&id), Ok(last));
    }

    #[test]
    fn a_circle_of_causes_ends() {
        let (mut story, key) = story();
        story.change(key, |r| r.cause = Some(EventId::new(1, r.id.number() + 1)));
        let found = told(&story, Which::Id(key.to_string()));
        assert!(found.chain.len() < 20 && found.chain.iter().all(|link| link.depth <= 64));
    }
}
