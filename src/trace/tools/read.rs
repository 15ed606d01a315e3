//! Trace files, line by line.
//!
//! What a file says is not trusted: lines are bounded, words are cut and shared, and whatever is not
//! a trace is refused with the number of the line. A file may end in the middle of a line.

mod parse;
mod raw;
mod scan;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::trace::record::{Header, Line, Name};
use parse::Parsed;

/// The version of the schema that is read.
pub const VERSION: u32 = 1;
/// A line may have so many bytes; a longer one makes the file unusable.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// A word or text longer than this is cut, and ends in `…` then.
pub const TEXT_BYTES_MAX: usize = 256;
/// So many different words are shared; those beyond are kept one by one.
const WORDS_MAX: usize = 65_536;
/// Read from a file in one go.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why a file cannot be read as a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system says no: missing, forbidden, a directory, a failing disk.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// The first line is not the header of a trace.
    #[error("is not a trace: the first line is not a trace.start")]
    NotATrace,
    /// It is a trace of another version.
    #[error("is a trace of version {0}; this program reads version {VERSION}")]
    Version(u64),
    /// A line is too long to be an event.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// Which line, counted from 1.
        line: u64,
    },
    /// A line is not an event, and it is not a last line that was cut.
    #[error("line {line} is broken: {why}")]
    Broken {
        /// Which line, counted from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// The lines of a trace, the header first. Ends after the first error.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    line: Vec<u8>,
    words: Words,
    lines: u64,
    unknown: u64,
    cut: bool,
    done: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Ok(Self::new(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?)))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from anything.
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            words: Words::default(),
            lines: 0,
            unknown: 0,
            cut: false,
            done: false,
        }
    }

    /// Events of kinds that this program does not know. They were left out.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Whether the file ended in the middle of a line: whoever wrote it was killed.
    pub fn cut(&self) -> bool {
        self.cut
    }

    /// Puts one line into `self.line`, without its newline. Answers whether the newline was there,
    /// or `None` at the end.
    fn fetch(&mut self) -> Result<Option<bool>, ReadError> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        if (&mut self.input).take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.lines += 1;
        let whole = self.line.last() == Some(&b'\n');
        if whole {
            self.line.pop();
        }
        if self.line.len() > LINE_BYTES_MAX {
            return Err(ReadError::TooLong { line: self.lines });
        }
        Ok(Some(whole))
    }

    fn read(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            let whole = match self.fetch() {
                Ok(Some(whole)) => whole,
                Ok(None) if self.lines == 0 => return Err(ReadError::Empty),
                Ok(None) => return Ok(None),
                // Something else than a trace may well have no lines.
                Err(ReadError::TooLong { line: 1 }) => return Err(ReadError::NotATrace),
                Err(error) => return Err(error),
            };
            if self.lines == 1 {
                return self.header().map(Some);
            }
            match parse::line(&self.line, &mut self.words) {
                Ok(Parsed::Line(Line::Header(_))) => return Err(self.broken("a second trace.start")),
                Ok(Parsed::Line(line)) => return Ok(Some(line)),
                Ok(Parsed::Unknown) => self.unknown += 1,
                Err(_) if !whole => {
                    self.cut = true;
                    return Ok(None);
                }
                Err(why) => return Err(self.broken(&why)),
            }
        }
    }

    fn header(&mut self) -> Result<Line, ReadError> {
        if let Some(version) = parse::version(&self.line)
            && version != u64::from(VERSION)
        {
            return Err(ReadError::Version(version));
        }
        match parse::line(&self.line, &mut self.words) {
            Ok(Parsed::Line(header @ Line::Header(Header { .. }))) => Ok(header),
            _ => Err(ReadError::NotATrace),
        }
    }

    fn broken(&self, why: &str) -> ReadError {
        ReadError::Broken { line: self.lines, why: why.to_owned() }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

/// The words of a file: each kept once, as long as there are not too many different ones.
#[derive(Debug, Default)]
struct Words {
    known: HashSet<Name>,
}

impl Words {
    fn share(&mut self, word: &str) -> Name {
        if let Some(name) = self.known.get(word) {
            return name.clone();
        }
        let name: Name = match word.len() {
            0..=TEXT_BYTES_MAX => word.into(),
            _ => cut(word).into(),
        };
        if self.known.len() < WORDS_MAX {
            self.known.insert(name.clone());
        }
        name
    }
}

fn cut(word: &str) -> String {
    let mut end = TEXT_BYTES_MAX;
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &word[..end])
}

#[cfg(test)]
mod tests;
