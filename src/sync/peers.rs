//! Who can be asked for what: claims and what became of them, gaps, pauses, ranks.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::config::SyncConfig;
use super::lacks::Lacks;
use super::pace::Pace;
use super::source::Claim;
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// How long a peer is not asked again for what it did not have.
const GAP_PAUSE: Duration = Duration::from_secs(10);
/// Gaps remembered per peer; the oldest makes room.
const GAPS_MAX: usize = 8;
/// Useless answers in a row before a peer is left alone, and for how long at first and at most.
const STRIKES_MAX: u32 = 3;
const STRIKE_PAUSE: Duration = Duration::from_secs(5);
const STRIKE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A pause up to this is none to speak of.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// So many unanswered requests in a row make a peer a silent one.
const SILENT_TIMEOUTS: u32 = 2;
/// Blamed sessions remembered, so that a stale list of candidates does not bring them back.
const BLAMED_MAX: usize = 64;

/// Blocks whose bodies a peer did not have when it was asked.
#[derive(Debug, Clone, Copy)]
struct Gap {
    first: BlockRef,
    to: u64,
    until: Instant,
}

/// One peer, as far as the sync is concerned.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) earliest: u64,
    pub(super) claim: Claim,
    /// It has shown that it has nothing above this.
    ceiling: Option<u64>,
    pub(super) in_flight: usize,
    in_flight_max: usize,
    /// How many of these are for receipts.
    pub(super) receipts_in_flight: usize,
    pub(super) pace: Pace,
    gaps: Vec<Gap>,
    /// Receipts that it did not have.
    pub(super) lacks: Lacks,
    /// Not asked at all until then; not asked for headers; not asked for a hash; no branch of it
    /// followed.
    pub(super) aside_until: Option<Instant>,
    pub(super) headers_until: Option<Instant>,
    pub(super) hash_until: Option<Instant>,
    pub(super) fork_until: Option<Instant>,
    strikes: u32,
    /// Whether a question for what follows our head is open.
    pub(super) polled: bool,
    /// When that was last asked, so that peers take turns.
    pub(super) polled_at: Option<Instant>,
    /// Whether a block it announced is being verified.
    pub(super) announcing: bool,
}

impl Peer {
    fn new(config: &SyncConfig, earliest: u64, claim: Claim) -> Self {
        Self {
            earliest,
            claim,
            ceiling: None,
            in_flight: 0,
            in_flight_max: config.in_flight_max,
            receipts_in_flight: 0,
            pace: Pace::new(config),
            gaps: Vec::new(),
            lacks: Lacks::default(),
            aside_until: None,
            headers_until: None,
            hash_until: None,
            fork_until: None,
            strikes: 0,
            polled: false,
            polled_at: None,
            announcing: false,
        }
    }

    /// The highest block it is believed to have.
    pub(super) fn believed(&self) -> Option<u64> {
        let claim = self.claim.number?;
        Some(self.ceiling.map_or(claim, |ceiling| ceiling.min(claim)))
    }

    /// Whether another request may be sent to it. Headers and bodies do not wait for a request for
    /// receipts that takes the only place.
    pub(super) fn is_free(&self) -> bool {
        let beside = self.in_flight == self.receipts_in_flight && self.in_flight < self.in_flight_max.min(2);
        self.aside_until.is_none() && (self.in_flight < self.pace.allowance() || beside)
    }

    /// Whether it can be asked for headers from `start` on, with the one before as overlap.
    pub(super) fn serves_headers(&self, start: u64) -> bool {
        self.headers_until.is_none()
            && self.earliest < start.max(1)
            && self.believed().is_some_and(|believed| believed >= start)
    }

    /// Whether it can be asked for the body of block `number`; if not, from where on it may be.
    pub(super) fn serves_body(&self, number: u64) -> Result<(), Option<u64>> {
        match self.believed() {
            Some(believed) if believed >= number => {}
            _ => return Err(None),
        }
        if number < self.earliest {
            return Err(Some(self.earliest));
        }
        match self.gaps.iter().find(|gap| (gap.first.number..=gap.to).contains(&number)) {
            Some(gap) => Err(gap.to.checked_add(1)),
            None => Ok(()),
        }
    }

    /// Whether it can be asked for the receipts of block `number`; if not, from where on it may be.
    pub(super) fn serves_receipts(&self, now: Instant, number: u64) -> Result<(), Option<u64>> {
        match self.believed() {
            Some(believed) if believed >= number => {}
            _ => return Err(None),
        }
        if number < self.earliest { Err(Some(self.earliest)) } else { self.lacks.allows(now, number) }
    }

    /// How many requests for receipts it may have: some whatever else there is to ask, more if there
    /// is nothing else. One place stays free for what is new.
    pub(super) fn receipt_places(&self) -> (usize, usize) {
        if self.lacks.any() {
            return (1, 1);
        }
        let allowance = self.pace.allowance();
        (allowance / 4, allowance.saturating_sub(1).max(1))
    }

