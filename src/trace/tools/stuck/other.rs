//! Where it stood at the other node, when both traces are there.

use super::{Cause, Finding};
use crate::trace::record::EventId;
use crate::trace::tools::model::{Model, Step, TroubleKind};
use crate::trace::tools::picture::Picture;
use crate::trace::tools::show::{self, duration};

/// Adds to the findings of a node what the other nodes of a picture know of them.
pub fn explain_by_other_side(picture: &Picture, node: usize, findings: &mut [Finding]) {
    for finding in findings {
        let from_wire = matches!(
            finding.cause,
            Cause::PeerNotAnswering
                | Cause::PeerNotReading
                | Cause::Window
                | Cause::LateAnswer
                | Cause::Disconnected
                | Cause::Caller
                | Cause::Negotiation
        );
        if !from_wire {
            continue;
        }
        let Some((other, offset)) = other_end(picture, node, finding) else { continue };
        let their = &picture.nodes[other].model;
        let mut said = Vec::new();
        let stopped = stopped_for(their, finding, offset);
        said.extend(stopped.map(|ns| format!("its process did not run for {} meanwhile", duration(ns))));
        let server = finding.keys.first().and_then(|key| at_server(picture, node, *key));
        let gap = longest_gap(their, finding, offset);
        // While a protocol thinks, a node may well have nothing to record.
        let in_protocol = |gap: &(u64, u64)| server.is_some_and(|(_, key)| was_served(their, key, *gap));
        if let Some((from, until)) = gap.filter(|gap| stopped.is_none() && !in_protocol(gap)) {
            said.push(format!(
                "it recorded nothing at all for {} meanwhile: it stood still, or nothing reached it",
                duration(until - from)
            ));
        }
        match server {
            Some((server, key)) if server == other => said.extend(where_it_stood(their, key)),
            Some(_) => {}
            None if finding.keys.is_empty() => {}
            None if their.lost > 0 || their.skipped > 0 => {
                said.push("the request is not in its trace, of which a part is missing".to_owned());
            }
            None => said.push("it has not received the request".to_owned()),
        }
        if !said.is_empty() {
            finding.other_side = Some(said.join("; "));
        }
    }
}

/// The node at the other end of a finding's connection, and what to add to our times to get its.
fn other_end(picture: &Picture, node: usize, finding: &Finding) -> Option<(usize, i64)> {
    let conn = finding.conn?;
    let link = picture.links.iter().find(|link| link.contains(&(node, conn)))?;
    let (other, _) = *link.iter().find(|end| end.0 != node)?;
    let ours = picture.nodes.get(node)?.offset_ns;
    let theirs = picture.nodes.get(other)?.offset_ns;
    Some((other, ours.saturating_sub(theirs)))
}

/// The longest span, within that of the finding, in which the other node recorded nothing.
fn longest_gap(their: &Model, finding: &Finding, offset: i64) -> Option<(u64, u64)> {
    let from = finding.from_ns.saturating_add_signed(offset);
    let until = finding.until_ns.saturating_add_signed(offset);
    let inside = their.gaps.iter().map(|(a, b)| ((*a).max(from), (*b).min(until)));
    let longest = inside.filter(|(a, b)| a < b).max_by_key(|(a, b)| b - a)?;
    (longest.1 - longest.0 > until.saturating_sub(from) / 2).then_some(longest)
}

/// How long the other node did not run at all, by its own word, if that is most of a finding.
fn stopped_for(their: &Model, finding: &Finding, offset: i64) -> Option<u64> {
    let from = finding.from_ns.saturating_add_signed(offset);
    let until = finding.until_ns.saturating_add_signed(offset);
    let stops =
        their.troubles.iter().filter(|trouble| trouble.kind == TroubleKind::Stalled && trouble.actor == 0);
    let longest = stops.max_by_key(|trouble| trouble.overlap(from, until))?;
    (longest.overlap(from, until) > until.saturating_sub(from) / 2).then(|| longest.took())
}

/// Whether a protocol had the request for all of a span.
fn was_served(their: &Model, key: EventId, (from, until): (u64, u64)) -> bool {
    let life = their.lives.get(&key);
    let at = |step| life.and_then(|life| life.mark(step)).map(|mark| mark.at);
    let given = at(Step::Delivered).is_some_and(|at| at <= from);
    given && at(Step::Encoded).is_none_or(|at| at >= until)
}

/// The life at the server's side of a request of ours, or at the requester's of one of theirs.
fn at_server(picture: &Picture, node: usize, key: EventId) -> Option<(usize, EventId)> {
    picture.pairs.iter().find_map(|pair| {
        if pair.asked == (node, key) {
            return Some(pair.served);
        }
        (pair.served == (node, key)).then_some(pair.asked)
    })
}

/// What became of a request on the other side.
fn where_it_stood(their: &Model, key: EventId) -> Option<String> {
    let life = their.lives.get(&key)?;
    let took = |from: Step, until: Step| {
        let (from, until) = (life.mark(from)?.at, life.mark(until)?.at);
        Some(duration(until.saturating_sub(from)))
    };
    let mut said = vec![format!("there it is request {key}")];
    if let Some(waited) = took(Step::Received, Step::Delivered) {
        said.push(format!("received, handed to the protocol after {waited}"));
    }
    if let Some(served) = took(Step::Delivered, Step::Encoded) {
        said.push(format!("answered by it after {served}"));
    }
    if let Some(written) = took(Step::Encoded, Step::Written) {
        said.push(format!("written after {written}"));
    }
    match &life.end {
        Some(end) => said.push(format!("ended {}", show::escape(&end.how))),
        None => {
            let step = life.path().last().map_or("nothing", |(step, _)| step.name());
            let (_, mark) = life.reached()?;
            let ago = duration(their.span.1.saturating_sub(mark.at));
            said.push(format!("it has got to {step} and stood there for {ago}"));
        }
    }
    Some(said.join(", "))
}
