//! The pending table against single cases, and against a reference model that is obviously right.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const GRACE: Duration = Duration::from_secs(120);
const ANSWER: u8 = 4;

fn table() -> (Arc<Slots>, PendingRequests<&'static str>, Instant) {
    (Slots::new(2), PendingRequests::new(GRACE), Instant::now())
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn an_answer_goes_to_its_waiter_with_the_time_it_was_asked() {
    let (slots, mut table, now) = table();
    let id = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "a");
    assert_eq!((table.len(), slots.in_use(), table.contains(id)), (1, 1, true));
    assert_eq!(table.on_answer(now + seconds(1), id, ANSWER), Answer::For("a", now));
    assert_eq!((table.len(), slots.in_use(), table.contains(id)), (0, 0, false));
    assert_eq!(table.next_deadline(), None);
}

/// F5: the request ends at once, and the answer of the right kind that follows is a duplicate.
#[test]
fn a_wrong_kind_ends_the_request() {
    let (slots, mut table, now) = table();
    let id = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "a");
    assert_eq!(table.on_answer(now, id, ANSWER + 1), Answer::WrongKind("a"));
    assert_eq!(table.on_answer(now, id, ANSWER), Answer::Duplicate);
    assert_eq!(slots.in_use(), 0);
}

/// F1, F11: an id nobody issued, in a slot there is and in slots there are not.
#[test]
fn an_id_that_was_never_issued_is_unknown() {
    let (slots, mut table, now) = table();
    let id = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "a");
    let next = RequestId::new(id.generation() + 1, id.slot() as u16);
    for unknown in [next, RequestId::from_wire(1), RequestId::from_wire(9), RequestId::from_wire(u64::MAX)] {
        assert_eq!(table.on_answer(now, unknown, ANSWER), Answer::Unknown, "{unknown}");
    }
    assert_eq!(table.on_answer(now, id, ANSWER), Answer::For("a", now));
}

/// F2: the first answer wins, the second is counted.
#[test]
fn a_second_answer_is_a_duplicate() {
    let (slots, mut table, now) = table();
    let id = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "a");
    assert_eq!(table.on_answer(now, id, ANSWER), Answer::For("a", now));
    assert_eq!(table.on_answer(now, id, ANSWER), Answer::Duplicate);
}

/// F4: excused within the grace, once; blamed after it; never delivered.
#[test]
fn a_late_answer_is_excused_once_and_only_within_its_grace() {
    let (slots, mut table, start) = table();
    let first = table.insert(slots.take().unwrap(), ANSWER, start, start + seconds(15), "a");
    let second = table.insert(slots.take().unwrap(), ANSWER, start, start + seconds(15), "b");
    let given_up = start + seconds(15);
    assert_eq!(table.on_timeout(given_up - Duration::from_nanos(1)), []);
    assert_eq!(table.on_timeout(given_up), [("a", seconds(15)), ("b", seconds(15))]);
    assert_eq!(table.on_answer(given_up + GRACE, first, ANSWER), Answer::Late);
    assert_eq!(table.on_answer(given_up + GRACE, first, ANSWER), Answer::Duplicate);
    let after = given_up + GRACE + Duration::from_nanos(1);
    assert_eq!(table.on_answer(after, second, ANSWER), Answer::Duplicate);
}

/// F4: the slot of a given-up request is used again, and its late answer does not meet the new one.
#[test]
fn a_late_answer_never_meets_a_reused_slot() {
    let (slots, mut table, now) = table();
    let old = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "old");
    assert_eq!(table.cancel(now, old), Some("old"));
    let new = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "new");
    assert_eq!((old.slot(), old.generation() + 1), (new.slot(), new.generation()));
    assert_eq!(table.on_answer(now, old, ANSWER), Answer::Late);
    assert_eq!(table.cancel(now, old), None);
    assert_eq!(table.on_answer(now, new, ANSWER), Answer::For("new", now));
}

