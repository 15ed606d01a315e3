//! Is an answer what was asked for? Pure hashing and comparing, done away from the network thread.

use alloy_primitives::B256;
use bytes::Bytes;

use crate::chain::verify::{BodyRoots, check_body, check_link};
use crate::chain::{BlockRef, HeaderFacts, VerifyError};
use crate::wire::DecodeError;

/// What is wrong with what a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadData {
    /// A header or body that is malformed, or does not follow or fit what it should.
    #[error(transparent)]
    Block(#[from] VerifyError),
    /// Another header than the one whose hash was asked for.
    #[error("header {got} where {asked} was asked for")]
    WrongHash { asked: B256, got: B256 },
    /// Headers that start elsewhere.
    #[error("headers from {got} where {asked} was asked for")]
    WrongStart { asked: u64, got: u64 },
    /// More than was asked for.
    #[error("{got} items where {asked} were asked for")]
    Excess { got: usize, asked: usize },
    /// A body that belongs to none of the blocks asked for, or comes out of order.
    #[error("a body that belongs to none of the blocks asked for")]
    StrayBody,
    /// A header that the peer itself does not build on.
    #[error("its headers contradict each other at block {number}")]
    Contradiction { number: u64 },
    /// A chain that does not start at ours.
    #[error("its chain does not start at block {number} of ours")]
    OtherChain { number: u64 },
    /// A header that is not the trusted one, at its number.
    #[error("block {number} is not the trusted head")]
    NotTrusted { number: u64 },
    /// An answer that could not be decoded, or of the wrong kind.
    #[error("an answer that cannot be read")]
    Unreadable,
}

/// A header with what it says.
pub(super) type Header = (HeaderFacts, Bytes);

/// An answer, and what it should be.
#[derive(Debug)]
pub(super) enum Check {
    /// The header with this hash.
    ByHash { hash: B256, answer: Vec<Bytes> },
    /// Linked headers whose numbers rise from `start`.
    Rising { start: u64, answer: Vec<Bytes> },
    /// Linked headers whose numbers fall from `start`, or from the peer's head if that is lower.
    Falling { start: u64, answer: Vec<Bytes> },
    /// The bodies of some of these blocks, in their order.
    Bodies { wanted: Vec<HeaderFacts>, answer: Vec<Bytes> },
    /// A header and its body.
    Block { header: Bytes, body: Bytes },
}

/// What a check found.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Headers as asked for, or nothing of them.
    Headers(Result<Vec<Header>, BadData>),
    /// The bodies that fit, each with its place among those asked for, and what came after them.
    Bodies { found: Vec<(usize, Bytes)>, bad: Option<BadData> },
    /// A header and its body.
    Block(Result<(Header, Bytes), BadData>),
}

impl Check {
    /// Does the work.
    pub(super) fn run(self) -> Verdict {
        match self {
            Self::ByHash { hash, answer } => Verdict::Headers(by_hash(hash, answer)),
            Self::Rising { start, answer } => Verdict::Headers(rising(start, answer)),
            Self::Falling { start, answer } => Verdict::Headers(falling(start, answer)),
            Self::Bodies { wanted, answer } => bodies(&wanted, answer),
            Self::Block { header, body } => Verdict::Block(block(header, body)),
        }
    }
}

fn by_hash(hash: B256, answer: Vec<Bytes>) -> Result<Vec<Header>, BadData> {
    let headers = read(answer)?;
    match headers.first() {
        Some((facts, _)) if facts.hash == hash => Ok(headers),
        Some((facts, _)) => Err(BadData::WrongHash { asked: hash, got: facts.hash }),
        None => Ok(headers),
    }
}

fn rising(start: u64, answer: Vec<Bytes>) -> Result<Vec<Header>, BadData> {
    let headers = read(answer)?;
    match headers.first() {
        Some((facts, _)) if facts.number != start => {
            return Err(BadData::WrongStart { asked: start, got: facts.number });
        }
        _ => {}
    }
    for pair in headers.windows(2) {
        check_link(BlockRef::from(&pair[0].0), &pair[1].0)?;
    }
    Ok(headers)
}

fn falling(start: u64, answer: Vec<Bytes>) -> Result<Vec<Header>, BadData> {
    let headers = read(answer)?;
    match headers.first() {
        Some((facts, _)) if facts.number > start => {
            return Err(BadData::WrongStart { asked: start, got: facts.number });
        }
        _ => {}
    }
    for pair in headers.windows(2) {
        check_link(BlockRef::from(&pair[1].0), &pair[0].0)?;
    }
    Ok(headers)
}

fn read(answer: Vec<Bytes>) -> Result<Vec<Header>, BadData> {
    let read = |rlp: Bytes| HeaderFacts::read(&rlp).map(|facts| (facts, rlp)).map_err(malformed);
    answer.into_iter().map(read).collect()
}

fn malformed(cause: DecodeError) -> BadData {
    VerifyError::Malformed { part: crate::chain::verify::Part::Header, cause }.into()
}

/// Unknown blocks are left out by some peers, so a body is looked for further on; never further
/// back, because answers keep the order of the question.
fn bodies(wanted: &[HeaderFacts], answer: Vec<Bytes>) -> Verdict {
    let came: usize = answer.iter().map(Bytes::len).sum();
    let mut found = Vec::with_capacity(answer.len());
    let mut bad = None;
    let mut at = 0;
    for body in answer {
        match place(&wanted[at..], &body) {
            Ok(skipped) => {
                found.push((at + skipped, body));
                at += skipped + 1;
            }
            Err(error) => {
                bad = Some(error);
                break;
            }
        }
    }
    // A slice keeps the whole message alive: what is only a small part of it is copied out.
    let kept: usize = found.iter().map(|(_, body)| body.len()).sum();
    if kept < came / 2 {
        found.iter_mut().for_each(|(_, body)| *body = Bytes::copy_from_slice(body));
    }
    Verdict::Bodies { found, bad }
}

fn place(wanted: &[HeaderFacts], body: &[u8]) -> Result<usize, BadData> {
    let next = wanted.first().ok_or(BadData::StrayBody)?;
    match check_body(next, body) {
        Ok(()) => Ok(0),
        Err(VerifyError::Mismatch(_)) => {
            let roots = BodyRoots::of(body)?;
            let fits = |facts: &HeaderFacts| BodyRoots::from(facts) == roots;
            let at = wanted.iter().position(fits).ok_or(BadData::StrayBody)?;
            check_body(&wanted[at], body)?;
            Ok(at)
        }
        Err(error) => Err(error.into()),
    }
}

fn block(header: Bytes, body: Bytes) -> Result<(Header, Bytes), BadData> {
    let facts = HeaderFacts::read(&header).map_err(malformed)?;
    check_body(&facts, &body)?;
    Ok(((facts, header), body))
}
