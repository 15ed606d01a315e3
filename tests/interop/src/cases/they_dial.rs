//! rust-libp2p dials us and uses everything that we serve.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::multiaddr::Protocol;

use super::{Case, case};
use crate::check::{Outcome, need};
use crate::exercises;
use crate::node::{Node, NodeConfig};
use crate::raw;
use crate::services::{CALL_BACK, ECHO, PERF, RESET, SINK};
use crate::subject::{Listening, Subject};

/// The cases of this question.
pub fn cases() -> Vec<Case> {
    vec![
        case("they dial: noise and yamux, the identity of the address", connects),
        case("they dial: identify tells agent, key, protocols and the observed address", identify),
        case("they dial: an identify push is taken", identify_push),
        case("they dial: pings are echoed", pings),
        served("they dial: echo of 1 MiB with half-close", async |n, p| exercises::echo(n, p, 1 << 20).await),
        served("they dial: echo of nothing and of one byte", async |n, p| {
            exercises::echo(n, p, 0).await?;
            exercises::echo(n, p, 1).await
        }),
        served("they dial: half-close, then read late", async |n, p| exercises::half_close(n, p).await),
        served("they dial: sink hashes nothing, 1 byte and 3 MiB", async |n, p| {
            exercises::sink(n, p, 0).await?;
            exercises::sink(n, p, 1).await?;
            exercises::sink(n, p, 3 << 20).await
        }),
        served("they dial: perf upload of 8 MiB", async |n, p| exercises::perf(n, p, 8 << 20, 0).await),
        served("they dial: perf download of 8 MiB", async |n, p| exercises::perf(n, p, 0, 8 << 20).await),
        served("they dial: perf of nothing, and both ways", async |n, p| {
            exercises::perf(n, p, 0, 0).await?;
            exercises::perf(n, p, 1 << 20, 1 << 20).await
        }),
        served("they dial: reset after the first byte", async |n, p| exercises::reset(n, p).await),
        served("they dial: a long-lived substream, 1,000 messages", async |n, p| {
            exercises::long_lived(n, p, 1000).await
        }),
        served("they dial: 100 echoes in parallel", async |n, p| exercises::many(n, p, 100, 10_000).await),
        served("they dial: 280 substreams open at once", async |n, p| exercises::held_open(n, p, 280).await),
        served("they dial: 1,000 substreams one after the other", async |n, p| {
            for _ in 0..1000 {
                exercises::echo(n, p, 100).await?;
            }
            Ok(())
        }),
        served("they dial: an unsupported protocol is refused", async |n, p| {
            exercises::unsupported(n, p).await
        }),
        served("they dial: call-back opens 1, 20 and 200 substreams", async |n, p| {
            for wanted in [1, 20, 200] {
                let right = exercises::call_back(n, p, wanted, ECHO).await?;
                need(right == wanted, || format!("{right} of {wanted} were right"))?;
            }
            Ok(())
        }),
        served("they dial: call-back counts what we refuse as wrong", async |n, p| {
            let right = exercises::call_back(n, p, 3, "/nobody-has-this/1.0.0").await?;
            need(right == 0, || format!("{right} right over a protocol that we do not speak"))
        }),
        served("they dial: back-pressure on one substream, the others go on", async |n, p| {
            exercises::back_pressure(n, p).await
        }),
        case("they dial: substreams beyond the 300 are refused, the node goes on", too_many),
        case("they dial: agreement sent byte by byte", byte_by_byte),
        case("they dial: agreement without optimistic sending", without_optimism),
        case("they dial: 20 peers at once", twenty_peers),
        case("they dial: 50 connections one after the other", reconnects),
    ]
}

/// A case in which a fresh node exercises a fresh child, and the child must serve on afterwards.
fn served(name: &'static str, exercise: impl AsyncFnOnce(&Node, PeerId) -> Outcome + 'static) -> Case {
    case(name, async move |subject: Subject| {
        let (mut child, node) = meet(&subject).await?;
        exercise(&node, child.peer).await?;
        serves_an_honest_peer(&mut child).await
    })
}

/// A child that listens, and a node connected to it.
pub(super) async fn meet(subject: &Subject) -> Outcome<(Listening, Node)> {
    let child = subject.listen(&[]).await?;
    let node = Node::dialer().await?;
    let peer = node.dial(&child.addr).await?;
    need(peer == child.peer, || format!("{peer} answered"))?;
    Ok((child, node))
}

