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
    let mut files: Vec<(Reader<R>, i64, Option<(i128, Line)>)> =
        readers.into_iter().zip(offsets).map(|(reader, offset)| (reader, *offset, None)).collect();
    let mut nodes = Vec::new();
    for (reader, offset, head) in &mut files {
        if let Some(Line::Header(header)) = reader.next().transpose()? {
            nodes.push(
                serde_json::json!({"node": &*header.node, "offset_ns": *offset, "unix_ns": header.unix_ns}),
            );
        }
        *head = next(reader, *offset)?;
    }
    let first = serde_json::json!({"ev": "trace.merged", "v": 1, "nodes": nodes});
    writeln!(out, "{}", show::json(&first))?;
    let mut line = Vec::new();
    loop {
        let earliest =
            files.iter().enumerate().filter_map(|(index, file)| Some((file.2.as_ref()?.0, index))).min();
        let Some((at, index)) = earliest else { return Ok(()) };
        let (reader, offset, head) = &mut files[index];
        let Some((_, event)) = head.take() else { return Ok(()) };
        line.clear();
        json::write(&event, &mut line);
        write!(out, "{{\"node\":{index},\"at\":{at},")?;
        out.write_all(&line[1..])?;
        *head = next(reader, *offset)?;
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

fn next<R: BufRead>(reader: &mut Reader<R>, offset: i64) -> Result<Option<(i128, Line)>, ReadError> {
    for line in reader {
        let line = line?;
        if let Line::Event(record) = &line {
            return Ok(Some((i128::from(record.at) + i128::from(offset), line)));
        }
    }
    Ok(None)
}
