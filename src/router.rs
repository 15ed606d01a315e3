//! Which protocols there are, and who takes a substream of each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::ids::ProtocolId;
use crate::protocols::{Exchange, SubstreamHandler};
#[cfg(feature = "rlpx")]
use crate::transport::rlpx::local::Offer;

/// Everything a node speaks. Fixed when the network starts.
#[derive(Clone, Default)]
pub struct Router {
    exchanges: Vec<Arc<dyn Exchange>>,
    handlers: BTreeMap<String, (ProtocolId, Arc<dyn SubstreamHandler>)>,
}

/// Who takes a substream.
pub(crate) enum Route {
    /// The exchange with this index, in this version.
    Exchange { index: usize, version: u32 },
    /// A handler of raw substreams.
    Handler(Arc<dyn SubstreamHandler>),
}

impl Router {
    /// Adds an exchange. One with the same name is replaced.
    pub fn add_exchange(&mut self, exchange: Arc<dyn Exchange>) {
        self.exchanges.retain(|other| other.name() != exchange.name());
        self.exchanges.push(exchange);
    }

    /// Adds a handler of raw substreams. One for the same protocol is replaced.
    pub fn add_handler(&mut self, protocol: ProtocolId, handler: Arc<dyn SubstreamHandler>) {
        self.handlers.insert(protocol.as_str().to_owned(), (protocol, handler));
    }

    /// The exchanges, in the order they were added.
    pub fn exchanges(&self) -> &[Arc<dyn Exchange>] {
        &self.exchanges
    }

    /// All protocol ids a peer may open a substream for: exchanges first, highest version first.
    pub fn ids(&self) -> Vec<ProtocolId> {
        let exchanges = self.exchanges.iter().flat_map(|exchange| exchange.ids().iter().map(|(id, _)| id));
        exchanges.chain(self.handlers.values().map(|(id, _)| id)).cloned().collect()
    }

    /// What is offered over devp2p: every version of every exchange that is spelled there.
    #[cfg(feature = "rlpx")]
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let versions = self
            .exchanges
            .iter()
            .flat_map(|exchange| exchange.ids().iter().map(move |(id, version)| (exchange, id, *version)));
        let offers = versions.filter_map(|(exchange, id, version)| {
            let capability = exchange.capability(version)?;
            Some(Offer { id: id.clone(), capability, encoding: exchange.encoding() })
        });
        offers.collect()
    }

    /// Who takes a substream of this protocol.
    pub(crate) fn route(&self, protocol: &ProtocolId) -> Option<Route> {
        for (index, exchange) in self.exchanges.iter().enumerate() {
            if let Some((_, version)) = exchange.ids().iter().find(|(id, _)| id == protocol) {
                return Some(Route::Exchange { index, version: *version });
            }
        }
        let (_, handler) = self.handlers.get(protocol.as_str())?;
        Some(Route::Handler(Arc::clone(handler)))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids().iter().map(ProtocolId::as_str)).finish()
    }
}
