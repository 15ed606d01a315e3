//! Who is who: ed25519 and secp256k1 on both sides, and identities that do not fit the address.

use std::path::PathBuf;

use libp2p::identity::{Keypair, ed25519, secp256k1};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::they_dial::serves_an_honest_peer;
use super::we_dial::{all_ops, fails_in_one_line};
use super::{Case, case};
use crate::check::{Outcome, failed, need, skipped};
use crate::exercises;
use crate::node::{Node, NodeConfig, STEP};
use crate::subject::Subject;

/// The cases of this question.
pub fn cases() -> Vec<Case> {
    vec![
        case("identity: an ed25519 peer dials us", async |s| {
            dialled_by(s, Keypair::generate_ed25519()).await
        }),
        case("identity: a secp256k1 peer dials us", async |s| {
            dialled_by(s, Keypair::generate_secp256k1()).await
        }),
        case("identity: we dial an ed25519 peer", async |s| dialling(s, Keypair::generate_ed25519()).await),
        case("identity: we dial a secp256k1 peer", async |s| {
            dialling(s, Keypair::generate_secp256k1()).await
        }),
        case("identity: ours is secp256k1, dialled and dialling", async |s| ours(s, Kind::Secp256k1).await),
        case("identity: ours is ed25519, dialled and dialling", async |s| ours(s, Kind::Ed25519).await),
        case("identity: we refuse a peer that is not who the address says, exit 1", we_refuse),
        case("identity: an address without identity is dialled all the same", without_identity),
        case("identity: a peer that expects somebody else leaves us, we go on", they_refuse),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Secp256k1,
    Ed25519,
}

async fn dialled_by(subject: Subject, key: Keypair) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    let node = Node::start(NodeConfig::new().key(key)).await?;
    let peer = node.dial(&child.addr).await?;
    exercises::echo(&node, peer, 10_000).await?;
    let right = exercises::call_back(&node, peer, 3, crate::services::ECHO).await?;
    need(right == 3, || format!("{right} of 3 substreams came back to us"))?;
    serves_an_honest_peer(&mut child).await
}

async fn dialling(subject: Subject, key: Keypair) -> Outcome {
    all_ops(&subject, NodeConfig::new().key(key), &[]).await
}

async fn ours(subject: Subject, kind: Kind) -> Outcome {
    if !subject.takes_key().await? {
        return skipped("the program has no --key");
    }
    let file = KeyFile::new(kind)?;
    let options = ["--key", file.path.to_str().unwrap_or_default()];
    let child = subject.listen(&options).await?;
    need(child.peer == file.peer, || format!("listens as {}, the key is {}", child.peer, file.peer))?;
    let node = Node::dialer().await?;
    let peer = node.dial(&child.addr).await?;
    exercises::echo(&node, peer, 1000).await?;
    let key = node.identified(peer).await?.public_key;
    need(key.to_peer_id() == file.peer, || format!("identify tells {key:?}"))?;

    let node = Node::start(NodeConfig::new().listening()).await?;
    let addr = node.addr.clone().expect("it listens");
    subject.connect(&addr, "ping,identify,echo", &options, STEP).await?.ended_with(0)?;
    need(node.log().connected.contains_key(&file.peer), || format!("{} did not dial", file.peer))
}

async fn we_refuse(subject: Subject) -> Outcome {
    for key in [Keypair::generate_ed25519(), Keypair::generate_secp256k1()] {
        let node = Node::start(NodeConfig::new().listening()).await?;
        let wrong = other_identity(node.addr.as_ref().expect("it listens"), key.public().to_peer_id());
        fails_in_one_line(&subject.connect(&wrong, "echo", &[], STEP).await?)?;
    }
    Ok(())
}

async fn without_identity(subject: Subject) -> Outcome {
    let node = Node::start(NodeConfig::new().listening()).await?;
    let addr: Multiaddr = bare(node.addr.as_ref().expect("it listens"));
    subject.connect(&addr, "echo,ping", &[], STEP).await?.ended_with(0)
}

async fn they_refuse(subject: Subject) -> Outcome {
    let mut child = subject.listen(&[]).await?;
    let node = Node::dialer().await?;
    let wrong = other_identity(&child.addr, PeerId::random());
    if node.dial(&wrong).await.is_ok() {
        return failed("rust-libp2p accepted another identity than it dialled");
    }
    serves_an_honest_peer(&mut child).await
}

fn bare(addr: &Multiaddr) -> Multiaddr {
    addr.iter().filter(|p| !matches!(p, Protocol::P2p(_))).collect()
}

fn other_identity(addr: &Multiaddr, peer: PeerId) -> Multiaddr {
    bare(addr).with(Protocol::P2p(peer))
}

/// A key file in the form of the command line's contract. Removed when dropped.
#[derive(Debug)]
struct KeyFile {
    path: PathBuf,
    peer: PeerId,
}

impl KeyFile {
    fn new(kind: Kind) -> Outcome<Self> {
        let (prefix, secret, key): (_, [u8; 32], Keypair) = match kind {
            Kind::Secp256k1 => {
                let pair = secp256k1::Keypair::generate();
                ("", pair.secret().to_bytes(), pair.into())
            }
            Kind::Ed25519 => {
                let pair = ed25519::Keypair::generate();
                let mut secret = [0; 32];
                secret.copy_from_slice(pair.secret().as_ref());
                ("ed25519:", secret, pair.into())
            }
        };
        let peer = key.public().to_peer_id();
        let path = std::env::temp_dir().join(format!("interop-{}-{peer}.key", std::process::id()));
        let digits: String = secret.iter().map(|b| format!("{b:02x}")).collect();
        write_private(&path, &format!("{prefix}{digits}\n"))?;
        Ok(Self { path, peer })
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        // Only a throw-away key in the temporary directory: nothing to do if it stays.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}
