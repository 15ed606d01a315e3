//! Which chain a folder holds, and in which format: in a text file that is read before the database is
//! touched, so that a folder that is refused stays as it is, and in the database, where it counts.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use alloy_primitives::B256;
use redb::WriteTransaction;
use trunkline::chain::ChainSpec;

use super::error::{OpenError, StoreFailure};
use super::tables::{FORMAT, META, meta};
use super::view::View;

/// The text file.
pub(super) const VERSION: &str = "VERSION";
/// No `VERSION` of ours is longer.
const VERSION_BYTES_MAX: u64 = 4096;

/// What a folder says of itself, or should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    format: u32,
    genesis: B256,
    chain_id: u64,
}

impl Identity {
    pub(super) fn of(spec: &ChainSpec) -> Self {
        Self { format: FORMAT, genesis: spec.genesis().hash, chain_id: spec.chain_id() }
    }

    /// Refuses a folder that is of another format or chain.
    pub(super) fn check(self, found: Self, folder: &Path) -> Result<(), OpenError> {
        let folder = folder.to_owned();
        if found.format != self.format {
            return Err(OpenError::Version { folder, found: found.format, wanted: self.format });
        }
        if found.genesis != self.genesis {
            return Err(OpenError::OtherGenesis { folder, found: found.genesis, wanted: self.genesis });
        }
        if found.chain_id != self.chain_id {
            return Err(OpenError::OtherChainId { folder, found: found.chain_id, wanted: self.chain_id });
        }
        Ok(())
    }

    /// What the text file says; `None` when it is not there or not as we write it: then the database decides.
    pub(super) fn in_text(folder: &Path) -> Result<Option<Self>, OpenError> {
        let path = folder.join(VERSION);
        let read = || match fs::metadata(&path)?.len() > VERSION_BYTES_MAX {
            true => Ok(Vec::new()),
            false => fs::read(&path),
        };
        match read() {
            Ok(text) => Ok(Self::parse(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::io(folder, error)),
        }
    }

    pub(super) fn write_text(self, folder: &Path) -> std::io::Result<()> {
        let mut file = fs::File::create(folder.join(VERSION))?;
        let Self { format, genesis, chain_id } = self;
        writeln!(file, "format {format}\ngenesis {genesis}\nchain-id {chain_id}")?;
        file.sync_all()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let format = value("format")?.parse().ok()?;
        if format != FORMAT {
            // Another format may have other lines.
            return Some(Self { format, genesis: B256::ZERO, chain_id: 0 });
        }
        Some(Self {
            format,
            genesis: value("genesis")?.parse().ok()?,
            chain_id: value("chain-id")?.parse().ok()?,
        })
    }

    pub(super) fn in_database(view: &View) -> Result<Self, StoreFailure> {
        let read = |key: &str| -> Result<Vec<u8>, StoreFailure> {
            let row = view.meta.get(key)?.ok_or_else(|| StoreFailure::Damaged(format!("no {key}")))?;
            Ok(row.value().to_vec())
        };
        let cut = |_| StoreFailure::damaged("format, genesis or chain id cut");
        Ok(Self {
            format: u32::from_be_bytes(read(meta::FORMAT)?.try_into().map_err(cut)?),
            genesis: <[u8; 32]>::try_from(read(meta::GENESIS)?).map_err(cut)?.into(),
            chain_id: u64::from_be_bytes(read(meta::CHAIN_ID)?.try_into().map_err(cut)?),
        })
    }

    pub(super) fn write(self, transaction: &WriteTransaction) -> Result<(), StoreFailure> {
        let mut meta = transaction.open_table(META)?;
        meta.insert(meta::FORMAT, &self.format.to_be_bytes()[..])?;
        meta.insert(meta::GENESIS, &self.genesis[..])?;
        meta.insert(meta::CHAIN_ID, &self.chain_id.to_be_bytes()[..])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_and_nothing_else_is_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { format: FORMAT, genesis: B256::repeat_byte(7), chain_id: 1820000 };
        assert_eq!(Identity::in_text(folder.path()).unwrap(), None);
        identity.write_text(folder.path()).unwrap();
        assert_eq!(Identity::in_text(folder.path()).unwrap(), Some(identity));
        for text in ["", "format", "format x", "format 1", "format 1\ngenesis 0x12\nchain-id 1", "\u{0}"] {
            assert_eq!(Identity::parse(text), None, "{text}");
        }
        assert_eq!(Identity::parse("format 2\nsomething else").unwrap().format, 2);
    }
}
