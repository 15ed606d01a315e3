//! Static peers: dialled at once, redialled with backoff, kept outside the slots (L6).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;
use trunkline::disconnect::DisconnectReason;
use trunkline::{Config, Events, Keypair, Network, NetworkEvent, PeerHandle};

use crate::chat::{Chat, Say};
use crate::support::Over;
use crate::support::{addr, config};

async fn start_here(chat: &Arc<Chat>, config: Config, key: &Keypair) -> Network {
    let builder = Network::builder(config, key.clone());
    builder.exchange(Arc::clone(chat) as _).start_local().await.unwrap()
}

fn following(to: &str) -> Config {
    let mut following = config("");
    following.static_peers.push(addr(to));
    following
}

async fn up(events: &mut Events) -> PeerHandle {
    loop {
        if let NetworkEvent::PeerUp { peer } = events.next().await.expect("events go on") {
            return peer;
        }
    }
}

async fn down(events: &mut Events) {
    while !matches!(events.next().await.expect("events go on"), NetworkEvent::PeerDown { .. }) {}
}

/// L6: the pauses double within their jitter up to the cap, and are really waited for.
#[tokio::test(start_paused = true)]
async fn an_absent_peer_is_dialled_with_doubling_pauses() {
    let test = async {
        let chat = Chat::new();
        let node = start_here(&chat, following("/memory/7001"), &Keypair::generate_ed25519()).await;
        let mut events = node.events();
        let mut base = 0.5;
        for attempt in 0..9 {
            let NetworkEvent::DialFailed { addr: failed, again_in: Some(pause), .. } =
                events.next().await.unwrap()
            else {
                panic!("not a failed dial")
            };
            let heard = Instant::now();
            assert_eq!(failed, addr("/memory/7001"));
            let share = pause.as_secs_f64() / base;
            assert!((0.79..=1.21).contains(&share), "attempt {attempt}: {pause:?} around {base} s");
            base = f64::min(base * 2.0, 15.0);
            if attempt == 8 {
                break;
            }
            // The next one comes when it was announced, to the timer's millisecond.
            let mut next = node.events();
            next.next().await.unwrap();
            let late = heard.elapsed().saturating_sub(pause);
            assert!(heard.elapsed() >= pause && late <= Duration::from_millis(2), "{late:?}");
        }
        node.over().await;
    };
    LocalSet::new().run_until(test).await;
}

/// L6: found as soon as it is there, found again when it comes back, at its first pause after a
/// long life and at the next longer one after a short one.
#[tokio::test(start_paused = true)]
async fn a_lost_peer_is_found_again() {
    let test = async {
        let key = Keypair::generate_ed25519();
        let (chat, theirs) = (Chat::new(), Chat::new());
        let server = start_here(&chat, config("/memory/7002"), &key).await;
        let follower = start_here(&theirs, following("/memory/7002"), &Keypair::generate_ed25519()).await;
        let mut events = follower.events();
        let peer = up(&mut events).await;
        assert_eq!(peer.request(Say::new("hi")).await.unwrap(), "hi");
        tokio::time::sleep(Duration::from_secs(31)).await;
        // Its connection ends, it is still there: back within the first pause.
        peer.disconnect(DisconnectReason::Requested);
        down(&mut events).await;
        let lost = Instant::now();
        let again = up(&mut events).await;
        assert!(again.session() != peer.session());
        let took = lost.elapsed();
        assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(700), "{took:?}");
        // Short lives make the pauses longer.
        again.disconnect(DisconnectReason::Requested);
        down(&mut events).await;
        let lost = Instant::now();
        let peer = up(&mut events).await;
        let took = lost.elapsed();
        assert!(took >= Duration::from_millis(800) && took < Duration::from_millis(1300), "{took:?}");
        // It goes for a minute and comes back.
        server.over().await;
        down(&mut events).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(follower.peers().is_empty());
        let server = start_here(&chat, config("/memory/7002"), &key).await;
        let back = Instant::now();
        assert_eq!(up(&mut events).await.id(), peer.id());
        assert!(back.elapsed() <= Duration::from_secs(19), "{:?}", back.elapsed());
        follower.over().await;
        server.over().await;
    };
    LocalSet::new().run_until(test).await;
}

/// Static peers are outside the slots, and one address is added once.
#[tokio::test(start_paused = true)]
async fn a_static_peer_needs_no_slot() {
    let test = async {
        let (chat, theirs, another) = (Chat::new(), Chat::new(), Chat::new());
        let server = start_here(&chat, config("/memory/7003"), &Keypair::generate_ed25519()).await;
        let other = start_here(&another, config("/memory/7004"), &Keypair::generate_ed25519()).await;
        let mut full = config("");
        full.slots = trunkline::machine::admission::SlotLimits::for_peers(1);
        let node = start_here(&theirs, full, &Keypair::generate_ed25519()).await;
        node.dial(addr("/memory/7003")).await.unwrap();
        let refused = node.dial(addr("/memory/7004")).await;
        assert!(matches!(refused, Err(trunkline::DialError::NoSlot)), "{refused:?}");
        let mut events = node.events();
        node.add_static_peer(addr("/memory/7004")).await;
        node.add_static_peer(addr("/memory/7004")).await;
        while up(&mut events).await.id() != other.id() {}
        assert_eq!(node.peers().len(), 2);
        for node in [&node, &server, &other] {
            node.over().await;
        }
    };
    LocalSet::new().run_until(test).await;
}
