//! The real network as a [`Source`]: eth's table of peers, their announcements, requests to them.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};

use super::source::{BlockId, Candidate, Claim, HeadersQuery, Source, SourceEvent};
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::manager::table::PeerTable;
use crate::protocols::eth::{
    Eth, EthEvent, EthEvents, EthPeer, GetBlockBodies, GetBlockHeaders, GetReceipts, HashOrNumber, Raw,
    ReceiptLists,
};
use crate::session::PeerHandle;

/// Asks the eth peers of a network.
#[derive(Clone)]
pub struct EthSource {
    table: PeerTable,
    eth: Arc<Eth>,
}

impl EthSource {
    /// `table` is the network's, `eth` the service it was started with.
    pub fn new(table: PeerTable, eth: Arc<Eth>) -> Self {
        Self { table, eth }
    }

    fn handle(&self, session: SessionId) -> Result<PeerHandle, RequestError> {
        let found = self.table.find(session);
        found.ok_or_else(|| RequestError::Disconnected(Disconnected::lost()))
    }
}

impl Source for EthSource {
    fn candidates(&self) -> Vec<Candidate> {
        self.eth.peers().iter().map(candidate).collect()
    }

    fn events(&self) -> BoxStream<'static, SourceEvent> {
        stream::unfold(self.eth.subscribe(), next_event).boxed()
    }

    fn headers(
        &self,
        session: SessionId,
        query: HeadersQuery,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, RequestError>> {
        let handle = self.handle(session);
        let start = match query.start {
            BlockId::Number(number) => HashOrNumber::Number(number),
            BlockId::Hash(hash) => HashOrNumber::Hash(hash),
        };
        let limit = query.amount;
        let question = GetBlockHeaders { start, limit, skip: 0, reverse: query.reverse };
        Box::pin(async move { handle?.request_within(Raw(question), timeout).await })
    }

    fn bodies(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, RequestError>> {
        let handle = self.handle(session);
        let question = GetBlockBodies::new(hashes).raw();
        Box::pin(async move { handle?.request_within(question, timeout).await })
    }

    fn receipts(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        first_index: u64,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ReceiptLists, RequestError>> {
        let handle = self.handle(session);
        let question = GetReceipts::new(hashes).from_index(first_index).raw();
        Box::pin(async move { handle?.request_within(question, timeout).await })
    }

    fn blame(&self, session: SessionId, reason: DisconnectReason) {
        // A session that has gone cannot be blamed any more.
        if let Ok(handle) = self.handle(session) {
            handle.disconnect(reason);
        }
    }
}

fn candidate(peer: &EthPeer) -> Candidate {
    Candidate {
        peer: peer.peer,
        session: peer.session,
        earliest: peer.claim.earliest.unwrap_or(0),
        head: Claim { number: peer.claim.latest, hash: peer.claim.head },
    }
}

async fn next_event(mut events: EthEvents) -> Option<(SourceEvent, EthEvents)> {
    loop {
        let event = match events.next().await? {
            EthEvent::PeerUp(peer) => SourceEvent::Up(candidate(&peer)),
            EthEvent::PeerDown { from, .. } => SourceEvent::Down(from.session),
            EthEvent::NewBlock { from, block, .. } => {
                SourceEvent::NewBlock { session: from.session, header: block.header, body: block.body }
            }
            EthEvent::NewBlockHashes { from, blocks } => {
                let Some(head) = blocks.iter().max_by_key(|block| block.number) else { continue };
                SourceEvent::Range { session: from.session, earliest: None, head: (*head).into() }
            }
            EthEvent::Range { from, earliest, latest } => {
                SourceEvent::Range { session: from.session, earliest: Some(earliest), head: latest.into() }
            }
            EthEvent::Lagged { .. } => SourceEvent::Lagged,
            _ => continue,
        };
        return Some((event, events));
    }
}
