//! Why a data folder is not opened, and why a read or a write failed.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::B256;
use trunkline::sync::StoreError;

use crate::state::StateError;

/// Why a data folder is not opened. The folder is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("data folder {0:?} is in use by another process")]
    InUse(PathBuf),
    #[error("data folder {folder:?} holds the chain with genesis {found}, not the one with {wanted}")]
    OtherGenesis { folder: PathBuf, found: B256, wanted: B256 },
    /// The genesis block is the same, which does not commit to the id.
    #[error("data folder {folder:?} holds the chain with id {found}, not the one with id {wanted}")]
    OtherChainId { folder: PathBuf, found: u64, wanted: u64 },
    #[error("data folder {folder:?} has format {found}, and this program has format {wanted}")]
    Version { folder: PathBuf, found: u32, wanted: u32 },
    #[error("data folder {folder:?} is damaged: {what}")]
    Damaged { folder: PathBuf, what: String },
    #[error("data folder {0:?} is not a folder")]
    NotAFolder(PathBuf),
    #[error("data folder {0:?}: no space left on the device")]
    NoSpace(PathBuf),
    #[error("data folder {folder:?}: {error}")]
    Io { folder: PathBuf, error: Box<dyn Error + Send + Sync> },
    /// The caller could not say what state the chain begins with.
    #[error("data folder {folder:?} is not made: {error}")]
    Genesis { folder: PathBuf, error: StateError },
}

impl OpenError {
    pub(super) fn io(folder: &Path, error: io::Error) -> Self {
        match is_full(&error) {
            true => Self::NoSpace(folder.to_owned()),
            false => Self::Io { folder: folder.to_owned(), error: error.into() },
        }
    }

    pub(super) fn database(folder: &Path, error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::InUse(folder.to_owned()),
            redb::DatabaseError::UpgradeRequired(found) => {
                Self::Damaged { folder: folder.to_owned(), what: format!("redb file format {found}") }
            }
            error => Self::failure(folder, StoreFailure::from(error)),
        }
    }

    pub(super) fn failure(folder: &Path, failure: StoreFailure) -> Self {
        let folder = folder.to_owned();
        match failure {
            StoreFailure::NoSpace => Self::NoSpace(folder),
            StoreFailure::Damaged(what) => Self::Damaged { folder, what },
            StoreFailure::Io(error) if is_cut(&*error) => Self::Damaged { folder, what: error.to_string() },
            StoreFailure::Io(error) => Self::Io { folder, error },
            failure => Self::Io { folder, error: failure.into() },
        }
    }
}

/// Why a read or a write failed. What was committed before is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFailure {
    /// Also for everything asked after the write that found no space: the folder has to be opened again.
    #[error("the data folder is full: no space left on the device")]
    NoSpace,
    #[error("the database failed: {0}")]
    Io(#[source] Box<dyn Error + Send + Sync>),
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A block to be committed was never stored, does not follow the executed head, or is of a branch that
    /// was left too long ago. Nothing was written.
    #[error("block {number} is not on the stored chain")]
    Gone { number: u64 },
    /// A caller asks for what cannot be, such as a step back further than there are records of.
    #[error("no record leads from block {from} back to block {to}")]
    NoWayBack { from: u64, to: u64 },
}

impl StoreFailure {
    /// Whether it is for want of space: the folder's fault, not the program's.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace)
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

/// Whether a write has found no space. From then on redb says only that something failed before.
#[derive(Debug, Default, Clone)]
pub(super) struct Full(Arc<AtomicBool>);

impl Full {
    pub(super) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Keeps in mind that the disk is full, and gives that as the reason of what fails afterwards.
    pub(super) fn note(&self, failure: impl Into<StoreFailure>) -> StoreFailure {
        match failure.into() {
            StoreFailure::NoSpace => {
                self.0.store(true, Ordering::Relaxed);
                StoreFailure::NoSpace
            }
            StoreFailure::Io(_) | StoreFailure::Damaged(_) if self.is_full() => StoreFailure::NoSpace,
            failure => failure,
        }
    }
}

/// Whether there is no room for what was to be written: the device is full, or the quota is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether the file ends too early, or does not begin as a database does.
fn is_cut(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.downcast_ref::<redb::Error>() {
        Some(redb::Error::Io(error)) => matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput),
        _ => false,
    }
}

impl From<redb::Error> for StoreFailure {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if is_full(&error) => Self::NoSpace,
            redb::Error::Corrupted(what) => Self::Damaged(what),
            error @ (redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. }) => {
                Self::Damaged(error.to_string())
            }
            error => Self::Io(error.into()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreFailure {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::DatabaseError,
    redb::TransactionError,
    redb::CommitError
);

impl From<alloy_rlp::Error> for StoreFailure {
    fn from(error: alloy_rlp::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<StoreFailure> for StoreError {
    /// [`StoreError::Io`] with the failure inside, so that the words are kept.
    fn from(failure: StoreFailure) -> Self {
        let kind = match failure {
            StoreFailure::NoSpace => io::ErrorKind::StorageFull,
            StoreFailure::Damaged(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::Io(io::Error::new(kind, failure))
    }
}

impl From<StoreFailure> for StateError {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            StoreFailure::Damaged(what) => Self::Damaged(what),
            failure => Self::Store(failure.to_string()),
        }
    }
}
