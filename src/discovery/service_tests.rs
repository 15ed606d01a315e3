use std::net::Ipv6Addr;

use futures::FutureExt;

use super::*;
use crate::discovery::dice::Dice;
use crate::discovery::fixtures::key;
use crate::discovery::source::NodeSource;
use crate::discovery::v5::tests::beginning;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Waits for something that must happen, not for how long it takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(number: u32, config: DiscoveryConfig) -> Discovery {
    Discovery::start(config.crawling(), key(number)).await.unwrap()
}

fn config(v4: bool, v5: bool, bootnodes: Vec<Bootnode>) -> DiscoveryConfig {
    DiscoveryConfig { v4, v5, bootnodes, ..DiscoveryConfig::new(LOOPBACK) }
}

fn enode(of: &Discovery) -> Bootnode {
    Bootnode::Enode(of.local_node())
}

fn enr(of: &Discovery) -> Bootnode {
    Bootnode::Record(Box::new(of.local_record()))
}

/// Waits until `finds` tells of this node, alive, with its record, over `via`.
async fn found(finds: &mut Finds, of: &Discovery, via: Via) -> Found {
    let wanted = |found: &Found| {
        found.node.id == of.local_node().id && found.via == via && found.is_alive && found.record.is_some()
    };
    let search = async {
        loop {
            let found = finds.next().await.expect("discovery runs");
            if wanted(&found) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the node is found")
}

#[tokio::test]
async fn a_node_is_found_over_discv4_with_its_record() {
    let there = start(1, DiscoveryConfig { tcp: Some(4001), ..config(true, false, Vec::new()) }).await;
    let here = start(2, config(true, false, vec![enode(&there)])).await;
    let found = found(&mut here.finds(), &there, Via::V4).await;
    assert_eq!(found.record.as_deref(), Some(&there.local_record()));
    assert_eq!(found.node.tcp, 4001);
    // Told again to who comes later.
    self::found(&mut here.finds(), &there, Via::V4).await;
    // And a third that knows only the first one.
    let third = start(3, config(true, false, vec![enode(&there)])).await;
    self::found(&mut third.finds(), &here, Via::V4).await;
}

#[tokio::test]
async fn both_protocols_run_on_one_port() {
    let there = start(1, config(true, true, Vec::new())).await;
    let here = start(2, config(true, true, vec![enr(&there)])).await;
    let (mut over_v4, mut over_v5) = (here.finds(), here.finds());
    tokio::join!(found(&mut over_v4, &there, Via::V4), found(&mut over_v5, &there, Via::V5));
    assert_eq!(there.local_record().udp4(), Some(there.local_node().udp));
}

/// A node that is known by its enode only: discv4 fetches the record that discv5 starts from.
#[tokio::test]
async fn discv5_starts_from_a_record_that_discv4_has_fetched() {
    let there = start(1, config(true, true, Vec::new())).await;
    let here = start(2, config(true, true, vec![enode(&there)])).await;
    found(&mut here.finds(), &there, Via::V5).await;
}

#[tokio::test]
async fn each_protocol_runs_alone_and_over_ipv6() {
    for (v4, v5, via) in [(true, false, Via::V4), (false, true, Via::V5)] {
        let listen = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0);
        let config = |bootnodes| DiscoveryConfig { listen, ..config(v4, v5, bootnodes) };
        let there = start(1, config(Vec::new())).await;
        let here = start(2, config(vec![enr(&there)])).await;
        found(&mut here.finds(), &there, via).await;
    }
}

/// M5: junk, strangers and half-begun sessions from many ports, and the node is still found.
#[tokio::test]
async fn a_flood_does_not_keep_an_honest_node_from_being_found() {
    let there = start(1, config(true, true, Vec::new())).await;
    let node = there.local_node();
    let to = SocketAddr::new(node.ip, node.udp);
    let mut dice = Dice::new(5);
    let flood = async {
        for _ in 0..20 {
            let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
            for _ in 0..50 {
                let mut junk = vec![0; dice.pick(1500).unwrap()];
                dice.fill(&mut junk);
                socket.send_to(&junk, to).await.unwrap();
                // A session that is begun and never goes on.
                let mut stranger = [0; 32];
                dice.fill(&mut stranger);
                socket.send_to(&beginning(&node.id.hash(), stranger), to).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    flood.await;
    let here = start(2, config(true, true, vec![enr(&there)])).await;
    // One after the other: what was found is told again to who comes later.
    found(&mut here.finds(), &there, Via::V4).await;
    found(&mut here.finds(), &there, Via::V5).await;
}

#[tokio::test]
async fn the_socket_is_free_after_shutdown_and_finds_end() {
    for v5 in [false, true] {
        let there = start(1, config(true, v5, Vec::new())).await;
        let (addr, mut finds) = (SocketAddr::new(LOOPBACK.ip(), there.local_node().udp), there.finds());
        there.shutdown().await;
        let ended = tokio::time::timeout(PATIENCE, finds.next()).await;
        assert_eq!(ended, Ok(None));
        UdpSocket::bind(addr).await.unwrap();
    }
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let there = start(1, config(true, true, Vec::new())).await;
    let mut finds = there.finds();
    drop(there);
    assert_eq!(tokio::time::timeout(PATIENCE, finds.next()).await, Ok(None));
}

#[tokio::test]
async fn a_fork_that_is_passed_changes_the_record() {
    let fork = |next| ForkEntry { hash: [1, 2, 3, 4], next };
    for v5 in [false, true] {
        let there = start(1, DiscoveryConfig { fork: Some(fork(60)), ..config(true, v5, Vec::new()) }).await;
        let before = there.local_record();
        assert_eq!(ForkEntry::of(&before), Some(fork(60)));
        there.set_fork(fork(0)).await;
        let here = start(2, config(true, false, vec![enode(&there)])).await;
        let found = found(&mut here.finds(), &there, Via::V4).await;
        assert_eq!(found.record.as_deref().and_then(ForkEntry::of), Some(fork(0)));
        assert!(there.local_record().seq() > before.seq());
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let refused = Discovery::start(config(false, false, Vec::new()), key(1)).await;
    assert!(matches!(refused, Err(DiscoveryError::Nothing)));
    let there = start(1, config(true, false, Vec::new())).await;
    let listen = SocketAddr::new(LOOPBACK.ip(), there.local_node().udp);
    let taken = DiscoveryConfig { listen, ..config(true, false, Vec::new()) };
    let refused = Discovery::start(taken, key(2)).await;
    assert!(matches!(refused, Err(DiscoveryError::Bind { addr, .. }) if addr == listen));
    assert!(there.finds().next().now_or_never().is_none());
}
