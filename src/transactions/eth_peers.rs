//! The real network as a [`Source`]: eth's table of peers, what they send, requests to them.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};

use super::source::{Source, SourceEvent};
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::manager::table::PeerTable;
use crate::protocols::eth::{Eth, EthEvent, EthEvents, GetPooledTransactions, PooledHash, PooledTransaction};
use crate::session::PeerHandle;

/// The eth peers of a network.
#[derive(Clone)]
pub struct EthPeers {
    table: PeerTable,
    eth: Arc<Eth>,
}

impl EthPeers {
    /// `table` is the network's, `eth` the service it was started with.
    pub fn new(table: PeerTable, eth: Arc<Eth>) -> Self {
        Self { table, eth }
    }

    fn handle(&self, session: SessionId) -> Result<PeerHandle, RequestError> {
        let found = self.table.find(session);
        found.ok_or_else(|| RequestError::Disconnected(Disconnected::lost()))
    }
}

impl Source for EthPeers {
    fn peers(&self) -> Vec<SessionId> {
        self.eth.peers().iter().map(|peer| peer.session).collect()
    }

    fn events(&self) -> BoxStream<'static, SourceEvent> {
        stream::unfold(self.eth.subscribe(), next_event).boxed()
    }

    fn transactions(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<PooledTransaction>, RequestError>> {
        let handle = self.handle(session);
        let question = GetPooledTransactions::new(hashes);
        Box::pin(async move { handle?.request_within(question, timeout).await })
    }

    fn announce(&self, to: &[SessionId], hashes: Vec<PooledHash>) {
        self.eth.announce_transactions(to, hashes);
    }

    fn send(&self, to: &[SessionId], transactions: Vec<PooledTransaction>) {
        self.eth.send_transactions(to, transactions);
    }

    fn blame(&self, session: SessionId, reason: DisconnectReason) {
        // A session that has gone cannot be blamed any more.
        if let Ok(handle) = self.handle(session) {
            handle.disconnect(reason);
        }
    }
}

async fn next_event(mut events: EthEvents) -> Option<(SourceEvent, EthEvents)> {
    loop {
        let event = match events.next().await? {
            EthEvent::PeerUp(peer) => SourceEvent::Up(peer.session),
            EthEvent::PeerDown { from, .. } => SourceEvent::Down(from.session),
            EthEvent::PooledHashes { from, hashes } => SourceEvent::Hashes { session: from.session, hashes },
            EthEvent::Transactions { from, transactions } => {
                SourceEvent::Transactions { session: from.session, transactions }
            }
            EthEvent::Lagged { .. } => SourceEvent::Lagged,
            _ => continue,
        };
        return Some((event, events));
    }
}
