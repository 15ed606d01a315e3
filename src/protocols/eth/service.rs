//! The eth service: what a session drives, and what the host holds.

use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{B256, U256};
use bytes::Bytes;
use futures::future::BoxFuture;

use super::chain::Chain;
use super::events::{Charge, EthEvent, EthEvents, EventQueue};
use super::gossip::{BlockRangeUpdate, NewBlock, NewBlockHashes, NewPooledTransactionHashes, PooledHash};
use super::message::{ETH_69, INFLATED_BYTES_MAX, classify, code, inflate, inflate_breach, payload};
use super::peers::{EthPeer, PeerTable};
use super::pooled::{BLOB_KIND, PooledSource, PooledTransaction, RawTransactions};
use super::query::Query;
use super::request::NAME;
use super::serve;
use super::status::Status;
use crate::chain::RawBlock;
use crate::disconnect::{Breach, DisconnectReason, Disconnected};
use crate::ids::{Direction, ProtocolId, SessionId};
use crate::offload::{self, Offload};
use crate::protocols::{self, Capability, Class, Encoding, Exchange, Outlet, Payload, ServeError};
use crate::wire::{Decode, decode_all, snappy};

/// The versions we speak, the highest first.
pub(super) static IDS: [(ProtocolId, u32); 3] = [
    (ProtocolId::new("/eth/70/1.0.0"), 70),
    (ProtocolId::new("/eth/69/1.0.0"), 69),
    (ProtocolId::new("/eth/68/1.0.0"), 68),
];

/// How a version of eth is spelled over RLPx. Its 18th message is BlockRangeUpdate, from eth/69 on
/// (caps/eth.md).
pub fn capability(version: u32) -> Capability {
    Capability { name: NAME, version, messages: if version < ETH_69 { 17 } else { 18 } }
}

/// A message that inflates to more than this is read through the offload.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// A range is announced anew when the head has risen by this much (EIP-7642).
const RANGE_STEP: u64 = 32;

/// eth over any of our wires: serves a [`Chain`], keeps the list of eth peers, hands announcements
/// to the host and carries the host's own.
pub struct Eth {
    ids: Box<[(ProtocolId, u32)]>,
    chain: Arc<dyn Chain>,
    /// Whether its lookups may wait for a disk.
    on_disk: bool,
    pool: Option<Arc<dyn PooledSource>>,
    offload: Arc<dyn Offload>,
    peers: PeerTable,
    events: EventQueue,
    /// The head that peers were last told of by a range.
    announced: Mutex<u64>,
}

/// What a service is made of.
pub(super) struct Parts {
    pub(super) ids: Vec<(ProtocolId, u32)>,
    pub(super) chain: Arc<dyn Chain>,
    pub(super) offload: Arc<dyn Offload>,
    pub(super) pool: Option<Arc<dyn PooledSource>>,
}

impl Eth {
    pub(super) fn assembled(Parts { ids, chain, offload, pool }: Parts) -> Arc<Self> {
        let announced = Mutex::new(chain.status().latest.number);
        let on_disk = chain.is_on_disk();
        Arc::new(Self {
            ids: ids.into(),
            chain,
            on_disk,
            pool,
            offload,
            peers: PeerTable::default(),
            events: EventQueue::new(),
            announced,
        })
    }

