//! The two sides of one request put together.

use super::{Cause, Lifeline, Place, Point, Wait, after};
use crate::trace::tools::model::Step;

/// The requester's waits, with the one for the peer replaced by what the peer did meanwhile. Clocks
/// are only estimated: what they would put before its cause is drawn together to nothing.
pub(super) fn weave(asked: &Lifeline<'_>, served: &Lifeline<'_>) -> Vec<Wait> {
    let mut waits = Vec::with_capacity(asked.waits.len() + served.waits.len() + 1);
    let mut rest = asked.waits.iter().peekable();
    while let Some(wait) = rest.next() {
        if !matches!(wait.cause, Cause::Peer | Cause::Wire) {
            waits.push(*wait);
            continue;
        }
        // From the first byte of an answer to its last the peer may still have waited to send it.
        let end = rest.next_if(|next| next.cause == Cause::Wire).map_or(wait.to, |next| next.to);
        let mut until = wait.from;
        let mut push = |to: i64, cause, node, place| {
            let to = to.clamp(until, end);
            if to > until {
                waits.push(Wait { from: until, to, cause, node, place });
                until = to;
            }
        };
        push(served.from, Cause::Wire, asked.node, Place::Wire);
        for theirs in &served.waits {
            push(theirs.to, theirs.cause, theirs.node, theirs.place);
        }
        // Its file may end before the requester's does: what it had begun with goes on.
        let last = served.points.iter().rev().find_map(|point| point.step);
        if let Some(step) = last.filter(|step| served.life.end.is_none() && *step != Step::Written) {
            let (cause, place) = after(step, served.life.dir);
            push(end, cause, served.node, place);
        }
        push(end, Cause::Wire, served.node, Place::Wire);
    }
    waits
}

/// Puts the server's points among the requester's: behind the question and, as clocks are only
/// estimated, not behind the answer that they led to.
pub(super) fn entwine(points: &mut Vec<Point>, mut theirs: Vec<Point>) {
    let at = |step: Step| points.iter().find(|point| point.step == Some(step)).map(|point| point.at);
    let from = at(Step::Written).or(at(Step::Encoded)).unwrap_or(i64::MIN);
    let whole = at(Step::Received).unwrap_or(i64::MAX).max(from);
    let first = at(Step::FirstByte).unwrap_or(whole).clamp(from, whole);
    for point in &mut theirs {
        let to = if matches!(point.step, Some(Step::Written) | None) { whole } else { first };
        point.at = point.at.clamp(from, to);
    }
    let back = points.iter().position(|point| point.step >= Some(Step::FirstByte) || point.step.is_none());
    let back = back.unwrap_or(points.len());
    points.splice(back..back, theirs);
    points[..].sort_by_key(|point| point.at);
}
