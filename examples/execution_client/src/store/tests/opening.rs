//! Folders that are made, opened again, and refused.

use std::fs;
use std::path::PathBuf;

use trunkline::sync::ChainStore;

use super::*;
use crate::state::StateError;
use crate::store::identity::VERSION;
use crate::store::open::{DATABASE, UNFINISHED};

/// Names and bytes of everything in a folder.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

fn refused(folder: &Path, chain: &Chain) -> OpenError {
    let error = Store::open(folder, chain, || Ok(StateBatch::default())).unwrap_err();
    let text = error.to_string();
    assert!(text.lines().count() == 1 && text.contains(folder.to_str().unwrap()), "{text}");
    error
}

fn other_chain() -> Chain {
    let json =
        br#"{"config":{"chainId":7,"homesteadBlock":0},"difficulty":"0x1","gasLimit":"0x47b760","alloc":{}}"#;
    Chain { spec: Arc::new(ChainSpec::from_genesis_json(json).unwrap()), ..chain() }
}

#[test]
fn a_folder_is_made_with_the_folders_above_it() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("a/b");
    open(&folder).unwrap();
    let names: Vec<_> = files(&folder).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, [folder.join(VERSION), folder.join(DATABASE)]);
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(refused(folder.path(), &chain()), OpenError::InUse(_)));
    store.append(blocks(chain().spec.genesis(), 1, 0)).unwrap();
    drop(store);
    assert_eq!(open(folder.path()).unwrap().stored().number, 1);
}

#[test]
fn a_folder_that_another_process_makes_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let unfinished = fs::File::create(folder.path().join(UNFINISHED)).unwrap();
    unfinished.lock().unwrap();
    assert!(matches!(refused(folder.path(), &chain()), OpenError::InUse(_)));
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn what_a_kill_left_of_making_a_folder_is_in_nobody_s_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(UNFINISHED), b"half a database").unwrap();
    fs::write(folder.path().join(VERSION), b"format 77").unwrap();
    open(folder.path()).unwrap();
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn another_chain_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let before = files(folder.path());
    let error = refused(folder.path(), &other_chain());
    let wanted = (chain().spec.genesis().hash, other_chain().spec.genesis().hash);
    assert!(matches!(error, OpenError::OtherGenesis { found, wanted: to, .. } if (found, to) == wanted));
    assert!(files(folder.path()) == before, "written to");

    fs::remove_file(folder.path().join(VERSION)).unwrap();
    assert!(matches!(refused(folder.path(), &other_chain()), OpenError::OtherGenesis { .. }));
    open(folder.path()).unwrap();
}

#[test]
fn another_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    fs::write(folder.path().join(VERSION), "format 2\nwho knows").unwrap();
    let before = files(folder.path());
    assert!(matches!(refused(folder.path(), &chain()), OpenError::Version { found: 2, wanted: 1, .. }));
    assert!(files(folder.path()) == before, "written to");
}

#[test]
fn a_folder_that_cannot_be_made_is_not_there() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("a/b");
    let failing = Store::open(&folder, &chain(), || Err(StateError::Damaged("no".to_owned())));
    assert!(matches!(failing.unwrap_err(), OpenError::Genesis { .. }));
    assert!(files(base.path()).is_empty());

    fs::create_dir_all(base.path().join(UNFINISHED)).unwrap();
    let kept = fs::read_dir(base.path()).unwrap().count();
    assert!(matches!(refused(base.path(), &chain()), OpenError::Io { .. }));
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), kept);
}

#[test]
fn a_file_is_no_folder() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    fs::write(&file, b"words").unwrap();
    assert!(matches!(refused(&file, &chain()), OpenError::NotAFolder(_)));
    assert!(matches!(refused(&file.join("below"), &chain()), OpenError::Io { .. }));
    assert_eq!(files(base.path()), [(file, b"words".to_vec())]);
}

#[test]
fn a_database_that_is_damaged_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let path = folder.path().join(DATABASE);
    let bytes = fs::read(&path).unwrap();
    for damaged in [&b""[..], b"x", &bytes[..bytes.len() / 2]] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(refused(folder.path(), &chain()), OpenError::Damaged { .. }), "{}", damaged.len());
    }
    fs::write(&path, bytes).unwrap();
    open(folder.path()).unwrap();
}