/// A fresh peer must be served as if nothing had happened.
pub(super) async fn serves_an_honest_peer(child: &mut Listening) -> Outcome {
    child.alive()?;
    let honest = async {
        let node = Node::dialer().await?;
        let peer = node.dial(&child.addr).await?;
        exercises::echo(&node, peer, 10_000).await
    };
    honest.await.map_err(|f| f.during("an honest peer afterwards"))?;
    child.alive()
}

async fn connects(subject: Subject) -> Outcome {
    // Noise and yamux are all that the node offers, and it checks the identity of the address.
    let (mut child, _node) = meet(&subject).await?;
    serves_an_honest_peer(&mut child).await
}

async fn identify(subject: Subject) -> Outcome {
    let child = subject.listen(&[]).await?;
    let node = Node::start(NodeConfig::new().listening()).await?;
    let peer = node.dial(&child.addr).await?;
    let info = node.identified(peer).await?;
    need(info.agent_version.starts_with(&subject.agent), || format!("agent {:?}", info.agent_version))?;
    need(info.public_key.to_peer_id() == child.peer, || format!("key {:?}", info.public_key))?;
    for protocol in [ECHO, SINK, PERF, RESET, CALL_BACK, "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"] {
        need(info.protocols.iter().any(|p| p.as_ref() == protocol), || {
            format!("{protocol} is not among {:?}", info.protocols)
        })?;
    }
    need(info.listen_addrs.iter().any(|a| a.iter().any(|p| p == Protocol::Tcp(child.port()))), || {
        format!("listen addresses {:?}", info.listen_addrs)
    })?;
    // rust-libp2p dials from the port it listens on, so the observed address is known.
    let ours: Vec<_> = node.addr.iter().flatten().filter(|p| !matches!(p, Protocol::P2p(_))).collect();
    let observed: Vec<_> = info.observed_addr.iter().filter(|p| !matches!(p, Protocol::P2p(_))).collect();
    need(observed == ours, || format!("observed {observed:?}, it is {ours:?}"))
}

async fn identify_push(subject: Subject) -> Outcome {
    let (mut child, node) = meet(&subject).await?;
    node.identified(child.peer).await?;
    node.push_identify(child.peer)?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    exercises::echo(&node, child.peer, 1000).await.map_err(|f| f.during("on the same connection"))?;
    serves_an_honest_peer(&mut child).await
}

async fn pings(subject: Subject) -> Outcome {
    let child = subject.listen(&[]).await?;
    let node = Node::start(NodeConfig::new().ping_interval(Duration::from_millis(20))).await?;
    let peer = node.dial(&child.addr).await?;
    node.pongs(peer, 20).await?;
    let faults = node.log().faults;
    need(faults.is_empty(), || format!("{faults:?}"))
}

async fn too_many(subject: Subject) -> Outcome {
    let (mut child, node) = meet(&subject).await?;
    let mut held = Vec::new();
    for _ in 0..400 {
        // Beyond the limit a substream may be refused in any way, or the connection may end.
        match node.open(child.peer, ECHO).await {
            Ok(stream) => held.push(stream),
            Err(_) => break,
        }
    }
    need(held.len() >= 280, || format!("only {} substreams were allowed, 300 are promised", held.len()))?;
    serves_an_honest_peer(&mut child).await
}

async fn byte_by_byte(subject: Subject) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    let peer = raw::byte_by_byte(child.port()).await?;
    need(peer == child.peer, || format!("{peer} answered"))?;
    serves_an_honest_peer(&mut child).await
}

async fn without_optimism(subject: Subject) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    let _connection = raw::Muxed::connect(child.port()).await?;
    serves_an_honest_peer(&mut child).await
}

async fn twenty_peers(subject: Subject) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    let addr = &child.addr;
    let peers = (0..20).map(|_| async move {
        let node = Node::dialer().await?;
        let peer = node.dial(addr).await?;
        exercises::many(&node, peer, 5, 20_000).await
    });
    futures::future::try_join_all(peers).await?;
    serves_an_honest_peer(&mut child).await
}

async fn reconnects(subject: Subject) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    let node = Node::dialer().await?;
    for round in 0..50 {
        let step = async {
            let peer = node.dial(&child.addr).await?;
            exercises::echo(&node, peer, 1000).await?;
            node.disconnect(peer)?;
            node.wait_for(Duration::from_secs(5), "disconnected", |log| {
                (log.connected.get(&peer) == Some(&0)).then_some(())
            })
            .await
        };
        step.await.map_err(|f| f.during(&format!("connection {round}")))?;
    }
    serves_an_honest_peer(&mut child).await
}
