//! The actors of a trace: mailboxes, waits, handlers.

use serde::Serialize;

use super::filter::{Filter, Subject};
use super::histogram::Quantiles;
use super::model::Model;
use super::show::{self, Table, duration};
use crate::trace::record::Name;

/// How one type of actor handled one type of message, item or timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Handled {
    /// The type of the actor.
    pub actor: Name,
    /// The type of the message.
    pub message: Name,
    /// How long it waited in the mailbox.
    pub wait: Quantiles,
    /// How long its handler ran.
    pub run: Quantiles,
    /// How often its caller had gone.
    pub abandoned: u64,
    /// How often it found the mailbox full or the actor stopped.
    pub refused: u64,
    /// How often it was in the mailbox when the actor ended.
    pub dropped: u64,
}

/// An actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Its number.
    pub actor: u32,
    /// Its type.
    pub name: Option<Name>,
    /// Its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn: Option<u32>,
    /// `idle`, `busy`, `stopped` or `panicked`.
    pub state: &'static str,
    /// What it is handling, or panicked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handling: Option<Name>,
    /// For how long it has been handling that.
    pub busy_ns: u64,
    /// Messages in its mailbox at the end.
    pub depth: u64,
    /// The most there were.
    pub depth_max: u64,
    /// How long the oldest one has been there.
    pub oldest_ns: u64,
}

/// What the actors did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actors {
    /// By type of actor and message, the one that took the most time first.
    pub handled: Vec<Handled>,
    /// The actors, the one with the deepest mailbox first.
    pub actors: Vec<Actor>,
}

/// What the actors did; `kind`, `id`, `conn`, `state` and `wait` (busy for so long) of the filter
/// choose among them.
pub fn actors(model: &Model, filter: &Filter) -> Actors {
    let mut handled: Vec<(u128, Handled)> = model
        .works
        .iter()
        .filter(|((actor, message), work)| {
            let subject =
                |kind| Subject { kind: Some(kind), wait: Some(work.run.max_ns()), ..Subject::default() };
            filter.matches(&subject(actor)) || filter.matches(&subject(message))
        })
        .map(|((actor, message), work)| {
            let handled = Handled {
                actor: actor.clone(),
                message: message.clone(),
                wait: work.wait.quantiles(),
                run: work.run.quantiles(),
                abandoned: work.abandoned,
                refused: work.refused,
                dropped: work.dropped,
            };
            (work.run.sum_ns(), handled)
        })
        .collect();
    handled.sort_by(|(a, _), (b, _)| b.cmp(a));
    let mut actors: Vec<Actor> =
        model.actors.keys().filter_map(|number| one(model, *number, filter)).collect();
    actors
        .sort_by_key(|actor| (std::cmp::Reverse((actor.depth, actor.busy_ns, actor.depth_max)), actor.actor));
    let waits = oldest(model);
    for actor in &mut actors {
        actor.oldest_ns = waits.get(&actor.actor).map_or(0, |since| model.span.1.saturating_sub(*since));
    }
    Actors { handled: handled.into_iter().map(|(_, handled)| handled).collect(), actors }
}

fn oldest(model: &Model) -> std::collections::HashMap<u32, u64> {
    let mut oldest = std::collections::HashMap::new();
    for waiting in model.waiting.values() {
        let since = oldest.entry(waiting.to).or_insert(waiting.since);
        *since = waiting.since.min(*since);
    }
    oldest
}

fn one(model: &Model, number: u32, filter: &Filter) -> Option<Actor> {
    let info = model.actors.get(&number)?;
    let busy = info.busy.as_ref();
    let state = match (&info.panicked, info.life.1, busy) {
        (Some(_), ..) => "panicked",
        (None, Some(_), _) => "stopped",
        (None, None, Some(_)) => "busy",
        (None, None, None) => "idle",
    };
    let busy_ns = busy.map_or(0, |(since, ..)| model.span.1.saturating_sub(*since));
    let id = number.to_string();
    let subject = Subject {
        peer: model.peer(info.conn).map(|peer| &**peer),
        kind: info.name.as_deref(),
        id: Some(&id),
        state: Some(state),
        wait: Some(busy_ns),
        conn: (info.conn != 0).then_some(info.conn),
        ..Subject::default()
    };
    if !filter.matches(&subject) {
        return None;
    }
    let load = model.loads.get(&number).copied().unwrap_or_default();
    let stopped = info.life.1.is_some();
    Some(Actor {
        actor: number,
        name: info.name.clone(),
        conn: subject.conn,
        state,
        handling: info.panicked.clone().or_else(|| busy.map(|(_, name, _)| name.clone())),
        busy_ns,
        depth: if stopped { 0 } else { load.depth.max(0).unsigned_abs() },
        depth_max: load.depth_max.max(0).unsigned_abs(),
        oldest_ns: 0,
    })
}

