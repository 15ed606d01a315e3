//! What the page draws from, as compact JSON: bounded, with every word written once.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::lifeline::{Cause, Lifeline, Lifelines, axis};
use super::perfetto::breaks;
use super::text;
use crate::ids::Direction;
use crate::trace::record::EventId;
use crate::trace::tools::picture::Picture;

/// At most so many requests are written: those that failed, then the slowest.
pub(super) const REQUESTS_MAX: usize = 20_000;
/// At most so many marks of what broke something.
const MARKS_MAX: usize = 2_000;
/// At most so many pieces of actors' work: the longest.
const SLICES_MAX: usize = 5_000;
/// Connections and actors per node; what is beyond has a number and no name.
const NAMED_MAX: usize = 5_000;
/// The largest number a browser counts to exactly.
const EXACT_MAX: i64 = 1 << 53;

/// Writes the picture's data. `most` bounds the requests.
pub(super) fn write(picture: &Picture, most: usize, out: &mut dyn Write) -> io::Result<()> {
    let starts = picture.nodes.iter().filter(|node| node.model.events > 0);
    let origin = starts.map(|node| axis(node, node.model.span.0)).min().unwrap_or(0);
    let lines = Lifelines::of(picture);
    let mut page = Page { picture, lines: &lines, origin, words: Words::default(), out };
    page.out.write_all(b"{\"v\":1,\"causes\":")?;
    page.names(Cause::ALL.iter().map(|cause| cause.name()))?;
    page.out.write_all(b",\"nodes\":[")?;
    page.each(0..picture.nodes.len(), Page::node)?;
    page.out.write_all(b"],\"rows\":[")?;
    page.rows(most)?;
    page.out.write_all(b",\"marks\":[")?;
    page.marks()?;
    page.out.write_all(b",\"slices\":[")?;
    page.slices()?;
    page.out.write_all(b",\"words\":")?;
    let words = std::mem::take(&mut page.words.list);
    page.names(words.iter().map(String::as_str))?;
    page.out.write_all(b"}")
}

/// Words by their number.
#[derive(Default)]
struct Words {
    list: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Words {
    fn number(&mut self, word: &str) -> usize {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        self.list.push(word.to_owned());
        self.numbers.insert(word.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }

    /// A word that may be absent: then -1.
    fn maybe(&mut self, word: Option<&str>) -> i64 {
        word.map_or(-1, |word| self.number(word) as i64)
    }
}

struct Page<'a> {
    picture: &'a Picture,
    lines: &'a Lifelines<'a>,
    origin: i64,
    words: Words,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn names<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> io::Result<()> {
        self.out.write_all(b"[")?;
        self.each(names, |page, name| text::json(page.out, name))?;
        self.out.write_all(b"]")
    }

    /// Writes each item, with commas between.
    fn each<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        for (nth, item) in items.enumerate() {
            if nth > 0 {
                self.out.write_all(b",")?;
            }
            write(self, item)?;
        }
        Ok(())
    }

    fn node(&mut self, nth: usize) -> io::Result<()> {
        let node = &self.picture.nodes[nth];
        let model = &node.model;
        let name = model.header.as_ref().map_or("?", |header| &header.node);
        self.out.write_all(b"{\"name\":")?;
        text::json(self.out, name)?;
        let span = [axis(node, model.span.0), axis(node, model.span.1)].map(|at| self.time(at));
        let (events, lost, skipped, offset) = (model.events, model.lost, model.skipped, node.offset_ns);
        write!(self.out, ",\"events\":{events},\"lost\":{lost},\"skipped\":{skipped},\"offset\":{offset}")?;
        let (cut, beyond) = (model.cut, model.beyond.lives);
        write!(self.out, ",\"cut\":{cut},\"beyond\":{beyond}")?;
        write!(self.out, ",\"closed\":{},\"span\":[{},{}]", model.closed.is_some(), span[0], span[1])?;
        self.out.write_all(b",\"conns\":[")?;
        self.each(model.conns.values().take(NAMED_MAX), |page, conn| {
            let dir = conn.dir.map_or(-1, way);
            let words = [conn.peer.as_deref(), conn.addr.as_deref()].map(|word| page.words.maybe(word));
            let ended = conn.ended.as_ref().map(|(at, how, why)| (page.time(axis(node, *at)), how, why));
            write!(page.out, "[{},{dir},{},{}", conn.number, words[0], words[1])?;
            write!(page.out, ",{},{}", exact(conn.bytes_in), exact(conn.bytes_out))?;
            if let Some((at, how, why)) = ended {
                let (how, why) = (page.words.number(how), page.words.number(why));
                write!(page.out, ",{at},{how},{why}")?;
            }
            page.out.write_all(b"]")
        })?;
        self.out.write_all(b"],\"actors\":[")?;
        self.each(model.actors.values().take(NAMED_MAX), |page, actor| {
            let name = page.words.maybe(actor.name.as_deref());
            write!(page.out, "[{},{name},{}]", actor.number, actor.conn)
        })?;
        self.out.write_all(b"]}")
    }

