//! What every actor did: events, the flight recorder, files, and the tools that read them.
#![doc = include_str!("schema.md")]

mod event;
pub mod kind;
mod label;
pub mod record;
pub(crate) mod recorder;
mod ring;
#[cfg(feature = "trace-tools")]
pub mod tools;

pub(crate) use event::Event;
pub use kind::{Field, Kind};
pub(crate) use label::Label;
pub use record::{EventId, Header, Line, Name, Record};
pub(crate) use recorder::{ConnTrace, Local, Tracer};
