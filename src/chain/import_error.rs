//! Why a block file was refused: one line that names the file, the place and the flaw.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use alloy_primitives::B256;

use super::verify::VerifyError;
use crate::wire::DecodeError;

/// Why a file was refused: where, and what is wrong. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[error("{}: {place}{cause}", path.display())]
pub struct ImportError {
    path: PathBuf,
    place: Place,
    #[source]
    cause: Box<ImportCause>,
}

impl ImportError {
    pub(crate) fn new(path: &Path, place: Place, cause: ImportCause) -> Self {
        Self { path: path.to_owned(), place, cause: Box::new(cause) }
    }

    /// What is wrong with the file.
    pub fn cause(&self) -> &ImportCause {
        &self.cause
    }
}

/// What can be wrong with a block file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportCause {
    /// It cannot be read, ends in the middle of a block, or its compression is damaged.
    #[error("{}", io_cause(.0))]
    Io(#[from] io::Error),
    /// It holds no blocks.
    #[error("no blocks in this file")]
    Empty,
    /// A block is not encoded as it should be.
    #[error("not a block: {0}")]
    Malformed(#[from] DecodeError),
    /// A block or part of one is larger than any real one.
    #[error("larger than {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// A block does not follow the one before, or its parts do not belong together.
    #[error("{0}")]
    Invalid(#[from] VerifyError),
    /// Block 0 of the file is not the chain's genesis.
    #[error("genesis {got} where chain {chain} has {expected}")]
    OtherGenesis {
        /// The name of the chain.
        chain: String,
        /// The chain's genesis.
        expected: B256,
        /// The file's.
        got: B256,
    },
    /// Block 1 of the file does not follow the chain's genesis.
    #[error("it follows block {got} where the genesis of chain {chain} is {expected}")]
    OtherChain {
        /// The name of the chain.
        chain: String,
        /// The chain's genesis.
        expected: B256,
        /// The parent of the file's first block.
        got: B256,
    },
    /// The structure of an era1 file is damaged.
    #[error("not a sound era1 file: {0}")]
    Era1(&'static str),
}

/// Where in the file reading has come to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The block that is read or expected.
    pub(crate) number: Option<u64>,
    /// Where it starts in the file, or in what the file inflates to.
    pub(crate) offset: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number, self.offset) {
            (Some(number), Some(offset)) => write!(f, "block {number} at byte {offset}: "),
            (None, Some(offset)) => write!(f, "at byte {offset}: "),
            _ => Ok(()),
        }
    }
}

/// An end of file is never meant to be one where it is reported.
fn io_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends in the middle of it".to_owned(),
        _ => error.to_string(),
    }
}
