//! What every actor did: events, the flight recorder, files, and the tools that read them.
//!
//! Owns: the vocabulary, the rings, where they are emptied to. Never: an actor, a session, a
//! protocol; they record through a tracer and know nothing else of it. Recording is lock-free and
//! does not allocate (but for the words of rare events: addresses, reasons); whatever is slow (files, subscribers) reads the rings from a thread of its own
//! and loses events rather than holding anybody up.
#![doc = include_str!("schema.md")]

mod api;
mod budget;
mod clock;
mod conn;
mod drain;
mod event;
pub mod json;
pub mod kind;
mod label;
pub mod record;
pub(crate) mod recorder;
mod ring;
mod sink;
#[cfg(feature = "trace-tools")]
pub mod tools;

pub use api::{Subscription, Trace, TraceConfig, TraceCounts};
pub use budget::Budget;
pub use kind::{Field, Kind};
pub use record::{EventId, Header, Line, Name, Record};

pub(crate) use clock::nanos;
pub(crate) use conn::ConnTrace;
pub(crate) use event::Event;
pub(crate) use label::Label;
pub(crate) use recorder::{Local, Tracer};
