//! Opening a folder, or making it.

use std::fs;
use std::io::ErrorKind;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError};
use trunkline::chain::ChainSpec;

use super::batch::write_state;
use super::codec::{self, HeaderRow};
use super::error::{Full, OpenError, StoreFailure};
use super::handle::{CACHE_BYTES, Store};
use super::identity::{Identity, VERSION};
use super::tables::{BODIES, HEADERS, META, NUMBERS, make_tables, meta};
use super::view::View;
use crate::genesis::Chain;
use crate::state::{StateBatch, StateError};

/// The database.
pub(super) const DATABASE: &str = "chain.redb";
/// The database until the genesis is in it.
pub(super) const UNFINISHED: &str = "chain.redb.new";

impl Store {
    /// Opens the folder, or makes it: then `genesis` says what state block 0 leaves.
    ///
    /// Every page is checked first, as after a kill, so it takes longer the more there is: 0.2 s for 160 MB.
    /// A folder that is refused is left as it is, and one that cannot be made is not there afterwards.
    pub fn open(
        folder: &Path,
        chain: &Chain,
        genesis: impl FnOnce() -> Result<StateBatch, StateError>,
    ) -> Result<Arc<Self>, OpenError> {
        let is_folder = match fs::metadata(folder) {
            Ok(at) => at.is_dir(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(OpenError::io(folder, error)),
        };
        if !is_folder {
            return Err(OpenError::NotAFolder(folder.to_owned()));
        }
        let path = folder.join(DATABASE);
        if !path.try_exists().map_err(|error| OpenError::io(folder, error))? {
            let batch = genesis().map_err(|error| OpenError::Genesis { folder: folder.to_owned(), error })?;
            make(folder, &chain.spec, &batch)?;
        }
        let wanted = Identity::of(&chain.spec);
        if let Some(found) = Identity::in_text(folder)? {
            wanted.check(found, folder)?;
        }
        Self::take_up(folder, chain.spec.clone(), || builder().open(&path)).map(Arc::new)
    }

    /// Opens a database and looks at whether it is the wanted one.
    pub(super) fn take_up(
        folder: &Path,
        spec: Arc<ChainSpec>,
        open: impl FnOnce() -> Result<Database, DatabaseError>,
    ) -> Result<Self, OpenError> {
        // What redb does not recognise as damage may still make it panic.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| {
            let database = open().map_err(|error| OpenError::database(folder, error))?;
            let failed = |failure| OpenError::failure(folder, failure);
            let found = View::of(&database, &Full::default())
                .and_then(|view| Identity::in_database(&view))
                .map_err(failed)?;
            Identity::of(&spec).check(found, folder)?;
            Self::at_heads(database, spec).map_err(failed)
        }));
        opened.unwrap_or_else(|_| {
            Err(OpenError::Damaged {
                folder: folder.to_owned(),
                what: "the database cannot be read".to_owned(),
            })
        })
    }
}

/// How the database is opened: a file that was altered is refused, rather than read until something breaks.
pub(super) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Writes what a new database holds: the genesis block and its state.
pub(super) fn write_genesis(
    database: &Database,
    spec: &ChainSpec,
    state: &StateBatch,
) -> Result<(), StoreFailure> {
    let genesis = spec.genesis_block();
    let total_difficulty = spec.genesis_header().difficulty;
    let row = HeaderRow { hash: genesis.hash, total_difficulty, rlp: &genesis.header };
    let executed = row.executed(&row.facts()?)?;
    let transaction = database.begin_write()?;
    make_tables(&transaction)?;
    Identity::of(spec).write(&transaction)?;
    transaction.open_table(META)?.insert(meta::EXECUTED, &codec::write_executed(&executed)[..])?;
    transaction.open_table(HEADERS)?.insert(0, &row.write()[..])?;
    transaction.open_table(NUMBERS)?.insert(&genesis.hash.0, 0)?;
    transaction.open_table(BODIES)?.insert(0, &genesis.body[..])?;
    write_state(&transaction, state)?;
    Ok(transaction.commit()?)
}

/// Makes folder and database; when it fails, neither is there afterwards.
fn make(folder: &Path, spec: &ChainSpec, state: &StateBatch) -> Result<(), OpenError> {
    let missing: Vec<PathBuf> =
        folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    let made = fs::create_dir_all(folder)
        .map_err(|error| OpenError::io(folder, error))
        .and_then(|()| make_database(folder, spec, state));
    if made.is_err() {
        // Only what is empty goes, so nothing of anyone else's.
        missing.iter().take_while(|path| fs::remove_dir(path).is_ok()).count();
    }
    made
}

/// Makes the database under another name, which it loses when everything is in it. Whoever holds a database
/// of that name has it locked, so two that start at once do not meet.
fn make_database(folder: &Path, spec: &ChainSpec, state: &StateBatch) -> Result<(), OpenError> {
    let io = |error| OpenError::io(folder, error);
    let (path, unfinished) = (folder.join(DATABASE), folder.join(UNFINISHED));
    remove_left_over(folder, &unfinished)?;
    let database = builder().create(&unfinished).map_err(|error| OpenError::database(folder, error))?;
    let finish = || {
        write_genesis(&database, spec, state).map_err(|failure| OpenError::failure(folder, failure))?;
        if path.try_exists().map_err(io)? {
            // Someone else was faster; theirs is looked at.
            return fs::remove_file(&unfinished).map_err(io);
        }
        Identity::of(spec).write_text(folder).map_err(io)?;
        fs::rename(&unfinished, &path).map_err(io)?;
        sync_folder(folder).map_err(io)
    };
    let made = finish();
    if made.is_err() {
        for name in [UNFINISHED, VERSION] {
            let _ = fs::remove_file(folder.join(name));
        }
    }
    made
}

/// Removes what a kill left of a folder that was being made.
fn remove_left_over(folder: &Path, unfinished: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::io(folder, error);
    let file = match fs::OpenOptions::new().read(true).write(true).open(unfinished) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(folder.to_owned())),
        Err(fs::TryLockError::Error(error)) => return Err(io(error)),
    }
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io(error)),
        _ => Ok(()),
    }
}

/// Makes the new name as lasting as the file.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match cfg!(unix) {
        true => fs::File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}
