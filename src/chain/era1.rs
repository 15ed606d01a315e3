//! era1 files: pre-merge blocks with receipts, as records of `type u16 LE | length u32 LE |
//! reserved u16 = 0 | data`.
//!
//! Header, body and receipts are snappy-framed RLP. Everything that can be checked without a second
//! pass is: the order of records, frame checksums, total difficulties, the accumulator root and the
//! index, which also tells a complete file from one that was cut between two records.

use std::io::{self, BufRead, Read};

use alloy_primitives::{B256, U256};
use bytes::Bytes;
use k256::sha2::{Digest, Sha256};
use snap::read::FrameDecoder;

use super::block::RawBlock;
use super::header::HeaderFacts;
use super::import_error::ImportCause;

/// The first bytes of every era1 file: an empty version record.
pub(crate) const MAGIC: [u8; 8] = [0x65, 0x32, 0, 0, 0, 0, 0, 0];

/// The most blocks one file holds: the accumulator is a list of so many.
pub const ERA1_BLOCKS_MAX: usize = 8192;

/// The largest header, body or list of receipts in bytes, inflated.
pub const PART_BYTES_MAX: u64 = 32 << 20;

/// What every snappy-framed record begins with: the stream identifier chunk.
const STREAM_IDENTIFIER: &[u8; 10] = b"\xff\x06\x00\x00sNaPpY";

const VERSION: u16 = 0x3265;
const HEADER: u16 = 0x03;
const BODY: u16 = 0x04;
const RECEIPTS: u16 = 0x05;
const TOTAL_DIFFICULTY: u16 = 0x06;
const ACCUMULATOR: u16 = 0x07;
const INDEX: u16 = 0x3266;

/// One block of the file. Its body and receipts are not yet checked against its header.
#[derive(Debug)]
pub(crate) struct Era1Block {
    pub(crate) raw: RawBlock,
    pub(crate) facts: HeaderFacts,
    pub(crate) receipts: Bytes,
}

/// Reads the blocks of an era1 file in order.
pub(crate) struct Era1Reader<R: BufRead> {
    /// One decoder for all records, because making one costs 140 KiB: each record sets how far it
    /// may read. It has seen a stream identifier of ours; that of each record is checked here.
    decoder: FrameDecoder<io::Take<io::Chain<&'static [u8], R>>>,
    /// Where the next record starts.
    offset: u64,
    started: bool,
    accumulated: bool,
    first: Option<u64>,
    total_difficulty: Option<U256>,
    /// Where each block's header record starts, for the index.
    header_offsets: Vec<u64>,
    /// The hash of each block's header record, for the accumulator.
    leaves: Vec<B256>,
}

/// A record's header.
#[derive(Debug, Clone, Copy)]
struct Record {
    kind: u16,
    data_bytes: u32,
    offset: u64,
}

