//! Where the sync asks: the few things it needs of a network, so that it also runs without one.

use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::chain::BlockRef;
use crate::disconnect::DisconnectReason;
use crate::error::RequestError;
use crate::ids::{PeerId, SessionId};
use crate::protocols::eth::ReceiptLists;

/// The head that a peer says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its number; eth/68's Status does not tell, then the sync asks for the header of `hash`.
    pub number: Option<u64>,
    /// Its hash.
    pub hash: B256,
}

impl From<BlockRef> for Claim {
    fn from(head: BlockRef) -> Self {
        Self { number: Some(head.number), hash: head.hash }
    }
}

/// A peer that can be asked for headers, bodies and receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub peer: PeerId,
    /// Over which session: what requests and blame name.
    pub session: SessionId,
    /// The lowest block it says it serves.
    pub earliest: u64,
    /// The head it says it has.
    pub head: Claim,
}

/// What the network tells the sync.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// A peer finished its Status exchange.
    Up(Candidate),
    /// Its eth session is over.
    Down(SessionId),
    /// A peer announced what it serves, or a new head by its hash.
    Range {
        /// The session.
        session: SessionId,
        /// The lowest block, if it was told.
        earliest: Option<u64>,
        /// The head.
        head: Claim,
    },
    /// A peer sent a whole new block (before the merge).
    NewBlock {
        /// The session.
        session: SessionId,
        /// The RLP list of the header.
        header: Bytes,
        /// The RLP list `[transactions, ommers, withdrawals?]`.
        body: Bytes,
    },
    /// Events were lost: the candidates have to be read again.
    Lagged,
}

/// The first header of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockId {
    /// The block with this number on the peer's chain.
    Number(u64),
    /// The block with this hash.
    Hash(B256),
}

/// A request for consecutive headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadersQuery {
    /// The first one.
    pub start: BlockId,
    /// How many at most, at most 1,024.
    pub amount: u64,
    /// Whether numbers fall.
    pub reverse: bool,
}

/// Peers, their announcements, and requests to them.
///
/// Requests end when their future is dropped, and by themselves after `timeout`. The items of an
/// answer are slices of the message, one per header, body or block of receipts, as they came; more than were asked for
/// is the source's to refuse ([`RequestError::Malformed`]), and is refused again by the sync.
pub trait Source: Send + Sync + 'static {
    /// The peers there are now.
    fn candidates(&self) -> Vec<Candidate>;

    /// What happens from now on. Bounded by the source: when the sync does not keep up, events are
    /// left out and [`SourceEvent::Lagged`] takes their place. The sync ends with the stream.
    fn events(&self) -> BoxStream<'static, SourceEvent>;

    /// Asks for headers.
    fn headers(
        &self,
        session: SessionId,
        query: HeadersQuery,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, RequestError>>;

    /// Asks for the bodies of these blocks, in this order; unknown ones may be left out.
    fn bodies(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, RequestError>>;

    /// Asks for the receipts of these blocks, in this order, of the first of them from this index on.
    /// Unknown ones may be left out or end the answer. Only of a peer whose last answer was
    /// incomplete is anything asked from an index above 0.
    fn receipts(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        first_index: u64,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ReceiptLists, RequestError>>;

    /// Ends a session because of what the peer sent.
    fn blame(&self, session: SessionId, reason: DisconnectReason);
}
