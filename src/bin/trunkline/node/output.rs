//! Where a node's events are printed: lines for people, with a bar on a terminal, or JSON. While a
//! table has the terminal, the last event is the line at its bottom, and nothing is printed.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use trunkline::sync::Progress;

use super::event::Event;

/// Progress is told to people without a terminal at most this often.
const PLAIN_PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Prints events, one line each.
pub(super) struct Output {
    json: bool,
    bar: Option<ProgressBar>,
    plain_progress: Option<Instant>,
    /// Who shows the last event instead, while the terminal is not ours.
    screen: Option<watch::Sender<String>>,
}

impl Output {
    /// JSON, or lines for people; these with a progress bar on stderr if both are on a terminal.
    pub(super) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        Self { json, bar: (!json && terminal).then(bar), plain_progress: None, screen: None }
    }

    /// Prints nothing from now on; the last event is there to be shown.
    pub(super) fn leave_terminal(&mut self) -> watch::Receiver<String> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (screen, shown) = watch::channel(String::new());
        self.screen = Some(screen);
        shown
    }

    /// Prints again.
    pub(super) fn return_to_terminal(&mut self) {
        self.screen = None;
    }

    /// Prints an event. Fails when nobody reads stdout any more.
    pub(super) fn print(&mut self, event: &Event) -> io::Result<()> {
        if let Some(screen) = &self.screen {
            screen.send_replace(event.text());
            return Ok(());
        }
        if self.json {
            return line(&event.json().to_string());
        }
        if let Event::Progress(progress) = event
            && !self.is_due(progress)
        {
            return Ok(());
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| line(&event.text())),
            None => line(&event.text()),
        }
    }

    /// Whether progress is to be printed as a line: never beside a bar, else now and then.
    fn is_due(&mut self, progress: &Progress) -> bool {
        if let Some(bar) = &self.bar {
            draw(bar, progress);
            return false;
        }
        let due = self.plain_progress.is_none_or(|last| last.elapsed() >= PLAIN_PROGRESS_EVERY);
        if due {
            self.plain_progress = Some(Instant::now());
        }
        due
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The bar is there while there is something to fetch.
fn draw(bar: &ProgressBar, progress: &Progress) {
    if progress.bodies >= progress.target {
        return bar.finish_and_clear();
    }
    if bar.is_finished() {
        bar.reset();
    }
    let left = progress.eta.map_or(String::new(), |eta| format!(", {} s left", eta.as_secs()));
    bar.set_message(format!("{:.0} blocks/s{left}", progress.rate_blocks_per_s));
    bar.set_length(progress.target);
    bar.set_position(progress.bodies);
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // A template that does not parse leaves the bar as it is by default.
    match ProgressStyle::with_template("{bar:40} {pos}/{len} blocks, {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
