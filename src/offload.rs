//! Where work that would hold up the network thread is done: hashing, inflating, large replies.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;

/// A job that is run once, anywhere.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs off the caller's thread (or on it, in tests).
///
/// The number of jobs at a time is bounded by the callers: each of them states its own limit.
pub trait Offload: Send + Sync + 'static {
    /// Starts the job. It runs even if nobody waits for its result any more.
    fn start(&self, job: Job);
}

/// The default: tokio's pool of blocking threads. Needs a tokio runtime around the call.
#[derive(Debug, Default, Clone, Copy)]
pub struct BlockingThreads;

impl Offload for BlockingThreads {
    fn start(&self, job: Job) {
        drop(tokio::task::spawn_blocking(job));
    }
}

/// Runs the job where it was asked for: for tests under a paused clock, where a thread pool would
/// let timers fire while it works.
#[derive(Debug, Default, Clone, Copy)]
pub struct Inline;

impl Offload for Inline {
    fn start(&self, job: Job) {
        job();
    }
}

/// Runs `work` through `offload` and waits for what it returns.
///
/// `None` when the job panicked or was thrown away by a pool that is going down. Dropping the
/// future lets the job finish unobserved.
pub fn run<T, F>(offload: &Arc<dyn Offload>, work: F) -> impl Future<Output = Option<T>> + Send + use<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (done, result) = oneshot::channel();
    offload.start(Box::new(move || drop(done.send(work()))));
    async move { result.await.ok() }
}