    /// Whether the receipts of block `number` may come of it soon: they are asked for, or will be. A
    /// peer that has not answered lately, or is left alone for a longer while, does not count; one
    /// answer that is late tells nothing.
    pub(super) fn may_give_receipts(&self, now: Instant, number: u64) -> bool {
        let late = self.pace.receipt_timeouts();
        self.pace.timeouts().max(late) < SILENT_TIMEOUTS
            && self.aside_until.is_none_or(|until| until <= now + SHORT_PAUSE)
            && (late > 0 || self.receipts_in_flight > 0 || self.serves_receipts(now, number).is_ok())
    }

    /// It announced a head: believed, until it turns out otherwise.
    pub(super) fn on_claim(&mut self, earliest: Option<u64>, claim: Claim) {
        if let Some(earliest) = earliest {
            self.earliest = earliest;
        }
        let known = self.claim.number;
        if claim.number > known || claim.number < self.believed() {
            self.ceiling = None;
        }
        // A bare hash of the head it has already told us about says nothing new.
        if claim.number.is_some() || claim.hash != self.claim.hash {
            self.claim = claim;
        }
    }

    /// It sent the header of block `number`, so it has it.
    pub(super) fn on_shown(&mut self, number: u64) {
        if self.claim.number.is_some_and(|claim| claim < number) {
            self.claim.number = Some(number);
        }
        if self.ceiling.is_some_and(|ceiling| ceiling < number) {
            self.ceiling = None;
        }
    }

    /// It has nothing above block `number`. Whether it had claimed to.
    pub(super) fn on_ceiling(&mut self, number: u64) -> bool {
        let lied = self.believed().is_some_and(|believed| believed > number);
        if lied {
            self.ceiling = Some(number);
        }
        lied
    }

    /// It does not have the bodies of these blocks.
    pub(super) fn on_gap(&mut self, now: Instant, first: BlockRef, to: u64) {
        if self.gaps.len() == GAPS_MAX {
            self.gaps.remove(0);
        }
        self.gaps.push(Gap { first, to, until: now + GAP_PAUSE });
    }

    /// An answer that was of use.
    pub(super) fn on_useful(&mut self) {
        self.strikes = 0;
    }

    /// An answer that was of no use although the peer claims to have what was asked for.
    pub(super) fn on_useless(&mut self, now: Instant) {
        self.strikes = self.strikes.saturating_add(1);
        if let Some(beyond) = self.strikes.checked_sub(STRIKES_MAX) {
            let pause = STRIKE_PAUSE * 2_u32.pow(beyond.min(8));
            self.aside(now, pause.min(STRIKE_PAUSE_MAX));
        }
    }

    /// Leaves it alone for a while.
    pub(super) fn aside(&mut self, now: Instant, pause: Duration) {
        self.aside_until = self.aside_until.max(Some(now + pause));
    }

    fn pauses(&mut self) -> [&mut Option<Instant>; 4] {
        [&mut self.aside_until, &mut self.headers_until, &mut self.hash_until, &mut self.fork_until]
    }

    /// Ends the pauses that are over.
    fn wake(&mut self, now: Instant) {
        for pause in self.pauses() {
            pause.take_if(|until| *until <= now);
        }
        self.gaps.retain(|gap| gap.until > now);
    }

    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let pauses = [self.aside_until, self.headers_until, self.hash_until, self.fork_until];
        let pauses = pauses.into_iter().chain([self.lacks.next_wake(now)]);
        pauses.flatten().chain(self.gaps.iter().map(|gap| gap.until)).min()
    }
}

/// All peers, in the order of their sessions.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<SessionId, Peer>,
    blamed: VecDeque<SessionId>,
}

impl Peers {
    /// Takes a peer in, unless there are too many or it was blamed before.
    pub(super) fn add(&mut self, config: &SyncConfig, session: SessionId, earliest: u64, claim: Claim) {
        if let Some(peer) = self.known.get_mut(&session) {
            peer.on_claim(Some(earliest), claim);
        } else if self.known.len() < config.peers_max && !self.blamed.contains(&session) {
            self.known.insert(session, Peer::new(config, earliest, claim));
        }
    }

