//! Blocks to a file of concatenated RLP: the whole file or none of it.
//!
//! The bytes go to a temporary file in the same folder, reach the disk, and only then take the name
//! that was asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::block::RawBlock;
use crate::wire::DecodeError;

/// How many names for a temporary file are tried.
const NAMES: u32 = 100;

/// Why a file was not written. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The path names a folder, or nothing.
    #[error("{}: not a file name", .0.display())]
    NotAFile(PathBuf),
    /// The folder is missing or cannot be written to, or the disk failed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file that was to be written.
        path: PathBuf,
        /// What failed.
        #[source]
        cause: io::Error,
    },
    /// A block's body is not a list.
    #[error("{}: block {number} cannot be written: {cause}", path.display())]
    Block {
        /// The file that was to be written.
        path: PathBuf,
        /// The block.
        number: u64,
        /// What is wrong with it.
        #[source]
        cause: DecodeError,
    },
}

/// Whether [`write()`] could put a file there: the folder exists and takes a file. Leaves nothing
/// behind, and an existing file as it is.
pub fn check_target(path: &Path) -> Result<(), ExportError> {
    drop(Temporary::create(path)?);
    Ok(())
}

/// Writes the blocks one after the other, replacing what was there. Returns the bytes written.
///
/// On an error the file that was there, if any, is untouched.
pub fn write(path: &Path, blocks: impl IntoIterator<Item = RawBlock>) -> Result<u64, ExportError> {
    let io = |cause| ExportError::Io { path: path.to_owned(), cause };
    let temporary = Temporary::create(path)?;
    let mut out = BufWriter::with_capacity(256 << 10, &temporary.file);
    let mut bytes = Vec::new();
    let mut total = 0;
    for block in blocks {
        bytes.clear();
        block.write_rlp(&mut bytes).map_err(|cause| ExportError::Block {
            path: path.to_owned(),
            number: block.number,
            cause,
        })?;
        out.write_all(&bytes).map_err(io)?;
        total += bytes.len() as u64;
    }
    out.flush().map_err(io)?;
    drop(out);
    temporary.keep_as(path).map_err(io)?;
    Ok(total)
}

/// A file that is removed again unless it gets its final name.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(target: &Path) -> Result<Self, ExportError> {
        if target.file_name().is_none() || target.is_dir() {
            return Err(ExportError::NotAFile(target.to_owned()));
        }
        let failed = |cause| ExportError::Io { path: target.to_owned(), cause };
        // A killed process of the same number may have left some of these names behind.
        for attempt in 0..NAMES {
            let name = format!(".trunkline-{}-{attempt}.part", std::process::id());
            let path = folder_of(target).join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { path, file }),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    fn keep_as(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        // The name is on the disk once the folder is; not every system can sync a folder.
        if let Ok(folder) = File::open(folder_of(target)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already if it was renamed.
        let _ = fs::remove_file(&self.path);
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::spec::ChainSpec;
    use super::super::{import, testdata};
    use super::*;

    /// An empty folder that is gone with its owner.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("trunkline-export-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_chain_comes_back_byte_identical() {
        let Some(json) = testdata::read("geth-ethtest/genesis.json") else { return };
        let Some(path) = testdata::path("geth-ethtest/chain.rlp") else { return };
        let spec = ChainSpec::from_genesis_json(&json).unwrap();
        let folder = Folder::new("chain");
        let copy = folder.0.join("copy.rlp");
        let written = write(&copy, import::open(&path, &spec).unwrap().blocks).unwrap();
        assert_eq!(written, 457_980);
        assert!(fs::read(&copy).unwrap() == fs::read(&path).unwrap());
        assert_eq!(folder.names(), ["copy.rlp"]);
    }

    #[test]
    fn checking_a_target_leaves_nothing_behind() {
        let folder = Folder::new("check");
        let path = folder.0.join("chain.rlp");
        check_target(&path).unwrap();
        assert!(folder.names().is_empty());
        fs::write(&path, b"kept").unwrap();
        check_target(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_part_of_a_new_one() {
        let folder = Folder::new("failure");
        let path = folder.0.join("chain.rlp");
        fs::write(&path, b"old").unwrap();
        let good = ChainSpec::dev().genesis_block();
        let bad = RawBlock { body: Bytes::from_static(b"junk"), ..good.clone() };
        let error = write(&path, [good.clone(), bad]).unwrap_err();
        assert!(matches!(error, ExportError::Block { number: 0, .. }), "{error}");
        assert_eq!(
            (fs::read(&path).unwrap(), folder.names()),
            (b"old".to_vec(), vec!["chain.rlp".to_owned()])
        );
        write(&path, [good]).unwrap();
        assert_ne!(fs::read(&path).unwrap(), b"old");
        assert_eq!(folder.names(), ["chain.rlp"]);
    }

    #[test]
    fn what_a_killed_process_left_behind_is_in_nobodys_way() {
        let folder = Folder::new("left");
        let left = folder.0.join(format!(".trunkline-{}-0.part", std::process::id()));
        fs::write(&left, b"half").unwrap();
        write(&folder.0.join("chain.rlp"), [ChainSpec::dev().genesis_block()]).unwrap();
        assert_eq!(fs::read(&left).unwrap(), b"half");
    }

    #[test]
    fn a_target_that_cannot_be_is_refused_in_one_line() {
        let folder = Folder::new("target");
        for path in [Path::new(""), Path::new("/"), &folder.0, &folder.0.join("no/such/x.rlp")] {
            let error = check_target(path).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error:?}");
            assert!(write(path, []).is_err());
        }
        assert!(folder.names().is_empty());
    }
}
