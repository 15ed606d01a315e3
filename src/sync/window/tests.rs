//! The window of headers and bodies.

use alloy_consensus::Header as Fields;

use super::*;

/// Headers without difficulty; every block is `full` or empty.
fn headers(from: u64, len: u64, full: bool) -> Vec<Header> {
    let transactions_root = if full { B256::repeat_byte(5) } else { EMPTY_TRANSACTIONS };
    let header = |number| Fields { number, transactions_root, ..Fields::default() };
    let rlp = (from..from + len).map(|number| Bytes::from(alloy_rlp::encode(header(number))));
    rlp.map(|rlp| (HeaderFacts::read(&rlp).unwrap(), rlp)).collect()
}

fn window() -> Window {
    let mut window = Window::new(1, B256::ZERO);
    headers(1, 10, true).into_iter().for_each(|header| window.push(header, SessionId(1), None));
    headers(11, 5, true).into_iter().for_each(|header| window.push(header, SessionId(2), None));
    window
}

fn block(window: &Window, number: u64) -> BlockRef {
    BlockRef::from(&window.facts(number).unwrap())
}

#[test]
fn the_body_of_an_empty_block_is_made_here() {
    let mut window = Window::new(1, B256::ZERO);
    headers(1, 3, false).into_iter().for_each(|header| window.push(header, SessionId(1), None));
    assert_eq!((window.ready(), window.wanted()), (3, 0));
    let blocks = window.deliver(1, 9, 2, usize::MAX);
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let facts = HeaderFacts::read(&block.header).unwrap();
        assert_eq!(crate::chain::verify::check_body(&facts, &block.body), Ok(()));
    }
    let mut facts = headers(1, 1, false)[0].0;
    facts.withdrawals_root = Some(EMPTY_WITHDRAWALS);
    let body = empty_body(&facts).unwrap();
    assert_eq!(crate::chain::verify::check_body(&facts, &body), Ok(()));
    facts.withdrawals_root = Some(B256::ZERO);
    assert_eq!(empty_body(&facts), None);
}

#[test]
fn blocks_are_delivered_in_order_whatever_the_order_of_their_bodies() {
    let mut window = window();
    for number in [2, 3, 5, 1] {
        let body = Bytes::from_static(b"body");
        window.on_body(block(&window, number), body.clone());
        window.on_body(BlockRef { number, hash: B256::ZERO }, body.clone());
        window.on_body(block(&window, number), body);
    }
    assert_eq!((window.ready(), window.body_bytes(), window.wanted()), (3, 16, 11));
    let numbers: Vec<_> = window.deliver(1, 99, 100, usize::MAX).iter().map(|block| block.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    window.cut(2);
    assert_eq!(window.next(), 4, "what the store is taking stays");
    assert_eq!(window.on_stored().len(), 3);
    assert_eq!((window.first(), window.body_bytes(), window.header_bytes()), (4, 0, 0));
    assert!(window.is_empty() && window.wanted() == 0);
}

#[test]
fn a_body_asked_for_twice_is_wanted_again_only_when_both_requests_are_over() {
    let mut window = window();
    let blocks = [block(&window, 1), block(&window, 2)];
    window.on_asked(&blocks, Ticket(1));
    window.on_asked(&blocks[..1], Ticket(2));
    assert_eq!(window.awaited(), Some((1, Some(Ticket(1)))));
    window.on_over(1, Ticket(1));
    assert_eq!((window.awaited(), window.wanted()), (Some((1, Some(Ticket(2)))), 13));
    window.on_over(1, Ticket(1));
    window.on_over(1, Ticket(2));
    assert_eq!((window.awaited(), window.wanted()), (Some((1, None)), 14));
}

#[test]
fn the_last_headers_of_one_peer_can_be_cut_off() {
    let mut window = window();
    assert_eq!((window.owner(), window.tail_of(SessionId(2))), (Some(SessionId(2)), 11));
    assert_eq!(window.tail_of(SessionId(1)), 16, "there are others behind its");
    window.cut(11);
    assert_eq!((window.next(), window.wanted(), window.owner()), (11, 10, Some(SessionId(1))));
    assert_eq!(window.hash_at(0), Some(B256::ZERO));
    assert_eq!(window.hash_at(11), None);
}
