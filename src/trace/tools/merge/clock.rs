//! How far two clocks are apart, from requests that both nodes have seen.

use std::collections::VecDeque;

use serde::Serialize;

use crate::trace::tools::model::Step;
use crate::trace::tools::picture::{Pair, Picture};
use crate::trace::tools::show::duration;

/// The samples with the least delay: so many of them decide, by their median.
const BEST: usize = 8;

/// The clock of one node beside that of the first one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Offset {
    /// The index of the node.
    pub node: usize,
    /// Nanoseconds to add to its times to get those of the first node.
    pub offset_ns: i64,
    /// The time on the wire, both ways, of the best sample: the offset is no further off than that.
    pub delay_ns: Option<u64>,
    /// Requests that were compared. Without any the times of day of the headers are believed.
    pub samples: usize,
}

impl Offset {
    pub(super) fn words(&self) -> String {
        let sign = if self.offset_ns < 0 { "-" } else { "+" };
        let offset = format!("{sign}{}", duration(self.offset_ns.unsigned_abs()));
        match self.delay_ns {
            Some(delay) => format!(
                "clock of file {}: {offset}, give or take {} (from {} requests)",
                self.node + 1,
                duration(delay),
                self.samples
            ),
            None => format!("clock of file {}: {offset} by the times of day in the headers", self.node + 1),
        }
    }
}

/// For each node the offset to the first one, by way of other nodes where they share no requests.
pub(super) fn offsets(picture: &Picture) -> Vec<Offset> {
    let count = picture.nodes.len();
    let mut known: Vec<Option<Offset>> = vec![None; count];
    if count == 0 {
        return Vec::new();
    }
    known[0] = Some(Offset::default());
    let mut next = VecDeque::from([0]);
    while let Some(from) = next.pop_front() {
        let base = known[from].as_ref().map_or(0, |offset| offset.offset_ns);
        let unknown: Vec<usize> = (0..count).filter(|to| known[*to].is_none()).collect();
        for to in unknown {
            let samples = samples(picture, from, to);
            if let Some((ahead, delay)) = best(&samples) {
                let offset_ns = base.saturating_sub(ahead);
                let samples = samples.len();
                known[to] = Some(Offset { node: to, offset_ns, delay_ns: Some(delay), samples });
                next.push_back(to);
            }
        }
    }
    let began = |node: usize| picture.nodes[node].model.header.as_ref().map_or(0, |header| header.unix_ns);
    let by_headers = |node: usize| {
        let (first, this) = (i128::from(began(0)), i128::from(began(node)));
        // A simulated run has no time of day: there is one clock.
        let offset = if first == 0 || this == 0 { 0 } else { this - first };
        Offset { node, offset_ns: i64::try_from(offset).unwrap_or(0), delay_ns: None, samples: 0 }
    };
    let found = known.into_iter().enumerate();
    found.map(|(node, offset)| offset.unwrap_or_else(|| by_headers(node))).collect()
}

/// By how much the clock of `to` is ahead of that of `from`, and the time on the wire: one sample
/// for each request between them, whoever asked.
fn samples(picture: &Picture, from: usize, to: usize) -> Vec<(i64, u64)> {
    let sample = |pair: &Pair| {
        let asked = picture.nodes[pair.asked.0].model.lives.get(&pair.asked.1)?;
        let served = picture.nodes[pair.served.0].model.lives.get(&pair.served.1)?;
        let at = |mark: Option<crate::trace::tools::model::Mark>| mark.map(|mark| i128::from(mark.at));
        let (sent, back) = (at(asked.mark(Step::Written))?, at(asked.mark(Step::Received))?);
        let (came, left) = (at(served.mark(Step::Received))?, at(served.mark(Step::Written))?);
        let ahead = ((came - sent) + (left - back)) / 2;
        let delay = ((back - sent) - (left - came)).max(0);
        let ahead = if pair.asked.0 == from { ahead } else { -ahead };
        Some((i64::try_from(ahead).ok()?, u64::try_from(delay).ok()?))
    };
    let between = picture.pairs.iter().filter(|pair| {
        (pair.asked.0, pair.served.0) == (from, to) || (pair.asked.0, pair.served.0) == (to, from)
    });
    between.filter_map(sample).collect()
}

fn best(samples: &[(i64, u64)]) -> Option<(i64, u64)> {
    let mut samples = samples.to_vec();
    samples.sort_by_key(|(_, delay)| *delay);
    let delay = samples.first()?.1;
    samples.truncate(BEST);
    samples.sort();
    Some((samples[samples.len() / 2].0, delay))
}
