//! What the two halves of a connection ask of each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::sync::oneshot;

use crate::disconnect::DisconnectReason;

/// Pings of ours that may wait for their echo at a time.
pub(super) const PINGS_MAX: usize = 16;

/// What the reading half asks of the writing half, and what is asked of both from outside.
#[derive(Debug, Clone, Default)]
pub(super) struct Post(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Pings of the peer that were not answered. Bounded by the pings it may send.
    pub(super) pongs: usize,
    /// Pings of ours that wait for their echo, in their order.
    echoes: VecDeque<oneshot::Sender<()>>,
    /// The last word, once it is decided.
    pub(super) goodbye: Option<DisconnectReason>,
    waker: Option<Waker>,
}

impl Post {
    pub(super) fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writing half is woken when something is asked of it.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.lock().waker = Some(cx.waker().clone());
    }

    pub(super) fn owe_pong(&self) {
        self.change(|asked| asked.pongs += 1);
    }

    /// The peer is told this reason and then left. The first one stays.
    pub(super) fn say_goodbye(&self, reason: DisconnectReason) {
        self.change(|asked| {
            asked.goodbye.get_or_insert(reason);
        });
    }

    /// A ping is on its way. `false`: too many are.
    pub(super) fn await_echo(&self, reply: oneshot::Sender<()>) -> bool {
        let mut asked = self.lock();
        let room = asked.echoes.len() < PINGS_MAX;
        if room {
            asked.echoes.push_back(reply);
        }
        room
    }

    pub(super) fn on_echo(&self) {
        if let Some(reply) = self.lock().echoes.pop_front() {
            // Whoever asked may have given up.
            let _ = reply.send(());
        }
    }

    fn change(&self, change: impl FnOnce(&mut Asked)) {
        let mut asked = self.lock();
        change(&mut asked);
        if let Some(waker) = asked.waker.take() {
            waker.wake();
        }
    }
}
