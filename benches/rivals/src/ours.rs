//! Trunkline through its public API, an actor at both ends. To be plugged in.
//!
//! What is left to write here, and nowhere else but in `Cargo.toml` (the `trunkline` dependency):
//!
//! - a `Protocol` whose request is the 64 bytes of [`message::request`](crate::message::request)
//!   and whose answer is [`message::answer`](crate::message::answer) of it;
//! - a [`Contender`] that serves with one network per peer inside
//!   [`serve_beside`](crate::harness::serve_beside), dials them all from one network, calls
//!   [`Gate::open`](crate::harness::Gate::open), and makes `peers` x `in_flight` callers, each a
//!   [`call_in_a_loop`](crate::harness::call_in_a_loop) over `PeerHandle::request`, which
//!   [`on_this_thread`](crate::harness::on_this_thread) or
//!   [`on_two_workers`](crate::harness::on_two_workers) runs;
//! - its two variants in [`contenders`]: [`SESSION`] counts, [`TWO_WORKERS`] stands beside it.

use crate::harness::Contender;

/// The variant whose callers run on the session's own thread. Its figures count.
pub const SESSION: &str = "session's thread";
/// The variant whose callers run on a tokio runtime of two workers.
pub const TWO_WORKERS: &str = "2-worker runtime";

/// Both variants. While there are none, the report has a dash in their place.
pub fn contenders() -> Vec<Box<dyn Contender>> {
    Vec::new()
}
