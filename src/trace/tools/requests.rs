//! The requests of a trace, oldest first.

use serde::Serialize;

use super::filter::{Filter, Subject};
use super::model::{Life, Model};
use super::show::{self, Table};
use crate::ids::Direction;
use crate::trace::record::Name;

/// A request in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its id, for `follow`.
    pub id: String,
    /// When it began, in nanoseconds since the trace began.
    pub at_ns: u64,
    /// How long it took, or has taken.
    pub took_ns: u64,
    /// `open`, or how it ended.
    pub state: String,
    /// `out`: ours; `in`: the peer's.
    pub dir: &'static str,
    /// The exchange.
    pub proto: Option<Name>,
    /// Its kind.
    pub kind: Option<Name>,
    /// The last step it reached.
    pub step: Option<&'static str>,
    /// The step that was followed by the longest wait.
    pub slowest_step: Option<&'static str>,
    /// That wait.
    pub slowest_ns: u64,
    /// The connection.
    pub conn: u32,
    /// The peer.
    pub peer: Option<Name>,
    /// Its id on the wire.
    pub wire: Option<u64>,
    /// Bytes of the question.
    pub bytes_out: u64,
    /// Bytes of the answer.
    pub bytes_in: u64,
    /// Events around it were lost.
    pub uncertain: bool,
}

/// What filters ask about a request.
pub fn matches(model: &Model, life: &Life, filter: &Filter) -> bool {
    if filter.is_empty() {
        return true;
    }
    let id = life.key.to_string();
    filter.matches(&Subject {
        peer: model.peer(life.conn).map(|peer| &**peer),
        proto: life.proto.as_deref(),
        kind: life.name.as_deref(),
        id: Some(&id),
        dir: Some(dir(life.dir)),
        state: Some(life.state()),
        wait: Some(life.took(model.span.1)),
        conn: (life.conn != 0).then_some(life.conn),
    })
}

/// `out` or `in`.
pub fn dir(dir: Direction) -> &'static str {
    if dir == Direction::Outbound { "out" } else { "in" }
}

/// The requests that a filter lets through, oldest first.
pub fn list<'a>(model: &'a Model, filter: &Filter) -> Vec<&'a Life> {
    let mut lives: Vec<&Life> = model.lives.values().filter(|life| matches(model, life, filter)).collect();
    lives.sort_by_key(|life| (life.began(), life.key));
    lives
}

/// One request as a line.
pub fn row(model: &Model, life: &Life) -> Request {
    let path = life.path();
    let end = life.end.as_ref().map_or(model.span.1, |end| end.mark.at);
    let ends = path.iter().skip(1).map(|(_, mark)| mark.at).chain([end]);
    let hops = path.iter().zip(ends).map(|((step, mark), until)| (*step, until.saturating_sub(mark.at)));
    let slowest = hops.max_by_key(|(_, took)| *took);
    Request {
        id: life.key.to_string(),
        at_ns: life.began().unwrap_or(end),
        took_ns: life.took(model.span.1),
        state: life.state().to_owned(),
        dir: dir(life.dir),
        proto: life.proto.clone(),
        kind: life.name.clone(),
        step: path.last().map(|(step, _)| step.name()),
        slowest_step: slowest.map(|(step, _)| step.name()),
        slowest_ns: slowest.map_or(0, |(_, took)| took),
        conn: life.conn,
        peer: model.peer(life.conn).cloned(),
        wire: life.wire,
        bytes_out: life.bytes.0,
        bytes_in: life.bytes.1,
        uncertain: life.uncertain,
    }
}

/// A table for people.
pub fn text(rows: &[Request]) -> String {
    let headings = ["id", ">at s", "dir", "request", ">took", "state", ">longest wait", "after", "peer"];
    let mut table = Table::new(&headings);
    for row in rows {
        table.row(vec![
            row.id.clone(),
            show::seconds(row.at_ns),
            row.dir.to_owned(),
            show::cut(&show::escape(row.kind.as_deref().unwrap_or("-")), 16),
            show::duration(row.took_ns),
            show::cut(&show::escape(&row.state), 12),
            show::duration(row.slowest_ns),
            row.slowest_step.unwrap_or("-").to_owned(),
            show::peer_or_dash(row.peer.as_ref()),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::kind::Kind;
    use crate::trace::tools::fixtures::{MS, Story};

    #[test]
    fn the_oldest_comes_first_and_the_longest_wait_is_named() {
        let mut story = Story::new();
        story.session(0, 1);
        let second = story.answered(500, 1, "GetBlockHeaders", 2);
        let first = story.ask(10, 1, "GetBlockBodies");
        story.steps(first, 1, &[(11, Kind::ReqQueued), (12, Kind::ReqEncoded), (15, Kind::ReqWritten)]);
        let model = story.model();
        let rows: Vec<_> = list(&model, &Filter::default()).iter().map(|life| row(&model, life)).collect();
        assert_eq!(
            rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(),
            [first.to_string(), second.to_string()]
        );
        assert_eq!(
            (rows[0].state.as_str(), rows[0].step, rows[0].took_ns),
            ("open", Some("written"), 492 * MS)
        );
        assert_eq!((rows[0].slowest_step, rows[0].slowest_ns), (Some("written"), 487 * MS));
        assert_eq!((rows[1].state.as_str(), rows[1].took_ns), ("ok", 2 * MS));
        let slow = "state=open wait>100ms peer=16Uiu2 conn=1 dir=out".parse().expect("a filter");
        assert_eq!(list(&model, &slow).len(), 1);
        assert_eq!(list(&model, &format!("id={second}").parse().expect("a filter")).len(), 1);
        let text = text(&rows);
        assert!(text.contains("487 ms  written") && text.contains("16Uiu2…ABCDEF"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= show::WIDTH), "{text}");
    }

    #[test]
    fn words_of_a_peer_cannot_reach_the_terminal() {
        let mut story = Story::new();
        story.ask(10, 1, "\u{1b}[2Jx");
        let model = story.model();
        let rows: Vec<_> = list(&model, &Filter::default()).iter().map(|life| row(&model, life)).collect();
        assert!(!text(&rows).contains('\u{1b}') && !show::json(&rows).contains('\u{1b}'));
    }
}
