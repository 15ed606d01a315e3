//! Carries out the dial schedule: takes nodes from a source, dials whom the schedule chooses.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior};

use super::dial::DialSchedule;
use super::node::Node;
use super::source::{Found, NodeSource};
use crate::ids::{Direction, PeerId};

/// How often we look who is connected, at least.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whoever can dial. Handed in, so that discovery knows nothing of what is above it.
pub trait Dials: Send + Sync + 'static {
    /// Dials a node; whether that came to a session.
    fn dial(&self, node: Node) -> BoxFuture<'static, bool>;

    /// Who is connected, and who dialled whom.
    fn connected(&self) -> Vec<(PeerId, Direction)>;
}

/// Dials what `source` finds and `accept` takes, by the schedule, for ever. When the source has
/// ended, those it found are still dialled. Dropping the future drops the dials under way, of which
/// there are never more than the schedule allows.
pub async fn feed(
    mut source: impl NodeSource,
    dials: Arc<dyn Dials>,
    mut schedule: DialSchedule,
    accept: impl Fn(&Found) -> bool,
) {
    let mut under_way = FuturesUnordered::new();
    let mut is_over = false;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = Instant::now().into_std();
        while let Some(node) = schedule.next_dial(now) {
            tracing::debug!(%node, "dialling a node that was found");
            let dial = dials.dial(node);
            under_way.push(async move { (node, dial.await) });
        }
        tokio::select! {
            biased;
            Some((node, is_connected)) = under_way.next(), if !under_way.is_empty() => {
                let now = Instant::now().into_std();
                schedule.on_dialled(now, &node, is_connected, rand::random());
                schedule.set_connected(now, dials.connected());
            }
            _ = look.tick() => schedule.set_connected(Instant::now().into_std(), dials.connected()),
            found = source.next(), if !is_over && schedule.wants_more(now) => match found {
                Some(found) if accept(&found) => schedule.on_found(&found),
                Some(_) => {}
                None => is_over = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt;

    use super::*;
    use crate::discovery::dial::DialConfig;
    use crate::discovery::fixtures::{key, node, nodes};
    use crate::discovery::source::StaticNodes;

    /// Everybody with an even port answers, a second later.
    #[derive(Default)]
    struct Book {
        dialled: Arc<Mutex<Vec<Node>>>,
        connected: Arc<Mutex<Vec<(PeerId, Direction)>>>,
    }

    impl Dials for Book {
        fn dial(&self, node: Node) -> BoxFuture<'static, bool> {
            self.dialled.lock().unwrap().push(node);
            let connected = self.connected.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let is_there = node.tcp.is_multiple_of(2);
                if is_there {
                    connected.lock().unwrap().push((node.id.peer_id(), Direction::Outbound));
                }
                is_there
            }
            .boxed()
        }

        fn connected(&self) -> Vec<(PeerId, Direction)> {
            self.connected.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn found_nodes_are_dialled_until_the_slots_are_full() {
        let book = Arc::new(Book::default());
        let schedule = DialSchedule::new(DialConfig::for_slots(6, 2), key(0).node_id().peer_id());
        let list = nodes(1..40).into_iter().enumerate().map(|(at, node)| Node { tcp: at as u16 + 1, ..node });
        let accept = |found: &Found| found.node.id != node(2).id;
        let feeding = feed(StaticNodes::new(list), book.clone(), schedule, accept);
        tokio::select! {
            () = feeding => unreachable!("it goes on for ever"),
            () = tokio::time::sleep(Duration::from_secs(600)) => {}
        }
        assert_eq!(book.connected.lock().unwrap().len(), 3);
        let dialled = book.dialled.lock().unwrap();
        assert!(!dialled.iter().any(|dialled| dialled.id == node(2).id));
        assert!(dialled.len() < 12, "{dialled:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_went_makes_room_for_the_next() {
        let book = Arc::new(Book::default());
        let schedule = DialSchedule::new(DialConfig::for_slots(1, 1), key(0).node_id().peer_id());
        let list = nodes(1..3).into_iter().map(|node| Node { tcp: 2, ..node });
        let feeding = tokio::spawn(feed(StaticNodes::new(list), book.clone(), schedule, |_| true));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(book.dialled.lock().unwrap().len(), 1);
        book.connected.lock().unwrap().clear();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(book.dialled.lock().unwrap().len(), 2);
        feeding.abort();
    }
}
