//! Where nodes come from: the one trait that lists, discv4 and discv5 stand behind.

use std::collections::VecDeque;
use std::time::Duration;

use discv5::Enr;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::{broadcast, mpsc};

use super::node::Node;

/// How a node was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// It was on a list.
    List,
    /// Over discv4.
    V4,
    /// Over discv5.
    V5,
}

/// A node that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Who and where.
    pub node: Node,
    /// Its record, if it is known.
    pub record: Option<Box<Enr>>,
    /// How it was found.
    pub via: Via,
    /// Whether it has answered us; else it was only named by others.
    pub is_alive: bool,
}

/// A source of nodes.
pub trait NodeSource: Send {
    /// What it is called in logs.
    fn name(&self) -> &'static str;

    /// The next node; `None` when there will be no more. Asking is what makes a source search: one
    /// that nobody asks is quiet. Dropping the future loses no node.
    fn next(&mut self) -> BoxFuture<'_, Option<Found>>;
}

/// A list that does not change, told once.
#[derive(Debug)]
pub struct StaticNodes(VecDeque<Node>);

impl StaticNodes {
    /// These nodes, in this order.
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self(nodes.into_iter().collect())
    }
}

impl NodeSource for StaticNodes {
    fn name(&self) -> &'static str {
        "list"
    }

    fn next(&mut self) -> BoxFuture<'_, Option<Found>> {
        let found = |node| Found { node, record: None, via: Via::List, is_alive: false };
        // Taken when the future is polled, not when it is made: it may be dropped before.
        async move { self.0.pop_front().map(found) }.boxed()
    }
}

/// What discovery finds from now on. One that lags misses nodes, which will be found again.
#[derive(Debug)]
pub struct Finds {
    pub(super) found: broadcast::Receiver<Found>,
    pub(super) wanted: mpsc::Sender<()>,
}

/// How often a source that has nothing is reminded that somebody waits.
const REMIND: Duration = Duration::from_secs(1);

impl NodeSource for Finds {
    fn name(&self) -> &'static str {
        "discovery"
    }

    fn next(&mut self) -> BoxFuture<'_, Option<Found>> {
        async {
            loop {
                match self.found.try_recv() {
                    Ok(found) => return Some(found),
                    Err(broadcast::error::TryRecvError::Closed) => return None,
                    Err(broadcast::error::TryRecvError::Lagged(_)) => continue,
                    Err(broadcast::error::TryRecvError::Empty) => {}
                }
                // Full: somebody else has said so already.
                let _ = self.wanted.try_send(());
                match tokio::time::timeout(REMIND, self.found.recv()).await {
                    Ok(Ok(found)) => return Some(found),
                    Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                    Ok(Err(broadcast::error::RecvError::Lagged(_))) | Err(_) => {}
                }
            }
        }
        .boxed()
    }
}

/// Several sources as one: whoever has a node first.
pub struct AllSources(futures::stream::SelectAll<futures::stream::BoxStream<'static, Found>>);

impl AllSources {
    /// All of these.
    pub fn new(sources: Vec<Box<dyn NodeSource>>) -> Self {
        let streams = sources.into_iter().map(|source| {
            futures::stream::unfold(source, |mut source| async move {
                let found = source.next().await?;
                Some((found, source))
            })
            .boxed()
        });
        Self(futures::stream::select_all(streams))
    }
}

impl NodeSource for AllSources {
    fn name(&self) -> &'static str {
        "all"
    }

    fn next(&mut self) -> BoxFuture<'_, Option<Found>> {
        self.0.next().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::fixtures::{node, nodes};

    #[tokio::test]
    async fn a_list_tells_each_node_once_and_ends() {
        let mut list = StaticNodes::new(nodes(0..2));
        drop(list.next());
        assert_eq!(list.next().await.map(|found| found.node), Some(node(0)));
        assert_eq!(list.next().await.map(|found| found.node), Some(node(1)));
        assert_eq!(list.next().await, None);
    }

    #[tokio::test]
    async fn several_sources_are_drained_together() {
        let lists = [0..3, 10..12, 20..20]
            .map(|numbers| -> Box<dyn NodeSource> { Box::new(StaticNodes::new(nodes(numbers))) });
        let mut all = AllSources::new(lists.into());
        let mut found = Vec::new();
        while let Some(next) = all.next().await {
            found.push(next.node);
        }
        assert_eq!(found.len(), 5);
    }

    /// Nobody asks: nothing is wanted. Somebody waits: it is said once.
    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_node_is_what_makes_discovery_search() {
        let (told, found) = broadcast::channel(4);
        let (wanted, mut wants) = mpsc::channel(1);
        let mut finds = Finds { found, wanted };
        assert!(wants.try_recv().is_err());
        let find = Found { node: node(1), record: None, via: Via::V4, is_alive: true };
        let (got, ()) = tokio::join!(finds.next(), async {
            assert_eq!(wants.recv().await, Some(()));
            // And again, as long as nothing comes.
            assert_eq!(wants.recv().await, Some(()));
            told.send(find.clone()).unwrap();
        });
        assert_eq!(got, Some(find.clone()));
        // More than it can hold: the oldest are missed, the rest is there.
        (0..6).for_each(|_| drop(told.send(find.clone())));
        let mut rest = 0;
        drop(told);
        while finds.next().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, 4);
    }
}
