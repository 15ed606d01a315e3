//! One machine under inputs in any order: every request ends exactly once (O-1, F16).

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Input {
    Ask,
    Cancel(u64),
    Message(u8, u64),
    Segment(u64, bool),
    Reply(bool),
    Taken,
    Announce(usize),
    Write(usize),
    Pass(u64),
    End,
}

fn input() -> impl Strategy<Value = Input> {
    let id = (0..3u64, 0..6u64).prop_map(|(generation, slot)| generation << 16 | slot);
    prop_oneof![
        6 => Just(Input::Ask),
        2 => id.clone().prop_map(Input::Cancel),
        8 => (prop_oneof![Just(QUESTION), Just(ANSWER), Just(OTHER_ANSWER), Just(NEWS)], id)
            .prop_map(|(code, id)| Input::Message(code, id)),
        1 => (0..4u64, any::<bool>()).prop_map(|(number, more)| Input::Segment(number, more)),
        3 => any::<bool>().prop_map(Input::Reply),
        2 => Just(Input::Taken),
        2 => (0..3 * DATA_MAX).prop_map(Input::Announce),
        4 => (0..5usize).prop_map(Input::Write),
        3 => (0..9000u64).prop_map(Input::Pass),
        1 => Just(Input::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// O-1 F16: in every order of inputs, each request ends at most once, and exactly once by the
    /// end of the session, which comes once; at most four requests are served at a time.
    #[test]
    fn every_request_ends_exactly_once_in_every_order(inputs in prop::collection::vec(input(), 1..150)) {
        let mut now = Instant::now();
        let limits = SessionLimits { waiting_max: 12, inbox_max: 3, ..SessionLimits::default() };
        let mut end = End::new(now, None, limits);
        end.answers = false;
        let (mut asked, mut cancelled, mut number, mut replied) = (0u32, 0, 0, 0);
        for input in inputs.into_iter().chain([Input::End]) {
            match input {
                Input::Ask => {
                    if end.slots.in_use() < 6 {
                        end.ask(now, asked);
                        asked += 1;
                    }
                }
                Input::Cancel(id) => {
                    let before = end.machine.pending_len();
                    end.machine.cancel(now, RequestId::from_wire(id));
                    cancelled += before - end.machine.pending_len();
                }
                Input::Message(code, id) => {
                    let message = with_id(code, id, 3);
                    let mut data = vec![code];
                    data.extend_from_slice(&message.body);
                    end.machine.on_segment(now, Segment { number, more: false, data: data.into() });
                    number += 1;
                }
                Input::Segment(ahead, more) => {
                    let data = Bytes::from_static(&[NEWS]);
                    end.machine.on_segment(now, Segment { number: number + ahead, more, data });
                    number += u64::from(ahead == 0);
                }
                Input::Reply(answer) => {
                    if end.serving.len() > replied {
                        let reply = answer.then(|| with_id(ANSWER, 0, 9));
                        replied += 1;
                        end.machine.on_reply(now, 0, Ok(reply));
                    }
                }
                Input::Taken => end.machine.on_taken(Ok(())),
                Input::Announce(size) => {
                    end.machine.announce(now, Payload { code: NEWS, body: vec![0; size].into() });
                }
                Input::Write(segments) => {
                    let written = (0..segments).map_while(|_| end.next_segment()).count();
                    end.machine.on_written(now, written > 0, segments == 4);
                }
                Input::Pass(time) => {
                    now += millis(time);
                    end.machine.on_timeout(now);
                }
                Input::End => end.machine.end(DisconnectReason::Requested),
            }
            end.act(now);
            prop_assert!(end.downs.len() <= 1 && end.serving.len() - replied <= 4);
            prop_assert!(end.outcomes.values().all(|outcomes| outcomes.len() == 1));
            prop_assert_eq!(end.outcomes.len() + cancelled + end.machine.pending_len(), asked as usize);
            prop_assert_eq!(end.slots.in_use(), end.machine.pending_len());
            if end.machine.is_over() {
                prop_assert_eq!((end.machine.pending_len(), end.machine.poll_timeout()), (0, None));
            }
            if let Some(due) = end.machine.poll_timeout().filter(|due| *due <= now) {
                end.machine.on_timeout(now);
                end.act(now);
                prop_assert!(end.machine.poll_timeout().is_none_or(|next| next > now || next != due));
            }
        }
    }
}
