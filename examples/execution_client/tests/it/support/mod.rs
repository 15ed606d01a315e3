//! What scenarios share: chains, honest and lying peers, and the client as a child process.

pub(crate) mod branches;
pub(crate) mod chains;
pub(crate) mod client;
pub(crate) mod forge;
pub(crate) mod liar;
pub(crate) mod peer;

use std::time::Duration;

/// A bound for whatever is waited for, and no claim about how long it takes.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Fails the test instead of hanging it.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {LONG:?}: {what}"),
    }
}