    fn rows(&mut self, most: usize) -> io::Result<()> {
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        let mut ranks: Vec<(bool, u64, usize, EventId)> = Vec::new();
        for line in self.lines.iter() {
            *outcomes.entry(line.state().to_owned()).or_default() += 1;
            ranks.push((line.state() != "ok", line.ns(), line.node, line.life.key));
        }
        let all = ranks.len();
        if all > most {
            ranks.select_nth_unstable_by(most, |a, b| (b.0, b.1).cmp(&(a.0, a.1)));
            ranks.truncate(most);
        }
        let mut chosen: Vec<_> = ranks.into_iter().map(|(_, _, node, key)| (node, key)).collect();
        chosen.sort_unstable();
        self.each(chosen.into_iter(), |page, (node, key)| {
            let life = &page.picture.nodes[node].model.lives[&key];
            page.row(&page.lines.cut(node, life))
        })?;
        write!(self.out, "],\"total\":{all},\"outcomes\":{{")?;
        self.each(outcomes.into_iter(), |page, (how, count)| {
            text::json(page.out, &how)?;
            write!(page.out, ":{count}")
        })?;
        self.out.write_all(b"}")
    }

    /// One request: `[node, key, dir, kind, proto, conn, wire, state, from, to, asked bytes, answered
    /// bytes, uncertain, served, note, points, waits]`; times within it count from its beginning.
    fn row(&mut self, line: &Lifeline<'_>) -> io::Result<()> {
        let life = line.life;
        let (kind, proto) = (self.words.maybe(life.name.as_deref()), self.words.maybe(life.proto.as_deref()));
        let state = self.words.number(line.state());
        write!(self.out, "[{},\"{}\",{},{kind},{proto},{}", line.node, life.key, way(life.dir), life.conn)?;
        match life.wire {
            Some(wire) => write!(self.out, ",\"{wire}\"")?,
            None => self.out.write_all(b",null")?,
        }
        write!(self.out, ",{state},{},{}", self.time(line.from), self.time(line.to))?;
        write!(self.out, ",{},{},{}", exact(life.bytes.0), exact(life.bytes.1), u8::from(life.uncertain))?;
        match line.served {
            Some((node, life)) => write!(self.out, ",[{node},\"{}\",{}]", life.key, life.conn)?,
            None => self.out.write_all(b",null")?,
        }
        let note = self.lines.note(line);
        write!(self.out, ",{},[", self.words.maybe(note.as_deref()))?;
        self.each(line.points.iter(), |page, point| {
            let step = point.step.map_or(8, |step| step as u8);
            let after = exact_signed(point.at.saturating_sub(line.from));
            write!(page.out, "{step},{},{after},\"{}\",{}", point.node, point.mark.id, point.mark.actor)?;
            match point.mark.cause {
                Some(cause) => write!(page.out, ",\"{cause}\""),
                None => page.out.write_all(b",0"),
            }
        })?;
        self.out.write_all(b"],[")?;
        self.each(line.waits.iter(), |page, wait| {
            let span = [wait.from, wait.to].map(|at| exact_signed(at.saturating_sub(line.from)));
            let cause = Cause::ALL.iter().position(|cause| *cause == wait.cause).unwrap_or(0);
            write!(page.out, "{},{},{cause},{},{}", span[0], span[1], wait.node, wait.place as u8)
        })?;
        self.out.write_all(b"]]")
    }

    /// What ended or broke something: `[node, at, kind, actor, connection, words]`.
    fn marks(&mut self) -> io::Result<()> {
        let nodes = self.picture.nodes.iter().enumerate();
        let events = nodes.flat_map(|(nth, node)| node.records.iter().map(move |record| (nth, node, record)));
        let mut events = events.filter(|(_, _, record)| breaks(record.kind));
        self.each(events.by_ref().take(MARKS_MAX), |page, (nth, node, record)| {
            let at = page.time(axis(node, record.at));
            let kind = page.words.number(record.kind.name());
            let words = [&record.name, &record.how, &record.text].map(|word| word.as_deref().unwrap_or(""));
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let words = page.words.number(&words.join(": "));
            write!(page.out, "[{nth},{at},{kind},{},{},{words}]", record.actor, record.conn)
        })?;
        write!(self.out, "],\"marks_left_out\":{}", events.count())
    }

    /// What actors did: `[node, actor, from, ns, kind, name]`, the longest.
    fn slices(&mut self) -> io::Result<()> {
        let mut all = Vec::new();
        for nth in 0..self.picture.nodes.len() {
            let slices = self.lines.ground(nth).slices.iter();
            all.extend(
                slices.flat_map(|(actor, slices)| slices.iter().map(move |slice| (nth, *actor, slice))),
            );
        }
        let left_out = all.len().saturating_sub(SLICES_MAX);
        if left_out > 0 {
            all.select_nth_unstable_by(SLICES_MAX, |a, b| b.2.ns.cmp(&a.2.ns));
            all.truncate(SLICES_MAX);
        }
        all.sort_by_key(|(nth, actor, slice)| (*nth, *actor, slice.from, slice.id));
        self.each(all.into_iter(), |page, (nth, actor, slice)| {
            let from = page.time(axis(&page.picture.nodes[nth], slice.from));
            let (kind, name) =
                (page.words.number(slice.kind.name()), page.words.maybe(slice.name.as_deref()));
            write!(page.out, "[{nth},{actor},{from},{},{kind},{name}]", exact(slice.ns))
        })?;
        write!(self.out, "],\"slices_left_out\":{left_out}")
    }

    /// A time of the axis as the page counts: from the first event on.
    fn time(&self, at: i64) -> i64 {
        exact_signed(at.saturating_sub(self.origin))
    }
}

fn way(dir: Direction) -> i64 {
    i64::from(dir == Direction::Inbound)
}

fn exact(number: u64) -> u64 {
    number.min(EXACT_MAX as u64)
}

fn exact_signed(number: i64) -> i64 {
    number.clamp(-EXACT_MAX, EXACT_MAX)
}