    /// The chain that is served.
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.chain
    }

    /// The peers that have an eth session now, in the order in which their sessions were made.
    pub fn peers(&self) -> Vec<EthPeer> {
        self.peers.list()
    }

    /// Everything that happens from now on. A subscriber that is more than 1,024 events behind
    /// loses the oldest and is told so; announcements beyond 64 MiB of unread ones are refused.
    pub fn subscribe(&self) -> EthEvents {
        self.events.subscribe()
    }

    /// Announces a block of a development chain to every eth peer: encoded once, the same bytes
    /// for all. Returns how many peers it was queued for: none, if the chain is past the merge.
    ///
    /// Our own profile has NewBlock in every version, on either wire. devp2p has it only up to eth/68:
    /// over RLPx, a peer of another make that speaks eth/69 or later ends the session when it gets one.
    /// So a chain that is made here and not merged is for nodes like this one, and for eth/68.
    pub fn announce_block(&self, block: &RawBlock, total_difficulty: U256) -> usize {
        if self.chain.status().merged {
            return 0;
        }
        let message = NewBlock { block: block.clone(), total_difficulty };
        self.peers.broadcast(&payload(code::NEW_BLOCK, &message), |peer| peer.claim.head != block.hash)
    }

    /// Tells every peer from eth/69 on what we serve now. Returns how many it was queued for.
    pub fn announce_range(&self) -> usize {
        let now = self.chain.status();
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = now.latest.number;
        let message = BlockRangeUpdate { earliest: now.earliest, latest: now.latest };
        self.peers.broadcast(&payload(code::BLOCK_RANGE_UPDATE, &message), |peer| peer.version >= ETH_69)
    }

    /// Does the same if the head has risen by 32 blocks since the last time, or moved back. To be
    /// called whenever the chain has changed.
    pub fn announce_range_if_due(&self) -> usize {
        let latest = self.chain.status().latest.number;
        let announced = *self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let due = latest < announced || latest - announced >= RANGE_STEP;
        if due { self.announce_range() } else { 0 }
    }

    /// Announces transactions to these sessions: encoded once, the same bytes for all. Returns how many
    /// it was queued for.
    pub fn announce_transactions(&self, to: &[SessionId], hashes: Vec<PooledHash>) -> usize {
        let message = NewPooledTransactionHashes(hashes);
        self.peers.send(to, &payload(code::NEW_POOLED_TRANSACTION_HASHES, &message))
    }

    /// Sends transactions to these sessions in the same manner. None of them may be a blob transaction:
    /// these are announced only.
    pub fn send_transactions(&self, to: &[SessionId], transactions: Vec<PooledTransaction>) -> usize {
        self.peers.send(to, &payload(code::TRANSACTIONS, &RawTransactions(transactions)))
    }

    /// Reads an announcement and passes it on. Blocks and ranges move the peer's claim even when
    /// nobody listens; the rest is then only checked to be RLP.
    fn take(&self, from: protocols::From, message: &Payload) -> Result<(), ServeError> {
        let broken = |error| ServeError::Breach(inflate_breach(error));
        let declared = snappy::declared_len(&message.body).map_err(broken)?;
        // Taken before anything is inflated, so that many peers together stay within the bound.
        let charge = self.events.charge(declared.min(INFLATED_BYTES_MAX));
        let plain = inflate(&message.body).map_err(broken)?;
        match message.code {
            code::NEW_BLOCK => {
                let announced: NewBlock = decode_all(plain)?;
                self.peers.on_block(from.session, &announced);
                let NewBlock { block, total_difficulty } = announced;
                self.pass_on(charge, EthEvent::NewBlock { from, block, total_difficulty });
            }
            code::BLOCK_RANGE_UPDATE => {
                let range: BlockRangeUpdate = decode_all(plain)?;
                let BlockRangeUpdate { earliest, latest } = range;
                if earliest > latest.number || latest.hash == B256::ZERO {
                    return Err(ServeError::Disconnect(DisconnectReason::InvalidRange));
                }
                self.peers.on_range(from.session, &range);
                self.pass_on(charge, EthEvent::Range { from, earliest, latest });
            }
            code::NEW_BLOCK_HASHES => self.read(charge, plain, |NewBlockHashes(blocks)| {
                Ok(EthEvent::NewBlockHashes { from, blocks: blocks.into() })
            })?,
            code::TRANSACTIONS => self.read(charge, plain, |RawTransactions(transactions)| {
                // EIP-4844: blob transactions are announced only.
                if transactions.iter().any(|transaction| transaction.kind == BLOB_KIND) {
                    return Err(ServeError::Breach(Breach::Unexpected));
                }
                Ok(EthEvent::Transactions { from, transactions: transactions.into() })
            })?,
            code::NEW_POOLED_TRANSACTION_HASHES => {
                self.read(charge, plain, |NewPooledTransactionHashes(hashes)| {
                    Ok(EthEvent::PooledHashes { from, hashes: hashes.into() })
                })?
            }
            _ => return Err(ServeError::Breach(Breach::UnknownCode)),
        }
        Ok(())
    }

    /// Makes an event of a message, if there is room for it.
    fn read<T: Decode>(
        &self,
        charge: Option<Charge>,
        plain: Bytes,
        event: impl FnOnce(T) -> Result<EthEvent, ServeError>,
    ) -> Result<(), ServeError> {
        match charge {
            Some(charge) => self.events.send(charge, event(decode_all(plain)?)?),
            None => crate::wire::rlp::check(&plain)?,
        }
        Ok(())
    }

    fn pass_on(&self, charge: Option<Charge>, event: EthEvent) {
        if let Some(charge) = charge {
            self.events.send(charge, event);
        }
    }

    fn made(&self, version: u32, id: u64, query: &Query) -> Payload {
        serve::answer(&*self.chain, self.pool.as_deref(), version, id, query)
    }

    /// Reads a question and answers it, the whole of it where it is called.
    fn answer(&self, version: u32, request: &Payload) -> Result<Payload, ServeError> {
        let (id, query) = read_query(version, request)?;
        Ok(self.made(version, id, &query))
    }
}