    /// Forgets a peer.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        self.known.remove(&session).is_some()
    }

    /// Forgets a peer for good.
    pub(super) fn ban(&mut self, session: SessionId) -> bool {
        if self.blamed.len() == BLAMED_MAX {
            self.blamed.pop_front();
        }
        self.blamed.push_back(session);
        self.remove(session)
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&Peer> {
        self.known.get(&session)
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Peer> {
        self.known.get_mut(&session)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.known.keys().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Peer)> {
        self.known.iter().map(|(session, peer)| (*session, peer))
    }

    /// Those that may be asked now, best first: answering in time, then the least busy.
    pub(super) fn ranked(&self) -> Vec<SessionId> {
        let mut free: Vec<_> = self
            .iter()
            .filter(|(_, peer)| peer.is_free())
            .map(|(session, peer)| {
                let load = peer.in_flight * 256 / peer.pace.allowance();
                (peer.pace.timeouts().min(3), load, session)
            })
            .collect();
        free.sort_unstable();
        free.into_iter().map(|(_, _, session)| session).collect()
    }

    /// The highest head believed of any peer that is not left alone. A peer that does not answer
    /// counts only if none does.
    pub(super) fn highest(&self) -> Option<u64> {
        let heard = |peer: &&Peer| peer.aside_until.is_none() && peer.headers_until.is_none();
        let answers = |peer: &&Peer| peer.pace.timeouts() < SILENT_TIMEOUTS;
        let heard = self.known.values().filter(heard);
        let answering = heard.clone().filter(answers).filter_map(Peer::believed).max();
        answering.or_else(|| heard.filter_map(Peer::believed).max())
    }

    /// Our chain is another one: what peers said against the one before counts no more.
    pub(super) fn hear_all_again(&mut self) {
        for peer in self.known.values_mut() {
            (peer.headers_until, peer.fork_until, peer.aside_until) = (None, None, None);
            // What they had nothing of were blocks of the other chain.
            (peer.strikes, peer.ceiling) = (0, None);
        }
        self.keep_gaps(|_| false);
    }

    /// Other blocks have these numbers now: who did not have the ones before may have these.
    pub(super) fn keep_gaps(&mut self, is_wanted: impl Fn(BlockRef) -> bool) {
        self.known.values_mut().for_each(|peer| peer.gaps.retain(|gap| is_wanted(gap.first)));
    }

    pub(super) fn wake(&mut self, now: Instant) {
        self.known.values_mut().for_each(|peer| peer.wake(now));
    }

    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        self.known.values().filter_map(|peer| peer.next_wake(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    fn claim(number: u64) -> Claim {
        Claim { number: Some(number), hash: B256::ZERO }
    }

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::ZERO }
    }

    fn peer() -> Peer {
        Peer::new(&SyncConfig::default(), 0, claim(100))
    }

    /// G8.
    #[test]
    fn a_claim_that_proved_false_is_not_believed_until_a_new_one_is_made() {
        let mut peer = peer();
        assert!(peer.on_ceiling(40));
        assert_eq!(peer.believed(), Some(40));
        peer.on_claim(None, claim(100));
        assert_eq!(peer.believed(), Some(40), "the same claim again is not news");
        peer.on_claim(None, claim(30));
        assert_eq!(peer.believed(), Some(30));
        peer.on_claim(None, claim(101));
        assert_eq!(peer.believed(), Some(101));
    }

    #[test]
    fn what_a_peer_lacks_is_not_asked_again_for_a_while() {
        let (mut peer, now) = (peer(), Instant::now());
        peer.on_gap(now, block(10), 20);
        assert_eq!(peer.serves_body(15), Err(Some(21)));
        assert_eq!((peer.serves_body(21), peer.serves_body(101)), (Ok(()), Err(None)));
        peer.wake(now + GAP_PAUSE);
        assert_eq!(peer.serves_body(15), Ok(()));
        for i in 0..100 {
            peer.on_gap(now, block(i), i);
        }
        assert_eq!(peer.gaps.len(), GAPS_MAX);
    }

    /// G4.
    #[test]
    fn a_peer_that_is_useless_again_and_again_is_left_alone_longer_and_longer() {
        let (mut peer, now) = (peer(), Instant::now());
        peer.on_useless(now);
        peer.on_useless(now);
        assert!(peer.is_free());
        peer.on_useless(now);
        assert!(!peer.is_free());
        for _ in 0..50 {
            peer.on_useless(now);
        }
        assert_eq!(peer.next_wake(now), Some(now + STRIKE_PAUSE_MAX));
        peer.on_useful();
        peer.wake(now + STRIKE_PAUSE_MAX);
        peer.on_useless(now);
        assert!(peer.is_free());
    }

    #[test]
    fn peers_that_answer_in_time_come_first() {
        let config = SyncConfig::default();
        let mut peers = Peers::default();
        for id in 1..=3 {
            peers.add(&config, SessionId(id), 0, claim(10));
        }
        peers.get_mut(SessionId(1)).unwrap().pace.on_timeout();
        peers.get_mut(SessionId(2)).unwrap().in_flight = 1;
        assert_eq!(peers.ranked(), [SessionId(3), SessionId(2), SessionId(1)]);
        assert!(peers.ban(SessionId(3)));
        peers.add(&config, SessionId(3), 0, claim(10));
        assert_eq!(peers.len(), 2, "a blamed session does not come back");
    }
}
