//! The cases, by question, and how they are run: a few at a time, each bounded in time and
//! with a child of its own.

pub mod hostile;
pub mod identities;
pub mod they_dial;
pub mod we_dial;

use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use crate::check::{Failure, Outcome, within};
use crate::subject::Subject;

/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(50);

/// One case.
pub struct Case {
    /// What holds if it passes.
    pub name: String,
    run: Box<dyn FnOnce(Subject) -> LocalBoxFuture<'static, Outcome>>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A case with its name.
pub fn case(name: impl Into<String>, run: impl AsyncFnOnce(Subject) -> Outcome + 'static) -> Case {
    Case { name: name.into(), run: Box::new(move |subject| async move { run(subject).await }.boxed_local()) }
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases = they_dial::cases();
    cases.extend(we_dial::cases());
    cases.extend(identities::cases());
    cases.extend(hostile::cases());
    cases
}

/// How many passed, failed and were skipped.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Skipped.
    pub skipped: usize,
}

/// Runs `jobs` cases at a time and prints a line for each, in their order.
pub async fn run(cases: Vec<Case>, subject: &Subject, jobs: usize) -> Tally {
    let mut tally = Tally::default();
    let runs = cases.into_iter().map(|Case { name, run }| async move {
        let started = Instant::now();
        let outcome = within(LIMIT, "the case", run(subject.clone())).await.and_then(|outcome| outcome);
        (name, started.elapsed().as_millis(), outcome)
    });
    let mut runs = futures::stream::iter(runs).buffered(jobs);
    while let Some((name, ms, outcome)) = runs.next().await {
        match outcome {
            Ok(()) => {
                tally.passed += 1;
                println!("PASS {name} ({ms} ms)");
            }
            Err(Failure::Failed(why)) => {
                tally.failed += 1;
                println!("FAIL {name} ({ms} ms): {why}");
            }
            Err(Failure::Skipped(why)) => {
                tally.skipped += 1;
                println!("SKIP {name}: {why}");
            }
        }
    }
    tally
}
