//! Is an answer what was asked for? Pure hashing and comparing, done away from the network thread.

use alloy_primitives::B256;
use bytes::Bytes;

use super::bad_data::BadData;
use super::receipt_check::{ReceiptCheck, ReceiptVerdict};
use crate::chain::verify::{BodyRoots, check_body, check_link};
use crate::chain::{BlockRef, HeaderFacts, VerifyError};
use crate::wire::DecodeError;

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
    /// The receipts of some of the blocks asked for, in their order.
    Receipts(ReceiptCheck),
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
    /// The receipts that fit.
    Receipts(ReceiptVerdict),
    /// A header and its body.
    Block(Result<Box<(Header, Bytes)>, BadData>),
}

impl Check {
    /// Does the work.
    pub(super) fn run(self) -> Verdict {
        match self {
            Self::ByHash { hash, answer } => Verdict::Headers(by_hash(hash, answer)),
            Self::Rising { start, answer } => Verdict::Headers(rising(start, answer)),
            Self::Falling { start, answer } => Verdict::Headers(falling(start, answer)),
            Self::Bodies { wanted, answer } => bodies(&wanted, answer),
            Self::Receipts(check) => Verdict::Receipts(check.run()),
            Self::Block { header, body } => Verdict::Block(block(header, body).map(Box::new)),
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

#[cfg(test)]
mod tests {
    use alloy_consensus::Header as Fields;

    use super::*;

    /// A body without transactions and `ommers` equal ommers, and the facts that commit to it.
    fn sealed(number: u64, ommers: usize) -> (HeaderFacts, Bytes) {
        let list = alloy_rlp::encode(vec![Fields::default(); ommers]);
        let mut body = Vec::new();
        alloy_rlp::Header { list: true, payload_length: 1 + list.len() }.encode(&mut body);
        body.push(0xc0);
        body.extend_from_slice(&list);
        let roots = BodyRoots::of(&body).unwrap();
        let header = Fields {
            number,
            ommers_hash: roots.ommers,
            transactions_root: roots.transactions,
            ..Fields::default()
        };
        (HeaderFacts::read(&alloy_rlp::encode(header)).unwrap(), body.into())
    }

    fn places(wanted: &[HeaderFacts], answer: &[&Bytes]) -> (Vec<usize>, Option<BadData>) {
        let answer = answer.iter().copied().cloned().collect();
        match (Check::Bodies { wanted: wanted.to_vec(), answer }).run() {
            Verdict::Bodies { found, bad } => (found.into_iter().map(|(at, _)| at).collect(), bad),
            other => panic!("{other:?}"),
        }
    }

    /// G5, F18.
    #[test]
    fn bodies_are_matched_by_content_in_the_order_of_the_question() {
        let blocks: Vec<_> = (0..5).map(|i| sealed(i, i as usize)).collect();
        let facts: Vec<_> = blocks.iter().map(|(facts, _)| *facts).collect();
        let body = |at: usize| &blocks[at].1;
        assert_eq!(places(&facts, &[body(0), body(1), body(2)]), (vec![0, 1, 2], None));
        assert_eq!(places(&facts, &[body(1), body(4)]), (vec![1, 4], None));
        let stray = Some(BadData::StrayBody);
        assert_eq!(places(&facts, &[body(0), body(2), body(1)]), (vec![0, 2], stray));
        assert_eq!(places(&facts[..2], &[body(0), body(1), body(1)]), (vec![0, 1], stray));
        assert_eq!(places(&facts[..2], &[body(3)]), (vec![], stray));
        let (found, bad) = places(&facts, &[body(0), &Bytes::from_static(b"junk")]);
        assert!(found == [0] && bad.is_some());
    }

    #[test]
    fn a_small_part_of_an_answer_does_not_keep_the_rest_alive() {
        let (small, large) = (sealed(1, 0), sealed(2, 40));
        let message = Bytes::from([&small.1[..], &large.1[..]].concat());
        let answer = vec![message.slice(..small.1.len()), message.slice(small.1.len()..)];
        let Verdict::Bodies { found, .. } = (Check::Bodies { wanted: vec![small.0], answer }).run() else {
            panic!("not bodies")
        };
        assert_eq!(found[0].1, small.1);
        assert!(!message.as_ptr_range().contains(&found[0].1.as_ptr()));
    }

    /// G3, G7.
    #[test]
    fn headers_must_link_and_start_where_they_were_asked_for() {
        let mut parent = B256::ZERO;
        let chain: Vec<_> = (5..9)
            .map(|number| {
                let rlp = alloy_rlp::encode(Fields { number, parent_hash: parent, ..Fields::default() });
                parent = alloy_primitives::keccak256(&rlp);
                Bytes::from(rlp)
            })
            .collect();
        let rising = |start, answer: &[Bytes]| rising(start, answer.to_vec()).map(|headers| headers.len());
        assert_eq!(rising(5, &chain), Ok(4));
        assert_eq!(rising(4, &chain), Err(BadData::WrongStart { asked: 4, got: 5 }));
        assert!(rising(5, &[chain[0].clone(), chain[2].clone()]).is_err());
        assert!(rising(5, &[chain[0].clone(), chain[0].clone()]).is_err());
        let backwards: Vec<_> = chain.iter().rev().cloned().collect();
        assert!(rising(8, &backwards).is_err());
        assert_eq!(falling(8, backwards.clone()).map(|headers| headers.len()), Ok(4));
        assert!(falling(100, backwards.clone()).is_ok(), "peers start at their head if that is lower");
        assert!(falling(7, backwards).is_err());
        assert!(by_hash(parent, vec![chain[3].clone()]).is_ok());
        assert!(by_hash(parent, vec![chain[2].clone()]).is_err());
        let huge = Fields { number: 5, extra_data: vec![0; 200_000].into(), ..Fields::default() };
        assert!(rising(5, &[alloy_rlp::encode(huge).into()]).is_err());
    }
}
