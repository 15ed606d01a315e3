//! The terminal: taken over, and given back whatever happens.
//!
//! It is given back once, by whoever comes first: the guard's drop (also while a panic unwinds), the
//! panic hook where panics do not unwind, or a second signal that ends the process.

use std::io::{self, Stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Whether the terminal is ours.
static UP: AtomicBool = AtomicBool::new(false);
/// What panics on any thread had to say meanwhile. Bound: [`PANICS_MAX`].
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
const PANICS_MAX: usize = 16;

/// A taken terminal.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over: raw mode, alternate screen.
    pub(super) fn enter() -> io::Result<Self> {
        keep_panics();
        enable_raw_mode()?;
        UP.store(true, Ordering::SeqCst);
        let entered = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match entered {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back if it is ours, then says what had to wait. Does nothing a second time.
pub(crate) fn leave() {
    if !UP.swap(false, Ordering::SeqCst) {
        return;
    }
    // A terminal that takes nothing any more needs nothing any more.
    drop(execute!(io::stdout(), LeaveAlternateScreen, Show));
    drop(disable_raw_mode());
    for told in PANICS.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        eprintln!("{told}");
    }
}

/// While the screen is up, what a panic says is kept for later. Where panics end the process, there
/// is no later.
fn keep_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if cfg!(panic = "abort") {
            leave();
        }
        if !UP.load(Ordering::SeqCst) {
            return before(info);
        }
        let mut kept = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < PANICS_MAX {
            kept.push(info.to_string());
        }
    }));
}
