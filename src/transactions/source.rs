//! What the handing on of transactions needs of a network, so that it also runs without one.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::disconnect::DisconnectReason;
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::protocols::eth::{PooledHash, PooledTransaction};

/// What the network tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// A peer finished its Status exchange.
    Up(SessionId),
    /// Its eth session is over.
    Down(SessionId),
    /// A peer has transactions that it can be asked for.
    Hashes {
        /// The session.
        session: SessionId,
        /// Which.
        hashes: Arc<[PooledHash]>,
    },
    /// A peer sent transactions without being asked, none of them with blobs.
    Transactions {
        /// The session.
        session: SessionId,
        /// Which.
        transactions: Arc<[PooledTransaction]>,
    },
    /// Events were lost: the peers have to be read again.
    Lagged,
}

/// Peers, what they send unasked, and what can be sent to them.
pub trait Source: Send + Sync + 'static {
    /// The sessions there are now.
    fn peers(&self) -> Vec<SessionId>;

    /// What happens from now on. Bounded by the source: when nobody keeps up, events are left out and
    /// [`SourceEvent::Lagged`] takes their place. Everything ends with the stream.
    fn events(&self) -> BoxStream<'static, SourceEvent>;

    /// Asks for transactions; unknown ones are left out of the answer. Ends when the future is
    /// dropped, and by itself after `timeout`.
    fn transactions(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<PooledTransaction>, RequestError>>;

    /// Announces transactions to these sessions. Those that have gone are left out.
    fn announce(&self, to: &[SessionId], hashes: Vec<PooledHash>);

    /// Sends transactions, none of them with blobs, in the same manner.
    fn send(&self, to: &[SessionId], transactions: Vec<PooledTransaction>);

    /// Ends a session because of what the peer sent.
    fn blame(&self, session: SessionId, reason: DisconnectReason);
}
