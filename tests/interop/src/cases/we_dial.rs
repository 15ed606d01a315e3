//! We dial rust-libp2p: `substreams --connect` against a peer that keeps the contract, and against
//! peers that do not.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Case, case};
use crate::check::{Outcome, need};
use crate::node::{Node, NodeConfig};
use crate::services::{ECHO, PERF, RESET, Service};
use crate::subject::{Dialled, Subject};

/// All ops of the contract.
pub const OPS: [&str; 9] =
    ["ping", "identify", "echo", "longlived", "many", "halfclose", "reset", "unsupported", "perf"];

/// How long all ops together may take.
const RUN: Duration = Duration::from_secs(40);

/// The cases of this question.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("we dial: all ops in one run", async |s| all_ops(&s, NodeConfig::new(), &[]).await),
        case("we dial: identify tells the peer who we are", tells_who_we_are),
    ];
    for op in OPS {
        cases.push(case(format!("we dial: {op} alone"), async move |s| one_op(s, op).await));
    }
    let broken = |what: &str, op: &'static str, protocol: &'static str, service: Option<Service>| {
        case(format!("we dial: {what} is noticed, exit 1"), async move |s| {
            let config = NodeConfig::new().serving(protocol, service);
            notices(s, op, config).await
        })
    };
    cases.extend([
        broken("an echo that changes a byte", "echo", ECHO, Some(Service::FlipFirstByte)),
        broken("an echo that lacks the last byte", "echo", ECHO, Some(Service::DropLastByte)),
        broken("an echo that is reset mid-way", "echo", ECHO, Some(Service::ResetAfter(100))),
        broken("an echo that never answers", "echo", ECHO, Some(Service::Silent)),
        broken("a peer without echo", "echo", ECHO, None),
        broken("a perf that never answers", "perf", PERF, Some(Service::Silent)),
        broken("a reset that does not come", "reset", RESET, Some(Service::Silent)),
        broken("a half-close instead of a reset", "reset", RESET, Some(Service::Echo)),
        case("we dial: a peer that dies mid-run, exit 1", peer_dies),
        case("we dial: nobody listens, exit 1", nobody_listens),
        case("we dial: a peer that closes at once, exit 1", closes_at_once),
        case("we dial: a peer that speaks HTTP, exit 1", speaks_http),
        case("we dial: a silent peer, exit 1 in bounded time", silent),
    ]);
    cases
}

/// Runs all ops against a fresh node with this configuration.
pub(super) async fn all_ops(subject: &Subject, config: NodeConfig, more: &[&str]) -> Outcome {
    let node = Node::start(config.listening()).await?;
    let addr = node.addr.clone().expect("it listens");
    let run = subject.connect(&addr, &OPS.join(","), more, RUN).await?;
    run.ended_with(0)?;
    run.answered(&OPS)
}

async fn one_op(subject: Subject, op: &str) -> Outcome {
    let node = Node::start(NodeConfig::new().listening()).await?;
    let addr = node.addr.clone().expect("it listens");
    let run = subject.connect(&addr, op, &[], RUN).await?;
    run.ended_with(0)?;
    run.answered(&[op])
}

async fn tells_who_we_are(subject: Subject) -> Outcome {
    let node = Node::start(NodeConfig::new().listening().ping_interval(Duration::from_millis(50))).await?;
    let addr = node.addr.clone().expect("it listens");
    let (run, info) = futures::join!(
        subject.connect(&addr, "identify,longlived", &[], RUN),
        node.wait_for(RUN, "identify of the dialler", |log| log.identified.values().next().cloned())
    );
    run?.ended_with(0)?;
    let info = info?;
    need(info.agent_version.starts_with(&subject.agent), || format!("agent {:?}", info.agent_version))?;
    need(info.protocols.iter().any(|p| p.as_ref() == "/ipfs/ping/1.0.0"), || {
        format!("/ipfs/ping/1.0.0 is not among {:?}", info.protocols)
    })?;
    let peer = info.public_key.to_peer_id();
    need(node.log().connected.contains_key(&peer), || format!("{peer} is not who connected"))
}

/// The op must fail in bounded time.
async fn notices(subject: Subject, op: &str, config: NodeConfig) -> Outcome {
    let node = Node::start(config.listening()).await?;
    let addr = node.addr.clone().expect("it listens");
    let run = subject.connect(&addr, op, &[], RUN).await?;
    run.ended_with(1)
}

async fn peer_dies(subject: Subject) -> Outcome {
    let node = Node::start(NodeConfig::new().serving(ECHO, Some(Service::Silent)).listening()).await?;
    let addr = node.addr.clone().expect("it listens");
    let dies = async {
        node.wait_for(RUN, "the dialler", |log| (!log.connected.is_empty()).then_some(())).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(node);
        Outcome::Ok(Instant::now())
    };
    let (run, died) = futures::join!(subject.connect(&addr, "echo,ping", &[], RUN), dies);
    run?.ended_with(1)?;
    let took = Instant::now() - died?;
    need(took < Duration::from_secs(8), || format!("{took:?} until it ended"))
}

async fn nobody_listens(subject: Subject) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = addr_of(&listener)?;
    drop(listener);
    fails_in_one_line(&subject.connect(&addr, "ping", &[], RUN).await?)
}

async fn closes_at_once(subject: Subject) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = addr_of(&listener)?;
    let accepting = async {
        loop {
            drop(listener.accept().await);
        }
    };
    tokio::select! {
        run = subject.connect(&addr, "ping", &[], RUN) => fails_in_one_line(&run?),
        () = accepting => Ok(()),
    }
}

async fn speaks_http(subject: Subject) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = addr_of(&listener)?;
    let serving = async {
        loop {
            if let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
                while let Ok(1..) = socket.read(&mut [0; 1024]).await {}
            }
        }
    };
    tokio::select! {
        run = subject.connect(&addr, "ping", &[], RUN) => fails_in_one_line(&run?),
        () = serving => Ok(()),
    }
}

async fn silent(subject: Subject) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = addr_of(&listener)?;
    let accepting = async {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await);
        }
    };
    tokio::select! {
        run = subject.connect(&addr, "ping", &[], RUN) => fails_in_one_line(&run?),
        () = accepting => Ok(()),
    }
}

/// Exit 1 and one line on stderr, as the command line's contract says.
pub(super) fn fails_in_one_line(run: &Dialled) -> Outcome {
    run.ended_with(1)?;
    need(run.stderr.trim().lines().count() == 1, || format!("not one line on stderr: {:?}", run.stderr))
}

fn addr_of(listener: &TcpListener) -> Outcome<Multiaddr> {
    Ok(format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr()?.port()).parse()?)
}
