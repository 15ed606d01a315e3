//! The bookkeeping of blocks without receipts.

use super::*;
use crate::chain::HeaderFacts;

fn missing(number: u64) -> MissingReceipts {
    let header = alloy_consensus::Header { number, ..Default::default() };
    let facts = HeaderFacts::read(&alloy_rlp::encode(header)).unwrap();
    MissingReceipts { facts, transactions: 3 }
}

fn block(number: u64) -> BlockRef {
    BlockRef::from(&missing(number).facts)
}

/// Blocks 1 to 10, without receipts, of a store with 10 blocks.
fn window() -> ReceiptWindow {
    let mut window = ReceiptWindow::new(0);
    let scan = window.scan(10).unwrap();
    assert_eq!((scan.from, scan.to, window.scan(10)), (0, 10, None));
    window.on_found(scan, (1..=10).map(missing).collect());
    window
}

fn limits(most: usize, room: usize) -> Limits {
    Limits { most, each: 100, room, must: false }
}

fn numbers(offer: &Offer) -> Vec<u64> {
    offer.blocks.iter().map(|block| block.number).collect()
}

fn everything(_: u64) -> Result<(), Option<u64>> {
    Ok(())
}

const US: SessionId = SessionId(1);

#[test]
fn the_lowest_blocks_that_a_peer_serves_are_offered_as_far_as_there_is_room() {
    let window = window();
    let each = 100 + 3 * GROWTH_BYTES;
    assert_eq!(numbers(&window.offer(US, limits(3, usize::MAX), everything)), [1, 2, 3]);
    assert_eq!(numbers(&window.offer(US, limits(9, 2 * each), everything)), [1, 2]);
    assert!(window.offer(US, limits(9, each - 1), everything).blocks.is_empty());
    let must = Limits { must: true, ..limits(9, 0) };
    assert_eq!(numbers(&window.offer(US, must, everything)), [1]);
    let some = |number| if (2..=4).contains(&number) { Err(Some(5)) } else { Ok(()) };
    assert_eq!(numbers(&window.offer(US, limits(3, usize::MAX), some)), [1, 5, 6]);
    let low = |number| if number > 2 { Err(None) } else { Ok(()) };
    assert_eq!(numbers(&window.offer(US, limits(9, usize::MAX), low)), [1, 2]);
}

#[test]
fn receipts_leave_in_any_order_and_the_lowest_missing_block_tells_how_far_it_is() {
    let mut window = window();
    let blocks: Vec<_> = (1..=10).map(block).collect();
    window.on_asked(&blocks, Ticket(1));
    for number in [3, 1, 2] {
        window.on_receipts(block(number), Ticket(1), Bytes::from_static(b"list"));
    }
    window.on_receipts(block(4), Ticket(2), Bytes::from_static(b"unasked"));
    window.on_receipts(BlockRef { number: 5, hash: B256::ZERO }, Ticket(1), Bytes::new());
    assert_eq!((window.bytes(), window.complete_to()), (12, 1));
    assert_eq!(window.deliver(5).len(), 1, "one at least, and no more than fits");
    assert!(window.deliver(99).is_empty(), "one delivery at a time");
    window.on_stored();
    assert_eq!(window.complete_to(), 2);
    assert_eq!(window.deliver(99).len(), 2);
    assert!(window.is_delivering());
    window.on_stored();
    assert_eq!((window.bytes(), window.complete_to(), window.is_delivering()), (0, 4, false));
    (1..=10).for_each(|number| window.on_over(number, Ticket(1)));
    assert_eq!(numbers(&window.offer(US, limits(2, usize::MAX), everything)), [4, 5]);
}

#[test]
fn the_rest_of_a_block_is_offered_to_the_peer_that_began_it_and_to_nobody_else() {
    let mut window = window();
    window.on_asked(&[block(4), block(5)], Ticket(1));
    window.on_part(block(4), Ticket(1), US, (Bytes::from_static(b"12"), 2));
    [4, 5].iter().for_each(|number| window.on_over(*number, Ticket(1)));
    let theirs = window.offer(SessionId(2), limits(4, usize::MAX), everything);
    assert_eq!((numbers(&theirs), theirs.first_index), (vec![1, 2, 3, 5], 0));
    let ours = window.offer(US, limits(3, usize::MAX), everything);
    assert_eq!((numbers(&ours), ours.first_index), (vec![4, 5, 6], 2));
    window.on_asked(&ours.blocks, Ticket(2));
    let (_, begun) = window.asked(&ours.blocks, Ticket(2)).unwrap();
    assert_eq!(begun.map(|begun| (begun.parts.len(), begun.count)), Some((1, 2)));
    assert_eq!(window.bytes(), 2);
    // The peer goes while it is asked.
    ours.blocks.iter().for_each(|block| window.on_over(block.number, Ticket(2)));
    window.give_up(US);
    assert_eq!((window.bytes(), window.asked(&ours.blocks, Ticket(2))), (0, None));
    let whole = window.offer(SessionId(2), limits(5, usize::MAX), everything);
    assert_eq!((numbers(&whole), whole.first_index), (vec![1, 2, 3, 4, 5], 0));
}

#[test]
fn blocks_that_leave_the_store_leave_the_window_and_are_looked_for_again() {
    let mut window = window();
    window.on_asked(&[block(7), block(8)], Ticket(1));
    for number in [7, 8] {
        window.on_receipts(block(number), Ticket(1), Bytes::from_static(b"list"));
    }
    assert_eq!(window.deliver(99).len(), 2);
    window.cut(7);
    assert_eq!((window.bytes(), window.highest()), (4, Some(7)));
    let scan = window.scan(12).unwrap();
    assert_eq!((scan.from, scan.to), (8, 12));
    window.on_found(scan, vec![missing(8), missing(99)]);
    window.on_stored();
    assert_eq!((window.bytes(), window.highest()), (0, Some(8)), "what was stored is not that block");
    // What was found before a change counts no more.
    let old = window.scan(20).unwrap();
    window.cut(12);
    let new = window.scan(20).unwrap();
    assert_eq!((old.from, old.to), (new.from, new.to));
    window.on_found(old, vec![missing(19)]);
    assert_eq!((window.highest(), window.scan(20)), (Some(8), None));
    window.on_found(new, vec![missing(20)]);
    assert_eq!(window.highest(), Some(20));
    window.restart(3);
    assert_eq!((window.complete_to(), window.scan(20).map(|scan| scan.from)), (3, Some(3)));
}

#[test]
fn the_window_is_bounded_whatever_is_missing() {
    let mut window = ReceiptWindow::new(0);
    while let Some(scan) = window.scan(u64::MAX) {
        window.on_found(scan, (scan.from..=scan.to).map(missing).collect());
    }
    assert_eq!(window.entries.len(), WINDOW_BLOCKS);
}
