//! Where events are printed: lines for people, with a bar per stage on a terminal, or JSON.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::bars::Bars;
use super::event::Event;

/// Progress and heads are told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Progress is told to people without a terminal at most this often.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// Prints events, one line each.
pub struct Output {
    json: bool,
    bars: Option<Bars>,
    told: Option<Instant>,
    head_told: Option<Instant>,
    /// A head that came too soon after another.
    head: Option<Event>,
    progress: Option<Event>,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        Self {
            json,
            bars: (!json && terminal).then(Bars::new),
            told: None,
            head_told: None,
            head: None,
            progress: None,
        }
    }

    /// Prints an event. Fails when nobody reads stdout any more.
    pub fn print(&mut self, event: Event) -> io::Result<()> {
        match &event {
            Event::Head { .. } => {
                if self.head_told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
                    self.head = Some(event);
                    return Ok(());
                }
                self.head = None;
                self.head_told = Some(Instant::now());
            }
            Event::Progress(progress) => {
                if let Some(bars) = &self.bars {
                    bars.draw(progress);
                    return Ok(());
                }
                let every = if self.json { TELL_EVERY } else { PLAIN_EVERY };
                if self.told.is_some_and(|told| told.elapsed() < every) {
                    self.progress = Some(event);
                    return Ok(());
                }
                self.progress = None;
                self.told = Some(Instant::now());
            }
            Event::End(_) => {
                self.flush()?;
                self.bars = None;
            }
            // What follows from a head comes behind it.
            Event::Reorg { .. } | Event::BadBlock { .. } => self.flush()?,
            _ => {}
        }
        self.line(&event)
    }

    /// Tells what was held back, if its time has come.
    pub fn tick(&mut self) -> io::Result<()> {
        if let Some(progress) = self.progress.take() {
            self.print(progress)?;
        }
        if self.head_told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(progress) = self.progress.take() {
            self.line(&progress)?;
        }
        let Some(event) = self.head.take() else { return Ok(()) };
        self.head_told = Some(Instant::now());
        self.line(&event)
    }

    fn line(&self, event: &Event) -> io::Result<()> {
        let text = if self.json { event.json().to_string() } else { event.text() };
        let print = || {
            let mut out = io::stdout().lock();
            writeln!(out, "{text}")?;
            out.flush()
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}
