//! What every actor did: events, the flight recorder, files, and the tools that read them.
#![doc = include_str!("schema.md")]

pub mod json;
pub mod kind;
pub mod record;
#[cfg(feature = "trace-tools")]
pub mod tools;

pub use kind::{Field, Kind};
pub use record::{EventId, Header, Line, Name, Record};
