//! What was typed, and what it does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use trunkline::trace::tools::{Filter, Model};

use crate::escape::escape;

use super::rows::{Key, Row, Tab, rows};

/// A filter longer than this is not typed on.
const FILTER_CHARS_MAX: usize = 200;

/// What the user looks at. Nothing in it depends on the screen.
#[derive(Debug)]
pub(super) struct UiState {
    pub(super) tab: Tab,
    /// Per tab: the selected row's subject, and where it stood when it was last seen.
    selected: [(Option<Key>, usize); 3],
    /// The subject of the detail that is open, and how far it is scrolled.
    pub(super) detail: Option<(Key, u16)>,
    /// The filter in force, and how it was typed.
    pub(super) filter: (Filter, String),
    /// The filter that is being typed.
    pub(super) typing: Option<String>,
    /// The picture stands still.
    pub(super) paused: bool,
}

/// What a key asks of whoever owns the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Stay,
    Leave,
}

impl Default for UiState {
    fn default() -> Self {
        Self {
            tab: Tab::Requests,
            selected: [(None, 0); 3],
            detail: None,
            filter: Default::default(),
            typing: None,
            paused: false,
        }
    }
}

impl UiState {
    /// The rows of the open table that the filter lets through. A filter that is being typed holds
    /// as soon as it can be understood.
    pub(super) fn rows(&self, model: &Model, now: u64) -> Vec<Row> {
        let typed = self.typing.as_ref().and_then(|text| text.parse().ok());
        rows(self.tab, model, now, typed.as_ref().unwrap_or(&self.filter.0))
    }

    /// What is wrong with the filter that is being typed.
    pub(super) fn complaint(&self) -> Option<String> {
        let error = self.typing.as_ref()?.parse::<Filter>().err()?;
        Some(escape(&error.to_string()))
    }

    /// Where the selected row stands now. Its subject has gone: the row that took its place.
    pub(super) fn selected(&self, rows: &[Row]) -> Option<usize> {
        let (key, last) = self.selected[self.tab as usize];
        let found = key.and_then(|key| rows.iter().position(|row| row.key == key));
        found.or(rows.len().checked_sub(1).map(|end| last.min(end)))
    }

    /// Does what a key says.
    pub(super) fn on_key(&mut self, key: KeyEvent, model: &Model, now: u64) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Stay;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wish::Leave } else { Wish::Stay };
        }
        if self.typing.is_some() {
            self.on_typed(key.code);
            return Wish::Stay;
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Leave,
            KeyCode::Esc => self.back(),
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('/') if self.detail.is_none() => self.typing = Some(self.filter.1.clone()),
            KeyCode::Char(digit @ '1'..='3') => self.open(Tab::ALL[digit as usize - '1' as usize]),
            KeyCode::Tab => self.open(Tab::ALL[(self.tab as usize + 1) % 3]),
            KeyCode::BackTab => self.open(Tab::ALL[(self.tab as usize + 2) % 3]),
            code => self.on_move(code, model, now),
        }
        Wish::Stay
    }

    /// Closes the detail; without one, takes the filter away.
    fn back(&mut self) {
        if self.detail.take().is_none() {
            self.filter = Default::default();
        }
    }

    fn open(&mut self, tab: Tab) {
        self.detail = None;
        self.tab = tab;
    }

    fn on_typed(&mut self, code: KeyCode) {
        let Some(text) = &mut self.typing else { return };
        match code {
            KeyCode::Char(c) if text.len() < FILTER_CHARS_MAX && !c.is_control() => text.push(c),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Esc => self.typing = None,
            KeyCode::Enter => {
                // One that cannot be understood goes on being typed.
                if let Ok(filter) = text.parse() {
                    self.filter = (filter, std::mem::take(text));
                    self.typing = None;
                }
            }
            _ => {}
        }
    }

    fn on_move(&mut self, code: KeyCode, model: &Model, now: u64) {
        if let Some((_, scrolled)) = &mut self.detail {
            match code {
                KeyCode::Up | KeyCode::Char('k') => *scrolled = scrolled.saturating_sub(1),
                KeyCode::Down | KeyCode::Char('j') => *scrolled = scrolled.saturating_add(1),
                KeyCode::Home => *scrolled = 0,
                _ => {}
            }
            return;
        }
        let rows = self.rows(model, now);
        let Some(at) = self.selected(&rows) else { return };
        let end = rows.len() - 1;
        let to = match code {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (at + 1).min(end),
            KeyCode::PageUp => at.saturating_sub(10),
            KeyCode::PageDown => (at + 10).min(end),
            KeyCode::Home => 0,
            KeyCode::End => end,
            KeyCode::Enter => at,
            _ => return,
        };
        self.selected[self.tab as usize] = (Some(rows[to].key), to);
        if code == KeyCode::Enter {
            self.detail = Some((rows[to].key, 0));
        }
    }
}