/// F7: a cancel gives the permit back, and a second one does nothing.
#[test]
fn a_cancelled_request_frees_its_slot_once() {
    let (slots, mut table, now) = table();
    let id = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "a");
    assert_eq!(table.cancel(now, id), Some("a"));
    assert_eq!(table.cancel(now, id), None);
    assert_eq!((table.len(), slots.in_use()), (0, 0));
}

/// F15: as many permits as slots, and every one comes back.
#[test]
fn permits_are_bounded_and_come_back_when_dropped() {
    let slots = Slots::new(3);
    let held: Vec<Permit> = std::iter::from_fn(|| slots.take()).collect();
    assert_eq!((held.len(), slots.in_use(), slots.capacity()), (3, 3, 3));
    let distinct: BTreeSet<RequestId> = held.iter().map(Permit::id).collect();
    assert_eq!(distinct.len(), 3);
    drop(held);
    assert_eq!(slots.in_use(), 0);
    let again = slots.take().unwrap();
    assert!(!distinct.contains(&again.id()), "an id is never issued twice");
}

/// F6: all of them, in the order of their slots.
#[test]
fn a_drained_table_is_empty_and_its_answers_are_duplicates() {
    let (slots, mut table, now) = table();
    let first = table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(15), "a");
    table.insert(slots.take().unwrap(), ANSWER, now, now + seconds(9), "b");
    assert_eq!(table.drain(), ["a", "b"]);
    assert_eq!((table.len(), slots.in_use(), table.next_deadline()), (0, 0, None));
    assert_eq!(table.on_answer(now, first, ANSWER), Answer::Duplicate);
    assert_eq!(table.on_timeout(now + seconds(60)), []);
}

/// F4: as many given-up requests as may ever be in flight are all excused.
#[test]
fn a_whole_table_of_given_up_requests_is_excused() {
    let (slots, mut table, now) = (Slots::new(4096), PendingRequests::new(GRACE), Instant::now());
    let ids: Vec<RequestId> = std::iter::from_fn(|| slots.take())
        .map(|permit| table.insert(permit, ANSWER, now, now + seconds(15), ()))
        .collect();
    assert_eq!(table.on_timeout(now + seconds(15)).len(), 4096);
    for id in ids {
        assert_eq!(table.on_answer(now + seconds(16), id, ANSWER), Answer::Late, "{id}");
    }
}

/// What a request has come to, in the words of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Open { code: u8, asked: Instant, deadline: Instant, waiter: usize },
    GivenUp(Instant),
    Over,
}

/// The table as a plain map from every id ever issued to its fate.
#[derive(Debug, Default)]
struct Model {
    fates: BTreeMap<RequestId, Fate>,
}

impl Model {
    fn on_answer(&mut self, now: Instant, id: RequestId, code: u8) -> Answer<usize> {
        let Some(fate) = self.fates.get_mut(&id) else { return Answer::Unknown };
        match std::mem::replace(fate, Fate::Over) {
            Fate::Open { code: wanted, asked, waiter, .. } if wanted == code => Answer::For(waiter, asked),
            Fate::Open { waiter, .. } => Answer::WrongKind(waiter),
            Fate::GivenUp(since) if now - since <= GRACE => Answer::Late,
            Fate::GivenUp(_) | Fate::Over => Answer::Duplicate,
        }
    }

    fn cancel(&mut self, now: Instant, id: RequestId) -> Option<usize> {
        let fate = self.fates.get_mut(&id)?;
        let Fate::Open { waiter, .. } = *fate else { return None };
        *fate = Fate::GivenUp(now);
        Some(waiter)
    }

    fn open(&self) -> Vec<(RequestId, u64, Instant, usize)> {
        let mut open: Vec<_> = self
            .fates
            .iter()
            .filter_map(|(id, fate)| match fate {
                Fate::Open { asked, deadline, waiter, .. } => {
                    Some((*id, (*deadline - *asked).as_secs(), *deadline, *waiter))
                }
                _ => None,
            })
            .collect();
        open.sort_by_key(|(id, ..)| id.slot());
        open
    }

