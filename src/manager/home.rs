//! Where tasks and sessions live: on this thread, or on one of several arbiters.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Arbiter;

/// Places pending connections, and with them their sessions, in turn on the network's threads.
#[derive(Clone)]
pub(crate) struct Home {
    /// Empty: everything stays on the manager's own thread.
    arbiters: Arc<[actix::ArbiterHandle]>,
    next: Arc<AtomicUsize>,
}

impl Home {
    /// Everything on the thread (or `LocalSet`) that the manager runs on.
    pub(crate) fn here() -> Self {
        Self { arbiters: Arc::new([]), next: Arc::default() }
    }

    /// Sessions on `threads` arbiters. Needs a running actix system. The arbiters are returned so
    /// that their owner can stop and join them.
    pub(crate) fn arbiters(threads: usize) -> (Self, Vec<Arbiter>) {
        let arbiters: Vec<Arbiter> = (0..threads).map(|_| Arbiter::new()).collect();
        let handles = arbiters.iter().map(Arbiter::handle).collect();
        (Self { arbiters: handles, next: Arc::default() }, arbiters)
    }

    /// Runs a future on the next thread. `false`: that thread has gone.
    pub(crate) fn spawn<F>(&self, make: impl FnOnce() -> F + Send + 'static) -> bool
    where
        F: Future<Output = ()> + 'static,
    {
        if self.arbiters.is_empty() {
            drop(tokio::task::spawn_local(make()));
            return true;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len();
        self.arbiters[index].spawn_fn(move || drop(tokio::task::spawn_local(make())))
    }
}
