//! rust-libp2p's request-response: a substream per request, TCP, noise, yamux.
//!
//! Requests are made and answers counted in the swarm's own event loop, so no channel or task of
//! ours stands between it and its figures. One node asks; every peer is a swarm of its own.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Message, OutboundRequestId, ProtocolSupport};
use libp2p::swarm::{StreamProtocol, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, noise, tcp, yamux};

use crate::harness::{Contender, Failure, Gate, Load, serve_beside};
use crate::message::{ANSWER_BYTES, REQUEST_BYTES, answer, check, request};
use crate::tally::Tally;

/// More substreams than any row has in flight.
const STREAMS_MAX: usize = 1024;

/// request-response with one of its two ways of negotiating a substream.
#[derive(Debug)]
pub struct RequestResponse {
    /// `V1` waits for the agreement before it sends the request, `V1Lazy` does not.
    pub negotiation: Version,
}

impl Contender for RequestResponse {
    fn name(&self) -> &'static str {
        "rr"
    }

    fn variant(&self) -> &'static str {
        match self.negotiation {
            Version::V1 => "V1",
            Version::V1Lazy => "V1Lazy",
        }
    }

    fn run(&self, load: Load, gate: Gate) -> Result<Tally, Failure> {
        let negotiation = self.negotiation;
        serve_beside(
            async move |announce, stopped| {
                let mut addrs = Vec::new();
                for _ in 0..load.peers {
                    let mut swarm = swarm(negotiation)?;
                    addrs.push(listen(&mut swarm).await?);
                    tokio::task::spawn_local(answer_all(swarm));
                }
                let _ = announce.send(addrs);
                // Its end, or its error when the asking end is gone, both mean: stop.
                let _ = stopped.await;
                Ok(())
            },
            async move |addrs: Vec<Multiaddr>| ask(addrs, negotiation, load, gate).await,
        )
    }
}

type Behaviour = request_response::Behaviour<LengthPrefixed>;

fn swarm(negotiation: Version) -> Result<Swarm<Behaviour>, Failure> {
    let muxer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        config
    };
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(10))
        .with_max_concurrent_streams(STREAMS_MAX);
    let protocol = (StreamProtocol::new("/rivals/1"), ProtocolSupport::Full);
    let swarm = libp2p::SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, muxer)?
        .with_behaviour(|_| Behaviour::new([protocol], config))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_secs(600))
                .with_max_negotiating_inbound_streams(STREAMS_MAX)
                .with_substream_upgrade_protocol_override(negotiation)
        })
        .build();
    Ok(swarm)
}

async fn listen(swarm: &mut Swarm<Behaviour>) -> Result<Multiaddr, Failure> {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            let peer = *swarm.local_peer_id();
            return address.with_p2p(peer).map_err(|addr| format!("{addr} has an identity already").into());
        }
    }
}

async fn answer_all(mut swarm: Swarm<Behaviour>) {
    loop {
        if let SwarmEvent::Behaviour(request_response::Event::Message { message, .. }) =
            swarm.select_next_some().await
            && let Message::Request { request, channel, .. } = message
            && let Ok(answer) = answer(&request)
        {
            // The asking end sees a failure when the answer cannot go out, and reports it.
            let _ = swarm.behaviour_mut().send_response(channel, answer.to_vec());
        }
    }
}

async fn ask(addrs: Vec<Multiaddr>, negotiation: Version, load: Load, gate: Gate) -> Result<Tally, Failure> {
    let mut swarm = swarm(negotiation)?;
    let mut peers: Vec<PeerId> = Vec::new();
    for addr in addrs {
        swarm.dial(addr)?;
    }
    while peers.len() < load.peers {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => peers.push(peer_id),
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    let window = gate.open();
    let mut tally = Tally::new(window);
    let mut asked: HashMap<OutboundRequestId, (u64, Instant)> = HashMap::new();
    let mut tag = 0;
    let mut send = |swarm: &mut Swarm<Behaviour>, asked: &mut HashMap<_, _>, peer: &PeerId| {
        let id = swarm.behaviour_mut().send_request(peer, request(tag).to_vec());
        asked.insert(id, (tag, Instant::now()));
        tag += 1;
    };
    for peer in &peers {
        for _ in 0..load.in_flight {
            send(&mut swarm, &mut asked, peer);
        }
    }
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(request_response::Event::Message {
                peer,
                message: Message::Response { request_id, response },
                ..
            }) => {
                let (tag, since) = asked.remove(&request_id).ok_or("an answer to nothing")?;
                check(&response, tag)?;
                if !tally.note(since, Instant::now()) {
                    return Ok(tally);
                }
                send(&mut swarm, &mut asked, &peer);
            }
            SwarmEvent::Behaviour(request_response::Event::OutboundFailure { error, .. }) => {
                return Err(error.into());
            }
            SwarmEvent::ConnectionClosed { cause, .. } => {
                return Err(format!("a connection ended early: {cause:?}").into());
            }
            _ => {}
        }
    }
}

/// A length of four bytes, then the message.
#[derive(Debug, Clone, Default)]
struct LengthPrefixed;

impl request_response::Codec for LengthPrefixed {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, REQUEST_BYTES).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, ANSWER_BYTES).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin + Send), bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    io.read_exact(&mut message).await?;
    Ok(message)
}

/// In one write, hence in one yamux frame.
async fn write(io: &mut (impl AsyncWrite + Unpin + Send), message: &[u8]) -> io::Result<()> {
    let mut framed = Vec::with_capacity(4 + message.len());
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    io.write_all(&framed).await
}
