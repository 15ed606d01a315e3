//! Traces for other eyes: pages, pictures and the formats of other tools, each written as a stream.
//!
//! Every export takes a [`Picture`] and writes text. Nothing a trace says is trusted here either:
//! strings are escaped for the place they stand in, times saturate, and whatever a browser has to
//! hold is bounded and says what it left out. [`lifeline`] answers the one question they share: where
//! did a request spend its time?

pub mod html;
pub mod lifeline;
pub mod mermaid;
pub mod perfetto;
pub mod prometheus;
pub mod shiviz;

#[cfg(any(test, feature = "test-util"))]
pub mod fixtures;
mod ground;
mod page_data;
mod text;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::str::FromStr;

pub use html::html;
pub use mermaid::mermaid;
pub use perfetto::perfetto;
pub use prometheus::prometheus;
pub use shiviz::shiviz;

use super::picture::Picture;

/// What a picture can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Chrome's trace event format, which Perfetto opens.
    Perfetto,
    /// A Mermaid sequence diagram.
    Mermaid,
    /// One page that needs nothing else.
    Html,
    /// Prometheus text exposition.
    Prometheus,
    /// A log with vector clocks for ShiViz.
    Shiviz,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Perfetto, Self::Mermaid, Self::Html, Self::Prometheus, Self::Shiviz];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Perfetto => "perfetto",
            Self::Mermaid => "mermaid",
            Self::Html => "html",
            Self::Prometheus => "prometheus",
            Self::Shiviz => "shiviz",
        }
    }

    /// The usual ending of such a file, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Perfetto => "json",
            Self::Mermaid => "mmd",
            Self::Html => "html",
            Self::Prometheus => "prom",
            Self::Shiviz => "log",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown format: one of perfetto, mermaid, html, prometheus, shiviz")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(UnknownFormat)
    }
}

/// Writes the picture as `format`. It is written in small pieces, buffered here.
pub fn write(format: Format, picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    match format {
        Format::Perfetto => perfetto(picture, &mut out)?,
        Format::Mermaid => mermaid(picture, &mut out)?,
        Format::Html => html(picture, &mut out)?,
        Format::Prometheus => prometheus(picture, &mut out)?,
        Format::Shiviz => shiviz(picture, &mut out)?,
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::kind::Kind;
    use crate::trace::record::{EventId, Line};
    use crate::trace::tools::model::{Keep, Model};

    #[test]
    fn a_format_is_found_by_its_name_only() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("pdf".parse::<Format>(), Err(UnknownFormat));
        assert_eq!("HTML".parse::<Format>(), Err(UnknownFormat));
    }

    /// A picture whose nodes say anything at any time about anything.
    fn junk(seed: u64) -> Picture {
        let mut state = seed;
        let mut dice = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 20) % most
        };
        let mut picture = fixtures::two_nodes(12);
        for node in &mut picture.nodes {
            let mut model = Model::keeping(Keep::All);
            for record in &mut node.records {
                for _ in 0..dice(3) {
                    let number = [0, 1, dice(1 << 32), u64::MAX, i64::MAX as u64][dice(5) as usize];
                    let id = Some(EventId::new(1, dice(300)));
                    match dice(9) {
                        0 => record.at = number,
                        1 => record.cause = id,
                        2 => record.actor = number as u32,
                        3 => record.kind = Kind::ALL[dice(Kind::ALL.len() as u64) as usize],
                        4 => record.conn = dice(4) as u32,
                        5 => record.key = id,
                        6 => record.x = number,
                        7 => record.y = number,
                        _ => (record.name, record.dir) = (None, None),
                    }
                }
                model.on(&Line::Event(record.clone()));
            }
            node.model = model;
            node.offset_ns = [0, i64::MIN, i64::MAX, -1][dice(4) as usize];
        }
        for pair in &mut picture.pairs {
            pair.served = (dice(3) as usize, EventId::new(1, dice(300)));
        }
        picture
    }

    #[test]
    fn whatever_a_trace_says_it_is_written() {
        for seed in 0..60 {
            let picture = junk(seed);
            for format in Format::ALL {
                let mut out = Vec::new();
                write(format, &picture, &mut out).expect("a vector takes everything");
                if format == Format::Perfetto {
                    serde_json::from_slice::<serde_json::Value>(&out).expect("valid JSON");
                }
            }
        }
    }

    #[test]
    fn an_empty_picture_can_be_written_as_anything() {
        for format in Format::ALL {
            let mut out = Vec::new();
            write(format, &Picture::default(), &mut out).expect("a vector takes everything");
            assert!(!out.is_empty(), "{format}");
        }
    }
}