    fn end(&mut self, now: Instant, expired_only: bool) -> Vec<(usize, u64)> {
        let mut ended = Vec::new();
        for (id, waited, deadline, waiter) in self.open() {
            if !expired_only {
                self.fates.insert(id, Fate::Over);
            } else if deadline <= now {
                self.fates.insert(id, Fate::GivenUp(now));
            } else {
                continue;
            }
            ended.push((waiter, waited));
        }
        ended
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert {
        code: u8,
        timeout: u64,
    },
    /// An answer to the n-th id from the end of those issued.
    Answer {
        nth: usize,
        code: u8,
    },
    /// An answer to any id at all.
    Stray {
        id: u64,
    },
    Cancel {
        nth: usize,
    },
    Pass {
        seconds: u64,
    },
    Timeout,
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3u8, 0..40u64).prop_map(|(code, timeout)| Op::Insert { code, timeout }),
        5 => (0..12usize, 0..3u8).prop_map(|(nth, code)| Op::Answer { nth, code }),
        1 => prop_oneof![any::<u64>(), 0..4u64, (0..6u64, 0..6u64).prop_map(|(g, s)| g << 16 | s)]
            .prop_map(|id| Op::Stray { id }),
        2 => (0..12usize).prop_map(|nth| Op::Cancel { nth }),
        3 => prop_oneof![0..20u64, 100..140u64].prop_map(|seconds| Op::Pass { seconds }),
        3 => Just(Op::Timeout),
        1 => Just(Op::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// F1 F2 F4 F5 F7 F11 F15: every operation has the outcome the model says, the next deadline is
    /// never later than the true one, and permits are exactly the open requests.
    #[test]
    fn the_table_does_what_the_model_does(ops in prop::collection::vec(op(), 1..120)) {
        let slots = Slots::new(4);
        let mut table = PendingRequests::new(GRACE);
        let mut model = Model::default();
        let mut issued: Vec<RequestId> = Vec::new();
        let mut now = Instant::now();
        let nth = |issued: &[RequestId], n: usize| issued.iter().rev().nth(n).copied();
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Insert { code, timeout } => {
                    let permit = slots.take();
                    prop_assert_eq!(permit.is_some(), model.open().len() < 4);
                    let Some(permit) = permit else { continue };
                    let deadline = now + seconds(timeout);
                    let id = table.insert(permit, code, now, deadline, step);
                    let fate = Fate::Open { code, asked: now, deadline, waiter: step };
                    prop_assert_eq!(model.fates.insert(id, fate), None, "an id was issued twice");
                    issued.push(id);
                }
                Op::Answer { nth: n, code } => {
                    let Some(id) = nth(&issued, n) else { continue };
                    prop_assert_eq!(table.on_answer(now, id, code), model.on_answer(now, id, code));
                }
                Op::Stray { id } => {
                    let id = RequestId::from_wire(id);
                    prop_assert_eq!(table.on_answer(now, id, 0), model.on_answer(now, id, 0));
                }
                Op::Cancel { nth: n } => {
                    let Some(id) = nth(&issued, n) else { continue };
                    prop_assert_eq!(table.cancel(now, id), model.cancel(now, id));
                }
                Op::Pass { seconds: n } => now += seconds(n),
                Op::Timeout => {
                    let expired: Vec<_> =
                        table.on_timeout(now).into_iter().map(|(w, d)| (w, d.as_secs())).collect();
                    prop_assert_eq!(expired, model.end(now, true));
                }
                Op::Drain => {
                    let ended: Vec<_> = model.end(now, false).into_iter().map(|(w, _)| w).collect();
                    prop_assert_eq!(table.drain(), ended);
                }
            }
            let open = model.open();
            prop_assert_eq!((table.len(), table.is_empty()), (open.len(), open.is_empty()));
            prop_assert_eq!(slots.in_use(), open.len());
            for (id, ..) in &open {
                prop_assert!(table.contains(*id));
            }
            let due = open.iter().map(|(_, _, deadline, _)| *deadline).min();
            match (table.next_deadline(), due) {
                (Some(next), Some(due)) => prop_assert!(next <= due, "the timer would fire too late"),
                (next, None) => prop_assert_eq!(next, None),
                (None, Some(_)) => prop_assert!(false, "a deadline without a timer"),
            }
        }
    }
}
