//! Chains that are served with a lie, and a service that says nothing at all.

use std::sync::Arc;

use alloy_consensus::{Header, ReceiptEnvelope};
use alloy_primitives::B256;
use alloy_rlp::Decodable;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use trunkline::chain::{BlockRef, ChainSpec};
use trunkline::disconnect::Breach;
use trunkline::ids::{Direction, ProtocolId};
use trunkline::protocols::eth::{Chain, ChainStatus, Eth};
use trunkline::protocols::{Capability, Class, Encoding, Exchange, From, Outlet, Payload, ServeError};
use trunkline::sync::MemoryStore;
use trunkline::{DisconnectReason, Disconnected};

/// What is wrong with what is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing; it counts as told when the header of this block is served.
    Watched(u64),
    /// The bodies are those of other blocks.
    OtherBodies,
    /// The receipts are those of other blocks.
    OtherReceipts,
    /// One receipt of this block is not what it was.
    OneReceipt(u64),
    /// From this block on, no header follows the one before.
    Unlinked(u64),
    /// Every answer is empty.
    Empty,
    /// The head is claimed to be this block, and every answer is empty.
    Claimed(u64),
}

/// A chain served with a lie.
pub(crate) struct LyingChain {
    store: MemoryStore,
    lie: Lie,
    told: watch::Sender<bool>,
    /// How much was asked for, item by item.
    items: watch::Sender<u64>,
}

impl LyingChain {
    pub(crate) fn new(store: MemoryStore, lie: Lie) -> Self {
        Self { store, lie, told: watch::Sender::new(false), items: watch::Sender::new(0) }
    }

    /// Tells when the lie was told for the first time.
    pub(crate) fn told(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    /// The chain behind the lie, which may be made longer.
    pub(crate) fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// How many headers, bodies and lists of receipts were asked for.
    pub(crate) fn items(&self) -> watch::Receiver<u64> {
        self.items.subscribe()
    }

    fn count(&self) {
        self.items.send_modify(|items| *items += 1);
    }

    fn tell<T>(&self, lie: T) -> T {
        self.told.send_replace(true);
        lie
    }

    /// Another block, far away, so that it is not taken for the next one.
    fn other(&self, hash: &B256) -> Option<B256> {
        let last = self.store.status().latest.number;
        let number = self.store.number(hash)?;
        let other = if number > last / 2 { number - last / 2 } else { number + last / 2 };
        self.store.block(other).map(|block| block.hash)
    }
}

impl Chain for LyingChain {
    fn spec(&self) -> &Arc<ChainSpec> {
        self.store.spec()
    }

    fn status(&self) -> ChainStatus {
        let status = self.store.status();
        match self.lie {
            Lie::Claimed(number) => {
                ChainStatus { latest: BlockRef { number, hash: B256::repeat_byte(0xaa) }, ..status }
            }
            _ => status,
        }
    }

    fn header(&self, number: u64) -> Option<Bytes> {
        self.count();
        let header = self.store.header(number);
        match self.lie {
            Lie::Empty | Lie::Claimed(_) => self.tell(None),
            Lie::Unlinked(from) if number >= from => {
                let mut header = Header::decode(&mut &header?[..]).expect("a header");
                header.extra_data = b"nobody's parent".into();
                self.tell(Some(alloy_rlp::encode(header).into()))
            }
            Lie::Watched(watched) if number == watched => self.tell(header),
            _ => header,
        }
    }

    fn number(&self, hash: &B256) -> Option<u64> {
        match self.lie {
            Lie::Empty | Lie::Claimed(_) => self.tell(None),
            _ => self.store.number(hash),
        }
    }

    fn body(&self, hash: &B256) -> Option<Bytes> {
        self.count();
        match self.lie {
            Lie::Empty | Lie::Claimed(_) => self.tell(None),
            Lie::OtherBodies => self.tell(self.store.body(&self.other(hash)?)),
            _ => self.store.body(hash),
        }
    }

    fn receipts(&self, hash: &B256) -> Option<Bytes> {
        self.count();
        match self.lie {
            Lie::Empty | Lie::Claimed(_) => self.tell(None),
            Lie::OtherReceipts => self.tell(self.store.receipts(&self.other(hash)?)),
            Lie::OneReceipt(number) if self.store.number(hash) == Some(number) => {
                self.tell(self.store.receipts(hash).map(|receipts| one_changed(&receipts)))
            }
            _ => self.store.receipts(hash),
        }
    }
}

/// The receipts of a block, the last one with other gas.
fn one_changed(receipts: &[u8]) -> Bytes {
    let mut receipts = Vec::<ReceiptEnvelope>::decode(&mut &receipts[..]).expect("receipts");
    let (ReceiptEnvelope::Legacy(last)
    | ReceiptEnvelope::Eip2930(last)
    | ReceiptEnvelope::Eip1559(last)
    | ReceiptEnvelope::Eip4844(last)
    | ReceiptEnvelope::Eip7702(last)) = receipts.last_mut().expect("a receipt");
    last.receipt.cumulative_gas_used += 1;
    alloy_rlp::encode(receipts).into()
}

/// eth that shakes hands, and answers no question.
pub(crate) struct Mute {
    pub(crate) eth: Arc<Eth>,
    /// Whether something was asked.
    pub(crate) asked: watch::Sender<bool>,
}

impl Exchange for Mute {
    fn name(&self) -> &'static str {
        self.eth.name()
    }

    fn ids(&self) -> &[(ProtocolId, u32)] {
        self.eth.ids()
    }

    fn capability(&self, version: u32) -> Option<Capability> {
        self.eth.capability(version)
    }

    fn encoding(&self) -> Encoding {
        self.eth.encoding()
    }

    fn handshake(&self, version: u32) -> Option<Payload> {
        self.eth.handshake(version)
    }

    fn accept(&self, version: u32, theirs: Bytes) -> Result<(), DisconnectReason> {
        self.eth.accept(version, theirs)
    }

    fn classify(&self, version: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach> {
        self.eth.classify(version, code, prefix)
    }

    fn serve(self: Arc<Self>, _: From, _: Payload) -> BoxFuture<'static, Result<Payload, ServeError>> {
        self.asked.send_replace(true);
        Box::pin(std::future::pending())
    }

    fn on_message(self: Arc<Self>, _: From, _: Payload) -> BoxFuture<'static, Result<(), ServeError>> {
        Box::pin(async { Ok(()) })
    }

    fn on_up(&self, from: From, direction: Direction, theirs: Option<Bytes>, outlet: Arc<dyn Outlet>) {
        self.eth.on_up(from, direction, theirs, outlet);
    }

    fn on_down(&self, from: From, ended: Disconnected) {
        self.eth.on_down(from, ended);
    }
}
