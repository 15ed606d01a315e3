//! Where the pictures come from, and the thread that shows them.
//!
//! A task asks the network for a picture a few times per second; a thread of its own reads keys and
//! draws, so that neither a slow terminal nor a network that does not answer holds up the other.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::crossterm::event;
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;
use trunkline::trace::tools::Model;

use super::draw::{Around, draw};
use super::keys::{UiState, Wish};
use super::screen::{self, Screen};

/// A picture so often, at most.
const PICTURE_EVERY: Duration = Duration::from_millis(333);
/// How long the screen gets to be given back before that is done for it.
const CLOSING: Duration = Duration::from_secs(1);
/// How long a key is waited for before the screen is looked after.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// A picture of the network.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    model: Arc<Model>,
    taken: Instant,
}

/// The table on the terminal. Dropped, it gives the terminal back soon.
pub(crate) struct TraceUi {
    stop: Arc<AtomicBool>,
    /// Whether the terminal has gone: then its thread may not come back from reading keys.
    gone: watch::Receiver<bool>,
    /// `None` once it has said how it ended.
    ended: Option<oneshot::Receiver<io::Result<()>>>,
    _asking: AbortOnDropHandle<()>,
}

/// Whether there is a terminal to draw on and to read keys from.
pub(crate) fn check_terminal(json: bool) -> Result<(), &'static str> {
    match (json, io::stdout().is_terminal(), io::stdin().is_terminal()) {
        (true, ..) => Err("--trace-ui draws on the terminal: it does not go with --json"),
        (false, true, true) => Ok(()),
        _ => Err("--trace-ui needs a terminal: stdin and stdout must be one"),
    }
}

impl TraceUi {
    /// Takes the terminal over. `picture` is asked for a model again and again; `event` is the line
    /// about the node that stands at the bottom.
    pub(crate) fn start<F>(
        mut picture: impl FnMut() -> F + Send + 'static,
        event: watch::Receiver<String>,
    ) -> io::Result<Self>
    where
        F: Future<Output = Model> + Send,
    {
        let screen = Screen::enter()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (give, pictures) = watch::channel(None);
        let (hung_up, gone) = watch::channel(false);
        let asking = tokio::spawn(async move {
            let mut tick = tokio::time::interval(PICTURE_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !give.is_closed() {
                tick.tick().await;
                hung_up.send_if_modified(|gone| {
                    !*gone && {
                        *gone = !io::stdout().is_terminal();
                        *gone
                    }
                });
                let model = Arc::new(picture().await);
                give.send_replace(Some(Picture { model, taken: Instant::now() }));
            }
        });
        let (end, ended) = oneshot::channel();
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new().name("trace-ui".to_owned()).spawn(move || {
            let shown = show(screen, pictures, event, &stopped);
            drop(end.send(shown));
        })?;
        Ok(Self { stop, gone, ended: Some(ended), _asking: AbortOnDropHandle::new(asking) })
    }

    /// Waits until the user leaves it, or it cannot go on; the terminal is given back by then. Cancel
    /// safe. Resolves once.
    pub(crate) async fn left(&mut self) -> io::Result<()> {
        let Some(ended) = &mut self.ended else { return std::future::pending().await };
        let left = tokio::select! {
            biased;
            left = ended => left.unwrap_or_else(|_| Err(io::Error::other("the table has panicked"))),
            Ok(_) = self.gone.wait_for(|gone| *gone) => Err(io::Error::other("the terminal has gone")),
        };
        self.ended = None;
        left
    }

    /// Gives the terminal back and waits until that is done.
    pub(crate) async fn close(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if self.ended.is_some() {
            // How it ends no longer matters; a terminal that takes no bytes must not hold us up.
            drop(tokio::time::timeout(CLOSING, self.left()).await);
        }
        screen::leave();
    }
}

impl Drop for TraceUi {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Keys and pictures until it is over. The terminal is given back when this returns.
fn show(
    mut screen: Screen,
    mut pictures: watch::Receiver<Option<Picture>>,
    mut event: watch::Receiver<String>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut state = UiState::default();
    let mut shown: Option<Picture> = None;
    let mut drawn: Option<Instant> = None;
    while !stop.load(Ordering::SeqCst) {
        let mut due = drawn.is_none_or(|at| at.elapsed() >= PICTURE_EVERY);
        if !state.paused && pictures.has_changed().unwrap_or(false) {
            shown.clone_from(&pictures.borrow_and_update());
            due = true;
        }
        if due {
            let (model, now, age) = at_present(shown.as_ref(), state.paused);
            let around = Around { event: event.borrow_and_update().clone(), age, waiting: shown.is_none() };
            screen.terminal.draw(|frame| draw(frame, &model, now, &state, &around))?;
            drawn = Some(Instant::now());
        }
        if !event::poll(KEY_WAIT)? {
            continue;
        }
        if let event::Event::Key(key) = event::read()? {
            let (model, now, _) = at_present(shown.as_ref(), state.paused);
            if state.on_key(key, &model, now) == Wish::Leave {
                return Ok(());
            }
        }
        // A key shows at once, a new size as well.
        drawn = None;
    }
    Ok(())
}

/// The model, the time in it, and how old it is. What is open grows older between two pictures, and
/// does not while the picture stands still.
fn at_present(picture: Option<&Picture>, paused: bool) -> (Arc<Model>, u64, u64) {
    let Some(Picture { model, taken }) = picture else { return Default::default() };
    let age = if paused { 0 } else { u64::try_from(taken.elapsed().as_nanos()).unwrap_or(u64::MAX) };
    (Arc::clone(model), model.span.1.saturating_add(age), age)
}
