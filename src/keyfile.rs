//! Identities on disk: 64 hex digits and a newline (geth's nodekey form), `ed25519:` before them
//! for the other type. Mode 0600; a file is never overwritten.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::ids::{Keypair, PublicKey};
use libp2p_identity::{ed25519, secp256k1};

/// Marks an ed25519 key.
const ED25519: &str = "ed25519:";

/// More than any key file holds, in bytes.
const FILE_BYTES_MAX: u64 = 256;

/// Why a key file cannot be used. Displays as one line without the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is there already.
    #[error("exists already; a key is never overwritten")]
    Exists,
    /// It holds something else.
    #[error("not a key file: 64 hex digits, or `ed25519:` and 64 hex digits")]
    Malformed,
    /// The digits are no key of their curve.
    #[error("not a usable key")]
    NotAKey,
}

/// Reads a key file.
pub fn read(path: &Path) -> Result<Keypair, KeyFileError> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => KeyFileError::Malformed,
        _ => KeyFileError::Io(error),
    })?;
    parse(&text)
}

/// Creates a key file, readable by its owner only.
pub fn create(path: &Path, keypair: &Keypair) -> Result<(), KeyFileError> {
    let text = format(keypair)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists,
        _ => KeyFileError::Io(error),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is worse than none, and it is ours: we have just created it.
        drop(std::fs::remove_file(path));
        return Err(error.into());
    }
    Ok(())
}

/// The content of a key file.
fn parse(text: &str) -> Result<Keypair, KeyFileError> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let (digits, is_ed25519) = match text.strip_prefix(ED25519) {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let mut secret = unhex(digits).ok_or(KeyFileError::Malformed)?;
    // The secret is wiped from `secret` by the key that takes it.
    if is_ed25519 {
        let secret = ed25519::SecretKey::try_from_bytes(&mut secret).map_err(|_| KeyFileError::NotAKey)?;
        Ok(ed25519::Keypair::from(secret).into())
    } else {
        let secret = secp256k1::SecretKey::try_from_bytes(&mut secret).map_err(|_| KeyFileError::NotAKey)?;
        Ok(secp256k1::Keypair::from(secret).into())
    }
}

fn format(keypair: &Keypair) -> Result<String, KeyFileError> {
    if let Ok(keypair) = keypair.clone().try_into_secp256k1() {
        return Ok(format!("{}\n", hex(&keypair.secret().to_bytes())));
    }
    let keypair = keypair.clone().try_into_ed25519().map_err(|_| KeyFileError::NotAKey)?;
    Ok(format!("{ED25519}{}\n", hex(keypair.secret().as_ref())))
}

/// `enode://` and the 64 bytes of a secp256k1 key: geth's form of a node whose address is unknown.
pub fn enode(public: &PublicKey) -> Option<String> {
    let key = public.clone().try_into_secp256k1().ok()?;
    // Without the 0x04 that says "uncompressed".
    Some(format!("enode://{}", hex(&key.to_bytes_uncompressed()[1..])))
}

/// Lower-case hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("trunkline-keyfile-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    #[test]
    fn both_types_come_back_from_disk_and_the_file_is_private() {
        for keypair in [Keypair::generate_secp256k1(), Keypair::generate_ed25519()] {
            let path = path(&keypair.public().to_peer_id().to_string());
            create(&path, &keypair).unwrap();
            assert_eq!(read(&path).unwrap().public(), keypair.public());
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.ends_with('\n') && text.trim_start_matches(ED25519).len() == 65, "{}", text.len());
            #[cfg(unix)]
            {
                let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
                assert_eq!(mode & 0o777, 0o600);
            }
            assert!(matches!(create(&path, &Keypair::generate_ed25519()), Err(KeyFileError::Exists)));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            std::fs::remove_file(path).unwrap();
        }
    }

    /// The key of geth's own documentation of the nodekey form: the enode is its public key.
    #[test]
    fn a_nodekey_without_newline_or_in_capitals_is_read() {
        let digits = "B71C71A67E1177AD4E901695E1B4B9EE17AE16C6668D313EAC2F96DBCDA3F291";
        let keypair = parse(digits).unwrap();
        assert_eq!(parse(&format!("{}\r\n", digits.to_lowercase())).unwrap().public(), keypair.public());
        let enode = enode(&keypair.public()).unwrap();
        assert!(
            enode.starts_with("enode://ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138")
        );
        assert_eq!(enode.len(), "enode://".len() + 128);
    }

    #[test]
    fn everything_else_is_refused() {
        let digits = "ab".repeat(32);
        for text in [
            "",
            "not a key",
            &digits[1..],
            &format!("{digits}a"),
            &format!(" {digits}"),
            &format!("{digits}\n\n"),
            &format!("0x{digits}"),
            &format!("rsa:{digits}"),
            &format!("{}+f", &digits[2..]),
            &"é".repeat(32),
            &"0".repeat(64),
            &"f".repeat(64),
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&format!("{ED25519}{digits}")).is_ok());
        assert!(read(&path("absent")).is_err());
    }
}
