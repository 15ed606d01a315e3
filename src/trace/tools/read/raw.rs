//! The fields of a line before anybody has asked what they mean.

use std::borrow::Cow;

use serde::Deserialize;

/// A string that is borrowed from the line unless it holds escapes. (Inside an `Option` serde
/// borrows only what asks for it itself.)
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Every field that a line may have, whatever it is.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Raw<'a> {
    #[serde(borrow)]
    pub(super) ev: Option<Text<'a>>,
    pub(super) t: Option<u64>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) by: Option<Text<'a>>,
    pub(super) a: u32,
    pub(super) c: u32,
    #[serde(borrow)]
    pub(super) dir: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) r: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) proto: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) how: Option<Text<'a>>,
    pub(super) wire: u64,
    pub(super) to: u64,
    pub(super) bytes: u64,
    pub(super) ns: u64,
    pub(super) stream: u64,
    pub(super) n: u64,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    pub(super) v: u32,
    #[serde(borrow)]
    pub(super) node: Option<Text<'a>>,
    pub(super) unix_ns: u64,
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
    pub(super) ring: u16,
    pub(super) requests: u64,
    pub(super) events: u64,
    pub(super) orphans: u64,
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
