use std::io::Write;

use alloy_consensus::Header;

use super::super::testdata;
use super::super::verify::{check_body, check_receipts};
use super::*;

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(data);
    out
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

/// A sound file of `count` empty blocks from `first` on, with a record of unknown type in each.
fn file(first: u64, count: u64) -> Vec<u8> {
    let mut out = record(VERSION, &[]);
    let (mut offsets, mut leaves) = (Vec::new(), Vec::new());
    let mut parent_hash = B256::repeat_byte(7);
    for number in first..first + count {
        let header = Header { number, parent_hash, difficulty: U256::from(10), ..Header::default() };
        let rlp = alloy_rlp::encode(&header);
        parent_hash = header.hash_slow();
        let total = U256::from(10 * (number + 1)).to_le_bytes::<32>();
        offsets.push(out.len() as u64);
        leaves.push(sha256(parent_hash.as_slice(), &total));
        out.extend(record(HEADER, &framed(&rlp)));
        out.extend(record(0x1234, b"of no meaning to us"));
        out.extend(record(BODY, &framed(&[0xc2, 0xc0, 0xc0])));
        out.extend(record(RECEIPTS, &framed(&[0xc0])));
        out.extend(record(TOTAL_DIFFICULTY, &total));
    }
    out.extend(record(ACCUMULATOR, accumulator_root(&leaves).as_slice()));
    let at = out.len() as u64;
    let mut index = first.to_le_bytes().to_vec();
    offsets.iter().for_each(|offset| index.extend(offset.wrapping_sub(at).to_le_bytes()));
    index.extend(count.to_le_bytes());
    out.extend(record(INDEX, &index));
    out
}

fn read(bytes: &[u8]) -> Result<Vec<Era1Block>, ImportCause> {
    let mut reader = Era1Reader::new(bytes);
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    Ok(blocks)
}

#[test]
fn a_sound_file_gives_its_blocks() {
    let blocks = read(&file(100, 5)).unwrap();
    assert_eq!(blocks.iter().map(|block| block.raw.number).collect::<Vec<_>>(), [100, 101, 102, 103, 104]);
    assert_eq!(blocks[4].facts.parent_hash, blocks[3].raw.hash);
    assert_eq!(&blocks[0].receipts[..], [0xc0]);
    assert_eq!(read(&file(0, 2)).unwrap().len(), 2);
    assert!(read(&file(0, 0)).unwrap().is_empty());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = file(3, 2);
    for len in 0..file.len() {
        assert!(read(&file[..len]).is_err(), "{len} of {} bytes", file.len());
    }
    assert!(read(&[&file[..], &[0]].concat()).is_err(), "a byte too many");
}

/// Two kinds of flips change nothing: in a record that is skipped, and in snappy's choice of which
/// of several equal bytes to copy.
#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let mut file = file(3, 2);
    let parts = |file: &[u8]| {
        let blocks = read(file).ok()?;
        // As the import does: what the reader leaves to be checked against the header.
        for block in &blocks {
            check_body(&block.facts, &block.raw.body).ok()?;
            check_receipts(&block.facts, &block.receipts).ok()?;
        }
        Some(blocks.into_iter().map(|block| (block.raw, block.receipts)).collect::<Vec<_>>())
    };
    let sound = parts(&file);
    let mut passed = 0;
    for at in 0..file.len() {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            if let Some(blocks) = parts(&file) {
                assert!(Some(blocks) == sound, "bit {bit} of byte {at}");
                passed += 1;
            }
            file[at] ^= 1 << bit;
        }
    }
    assert!(passed * 4 < file.len() * 8, "{passed} of {} flips passed", file.len() * 8);
}

#[test]
fn declared_lengths_allocate_nothing() {
    let mut bytes = record(VERSION, &[]);
    bytes.extend_from_slice(&[3, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    bytes.extend_from_slice(STREAM_IDENTIFIER);
    assert!(matches!(read(&bytes), Err(ImportCause::Io(_))));
}

#[test]
fn a_part_that_inflates_beyond_its_limit_is_refused() {
    let mut bytes = record(VERSION, &[]);
    bytes.extend(record(HEADER, &framed(&vec![0; PART_BYTES_MAX as usize + 1])));
    assert!(matches!(read(&bytes), Err(ImportCause::TooLarge { .. })));
}

#[test]
fn the_accumulator_of_a_real_file_is_right() {
    let Some(bytes) = testdata::read("sepolia/sepolia-00021-b8814b14.era1") else { return };
    let blocks = read(&bytes).unwrap();
    assert_eq!((blocks.len(), blocks[0].raw.number), (8192, 172_032));
}
