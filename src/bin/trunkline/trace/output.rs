//! Results on stdout: a text for people, or an object per line.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use serde::Serialize;
use serde_json::Value;
use trunkline::trace::tools::show;

use super::files::Files;
use crate::failure::Failure;

/// Where results go.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    out: BufWriter<Stdout>,
    closed: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, out: BufWriter::new(io::stdout()), closed: false }
    }

    /// Whether objects are wanted.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Whether whoever read the results has gone.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// A heading, where there are several files.
    pub(super) fn file(&mut self, files: &Files, name: &str) -> Result<(), Failure> {
        if self.json || !files.are_several() {
            return Ok(());
        }
        self.write(&format!("== {name}\n"))
    }

    /// Text for people; not made when objects are wanted.
    pub(super) fn text(&mut self, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.write(&text()) }
    }

    /// One object, with what it is and which file it is from; not made when text is wanted.
    pub(super) fn object(&mut self, event: &str, file: &str, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let mut line = serde_json::Map::new();
        line.insert("event".to_owned(), event.into());
        line.insert("file".to_owned(), file.into());
        match serde_json::to_value(value).map_err(Failure::failed)? {
            Value::Object(fields) => line.extend(fields),
            other => drop(line.insert("value".to_owned(), other)),
        }
        self.write(&format!("{}\n", show::json(&line)))
    }

    /// Something that has a form of its own.
    pub(super) fn raw(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let written = write(&mut self.out);
        self.done(written)
    }

    /// Everything is there.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let flushed = self.out.flush();
        self.done(flushed)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes());
        self.done(written)
    }

    fn done(&mut self, result: io::Result<()>) -> Result<(), Failure> {
        result.map_err(|error| {
            self.closed |= error.kind() == ErrorKind::BrokenPipe;
            Failure::failed(error)
        })
    }
}
