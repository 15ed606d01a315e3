//! Signed transactions from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use alloy_primitives::hex;
use bytes::Bytes;
use trunkline::transactions::PooledTransaction;

use super::decode;
use super::refusal::Refusal;

/// What is read of a file at most. The pool keeps less.
const FILE_BYTES_MAX: u64 = 64 << 20;

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// From EIP-155.
    const LEGACY: &str = "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080\
        25a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555\
        c9f3dc64214b297fb1966a3b6d83";

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<PooledTransaction>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("txs");
        fs::write(&path, text).unwrap();
        let shown = format!("{}", path.display());
        read_tx_file(&path).map_err(|error| error.to_string().replace(&shown, "FILE"))
    }

    #[test]
    fn lines_comments_and_empty_ones() {
        let all = read(format!("# two of them\n\n  {LEGACY}\r\n#\n{LEGACY}")).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], all[1]);
        let hash = "0x33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788";
        assert_eq!((all[0].kind, all[0].hash.to_string().as_str()), (0, hash));
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn errors_name_file_and_line_in_one_line() {
        let not_hex = "FILE, line 3: neither hex with 0x before it nor a comment";
        for bad in [&LEGACY[2..], "0xf8 6c", "0x0", "\u{1b}[2J", "0xzz"] {
            assert_eq!(read(format!("#\n\n{bad}\n{LEGACY}")), Err(not_hex.to_owned()));
        }
        assert_eq!(read([b'0', b'x', 0xff, b'\n']), Err(not_hex.replace('3', "1")));
        for bad in ["0x", "0x80", "0x05c0", "0xc0", &LEGACY[..LEGACY.len() - 2]] {
            let error = read(format!("{LEGACY}\n{bad}")).unwrap_err();
            assert!(error.starts_with("FILE, line 2: ") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none"), folder.path().to_owned()] {
            let error = read_tx_file(&path).unwrap_err();
            assert!(matches!(error, TxFileError::Io { .. }));
            assert!(error.to_string().starts_with(&path.display().to_string()));
        }
    }

    #[test]
    fn one_byte_over_the_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("txs");
        // Nothing is written: a hole reads as zeros.
        fs::File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(matches!(read_tx_file(&path), Err(TxFileError::TooLarge { .. })));
        fs::File::options().write(true).open(&path).unwrap().set_len(FILE_BYTES_MAX).unwrap();
        assert!(matches!(read_tx_file(&path), Err(TxFileError::NotHex { line: 1, .. })));
    }
}
