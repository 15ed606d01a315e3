//! How a case ends: passed, failed with a reason, or skipped with a reason.

use std::fmt::Display;
use std::time::Duration;

/// Why a case did not pass.
#[derive(Debug)]
pub enum Failure {
    /// What was expected did not happen.
    Failed(String),
    /// The program under test does not offer what the case is about.
    Skipped(String),
}

/// What a case, or a step of one, returns.
pub type Outcome<T = ()> = Result<T, Failure>;

// `Failure` is no `Error` itself, so that every error turns into one with `?`.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            source = inner.source();
        }
        Self::Failed(text)
    }
}

impl Failure {
    /// The same failure, told with what was being done.
    #[must_use]
    pub fn during(self, what: &str) -> Self {
        match self {
            Self::Failed(why) => Self::Failed(format!("{what}: {why}")),
            skipped @ Self::Skipped(_) => skipped,
        }
    }
}

/// A failure with this reason.
pub fn failed<T>(why: impl Display) -> Outcome<T> {
    Err(Failure::Failed(why.to_string()))
}

/// A skip with this reason.
pub fn skipped<T>(why: impl Display) -> Outcome<T> {
    Err(Failure::Skipped(why.to_string()))
}

/// Fails with `why` unless `holds`.
pub fn need(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { failed(why()) }
}

/// Fails unless `work` is done in time.
pub async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> Outcome<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => Ok(done),
        Err(_) => failed(format!("{what}: not done within {limit:?}")),
    }
}

/// `n` random bytes.
pub fn random_bytes(n: usize) -> Vec<u8> {
    use rand::Rng as _;
    let mut bytes = vec![0; n];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
