//! eth.
pub mod chain;
pub use chain::{Chain, ChainStatus};
