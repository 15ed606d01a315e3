//! The tables as text, on a screen that is a buffer, and what keys make of them.

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use trunkline::Direction;
use trunkline::trace::EventId;
use trunkline::trace::tools::Model;
use trunkline::trace::tools::model::{ActorInfo, Conn, End, Life, Load, Mark, Step, Work};

use super::draw::{Around, draw};
use super::keys::{UiState, Wish};

const MS: u64 = 1_000_000;
const NOW: u64 = 3_000 * MS;

fn mark(number: u64, at: u64) -> Option<Mark> {
    Some(Mark { at, id: EventId::new(0, number), cause: None, actor: 7 })
}

fn life(number: u64, dir: Direction, steps: &[(Step, u64)]) -> Life {
    let mut marks = [None; 8];
    for (step, at) in steps {
        marks[*step as usize] = mark(number + *step as u64, *at);
    }
    Life {
        key: EventId::new(0, number),
        conn: 1,
        proto: Some("eth".into()),
        dir,
        name: Some("GetBlockHeaders".into()),
        wire: Some(number << 16),
        marks,
        queued_for: None,
        bytes: (30, 4_500),
        end: None,
        heard: None,
        uncertain: false,
    }
}

/// One request that waits for the peer, one of the peer that waits for the handler, one that is done.
fn model() -> Model {
    let mut model = Model::default();
    (model.events, model.lost, model.span) = (42, 5, (0, NOW));
    let asked = [(Step::Created, 700 * MS), (Step::Encoded, 701 * MS), (Step::Written, 702 * MS)];
    let asked = life(1, Direction::Outbound, &asked);
    let served = [(Step::Received, 2_500 * MS), (Step::Delivered, 2_501 * MS)];
    let served = life(20, Direction::Inbound, &served);
    let mut done = life(40, Direction::Outbound, &[(Step::Created, 100 * MS), (Step::Written, 110 * MS)]);
    done.end = Some(End { mark: mark(50, 150 * MS).unwrap(), how: "timed_out".into() });
    model.lives.extend([asked, served, done].map(|life| (life.key, life)));
    let up = Conn {
        number: 1,
        dir: Some(Direction::Outbound),
        peer: Some("16Uiu2HAm6EQKqgUqQcXEtdvoEthLKofdqt9sVT94BLNP2UJYsWdd".into()),
        session: Some((3, 7)),
        last_in: Some(1_000 * MS),
        bytes_in: 120_000,
        bytes_out: 812,
        ..Conn::default()
    };
    let hostile = "bye\u{1b}[2J\nnow";
    let ended = Some((2_000 * MS, "remote".into(), hostile.into()));
    let gone = Conn { number: 2, addr: Some("/ip4/1.2.3.4/tcp/1 x".into()), ended, ..Conn::default() };
    model.conns.extend([(1, up), (2, gone)]);
    let busy = Some((2_501 * MS, Arc::from("Ask"), EventId::new(0, 22)));
    let mut work = Work::default();
    work.wait.record(12_000);
    (1..=100).for_each(|ms| work.run.record(ms * MS));
    model.works.insert(("PeerSession".into(), "Ask".into()), work);
    model.loads.insert(7, Load { depth: 4, depth_max: 9, ..Load::default() });
    let actor = ActorInfo {
        number: 7,
        name: Some("PeerSession".into()),
        conn: 1,
        life: (10 * MS, None),
        panicked: None,
        busy,
    };
    model.actors.insert(7, actor);
    model
}

