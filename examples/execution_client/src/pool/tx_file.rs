//! Signed transactions from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use alloy_primitives::hex;
use bytes::Bytes;
use trunkline::transactions::PooledTransaction;

use super::decode;
use super::refusal::Refusal;

/// What is read of a file at most: a hundred transactions with blobs, or half a million transfers.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Why a file of transactions cannot be used, in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxFileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}, line {line}: neither hex with 0x before it nor a comment", path.display())]
    NotHex { path: PathBuf, line: usize },
    #[error("{}, line {line}: {source}", path.display())]
    NotATransaction { path: PathBuf, line: usize, source: Refusal },
}

/// Reads transactions, one a line, as hex with `0x` before it, in the form in which peers hand them on
/// (EIP-2718; one with blobs has them with it). Empty lines and those that begin with `#` are passed
/// over. Whether the pool wants them is not asked here.
pub fn read_tx_file(path: &Path) -> Result<Vec<PooledTransaction>, TxFileError> {
    let failed = |source| TxFileError::Io { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(TxFileError::TooLarge { path: path.to_owned() });
    }
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let lines = lines.filter(|(text, _)| !text.is_empty() && !text.starts_with(b"#"));
    lines.map(|(text, line)| transaction(text, path, line)).collect()
}

fn transaction(text: &[u8], path: &Path, line: usize) -> Result<PooledTransaction, TxFileError> {
    let digits = text.strip_prefix(b"0x").and_then(|digits| hex::decode(digits).ok());
    let encoded = Bytes::from(digits.ok_or_else(|| TxFileError::NotHex { path: path.to_owned(), line })?);
    let decoded = decode::decode(&encoded);
    let decoded =
        decoded.map_err(|source| TxFileError::NotATransaction { path: path.to_owned(), line, source })?;
    let kind = decode::kind_of(&encoded).unwrap_or_default();
    Ok(PooledTransaction { hash: decoded.hash, kind, encoded })
}
