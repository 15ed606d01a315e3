//! Decisions, pure: inputs in, actions out.
//!
//! Owns: the rules of a session, of pending requests, of what is sent next, of who is admitted.
//! Never: a clock, a socket, a task, randomness; time is an argument. Actors feed these machines
//! and carry out what they decide.

pub mod action;
pub mod admission;
pub mod backoff;
pub mod limits;
pub mod message;
pub mod outbox;
pub mod pace;
pub mod pending;
pub mod session;
