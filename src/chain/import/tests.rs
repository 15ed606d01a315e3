use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use alloy_consensus::Header;
use alloy_primitives::{B256, b256};
use flate2::write::GzEncoder;

use super::super::testdata;
use super::*;

/// A file that is gone with its owner.
struct TempFile(std::path::PathBuf);

impl TempFile {
    fn new(suffix: &str, bytes: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunkline-import-{}-{count}{suffix}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Concatenated empty blocks.
fn rlp_chain(mut parent: BlockRef, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..count {
        let header = Header { number: parent.number + 1, parent_hash: parent.hash, ..Header::default() };
        parent = BlockRef { number: header.number, hash: header.hash_slow() };
        let (block, _) = RawBlock::from_parts(&alloy_rlp::encode(header), &[0xc2, 0xc0, 0xc0]).unwrap();
        block.write_rlp(&mut out).unwrap();
    }
    out
}

fn refused(suffix: &str, bytes: &[u8]) -> String {
    let file = TempFile::new(suffix, bytes);
    let error = open(&file.0, &ChainSpec::dev()).expect_err("should be refused").to_string();
    assert!(!error.contains('\n') && error.contains("trunkline-import-"), "{error:?}");
    error
}

#[test]
fn blocks_after_the_genesis_are_imported_plain_and_gzipped() {
    let spec = ChainSpec::dev();
    let bytes = rlp_chain(spec.genesis(), 7);
    for (suffix, bytes) in [(".rlp", bytes.clone()), (".rlp.gz", gzip(&bytes)), ("", gzip(&bytes))] {
        let file = TempFile::new(suffix, &bytes);
        let imported = open(&file.0, &spec).unwrap();
        assert_eq!((imported.blocks.len(), imported.anchor, imported.receipts), (7, None, None));
        assert_eq!(imported.blocks[0].number, 1);
    }
}

#[test]
fn a_genesis_in_the_file_is_checked_and_left_out() {
    let spec = ChainSpec::dev();
    let mut bytes = Vec::new();
    spec.genesis_block().write_rlp(&mut bytes).unwrap();
    let alone = TempFile::new(".rlp", &bytes);
    assert_eq!(open(&alone.0, &spec).unwrap().blocks, []);
    bytes.extend(rlp_chain(spec.genesis(), 2));
    let file = TempFile::new(".rlp", &bytes);
    assert_eq!(open(&file.0, &spec).unwrap().blocks.len(), 2);
    let error = open(&file.0, &ChainSpec::sepolia()).unwrap_err();
    assert!(matches!(error.cause(), ImportCause::OtherGenesis { .. }), "{error}");
}

#[test]
fn a_higher_first_block_is_the_anchor() {
    let bytes = rlp_chain(BlockRef { number: 41, hash: B256::repeat_byte(3) }, 3);
    let file = TempFile::new(".rlp", &bytes);
    let imported = open(&file.0, &ChainSpec::dev()).unwrap();
    assert_eq!(imported.anchor, Some(imported.blocks[0].block_ref()));
    assert_eq!(imported.anchor.map(|anchor| anchor.number), Some(42));
}

#[test]
fn files_of_no_use_are_refused_in_one_line() {
    let genesis = ChainSpec::dev().genesis();
    let good = rlp_chain(genesis, 3);
    let gap = [rlp_chain(genesis, 1), rlp_chain(BlockRef { number: 2, hash: B256::ZERO }, 1)].concat();
    for (suffix, bytes, says) in [
        (".rlp", vec![], "no blocks"),
        (".rlp.gz", vec![], "ends in the middle"),
        (".rlp.gz", gzip(&[]), "no blocks"),
        (".era1", vec![], "ends in the middle"),
        (".rlp", vec![0x55; 100], "not a block"),
        (".rlp.gz", vec![0x55; 100], "gzip"),
        (".era1", vec![0x55; 100], "era1"),
        (".rlp", vec![0xff; 100], "larger than"),
        (".rlp", good[..good.len() - 1].to_vec(), "block 3 at byte"),
        (".rlp", [&good[..], &[0xc0]].concat(), "block 4 at byte"),
        (".rlp", rlp_chain(BlockRef { number: 0, hash: B256::ZERO }, 1), "genesis"),
        (".rlp", gap, "block 3 at byte"),
    ] {
        let error = refused(suffix, &bytes);
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
    let absent = open(Path::new("/nowhere/trunkline.rlp"), &ChainSpec::dev()).unwrap_err();
    assert!(absent.to_string().starts_with("/nowhere/trunkline.rlp: "), "{absent}");
}

#[test]
fn a_file_cut_anywhere_is_refused_or_ends_with_a_whole_block() {
    let spec = ChainSpec::dev();
    let good = rlp_chain(spec.genesis(), 2);
    let half = good.len() / 2;
    for len in 0..good.len() {
        let mut progress =
            Progress { place: Place::default(), spec: &spec, last: None, imported: Imported::empty() };
        assert_eq!(read_rlp(&good[..len], &mut progress).is_ok(), len == half, "{len} bytes");
    }
    let zipped = gzip(&good);
    for len in 0..zipped.len() {
        let mut progress =
            Progress { place: Place::default(), spec: &spec, last: None, imported: Imported::empty() };
        let reader = BufReader::new(MultiGzDecoder::new(&zipped[..len]));
        assert!(read_rlp(reader, &mut progress).is_err(), "{len} gzipped bytes");
    }
}

fn data(genesis: &str, file: &str) -> Option<(ChainSpec, std::path::PathBuf)> {
    let spec = ChainSpec::from_genesis_json(&testdata::read(genesis)?).unwrap();
    Some((spec, testdata::path(file)?))
}

#[test]
fn the_600_blocks_of_geth_are_imported_and_no_flipped_byte_passes() {
    let Some((spec, path)) = data("geth-ethtest/genesis.json", "geth-ethtest/chain.rlp") else { return };
    let imported = open(&path, &spec).unwrap();
    let head = b256!("44e3809c9a3cda717f00aea3a9da336d149612c8d5657fbc0028176ef8d94d2a");
    assert_eq!((imported.blocks.len(), imported.blocks[599].hash, imported.anchor), (600, head, None));

    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        let mut progress =
            Progress { place: Place::default(), spec: &spec, last: None, imported: Imported::empty() };
        // A change in the last header only makes another head; everything before is linked.
        let sound = read_rlp(&bad[..], &mut progress).is_ok();
        assert!(!sound || progress.last.map(|last| last.hash) != Some(head), "byte {at}");
        assert!(!sound || at > good.len() - 4000, "byte {at}");
    }
    let error = open(&path, &ChainSpec::dev()).unwrap_err();
    assert!(matches!(error.cause(), ImportCause::OtherChain { .. }), "{error}");
}

#[test]
fn the_8192_blocks_of_sepolia_are_imported_with_receipts() {
    let Some(path) = testdata::path("sepolia/sepolia-00021-b8814b14.era1") else { return };
    let spec = ChainSpec::sepolia();
    let imported = open(&path, &spec).unwrap();
    let first = b256!("eb20db3e285c22f189aae88e1044aed08997b35675cfb5db3e60fe8a0daee218");
    let last = b256!("af105ff107f4d9b48bc205c3001ee33938b1b6f3b2ef04da0064ae63ecb1d80a");
    assert_eq!(imported.anchor, Some(BlockRef { number: 172_032, hash: first }));
    assert_eq!(imported.blocks.last().map(|block| block.hash), Some(last));
    assert_eq!((imported.blocks.len(), imported.receipts.map(|receipts| receipts.len())), (8192, Some(8192)));

    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bytes, what) in [(&flipped[..], "flipped"), (&good[..good.len() - 5000], "cut")] {
        let mut progress =
            Progress { place: Place::default(), spec: &spec, last: None, imported: Imported::empty() };
        assert!(read_era1(bytes, &mut progress).is_err(), "{what}");
    }
}

#[test]
fn the_20000_blocks_of_the_long_chain_are_imported() {
    let Some((spec, path)) = data("long/genesis.json", "long/chain.rlp.gz") else { return };
    let imported = open(&path, &spec).unwrap();
    let head = b256!("0fdd9c93d6446c7f8205204a5927f9a751133aa210d143326479a4ff92e5ea1e");
    assert_eq!((imported.blocks.len(), imported.blocks.last().map(|block| block.hash)), (20_000, Some(head)));
}

/// `cargo test --release --lib chain::import -- --ignored --nocapture` for the figures.
#[test]
#[ignore = "a measurement"]
fn how_fast_the_long_chain_is_imported() {
    let Some((spec, path)) = data("long/genesis.json", "long/chain.rlp.gz") else { return };
    let start = std::time::Instant::now();
    let imported = open(&path, &spec).unwrap();
    let took = start.elapsed();
    let head = b256!("0fdd9c93d6446c7f8205204a5927f9a751133aa210d143326479a4ff92e5ea1e");
    assert_eq!(imported.blocks.last().map(|block| block.hash), Some(head));
    println!("import: {took:?}, {:.0} blocks/s", 20_000.0 / took.as_secs_f64());

    let facts: Vec<_> = imported
        .blocks
        .iter()
        .map(|block| HeaderFacts::read_hashed(&block.header, block.hash).unwrap())
        .collect();
    let start = std::time::Instant::now();
    for (block, facts) in imported.blocks.iter().zip(&facts) {
        check_body(facts, &block.body).unwrap();
    }
    let took = start.elapsed();
    println!("check_body: {took:?}, {:.0} blocks/s", 20_000.0 / took.as_secs_f64());
    let start = std::time::Instant::now();
    for (pair, facts) in imported.blocks.windows(2).zip(&facts[1..]) {
        let read = super::super::verify::check_header_link(pair[0].block_ref(), &pair[1].header).unwrap();
        assert_eq!(read.hash, facts.hash);
    }
    let took = start.elapsed();
    println!("check_header_link: {took:?}, {:.0} headers/s", 19_999.0 / took.as_secs_f64());

    let Some(path) = testdata::path("sepolia/sepolia-00021-b8814b14.era1") else { return };
    let start = std::time::Instant::now();
    open(&path, &ChainSpec::sepolia()).unwrap();
    println!("era1: {:?} for 8,192 blocks", start.elapsed());
}