impl Exchange for Eth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ids(&self) -> &[(ProtocolId, u32)] {
        &self.ids
    }

    fn capability(&self, version: u32) -> Option<Capability> {
        Some(capability(version))
    }

    fn message_name(&self, code: u8) -> Option<&'static str> {
        code::name(code)
    }

    fn encoding(&self) -> Encoding {
        Encoding::Snappy { inflated_max: INFLATED_BYTES_MAX }
    }

    fn handshake(&self, version: u32) -> Option<Payload> {
        Some(payload(code::STATUS, &Status::of(&*self.chain, version)))
    }

    fn accept(&self, version: u32, theirs: Bytes) -> Result<(), DisconnectReason> {
        let status = Status::from_body(&theirs).map_err(DisconnectReason::Breach)?;
        status.check(version, self.chain.spec(), &self.chain.status())
    }

    fn classify(&self, version: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach> {
        classify(version, code, prefix)
    }

    fn serve(
        self: Arc<Self>,
        from: protocols::From,
        request: Payload,
    ) -> BoxFuture<'static, Result<Payload, ServeError>> {
        Box::pin(async move {
            if !self.on_disk && is_small(&request)? {
                let (id, query) = read_query(from.version, &request)?;
                if query.is_light() {
                    return Ok(self.made(from.version, id, &query));
                }
            }
            let offload = self.offload.clone();
            let answer = offload::run(&offload, move || self.answer(from.version, &request));
            answer.await.unwrap_or(Err(ServeError::Unavailable))
        })
    }

    fn on_message(
        self: Arc<Self>,
        from: protocols::From,
        message: Payload,
    ) -> BoxFuture<'static, Result<(), ServeError>> {
        Box::pin(async move {
            let of_a_block = matches!(message.code, code::NEW_BLOCK | code::NEW_BLOCK_HASHES);
            if of_a_block && self.chain.status().merged {
                return Err(ServeError::Breach(Breach::Unexpected));
            }
            if is_small(&message)? {
                return self.take(from, &message);
            }
            let offload = self.offload.clone();
            let taken = offload::run(&offload, move || self.take(from, &message));
            taken.await.unwrap_or(Err(ServeError::Unavailable))
        })
    }

    fn on_up(
        &self,
        from: protocols::From,
        direction: Direction,
        theirs: Option<Bytes>,
        outlet: Arc<dyn Outlet>,
    ) {
        // The session asked `accept` about the same bytes before; without them it is no eth peer.
        let Some(Ok(status)) = theirs.map(|theirs| Status::from_body(&theirs)) else {
            outlet.disconnect(DisconnectReason::Breach(Breach::StatusMissing));
            return;
        };
        match self.peers.insert(from, direction, &status, outlet.clone()) {
            Some(peer) => self.events.send_small(EthEvent::PeerUp(peer)),
            None => outlet.disconnect(DisconnectReason::TooManyPeers),
        }
    }

    fn on_down(&self, from: protocols::From, ended: Disconnected) {
        if self.peers.remove(from.session) {
            self.events.send_small(EthEvent::PeerDown { from, ended });
        }
    }
}

/// Whether a message is read where it is, which its declared length decides.
fn is_small(message: &Payload) -> Result<bool, ServeError> {
    let declared = snappy::declared_len(&message.body);
    Ok(declared.map_err(|error| ServeError::Breach(inflate_breach(error)))? <= INLINE_BYTES_MAX)
}

fn read_query(version: u32, request: &Payload) -> Result<(u64, Query), ServeError> {
    let plain = inflate(&request.body).map_err(|error| ServeError::Breach(inflate_breach(error)))?;
    Ok(Query::decode(version, request.code, &plain)?)
}

#[cfg(test)]
mod strict_tests;
#[cfg(test)]
mod tests;
