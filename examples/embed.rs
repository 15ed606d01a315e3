//! The embedding: dial a peer, ask it for headers.
//!
//! ```text
//! cargo run --example embed
//! ```
//!
//! The dozen lines are those of `fetch`; the rest is a small server in the same process, so that
//! the example runs alone.

use std::error::Error;
use std::sync::Arc;

use trunkline::chain::{ChainSpec, DevChain};
use trunkline::protocols::eth::{Eth, GetBlockHeaders};
use trunkline::sync::MemoryStore;
use trunkline::{Config, Keypair, Network, PeerAddr};

/// Everything an embedder writes to ask a peer something.
async fn fetch(addr: PeerAddr, chain: Arc<MemoryStore>) -> Result<(), Box<dyn Error>> {
    let config = Config::builder().max_peers(25).build()?;
    let builder = Network::builder(config, Keypair::generate_secp256k1());
    let network = builder.exchange(Eth::new(chain)).start().await?;
    let peer = network.dial(addr).await?;
    let headers = peer.request(GetBlockHeaders::range(1, 64)).await?;
    println!("{} sent {} headers", peer.id(), headers.len());
    for header in &headers {
        println!("{:3}  {}", header.number, header.hash_slow());
    }
    network.shutdown().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let spec = Arc::new(ChainSpec::dev());
    let server = serve(Arc::clone(&spec)).await?;
    let addr = server.listening().into_iter().next().ok_or("the server does not listen")?;
    fetch(addr, Arc::new(MemoryStore::new(spec))).await?;
    server.shutdown().await;
    Ok(())
}

/// Serves ten blocks of the development chain on a free port.
async fn serve(spec: Arc<ChainSpec>) -> Result<Network, Box<dyn Error>> {
    let (mut producer, store) = (DevChain::new(1), MemoryStore::new(spec));
    let blocks = (0..10).map(|_| producer.next_block(3, 0));
    let (blocks, receipts) = blocks.unzip();
    store.extend(blocks, receipts)?;
    let config = Config::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build()?;
    let builder = Network::builder(config, Keypair::generate_secp256k1());
    Ok(builder.exchange(Eth::new(Arc::new(store))).start().await?)
}
