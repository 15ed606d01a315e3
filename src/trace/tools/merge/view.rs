//! Several traces as one file: their events on one time axis.

use std::io::{self, BufRead, Write};

use crate::trace::json;
use crate::trace::record::Line;
use crate::trace::tools::read::{ReadError, Reader};
use crate::trace::tools::show;

/// Writes the events of all files in the order of the first one's clock. Each line is that of its
/// file with two fields before it: `node`, the index of the file, and `at`, its time on the common
/// axis, which may be negative. The first line says what the nodes are.
pub fn write_view<R: BufRead>(
    readers: Vec<Reader<R>>,
    offsets: &[i64],
    out: &mut impl Write,
) -> Result<(), ViewError> {
    let mut nodes = Vec::new();
    let mut files = Vec::new();
    for (mut reader, offset) in readers.into_iter().zip(offsets) {
        if let Some(Line::Header(header)) = reader.next().transpose()? {
            nodes.push(
                serde_json::json!({"node": &*header.node, "offset_ns": offset, "unix_ns": header.unix_ns}),
            );
        }
        let mut source = Source { reader, offset: *offset, head: None };
        source.advance()?;
        files.push(source);
    }
    let first = serde_json::json!({"ev": "trace.merged", "v": 1, "nodes": nodes});
    writeln!(out, "{}", show::json(&first))?;
    let mut line = Vec::new();
    loop {
        let heads = files.iter().enumerate().filter_map(|(index, file)| Some((file.head.as_ref()?.0, index)));
        let Some((at, index)) = heads.min() else { return Ok(()) };
        let Some((_, event)) = files[index].head.take() else { return Ok(()) };
        line.clear();
        json::write(&event, &mut line);
        write!(out, "{{\"node\":{index},\"at\":{at},")?;
        out.write_all(&line[1..])?;
        files[index].advance()?;
    }
}

/// A file, and its next event.
struct Source<R> {
    reader: Reader<R>,
    offset: i64,
    /// With its time on the common axis.
    head: Option<(i128, Line)>,
}

impl<R: BufRead> Source<R> {
    fn advance(&mut self) -> Result<(), ReadError> {
        for line in &mut self.reader {
            let line = line?;
            if let Line::Event(record) = &line {
                self.head = Some((i128::from(record.at) + i128::from(self.offset), line));
                return Ok(());
            }
        }
        self.head = None;
        Ok(())
    }
}

/// Why a view was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A file changed, or cannot be read any more.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no room for it.
    #[error("cannot be written: {0}")]
    Write(#[from] io::Error),
}