impl<R: BufRead> Era1Reader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            decoder: FrameDecoder::new(STREAM_IDENTIFIER.chain(reader).take(STREAM_IDENTIFIER.len() as u64)),
            offset: 0,
            started: false,
            accumulated: false,
            first: None,
            total_difficulty: None,
            header_offsets: Vec::new(),
            leaves: Vec::new(),
        }
    }

    /// Where the record starts that is read next, or was being read when it failed.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block; `None` once the index has been read and found right.
    pub(crate) fn next_block(&mut self) -> Result<Option<Era1Block>, ImportCause> {
        if !self.started {
            // Nothing to inflate yet: this only shows the decoder our stream identifier.
            io::copy(&mut self.decoder, &mut io::sink())?;
            let version = self.record()?;
            if version.kind != VERSION || version.data_bytes != 0 {
                return Err(ImportCause::Era1("it does not begin with a version record"));
            }
            self.started = true;
        }
        loop {
            let record = self.record()?;
            match record.kind {
                HEADER if !self.accumulated => return self.block(record).map(Some),
                ACCUMULATOR if !self.accumulated => self.check_accumulator(record)?,
                INDEX if self.accumulated => return self.check_index(record).map(|()| None),
                HEADER | BODY | RECEIPTS | TOTAL_DIFFICULTY | ACCUMULATOR | INDEX | VERSION => {
                    return Err(ImportCause::Era1("a record out of order"));
                }
                _ => self.skip(record)?,
            }
        }
    }

    fn block(&mut self, header: Record) -> Result<Era1Block, ImportCause> {
        if self.leaves.len() == ERA1_BLOCKS_MAX {
            return Err(ImportCause::Era1("more than 8192 blocks"));
        }
        let header_bytes = self.inflate(header)?;
        let record = self.expect(BODY)?;
        let body_bytes = self.inflate(record)?;
        let record = self.expect(RECEIPTS)?;
        let receipts = self.inflate(record)?;
        let record = self.expect(TOTAL_DIFFICULTY)?;
        let total: [u8; 32] = self.fixed(record)?;

        let (raw, facts) = RawBlock::from_parts(&header_bytes, &body_bytes)?;
        let total_difficulty = U256::from_le_bytes(total);
        let before = match self.total_difficulty {
            Some(before) => before,
            None if facts.number == 0 => U256::ZERO,
            None => total_difficulty.saturating_sub(facts.difficulty),
        };
        if before.checked_add(facts.difficulty) != Some(total_difficulty) {
            return Err(ImportCause::Era1("a total difficulty that does not add up"));
        }
        self.total_difficulty = Some(total_difficulty);
        self.first.get_or_insert(facts.number);
        self.header_offsets.push(header.offset);
        self.leaves.push(sha256(facts.hash.as_slice(), &total));
        Ok(Era1Block { raw, facts, receipts: Bytes::from(receipts) })
    }

    /// Reads the next record's header. The file may not end here: only the index ends it.
    fn record(&mut self) -> Result<Record, ImportCause> {
        let offset = self.offset;
        let mut head = [0; 8];
        self.reader().read_exact(&mut head)?;
        let [k0, k1, l0, l1, l2, l3, r0, r1] = head;
        if [r0, r1] != [0, 0] {
            return Err(ImportCause::Era1("a record whose reserved bytes are not zero"));
        }
        let data_bytes = u32::from_le_bytes([l0, l1, l2, l3]);
        Ok(Record { kind: u16::from_le_bytes([k0, k1]), data_bytes, offset })
    }

    fn expect(&mut self, kind: u16) -> Result<Record, ImportCause> {
        loop {
            let record = self.record()?;
            match record.kind {
                found if found == kind => return Ok(record),
                HEADER | BODY | RECEIPTS | TOTAL_DIFFICULTY | ACCUMULATOR | INDEX | VERSION => {
                    return Err(ImportCause::Era1("a record out of order"));
                }
                _ => self.skip(record)?,
            }
        }
    }

    /// Inflates a record's data. What is allocated follows what is inflated, not what is declared.
    fn inflate(&mut self, record: Record) -> Result<Vec<u8>, ImportCause> {
        let mut identifier = [0; STREAM_IDENTIFIER.len()];
        let framed_bytes = u64::from(record.data_bytes).checked_sub(identifier.len() as u64);
        self.reader().read_exact(&mut identifier)?;
        let (Some(framed_bytes), STREAM_IDENTIFIER) = (framed_bytes, &identifier) else {
            return Err(ImportCause::Era1("a record that is not snappy-framed"));
        };
        self.decoder.get_mut().set_limit(framed_bytes);
        let mut out = Vec::new();
        (&mut self.decoder).take(PART_BYTES_MAX + 1).read_to_end(&mut out)?;
        if out.len() as u64 > PART_BYTES_MAX {
            return Err(ImportCause::TooLarge { max: PART_BYTES_MAX });
        }
        if self.decoder.get_ref().limit() > 0 {
            return Err(ImportCause::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        out.shrink_to_fit();
        self.done(record);
        Ok(out)
    }

    fn fixed<const N: usize>(&mut self, record: Record) -> Result<[u8; N], ImportCause> {
        if record.data_bytes as usize != N {
            return Err(ImportCause::Era1("a record of the wrong size"));
        }
        let mut out = [0; N];
        self.reader().read_exact(&mut out)?;
        self.done(record);
        Ok(out)
    }

    fn skip(&mut self, record: Record) -> Result<(), ImportCause> {
        let bytes = u64::from(record.data_bytes);
        if io::copy(&mut self.reader().take(bytes), &mut io::sink())? < bytes {
            return Err(ImportCause::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.done(record);
        Ok(())
    }

    fn done(&mut self, record: Record) {
        self.offset = record.offset + 8 + u64::from(record.data_bytes);
    }

    fn reader(&mut self) -> &mut (impl BufRead + use<R>) {
        self.decoder.get_mut().get_mut()
    }

    fn check_accumulator(&mut self, record: Record) -> Result<(), ImportCause> {
        let root = self.fixed::<32>(record)?;
        if B256::from(root) == accumulator_root(&self.leaves) {
            self.accumulated = true;
            Ok(())
        } else {
            Err(ImportCause::Era1("an accumulator root that is not that of its blocks"))
        }
    }

    /// The index ends the file: start number, offset of each header record from the index record,
    /// count.
    fn check_index(&mut self, record: Record) -> Result<(), ImportCause> {
        let wrong = ImportCause::Era1("an index that is not that of its blocks");
        if record.data_bytes as usize != 16 + 8 * self.header_offsets.len() {
            return Err(wrong);
        }
        let mut data = vec![0; record.data_bytes as usize];
        self.reader().read_exact(&mut data)?;
        let offsets = self.header_offsets.iter().map(|at| at.wrapping_sub(record.offset));
        let expected = std::iter::once(self.first.unwrap_or(0))
            .chain(offsets)
            .chain(std::iter::once(self.header_offsets.len() as u64))
            .flat_map(u64::to_le_bytes);
        if !expected.eq(data) {
            return Err(wrong);
        }
        self.done(record);
        if self.reader().fill_buf()?.is_empty() {
            Ok(())
        } else {
            Err(ImportCause::Era1("bytes after the index"))
        }
    }
}

/// The SSZ root of a list of at most 8192 header records: a tree of hashes, then its length.
fn accumulator_root(leaves: &[B256]) -> B256 {
    let mut layer = leaves.to_vec();
    let mut padding = B256::ZERO;
    for _ in 0..ERA1_BLOCKS_MAX.ilog2() {
        layer = layer
            .chunks(2)
            .map(|pair| sha256(pair[0].as_slice(), pair.get(1).unwrap_or(&padding).as_slice()))
            .collect();
        padding = sha256(padding.as_slice(), padding.as_slice());
    }
    let tree = layer.first().copied().unwrap_or(padding);
    sha256(tree.as_slice(), &U256::from(leaves.len()).to_le_bytes::<32>())
}

fn sha256(left: &[u8], right: &[u8]) -> B256 {
    let digest: [u8; 32] = Sha256::new().chain_update(left).chain_update(right).finalize().into();
    B256::from(digest)
}

#[cfg(test)]
mod tests;
