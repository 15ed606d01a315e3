//! A bar per stage, with its rate and the time left.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::pipeline::Progress;

/// Rates are measured over this time.
const RATE_SPAN: Duration = Duration::from_secs(3);
/// At most so many samples are kept.
const SAMPLES_MAX: usize = 64;

/// The bars of all stages.
pub(super) struct Bars {
    all: MultiProgress,
    stages: [Stage; 4],
}

struct Stage {
    bar: ProgressBar,
    samples: RefCell<VecDeque<(Instant, u64)>>,
}

impl Bars {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let stages = ["headers", "bodies", "receipts", "executed"].map(|name| Stage::new(&all, name));
        Self { all, stages }
    }

    /// The bars are there while there is something to do.
    pub(super) fn draw(&self, now: &Progress) {
        let at = [now.headers, now.bodies, now.receipts, now.executed];
        for (stage, at) in self.stages.iter().zip(at) {
            stage.draw(at, now.target, now.executed < now.target);
        }
    }

    /// Prints above the bars.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.stages.iter().for_each(|stage| stage.bar.finish_and_clear());
    }
}

impl Stage {
    fn new(all: &MultiProgress, name: &'static str) -> Self {
        let bar = all.add(ProgressBar::new(0)).with_prefix(name);
        // A template that does not parse leaves the bar as it is by default.
        let bar = match ProgressStyle::with_template("{prefix:>9} {bar:30} {pos}/{len} {msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        Self { bar, samples: RefCell::default() }
    }

    fn draw(&self, at: u64, target: u64, busy: bool) {
        if !busy {
            self.samples.borrow_mut().clear();
            return self.bar.finish_and_clear();
        }
        if self.bar.is_finished() {
            self.bar.reset();
        }
        let rate = self.rate(at);
        let left = match target.saturating_sub(at) {
            0 => String::new(),
            _ if rate < 1.0 => String::new(),
            left => format!(", {:.0} s left", left as f64 / rate),
        };
        self.bar.set_message(format!("{rate:.0} blocks/s{left}"));
        self.bar.set_length(target);
        self.bar.set_position(at);
    }

    fn rate(&self, at: u64) -> f64 {
        let now = Instant::now();
        let mut samples = self.samples.borrow_mut();
        samples.push_back((now, at));
        let old = |first: &(Instant, u64)| now.duration_since(first.0) > RATE_SPAN;
        while samples.len() > SAMPLES_MAX || samples.len() > 2 && samples.front().is_some_and(old) {
            samples.pop_front();
        }
        let Some((since, first)) = samples.front() else { return 0.0 };
        let span = now.duration_since(*since).as_secs_f64();
        if span > 0.0 { at.saturating_sub(*first) as f64 / span } else { 0.0 }
    }
}
