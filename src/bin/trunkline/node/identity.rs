//! Who the node is: a key file, a key file to be, or a fresh key.

use std::io;
use std::path::{Path, PathBuf};

use trunkline::chain::export;
use trunkline::{Keypair, PeerId};

use super::unusable_file;
use crate::failure::Failure;
use trunkline::keyfile::{self, KeyFileError};

/// The node's key, and where it is still to be written.
pub(super) struct Identity {
    keypair: Keypair,
    create: Option<PathBuf>,
}

impl Identity {
    /// Reads the key file. A missing one gets a key, but is written only by [`Identity::save`], once
    /// the node is up: what is unusable must leave nothing behind.
    pub(super) fn load(path: Option<&Path>) -> Result<Self, Failure> {
        let fresh = Keypair::generate_secp256k1;
        let Some(path) = path else { return Ok(Self { keypair: fresh(), create: None }) };
        match keyfile::read(path) {
            Ok(keypair) => Ok(Self { keypair, create: None }),
            Err(KeyFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                export::check_target(path).map_err(Failure::unusable)?;
                Ok(Self { keypair: fresh(), create: Some(path.to_owned()) })
            }
            Err(error) => Err(unusable_file(path, error)),
        }
    }

    /// The node's id.
    pub(super) fn peer(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// The node's key.
    pub(super) fn keypair(&self) -> Keypair {
        self.keypair.clone()
    }

    /// Writes the key file if it was missing.
    pub(super) fn save(&self) -> Result<(), Failure> {
        let Some(path) = &self.create else { return Ok(()) };
        keyfile::create(path, &self.keypair).map_err(|error| unusable_file(path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_file_is_written_on_save_and_read_from_then_on() {
        let folder = std::env::temp_dir().join(format!("trunkline-identity-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("node.key");
        let first = Identity::load(Some(&path)).unwrap();
        assert!(!path.exists());
        first.save().unwrap();
        let second = Identity::load(Some(&path)).unwrap();
        assert_eq!(first.peer(), second.peer());
        second.save().unwrap();
        std::fs::write(&path, "not a key").unwrap();
        for unusable in [path, folder.join("no/such"), folder.clone()] {
            let failure = Identity::load(Some(&unusable)).map(drop).unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{failure}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
