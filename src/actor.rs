//! The one context type of all our actors.
//!
//! An alias today; a context that records every mailbox message can take its place without
//! touching an actor.

/// The context every actor of this crate runs in.
pub(crate) type Ctx<A> = actix::Context<A>;
