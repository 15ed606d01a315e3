//! What the program tells: events as lines or as JSON, and a bar per stage on a terminal.

mod bars;
mod event;
mod output;

pub use event::{End, Event, StageSum};
pub use output::Output;