fn screen(model: &Model, state: &UiState, around: &Around) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(124, 14)).unwrap();
    terminal.draw(|frame| draw(frame, model, NOW, state, around)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn press(state: &mut UiState, model: &Model, codes: &[KeyCode]) {
    for code in codes {
        assert_eq!(state.on_key(KeyEvent::new(*code, KeyModifiers::NONE), model, NOW), Wish::Stay, "{code}");
    }
}

fn typed(state: &mut UiState, model: &Model, text: &str) {
    press(state, model, &text.chars().map(KeyCode::Char).collect::<Vec<_>>());
}

#[test]
fn open_requests_stand_on_top_the_oldest_first_with_what_they_wait_for() {
    let around = Around { event: "head #5".to_owned(), ..Around::default() };
    let lines = screen(&model(), &UiState::default(), &around);
    let expected = "\
2 open  1 peers  42 events  5 lost
1 requests  2 actors  3 peers
  age     peer          dir kind             wait    state                                   step       protocol  id
> 2.30 s  16Uiu2…JYsWdd out GetBlockHeaders  2.30 s  waits for the peer's answer             written    eth       0.1
  500 ms  16Uiu2…JYsWdd in  GetBlockHeaders  499 ms  waits for the protocol's reply          delivered  eth       0.20
  50.0 ms 16Uiu2…JYsWdd out GetBlockHeaders  40.0 ms timed_out                               written    eth       0.40";
    assert_eq!(lines[..6].join("\n"), expected);
    assert!(lines[13].contains("q quit") && lines[13].ends_with("head #5"), "{}", lines[13]);
}

#[test]
fn actors_and_peers_have_tables_of_their_own() {
    let (model, mut state) = (model(), UiState::default());
    press(&mut state, &model, &[KeyCode::Char('2')]);
    let actors = screen(&model, &state, &Around::default());
    assert_eq!(
        actors[3],
        "> PeerSession 7        16Uiu2…JYsWdd 4    Ask for 499 ms                   100     \
         12.0us/12.0us/12.0us 50.3ms/100ms/100ms"
    );
    press(&mut state, &model, &[KeyCode::Tab]);
    let peers = screen(&model, &state, &Around::default());
    assert_eq!(peers[3], "> 16Uiu2…JYsWdd out 3.00 s  120 kB  812 B   2.00 s    2    up");
    assert!(peers[4].ends_with("0    ended by remote: bye\\u{1b}[2J\\u{a}now"), "{}", peers[4]);
    press(&mut state, &model, &[KeyCode::Tab]);
    assert_eq!(screen(&model, &state, &Around::default())[2].split_whitespace().next(), Some("age"));
}

#[test]
fn the_life_line_shows_each_hop_with_its_wait() {
    let (model, mut state) = (model(), UiState::default());
    press(&mut state, &model, &[KeyCode::Enter]);
    let lines = screen(&model, &state, &Around::default());
    let expected = "\
request 0.1: GetBlockHeaders of eth to 16Uiu2…JYsWdd, id 65536
cause: peer_not_answering: request 0.1 (eth GetBlockHeaders to 16Uiu2…JYsWdd): written 2.30 s ago, peer is not answering:
last byte from it 2.00 s ago
        at       wait  step
     +0 ns       0 ns  created     in PeerSession 7
  +1.00 ms    1.00 ms  encoded     in PeerSession 7
  +2.00 ms    1.00 ms  written     in PeerSession 7
   +2.30 s     2.30 s  waits for the peer's answer
question 30 B, answer 4500 B
peer: up
last byte of the peer: 2.00 s ago";
    assert_eq!(lines[2..13].join("\n"), expected);
    press(&mut state, &model, &[KeyCode::Esc]);
    assert!(screen(&model, &state, &Around::default())[3].starts_with("> 2.30 s"));
}

#[test]
fn a_detail_whose_subject_has_left_the_trace_says_so() {
    let (mut model, mut state) = (model(), UiState::default());
    press(&mut state, &model, &[KeyCode::Enter]);
    model.lives.clear();
    assert!(screen(&model, &state, &Around::default())[2].contains("does not hold it any more"));
}

#[test]
fn the_selection_stays_on_its_request_when_rows_come_and_go() {
    let (mut model, mut state) = (model(), UiState::default());
    press(&mut state, &model, &[KeyCode::Down]);
    let selected = |model: &Model, state: &UiState| {
        let lines = screen(model, state, &Around::default());
        lines.into_iter().find(|line| line.starts_with('>')).unwrap_or_default()
    };
    assert!(selected(&model, &state).contains(" in "), "{}", selected(&model, &state));
    model.lives.remove(&EventId::new(0, 1));
    assert!(selected(&model, &state).contains(" in "), "{}", selected(&model, &state));
    // Gone itself: the row that took its place.
    model.lives.remove(&EventId::new(0, 20));
    assert!(selected(&model, &state).contains("timed_out"));
    model.lives.clear();
    assert_eq!(selected(&model, &state), "");
    press(&mut state, &model, &[KeyCode::Down, KeyCode::Enter, KeyCode::End]);
}

#[test]
fn a_filter_is_typed_used_and_taken_away() {
    let (model, mut state) = (model(), UiState::default());
    typed(&mut state, &model, "/state=timed_outq");
    press(&mut state, &model, &[KeyCode::Backspace]);
    let lines = screen(&model, &state, &Around::default());
    assert!(lines[13].starts_with("/state=timed_out_"), "{}", lines[13]);
    assert!(lines[3].contains("timed_out") && lines[4].is_empty(), "it holds while it is typed");
    press(&mut state, &model, &[KeyCode::Enter]);
    let lines = screen(&model, &state, &Around::default());
    assert!(lines[1].ends_with("filter: state=timed_out") && lines[4].is_empty(), "{lines:?}");
    typed(&mut state, &model, "/x");
    press(&mut state, &model, &[KeyCode::Esc]);
    assert_eq!(state.filter.1, "state=timed_out");
    press(&mut state, &model, &[KeyCode::Esc]);
    assert_eq!(state.filter, Default::default());
}

#[test]
fn a_filter_that_cannot_be_understood_says_why_and_is_not_used() {
    let (model, mut state) = (model(), UiState::default());
    typed(&mut state, &model, "/colour=red");
    press(&mut state, &model, &[KeyCode::Enter]);
    let lines = screen(&model, &state, &Around::default());
    assert!(lines[13].starts_with("/colour=red_") && lines[13].contains("is not one of"), "{}", lines[13]);
    assert!(lines[5].contains("timed_out"), "everything is shown");
    typed(&mut state, &model, "\u{1b}");
    assert_eq!(state.typing.as_deref(), Some("colour=red"));
}

#[test]
fn q_and_ctrl_c_leave_and_p_pauses() {
    let (model, mut state) = (model(), UiState::default());
    press(&mut state, &model, &[KeyCode::Char('p')]);
    assert!(screen(&model, &state, &Around::default())[1].contains("paused"));
    let key = |code, modifiers| KeyEvent::new(code, modifiers);
    assert_eq!(state.on_key(key(KeyCode::Char('q'), KeyModifiers::NONE), &model, NOW), Wish::Leave);
    assert_eq!(state.on_key(key(KeyCode::Char('c'), KeyModifiers::CONTROL), &model, NOW), Wish::Leave);
    // Also while a filter is typed, where q is a letter.
    typed(&mut state, &model, "/q");
    assert_eq!(state.typing.as_deref(), Some("q"));
    assert_eq!(state.on_key(key(KeyCode::Char('c'), KeyModifiers::CONTROL), &model, NOW), Wish::Leave);
}

#[test]
fn every_size_of_screen_and_an_old_picture_are_drawn() {
    let (model, around) = (model(), Around { age: 4_000 * MS, ..Around::default() });
    assert!(screen(&model, &UiState::default(), &around)[0].ends_with("as of 4.00 s ago"));
    let waiting = Around { waiting: true, ..Around::default() };
    assert!(screen(&Model::default(), &UiState::default(), &waiting)[0].ends_with("waiting for the network"));
    for (width, height) in [(1, 1), (1, 40), (20, 2), (20, 3), (300, 4)] {
        for code in ['1', '2', '3'] {
            let mut state = UiState::default();
            press(&mut state, &model, &[KeyCode::Char(code), KeyCode::End]);
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &model, NOW, &state, &around)).unwrap();
            press(&mut state, &model, &[KeyCode::Enter, KeyCode::Down]);
            terminal.draw(|frame| draw(frame, &model, NOW, &state, &around)).unwrap();
        }
    }
}
