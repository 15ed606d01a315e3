//! Whole chains through the driver: a real one, and a long one.

use super::*;

/// geth's own test chain: every type of transaction, every fork.
#[tokio::test(start_paused = true)]
async fn a_real_chain_arrives_byte_for_byte() {
    let Some(rlp) = testdata::read("geth-ethtest/chain.rlp") else { return };
    let Some(genesis) = testdata::read("geth-ethtest/genesis.json") else { return };
    let spec = Arc::new(ChainSpec::from_genesis_json(&genesis).unwrap());
    let mut blocks = vec![spec.genesis_block()];
    let mut rest = &rlp[..];
    while !rest.is_empty() {
        let whole = rest;
        let header = alloy_rlp::Header::decode(&mut rest).unwrap();
        rest = &rest[header.payload_length..];
        blocks.push(RawBlock::from_rlp(&whole[..whole.len() - rest.len()]).unwrap().0);
    }
    let (source, chain) = (Arc::new(FakeSource::default()), Arc::new(TestChain::from(blocks)));
    source.up(1, &chain, Manner::Honest, 20 * MS);
    source.up(2, &chain, Manner::Short(11), 30 * MS);
    let store = Arc::new(MemoryStore::new(spec));
    let (handle, _run) = spawn(&source, store.clone(), SyncConfig::default());
    stored(&handle, chain.head()).await;
    let mut exported = Vec::new();
    store.blocks().iter().for_each(|block| block.write_rlp(&mut exported).unwrap());
    assert!(exported == rlp);
}

/// 20,000 blocks through the driver with real threads for hashing: the figure is printed.
#[tokio::test]
async fn twenty_thousand_blocks_through_the_driver() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(20_000));
    source.up(1, &chain, Manner::Honest, Duration::ZERO);
    let syncer = Syncer::new(source, store.clone(), Arc::new(BlockingThreads), SyncConfig::default());
    let handle = syncer.handle();
    let began = Instant::now();
    let run = tokio::spawn(syncer.run());
    stored(&handle, chain.head()).await;
    println!("20,000 blocks: {:?}, {:?}", began.elapsed(), handle.progress());
    assert_eq!(store.blocks(), chain.blocks[1..]);
    handle.stop();
    run.await.unwrap().unwrap();
}
