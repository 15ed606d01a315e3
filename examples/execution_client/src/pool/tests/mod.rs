//! The pool as a whole; what concerns one file alone is tested there.

mod alone;
mod blob;
mod bounds;
mod geth;
mod heads;
mod kit;
mod model;
mod places;
