//! A life of a store, one write after the other, and everything that is in it after each.

use redb::{ReadOnlyTable, StorageBackend};
use trunkline::sync::{ChainStore, StoreError};

use super::*;
use crate::store::StoreFailure;
use crate::store::open::{builder, write_genesis};

/// Everything in a store: table, key, value.
pub(super) type Content = Vec<(&'static str, Vec<u8>, Vec<u8>)>;

pub(super) fn content(store: &Store) -> Content {
    fn add<K: redb::Key, V: redb::Value>(
        all: &mut Content,
        name: &'static str,
        table: &ReadOnlyTable<K, V>,
        range: redb::Range<'static, K, V>,
    ) {
        let _ = table;
        for row in range {
            let (key, value) = row.unwrap();
            let (key, value) = (key.value(), value.value());
            all.push((name, K::as_bytes(&key).as_ref().to_vec(), V::as_bytes(&value).as_ref().to_vec()));
        }
    }
    let view = store.view();
    let mut all = Vec::new();
    add(&mut all, "meta", &view.meta, view.meta.range::<&str>(..).unwrap());
    add(&mut all, "headers", &view.headers, view.headers.range::<u64>(..).unwrap());
    add(&mut all, "numbers", &view.numbers, view.numbers.range::<&[u8; 32]>(..).unwrap());
    add(&mut all, "bodies", &view.bodies, view.bodies.range::<u64>(..).unwrap());
    add(&mut all, "receipts", &view.receipts, view.receipts.range::<u64>(..).unwrap());
    add(&mut all, "accounts", &view.accounts, view.accounts.range::<&[u8; 20]>(..).unwrap());
    add(&mut all, "storage", &view.storage, view.storage.range::<&[u8; 52]>(..).unwrap());
    add(&mut all, "codes", &view.codes, view.codes.range::<&[u8; 32]>(..).unwrap());
    add(&mut all, "nodes", &view.nodes, view.nodes.range::<&[u8]>(..).unwrap());
    add(&mut all, "undo", &view.undo, view.undo.range::<u64>(..).unwrap());
    all
}

pub(super) fn open_on(disk: impl StorageBackend) -> Result<Store, OpenError> {
    let open = || builder().create_with_backend(disk);
    Store::take_up(Path::new("disk"), chain().spec, open)
}

/// The bytes of a store that holds the genesis.
pub(super) fn genesis_bytes() -> Vec<u8> {
    let disk = disk::Disk::default();
    let database = builder().create_with_backend(disk.clone()).unwrap();
    write_genesis(&database, &chain().spec, &batch(0, 0)).unwrap();
    drop(database);
    disk.bytes()
}

pub(super) type Step = Box<dyn Fn(&Store) -> Result<(), StoreError>>;

/// Every kind of write, with branches that replace each other, and pruning.
pub(super) fn steps() -> Vec<Step> {
    fn append(blocks: &[RawBlock]) -> Step {
        let blocks = blocks.to_vec();
        Box::new(move |store| store.append(blocks.clone()))
    }
    fn commit(blocks: &[RawBlock], salt: u64) -> Step {
        let blocks = blocks.to_vec();
        Box::new(move |store| {
            let mut state = StateBatch::default();
            for block in &blocks {
                let StateBatch { accounts, storage, codes, nodes, .. } = batch(block.number, salt);
                state.accounts.extend(accounts);
                state.storage.extend(storage);
                state.codes.extend(codes);
                state.nodes.extend(nodes);
            }
            Ok(store.commit(blocks.iter().map(executed).collect(), state)?)
        })
    }
    let ours = blocks(chain().spec.genesis(), 12, 0);
    let theirs = blocks(ours[4].block_ref(), 150, 3);
    let lists = vec![(ours[1].hash, receipts(2)), (ours[5].hash, receipts(6))];
    let fork = ours[4].block_ref();
    let wipe = move |store: &Store| {
        let mut state = batch(5, 9);
        state.storage.insert(address(0), StorageBatch { wiped: true, slots: HashMap::new() });
        state.dropped = vec![key(7).owner];
        Ok(store.unwind(fork, state)?)
    };
    vec![
        append(&ours[..7]),
        Box::new(move |store| store.put_receipts(lists.clone())),
        commit(&ours[..3], 0),
        append(&ours[7..]),
        commit(&ours[3..8], 1),
        Box::new(|store| store.truncate(5)),
        append(&theirs[..8]),
        Box::new(wipe),
        commit(&theirs[..8], 2),
        append(&theirs[8..]),
        commit(&theirs[8..140], 3),
        Box::new(|store| store.truncate(150)),
    ]
}

/// What is in the store after no step, the first, the second ...
pub(super) fn contents() -> Vec<Content> {
    let store = open_on(disk::Disk::of(genesis_bytes())).unwrap();
    let mut contents = vec![content(&store)];
    for step in steps() {
        step(&store).unwrap();
        contents.push(content(&store));
    }
    contents
}

/// How many steps a store has behind it; it must be exactly there, with its heads in memory as on disk.
pub(super) fn steps_done(store: &Store, contents: &[Content]) -> usize {
    let now = content(store);
    let done = contents.iter().position(|content| *content == now).expect("half a step");
    let view = store.view();
    assert_eq!(store.executed(), view.executed().unwrap());
    assert_eq!(store.stored().number, view.last().unwrap());
    done
}

pub(super) fn is_no_space(error: &StoreError) -> bool {
    let StoreError::Io(error) = error else { return false };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(StoreFailure::NoSpace)) && error.kind() == std::io::ErrorKind::StorageFull
}
