//! What is printed: lines on the way, a table and a block's way at the end.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use execution_client::failure::Failure;
use serde_json::{Value, json};

use crate::checked::Held;
use crate::child::Role;
use crate::seen::Seen;
use crate::traces::Merged;

/// So many characters of a hash are shown in the table.
const HASH_SHOWN: usize = 14;

/// Prints a line. Whoever reads no results still has the exit code.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// An event for people, if it is for them.
pub(crate) fn told(role: Role, kind: &str, event: &Value) -> Option<String> {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-");
    let number = |name: &str| event.get(name).and_then(Value::as_u64).unwrap_or(0);
    let name = role.name();
    Some(match kind {
        "listening" => format!("{name:8}  listens for {}", text("wire")),
        "peer-up" if text("direction") == "outbound" => {
            format!("{name:8}  is connected over {}", text("wire"))
        }
        "submitted" => format!("{name:8}  has taken {} transfers from the command line", number("accepted")),
        "produced" => {
            format!("{name:8}  made block {} with {} transactions", number("number"), number("transactions"))
        }
        "head" if role == Role::Follower => format!("{name:8}  has executed block {}", number("number")),
        "reorg" => format!("{name:8}  left its branch at block {}", number("common")),
        "bad-block" => format!("{name:8}  found block {} bad: {}", number("number"), text("why")),
        "error" => format!("{name:8}  says: {}", text("error")),
        _ => return None,
    })
}

/// One node's part.
pub(crate) struct Side {
    pub(crate) role: Role,
    pub(crate) held: Held,
    pub(crate) seen: Seen,
}

/// What it came to.
pub(crate) struct Report {
    pub(crate) sides: Vec<Side>,
    pub(crate) differs: Option<String>,
    pub(crate) submitted: u64,
    pub(crate) merged: Merged,
    pub(crate) is_kept: bool,
}

impl Side {
    fn of_end(&self, group: Option<&str>, name: &str) -> u64 {
        let end = self.seen.end.as_ref();
        let from = end.and_then(|end| group.map_or(Some(end), |group| end.get(group)));
        from.and_then(|from| from.get(name)).and_then(Value::as_u64).unwrap_or(0)
    }

    fn transactions(&self, name: &str) -> String {
        self.of_end(Some("transactions"), name).to_string()
    }

    fn requests(&self) -> String {
        let requests = self.seen.end.as_ref().and_then(|end| end.get("requests")?.as_object());
        let some = requests.into_iter().flatten().filter_map(|(name, count)| Some((name, count.as_u64()?)));
        let some = some.filter(|(name, count)| *count > 0 || *name == "ok");
        some.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }

    fn fetched(&self) -> String {
        let of = |name| self.of_end(Some("fetched"), name);
        format!("{} / {} / {}", of("headers"), of("bodies"), of("receipts"))
    }

    fn json(&self) -> Value {
        let end = self.seen.end.clone().unwrap_or_default();
        json!({
            "wires": self.role.wires(), "number": self.held.head.number, "hash": self.held.head.hash,
            "root": self.held.root, "blocks": self.held.blocks.len(), "in_blocks": self.held.transactions,
            "ours_in_blocks": self.held.ours, "accepted": self.seen.accepted,
            "requests": end.get("requests"), "orphans": end.get("orphans"), "fetched": end.get("fetched"),
            "transactions": end.get("transactions"), "bytes_in": end.get("bytes_in"),
            "bytes_out": end.get("bytes_out"),
        })
    }
}

impl Report {
    pub(crate) fn print(&self, json: bool) {
        if json { line(&self.json().to_string()) } else { line(&self.to_string()) }
    }

    /// Good only if all agree and nothing was left lying.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        if let Some(why) = &self.differs {
            return Err(Failure::failed(why));
        }
        let mined = self.mined();
        if mined < self.submitted {
            let submitted = self.submitted;
            return Err(Failure::failed(format!("only {mined} of {submitted} transfers are in blocks")));
        }
        Ok(())
    }

    /// Transfers that every node has in a block.
    fn mined(&self) -> u64 {
        self.sides.iter().map(|side| side.held.ours as u64).min().unwrap_or(0)
    }

    fn json(&self) -> Value {
        let nodes = self.sides.iter().map(|side| (side.role.name().to_owned(), side.json()));
        let Merged { path, events, links, pairs, hops } = &self.merged;
        let hops: Vec<Value> = hops
            .iter()
            .map(|hop| json!({ "node": hop.role.name(), "ms": millis(hop.after), "what": hop.what }))
            .collect();
        json!({
            "event": "result", "agree": self.differs.is_none(), "differs": self.differs,
            "submitted": self.submitted, "mined": self.mined(),
            "nodes": Value::Object(nodes.collect()),
            "trace": {
                "merged": self.is_kept.then(|| path.display().to_string()), "events": events,
                "connections": links, "requests": pairs, "way": hops,
            },
        })
    }
}

/// The table, and what follows from it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, value: &dyn Fn(&Side) -> String| {
            let mut row = vec![name.to_owned()];
            row.extend(self.sides.iter().map(value));
            row
        };
        let rows = [
            row("", &|side| side.role.name().to_owned()),
            row("wires", &|side| side.role.wires().to_owned()),
            row("head", &|side| format!("#{} {}", side.held.head.number, short(&side.held.head.hash))),
            row("state root", &|side| short(&side.held.root)),
            row("blocks executed", &|side| side.held.blocks.len().to_string()),
            row("transactions in blocks", &|side| side.held.transactions.to_string()),
            row("  submitted here", &|side| side.seen.accepted.to_string()),
            row("  heard of from peers", &|side| side.transactions("heard")),
            row("  taken from peers", &|side| side.transactions("added")),
            row("  announced to peers", &|side| side.transactions("announced")),
            row("  sent whole to peers", &|side| side.transactions("sent")),
            row("fetched headers/bodies/receipts", &Side::fetched),
            row("requests", &Side::requests),
            row("bytes received", &|side| side.of_end(None, "bytes_in").to_string()),
            row("bytes sent", &|side| side.of_end(None, "bytes_out").to_string()),
        ];
        let columns = rows.iter().map(Vec::len).min().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
            .collect();
        writeln!(f)?;
        for (index, row) in rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "{cell:width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
            if index == 0 {
                let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "{}", rules.join("  "))?;
            }
        }
        let verdict = match &self.differs {
            None => "all three heads, state roots and blocks agree".to_owned(),
            Some(why) => format!("DIFFERENT: {why}"),
        };
        writeln!(
            f,
            "\n{} transfers submitted at the follower, {} in blocks; {verdict}",
            self.submitted,
            self.mined()
        )?;
        self.way(f)
    }
}

impl Report {
    fn way(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Merged { path, events, links, pairs, hops } = &self.merged;
        if hops.is_empty() {
            writeln!(f, "\nno block was announced to the follower after it was connected")?;
        } else {
            writeln!(
                f,
                "\nthe way of the largest block that was announced, from the three traces on one clock:"
            )?;
        }
        for hop in hops {
            writeln!(f, "  {:>8.3} ms  {:8}  {}", millis(hop.after), hop.role.name(), hop.what)?;
        }
        write!(
            f,
            "\nmerged trace: {events} events, {links} connections and {pairs} requests seen from both ends; "
        )?;
        match self.is_kept {
            true => write!(f, "{}", path.display()),
            false => write!(f, "--trace DIR keeps it"),
        }
    }
}

fn short(hash: &alloy_primitives::B256) -> String {
    hash.to_string().chars().take(HASH_SHOWN).collect()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
