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

    #[test]
    fn a_format_is_found_by_its_name_only() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("pdf".parse::<Format>(), Err(UnknownFormat));
        assert_eq!("HTML".parse::<Format>(), Err(UnknownFormat));
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
