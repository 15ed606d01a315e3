//! A peer dies with requests pending: every one of them ends at once (F6, A4, A5).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use trunkline::disconnect::{Disconnected, Fault};
use trunkline::transport::addr::Endpoint;
use trunkline::{Config, Network, PeerAddr, PeerHandle, RequestError};

use crate::chat::{Chat, Say};
use crate::support::Over;
use crate::support::{config, within};

/// Stands between two nodes, so that the death of one can be had without a goodbye.
pub(crate) struct Bridge {
    pub(crate) addr: SocketAddr,
    pub(crate) carrying: AbortOnDropHandle<()>,
}

/// How a bridge dies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    /// The kernel closes the sockets: end of file.
    Fin,
    /// The sockets are reset.
    Rst,
}

impl Bridge {
    /// Carries one connection, and at most `answer_bytes` of what comes back.
    pub(crate) async fn to(server: SocketAddr, death: Death, answer_bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let carrying = AbortOnDropHandle::new(tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            if let Death::Rst = death {
                client.set_zero_linger().unwrap();
                server.set_zero_linger().unwrap();
            }
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::select! {
                _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                () = async {
                    let (mut left, mut chunk) = (answer_bytes, vec![0; 4096]);
                    while left > 0 {
                        let Ok(read @ 1..) = from_server.read(&mut chunk).await else { return };
                        let pass = read.min(usize::try_from(left).unwrap_or(usize::MAX));
                        left -= pass as u64;
                        to_client.write_all(&chunk[..pass]).await.unwrap();
                    }
                } => {}
            }
        }));
        Self { addr, carrying }
    }
}

fn patient(listen: &str) -> Config {
    let mut config = config(listen);
    config.pending_requests_max = 1024;
    config.session.waiting_max = 1024;
    config
}

struct Scene {
    chat: Arc<Chat>,
    server: Network,
    client: Network,
    peer: PeerHandle,
    bridge: Bridge,
}

impl Scene {
    async fn set(death: Death, answer_bytes: u64) -> Self {
        let (chat, ours) = (Chat::new(), Chat::new());
        let server = chat.start(patient("/ip4/127.0.0.1/tcp/0")).await;
        let Endpoint::Tcp(to) = server.listening()[0].clone().endpoint else { panic!("not TCP") };
        let bridge = Bridge::to(to, death, answer_bytes).await;
        let client = ours.start(patient("")).await;
        let addr = PeerAddr { endpoint: Endpoint::Tcp(bridge.addr), peer: None };
        let peer = within(Duration::from_secs(10), "a session", client.dial(addr)).await.unwrap();
        Self { chat, server, client, peer, bridge }
    }

    /// Everything that must hold once the peer is gone, whoever it was.
    async fn nothing_is_left(self) {
        assert_eq!(self.client.stats().in_flight(), 0);
        let ended = self.peer.ended().expect("it has ended");
        assert_eq!((ended, ended.fault()), (Disconnected::lost(), Fault::None));
        let refused = self.peer.request(Say::new("again")).await;
        assert!(matches!(refused, Err(RequestError::Disconnected(_))), "{refused:?}");
        assert!(self.client.peers().is_empty());
        assert_eq!(self.client.record(self.server.id()).await, None, "nobody is blamed");
        // The peer itself is alive: a new session has all its slots.
        let to = self.server.listening()[0].clone();
        let peer = within(Duration::from_secs(10), "a session", self.client.dial(to)).await.unwrap();
        let answers = join_all((0..1024).map(|n| peer.request(Say::new(format!("{n}"))))).await;
        assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
        self.client.over().await;
        self.server.over().await;
    }
}

fn all_disconnected(results: &[Result<bytes::Bytes, RequestError>]) {
    for result in results {
        let expected =
            matches!(result, Err(RequestError::Disconnected(ended)) if *ended == Disconnected::lost());
        assert!(expected, "{result:?}");
    }
}

/// F6 O-3: 0, 1, 64 and 1,000 pending requests all fail within 100 ms of the loss.
#[tokio::test]
async fn all_pending_requests_fail_within_100_ms_of_a_loss() {
    for (pending, death) in
        [(0, Death::Fin), (1, Death::Rst), (64, Death::Fin), (1000, Death::Fin), (1000, Death::Rst)]
    {
        let scene = Scene::set(death, u64::MAX).await;
        let asked: Vec<_> = (0..pending)
            .map(|n| {
                let peer = scene.peer.clone();
                tokio::spawn(async move { peer.request(Say::new(format!(". {n}"))).await })
            })
            .collect();
        within(Duration::from_secs(10), "all questions", scene.chat.until_asked(pending)).await;
        assert_eq!(scene.client.stats().in_flight(), pending as u64);
        let mut events = scene.client.events();
        let killed = Instant::now();
        scene.bridge.carrying.abort();
        let results = within(Duration::from_secs(10), "all results", join_all(asked)).await;
        let took = killed.elapsed();
        if pending > 0 {
            assert!(took < Duration::from_millis(100), "{pending} requests: {took:?}");
        }
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        all_disconnected(&results);
        let down =
            async { while !matches!(events.next().await, Some(trunkline::NetworkEvent::PeerDown { .. })) {} };
        within(Duration::from_secs(5), "the event", down).await;
        scene.nothing_is_left().await;
    }
}

/// F6 A4 A5: a server that dies in the middle of an answer; what came of it is not an answer.
#[tokio::test]
async fn a_death_in_the_middle_of_a_message_fails_it_like_all_others() {
    for (how, bytes) in [(Death::Fin, 20_000), (Death::Rst, 60_000), (Death::Fin, 150_001)] {
        let scene = Scene::set(how, bytes).await;
        let asked: Vec<_> = (0..101)
            .map(|n| {
                let peer = scene.peer.clone();
                // The first one is answered at length; of that, only a part arrives.
                let question = if n == 0 { "*".to_owned() } else { format!(". {n}") };
                tokio::spawn(async move { peer.request(Say::new(question)).await })
            })
            .collect();
        let death = async {
            while scene.peer.ended().is_none() {
                tokio::task::yield_now().await;
            }
        };
        within(Duration::from_secs(10), "the death", death).await;
        let results = within(Duration::from_secs(1), "all results", join_all(asked)).await;
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        all_disconnected(&results);
        let gone = async {
            while !scene.client.peers().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        within(Duration::from_secs(5), "the session's place", gone).await;
        scene.nothing_is_left().await;
    }
}
