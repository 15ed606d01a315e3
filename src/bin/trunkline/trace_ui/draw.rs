//! Onto the screen: a line on top, the table or a detail, a line below.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row as TableRow, Table, TableState, Wrap};
use trunkline::trace::tools::Model;
use trunkline::trace::tools::show::{duration, peer};

use super::detail;
use super::keys::UiState;
use super::rows::{Row, Tab, Tint};
use crate::escape::escape;

/// What surrounds the tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    /// The node's last event.
    pub(super) event: String,
    /// How old the picture is, in nanoseconds: more than a moment means that the network is busy.
    pub(super) age: u64,
    /// There is no picture yet.
    pub(super) waiting: bool,
}

/// A picture older than this is said to be.
const OLD_NS: u64 = 1_500_000_000;

/// Stands before the selected row.
const SELECTED: &str = "> ";
/// A column that takes what is left needs so much.
const FLEXIBLE_MIN: u16 = 27;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: u64, state: &UiState, around: &Around) {
    let lines = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
    let [top, tabs, middle, bottom] = Layout::vertical(lines).areas(frame.area());
    frame.render_widget(Paragraph::new(summary(model, around)), top);
    frame.render_widget(Paragraph::new(tab_line(state)), tabs);
    match state.detail {
        Some((key, scrolled)) => draw_detail(frame, middle, detail::lines(key, model, now), scrolled),
        None => draw_table(frame, middle, state, &state.rows(model, now)),
    }
    frame.render_widget(Paragraph::new(bottom_line(state, around)), bottom);
}

fn summary(model: &Model, around: &Around) -> Line<'static> {
    let node = model.header.as_ref().map_or(String::new(), |header| format!("node {}  ", peer(&header.node)));
    let open = model.lives.values().filter(|life| life.end.is_none()).count();
    let peers = model.conns.values().filter(|conn| conn.session.is_some() && conn.ended.is_none()).count();
    let mut words = vec![Span::raw(format!("{node}{open} open  {peers} peers  {} events", model.events))];
    if model.lost > 0 {
        words.push(Span::raw(format!("  {} lost", model.lost)));
    }
    let told = match around {
        Around { waiting: true, .. } => "  waiting for the network".to_owned(),
        Around { age, .. } if *age > OLD_NS => format!("  as of {} ago", duration(*age)),
        _ => String::new(),
    };
    words.push(Span::styled(told, Style::new().fg(Color::Yellow)));
    Line::from(words)
}

fn tab_line(state: &UiState) -> Line<'static> {
    let mut words = Vec::new();
    for (tab, number) in Tab::ALL.into_iter().zip(1..) {
        let style = match tab == state.tab {
            true => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            false => Style::new(),
        };
        words.push(Span::styled(format!("{number} {}", tab.title()), style));
        words.push(Span::raw("  "));
    }
    if state.paused {
        words.push(Span::styled("paused  ", Style::new().fg(Color::Yellow)));
    }
    if !state.filter.0.is_empty() && state.typing.is_none() {
        words.push(Span::raw(format!("filter: {}", escape(&state.filter.1))));
    }
    Line::from(words)
}

fn bottom_line(state: &UiState, around: &Around) -> Line<'static> {
    if let Some(typing) = &state.typing {
        let hint = || "enter use it  esc as before  such as peer=16Uiu2 state!=ok wait>5ms".to_owned();
        return Line::raw(format!("/{}_   {}", escape(typing), state.complaint().unwrap_or_else(hint)));
    }
    let keys = match state.detail {
        Some(_) => "esc back  up/down scroll  p pause  q quit",
        None => "enter life line  up/down select  tab next  / filter  p pause  q quit",
    };
    Line::raw(format!("{keys}  {}", escape(&around.event)))
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, state: &UiState, rows: &[Row]) {
    let columns = fitting(state.tab.columns(), area.width);
    let widths = columns.iter().map(|(_, width)| match width {
        0 => Constraint::Min(0),
        width => Constraint::Length(*width),
    });
    let header = TableRow::new(columns.iter().map(|(name, _)| *name))
        .style(Style::new().add_modifier(Modifier::BOLD | Modifier::DIM));
    // Only what fits is given to the table: there may be thousands.
    let selected = state.selected(rows);
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let first = selected.map_or(0, |at| at.saturating_sub(room - 1));
    let shown = rows.iter().skip(first).take(room);
    let shown = shown.map(|row| TableRow::new(row.cells.iter().map(String::as_str)).style(style(row.tint)));
    let table = Table::new(shown, widths)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .highlight_symbol(SELECTED);
    let mut place = TableState::new().with_selected(selected.map(|at| at - first));
    frame.render_stateful_widget(table, area, &mut place);
}

/// The columns for which there is room, the first one in any case.
fn fitting(columns: &'static [(&'static str, u16)], width: u16) -> &'static [(&'static str, u16)] {
    let mut taken = SELECTED.len() as u16;
    let fits = |(_, width): &&(&str, u16), room: u16, taken: &mut u16| {
        *taken += if *width == 0 { FLEXIBLE_MIN } else { *width } + 1;
        *taken <= room + 1
    };
    let count = columns.iter().take_while(|column| fits(column, width, &mut taken)).count();
    &columns[..count.max(1)]
}

fn draw_detail(frame: &mut Frame<'_>, area: Rect, mut lines: Vec<String>, scrolled: u16) {
    if lines.is_empty() {
        lines.push("the trace does not hold it any more".to_owned());
    }
    let end = u16::try_from(lines.len() - 1).unwrap_or(u16::MAX);
    let mut lines: Vec<Line<'_>> = lines.into_iter().map(Line::raw).collect();
    lines[0] = lines[0].clone().style(Style::new().add_modifier(Modifier::BOLD));
    frame
        .render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scrolled.min(end), 0)), area);
}

fn style(tint: Tint) -> Style {
    match tint {
        Tint::Plain => Style::new(),
        Tint::Over => Style::new().add_modifier(Modifier::DIM),
        Tint::Failed => Style::new().fg(Color::Red),
        Tint::Ours => Style::new().fg(Color::Magenta),
        Tint::Window => Style::new().fg(Color::Yellow),
        Tint::Peer => Style::new().fg(Color::Cyan),
        Tint::Handler => Style::new().fg(Color::Green),
        Tint::Limiter => Style::new().fg(Color::Blue),
    }
}