/// Two tables for people; of the second one so many rows.
pub fn text(found: &Actors, rows_max: usize) -> String {
    let mut table = Table::new(&[
        "actor",
        "message",
        ">count",
        ">wait p50",
        ">p99",
        ">max",
        ">run p50",
        ">p99",
        ">max",
        ">gone",
    ]);
    for handled in &found.handled {
        let waits = handled.wait.count > 0;
        let wait = |ns| if waits { duration(ns) } else { "-".to_owned() };
        table.row(vec![
            show::cut(&show::escape(&handled.actor), 16),
            show::cut(&show::escape(&handled.message), 14),
            handled.wait.count.max(handled.run.count).to_string(),
            wait(handled.wait.p50_ns),
            wait(handled.wait.p99_ns),
            wait(handled.wait.max_ns),
            duration(handled.run.p50_ns),
            duration(handled.run.p99_ns),
            duration(handled.run.max_ns),
            (handled.abandoned + handled.refused + handled.dropped).to_string(),
        ]);
    }
    let mut out = table.text();
    let mut table =
        Table::new(&[">actor", "type", ">conn", ">mailbox", ">most", ">oldest", "state", ">for", "handling"]);
    for actor in found.actors.iter().take(rows_max) {
        let some = |ns| if ns > 0 { duration(ns) } else { "-".to_owned() };
        table.row(vec![
            actor.actor.to_string(),
            show::cut(&show::escape(actor.name.as_deref().unwrap_or("?")), 24),
            actor.conn.map_or_else(|| "-".to_owned(), |conn| conn.to_string()),
            actor.depth.to_string(),
            actor.depth_max.to_string(),
            some(actor.oldest_ns),
            actor.state.to_owned(),
            some(actor.busy_ns),
            show::escape(actor.handling.as_deref().unwrap_or("-")),
        ]);
    }
    out.push('\n');
    out += &table.text();
    if found.actors.len() > rows_max {
        out += &format!("… {} more\n", found.actors.len() - rows_max);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::kind::Kind;
    use crate::trace::tools::fixtures::{MS, Story, name_of};

    #[test]
    fn mailboxes_waits_and_handlers_are_measured() {
        let mut story = Story::new();
        let actor = story.session(0, 1);
        for n in 1..=10 {
            story.message(actor, "Ask", n * 100, n * 100 + n, Some(n * 100 + 2 * n));
        }
        story.message(actor, "Tick", 2000, 2000, None);
        for n in 0..3 {
            story.event(2100 + n, Kind::MsgEnqueued, |r| (r.x, r.name) = (u64::from(actor), name_of("Ask")));
        }
        story.event(2500, Kind::MsgRefused, |r| {
            (r.x, r.name, r.how) = (u64::from(actor), name_of("Ask"), name_of("full"));
        });
        let found = actors(&story.model(), &Filter::default());
        let ask = found.handled.iter().find(|handled| &*handled.message == "Ask").expect("Ask was handled");
        assert_eq!((&*ask.actor, ask.run.count, ask.refused), ("PeerSession", 10, 1));
        assert_eq!((ask.wait.max_ns, ask.run.max_ns), (10 * MS, 10 * MS));
        assert!((5 * MS..6 * MS).contains(&ask.wait.p50_ns));
        let busy = &found.actors[0];
        assert_eq!((busy.actor, busy.state, busy.depth, busy.depth_max), (actor, "busy", 3, 3));
        assert_eq!((busy.busy_ns, busy.oldest_ns), (500 * MS, 400 * MS));
        assert_eq!(busy.handling.as_deref(), Some("Tick"));
        let text = text(&found, 40);
        assert!(text.lines().all(|line| line.chars().count() <= show::WIDTH), "{text}");
        let filter = "state=busy conn=1 wait>100ms".parse().expect("a filter");
        assert_eq!(actors(&story.model(), &filter).actors.len(), 1);
    }

    #[test]
    fn a_start_that_stands_before_its_enqueue_leaves_nothing_behind() {
        let mut story = Story::new();
        let actor = story.session(0, 1);
        story.message(actor, "Ask", 100, 101, Some(102));
        let mut lines = story.sorted();
        let put = lines.iter().position(
            |line| matches!(line, crate::trace::Line::Event(record) if record.kind == Kind::MsgEnqueued),
        );
        let put = put.expect("one message");
        lines.swap(put, put + 1);
        let mut model = Model::default();
        lines.iter().for_each(|line| model.on(line));
        assert!(model.waiting.is_empty());
        assert_eq!(model.loads[&actor].depth, 0);
    }
}
