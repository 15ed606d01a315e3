//! What the answer to a request means.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::action::Offence;
use super::checking::Sent;
use super::plan::{Asked, TransactionPlan, offence};
use super::wants::Noted;
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::protocols::eth::PooledTransaction;

/// A peer whose request slots are all taken is asked again after this.
const PAUSE: Duration = Duration::from_millis(100);

impl TransactionPlan {
    /// The outcome of a peer's request. One of a peer that has gone means nothing.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        session: SessionId,
        answer: Result<Vec<PooledTransaction>, RequestError>,
    ) {
        let Some(asked) = self.take_asked(session) else { return };
        match answer {
            Ok(transactions) => self.on_delivery(session, asked, transactions),
            Err(RequestError::Malformed(_)) => {
                self.retry_asked(&asked);
                self.blame(session, Offence::Malformed);
            }
            Err(RequestError::Busy) => {
                self.put_back(session, &asked, 0);
                if let Some(peer) = self.peers.get_mut(&session) {
                    peer.paused = Some(now + PAUSE);
                }
            }
            Err(error) => {
                // Whoever does not answer loses its place, until it announces something else.
                let gone = matches!(error, RequestError::Disconnected(_) | RequestError::Shutdown);
                self.counts.unanswered += u64::from(!gone);
                self.empty_queue(session);
                self.retry_asked(&asked);
            }
        }
        self.check_next();
        self.schedule(now);
    }

    fn on_delivery(&mut self, session: SessionId, asked: Asked, transactions: Vec<PooledTransaction>) {
        let mut places: HashMap<_, _> =
            asked.hashes.iter().enumerate().map(|(place, said)| (said.hash, (place, *said))).collect();
        // Behind the last one that came, the answer may have been full.
        let mut end = None;
        for transaction in transactions {
            self.counts.delivered += 1;
            let wrong = match places.remove(&transaction.hash) {
                None => Some(Offence::NotAsked),
                Some((place, said)) => {
                    end = end.max(Some(place));
                    offence(&transaction, Some(said))
                }
            };
            if let Some(why) = wrong {
                self.retry_asked(&asked);
                self.blame(session, why);
                return;
            }
            if let Some(peer) = self.peers.get_mut(&session) {
                peer.known.insert(transaction.hash);
            }
            // It may have come from elsewhere by now, and be decided.
            if self.wants.is_asked(&transaction.hash) && self.wants.came(transaction.hash) {
                self.checking.push(Sent { session, transaction, unasked: false });
            }
        }
        if let Some(end) = end {
            self.put_back(session, &asked, end + 1);
        }
        self.retry_asked(&asked);
    }

    /// What was asked for from this place on waits for the same peer again.
    fn put_back(&mut self, session: SessionId, asked: &Asked, from: usize) {
        for said in asked.hashes.iter().skip(from).rev() {
            if !self.wants.is_asked(&said.hash) {
                continue;
            }
            // Still asked for: the peer becomes a holder among the others, and all of them queue it.
            if self.wants.note(session, *said) == Noted::Kept {
                self.retry(&said.hash);
            }
        }
    }
}
