//! Block files, fully checked before a single block of them is served.
//!
//! Three forms: concatenated RLP blocks, the same gzipped, and era1. A file is read once, block by
//! block: links, hashes, transaction, ommer, withdrawal and receipts roots. What is kept is the
//! blocks alone, each in one allocation; neither the file nor its inflated form is held.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use super::block::{BlockRef, RawBlock};
use super::era1::{self, Era1Reader};
use super::header::HeaderFacts;
use super::import_error::Place;
use super::spec::ChainSpec;
use super::verify::{check_body, check_link, check_receipts};
use crate::wire::DecodeError;
use crate::wire::rlp::{EMPTY_LIST, Head};

pub use super::import_error::{ImportCause, ImportError};

/// The largest block in bytes that a file may hold; the largest of today has 10 MiB (EIP-7934).
pub const BLOCK_BYTES_MAX: u64 = 32 << 20;

/// How much is read from a file, or inflated, at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// What a file holds, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The blocks in order, each linked to the one before. Without the genesis, even if the file
    /// has it.
    pub blocks: Vec<RawBlock>,
    /// The receipts of each block in consensus form, for files that have them (era1).
    pub receipts: Option<Vec<Bytes>>,
    /// The first block, if it is to be trusted because the file starts above block 1.
    pub anchor: Option<BlockRef>,
}

/// Reads and checks a block file: `.rlp`, `.rlp.gz` or `.era1`, by name or else by its first bytes.
///
/// A first block 0 must be the genesis of `spec`, a first block 1 must follow it; a higher first
/// number makes that block the anchor. Nothing of a file with a flaw is returned.
pub fn open(path: &Path, spec: &ChainSpec) -> Result<Imported, ImportError> {
    let mut progress = Progress { place: Place::default(), spec, last: None, imported: Imported::empty() };
    match read(path, &mut progress) {
        Ok(()) => Ok(progress.imported),
        Err(cause) => Err(ImportError::new(path, progress.place, cause)),
    }
}

impl Imported {
    fn empty() -> Self {
        Self { blocks: Vec::new(), receipts: None, anchor: None }
    }
}

/// What has been read and checked so far.
struct Progress<'a> {
    place: Place,
    spec: &'a ChainSpec,
    last: Option<BlockRef>,
    imported: Imported,
}

impl Progress<'_> {
    /// The next block starts at this byte.
    fn at(&mut self, offset: u64) {
        self.place.offset = Some(offset);
        self.place.number = self.last.and_then(|last| last.number.checked_add(1));
    }

    fn take(
        &mut self,
        raw: RawBlock,
        facts: &HeaderFacts,
        receipts: Option<Bytes>,
    ) -> Result<(), ImportCause> {
        self.place.number = Some(raw.number);
        self.check_link(facts)?;
        check_body(facts, &raw.body)?;
        if let Some(receipts) = &receipts {
            check_receipts(facts, receipts)?;
        }
        self.last = Some(raw.block_ref());
        if raw.number == 0 {
            return Ok(());
        }
        if self.imported.blocks.is_empty() && raw.number > 1 {
            self.imported.anchor = Some(raw.block_ref());
        }
        self.imported.blocks.push(raw);
        if let Some(receipts) = receipts {
            self.imported.receipts.get_or_insert_default().push(receipts);
        }
        Ok(())
    }

    fn check_link(&self, facts: &HeaderFacts) -> Result<(), ImportCause> {
        let genesis = self.spec.genesis();
        let chain = || self.spec.name().to_owned();
        match (self.last, facts.number) {
            (Some(last), _) => Ok(check_link(last, facts)?),
            (None, 0) if facts.hash != genesis.hash => {
                Err(ImportCause::OtherGenesis { chain: chain(), expected: genesis.hash, got: facts.hash })
            }
            (None, 1) if facts.parent_hash != genesis.hash => Err(ImportCause::OtherChain {
                chain: chain(),
                expected: genesis.hash,
                got: facts.parent_hash,
            }),
            (None, _) => Ok(()),
        }
    }
}

fn read(path: &Path, progress: &mut Progress<'_>) -> Result<(), ImportCause> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let start = file.fill_buf()?;
    let named =
        |suffix: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(suffix));
    if named("era1") || start.starts_with(&era1::MAGIC) {
        read_era1(file, progress)
    } else if named("gz") || start.starts_with(&[0x1f, 0x8b]) {
        read_rlp(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file)), progress)
    } else {
        read_rlp(file, progress)
    }
}

fn read_era1(file: impl BufRead, progress: &mut Progress<'_>) -> Result<(), ImportCause> {
    let mut reader = Era1Reader::new(file);
    loop {
        progress.at(reader.offset());
        match reader.next_block() {
            Ok(Some(block)) => progress.take(block.raw, &block.facts, Some(block.receipts))?,
            Ok(None) => return if progress.last.is_some() { Ok(()) } else { Err(ImportCause::Empty) },
            Err(cause) => {
                progress.at(reader.offset());
                return Err(cause);
            }
        }
    }
}

fn read_rlp(mut reader: impl BufRead, progress: &mut Progress<'_>) -> Result<(), ImportCause> {
    let mut block = Vec::new();
    let mut offset = 0;
    loop {
        progress.at(offset);
        if reader.fill_buf()?.is_empty() {
            return if progress.last.is_some() { Ok(()) } else { Err(ImportCause::Empty) };
        }
        read_list(&mut reader, &mut block)?;
        let (raw, facts) = RawBlock::from_rlp(&block)?;
        progress.take(raw, &facts, None)?;
        offset += block.len() as u64;
    }
}

/// Reads one RLP list into `block`, header and all. What is allocated follows what there is, not
/// what is declared.
fn read_list(reader: &mut impl Read, block: &mut Vec<u8>) -> Result<(), ImportCause> {
    block.clear();
    let head = loop {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        block.push(byte[0]);
        if block[0] < EMPTY_LIST {
            return Err(DecodeError::Invalid("RLP list").into());
        }
        match Head::read(block) {
            Err(DecodeError::Truncated) if block.len() < Head::LEN_MAX => {}
            head => break head?,
        }
    };
    let payload_bytes = head.payload_len as u64;
    if payload_bytes > BLOCK_BYTES_MAX {
        return Err(ImportCause::TooLarge { max: BLOCK_BYTES_MAX });
    }
    if reader.take(payload_bytes).read_to_end(block)? as u64 != payload_bytes {
        return Err(ImportCause::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
