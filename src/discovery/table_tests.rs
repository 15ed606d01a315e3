use std::collections::BTreeMap;

use super::*;
use crate::discovery::fixtures::{key, node, node_at, nodes};

fn table() -> Table {
    Table::new(key(0).node_id().hash())
}

fn see(table: &mut Table, now: Instant, nodes: &[Node]) {
    for node in nodes {
        table.on_seen(now, *node);
    }
}

/// Nodes that share one bucket with more than 30 others, local so that their networks do not matter.
fn crowd() -> Vec<Node> {
    let table = table();
    let mut buckets: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
    for number in 1.. {
        let node = node_at(number, "127.0.0.1".parse().unwrap());
        let bucket = buckets.entry(table.index(&node.id.hash()).unwrap()).or_default();
        bucket.push(node);
        if bucket.len() == 40 {
            return bucket.clone();
        }
    }
    unreachable!("some bucket fills")
}

#[test]
fn a_full_bucket_asks_for_its_longest_silent_node_and_lets_others_wait() {
    let (now, mut table, crowd) = (Instant::now(), table(), crowd());
    for node in &crowd[..BUCKET_NODES] {
        assert_eq!(table.on_seen(now, *node), Seen::Added);
    }
    assert_eq!(table.on_seen(now, crowd[20]), Seen::Waits(crowd[0]));
    // A sign of life moves a node to the front, so the next one is the longest silent.
    assert_eq!(table.on_seen(now, crowd[0]), Seen::Updated);
    assert_eq!(table.on_seen(now, crowd[21]), Seen::Waits(crowd[1]));
    assert_eq!(table.len(), BUCKET_NODES);
    assert_eq!(table.get(&crowd[20].id), None);
}

#[test]
fn a_silent_node_gives_its_place_to_one_that_waits() {
    let (now, mut table, crowd) = (Instant::now(), table(), crowd());
    see(&mut table, now, &crowd[..BUCKET_NODES]);
    table.on_seen(now, crowd[20]);
    let mut dice = Dice::new(1);
    table.on_silent(&crowd[0].id.hash(), &mut dice);
    assert_eq!(table.get(&crowd[0].id), None);
    assert_eq!(table.get(&crowd[20].id), Some(&crowd[20]));
    table.on_silent(&crowd[1].id.hash(), &mut dice);
    assert_eq!(table.len(), BUCKET_NODES - 1);
}

#[test]
fn no_more_than_ten_wait_and_the_oldest_of_them_goes() {
    let (now, mut table, crowd) = (Instant::now(), table(), crowd());
    see(&mut table, now, &crowd);
    let bucket = table.buckets.iter().find(|bucket| !bucket.entries.is_empty()).unwrap();
    let waiting: Vec<Node> = bucket.waiting.iter().map(|entry| entry.node).collect();
    let mut newest = crowd[crowd.len() - REPLACEMENTS..].to_vec();
    newest.reverse();
    assert_eq!((bucket.entries.len(), waiting), (BUCKET_NODES, newest));
}

/// M6: one hand with a whole network gets two places in a bucket and ten in the table.
#[test]
fn one_network_cannot_fill_the_table() {
    let (now, mut table) = (Instant::now(), table());
    for number in 1..2000_u32 {
        let [_, _, _, low] = number.to_be_bytes();
        table.on_seen(now, node_at(number, IpAddr::from([8, 8, 8, low])));
    }
    assert_eq!(table.subnets.values().copied().max(), Some(SUBNET_PER_TABLE));
    assert!(table.len() <= SUBNET_PER_TABLE);
    for bucket in &table.buckets {
        assert!(bucket.entries.len() + bucket.waiting.len() <= SUBNET_PER_BUCKET);
    }
    // Everybody else still finds room.
    let before = table.len();
    see(&mut table, now, &nodes(3000..3050));
    assert!(table.len() > before + 20);
}

/// M6: neither by moving there later.
#[test]
fn a_node_that_moves_into_a_crowded_network_stays_known_where_it_was() {
    let (now, mut table) = (Instant::now(), table());
    let crowded = |low| IpAddr::from([8, 8, 8, low]);
    (1..200).for_each(|number| see(&mut table, now, &[node_at(number, crowded(1))]));
    let mover = node(500);
    assert_eq!(table.on_seen(now, mover), Seen::Added);
    let moved = Node { ip: crowded(2), ..mover };
    assert_eq!(table.on_seen(now, moved), Seen::Refused);
    assert_eq!(table.get(&mover.id), Some(&mover));
    let elsewhere = Node { ip: IpAddr::from([9, 9, 9, 9]), ..mover };
    assert_eq!(table.on_seen(now, elsewhere), Seen::Updated);
    assert_eq!(table.get(&mover.id), Some(&elsewhere));
}

#[test]
fn loopback_and_private_networks_are_not_limited() {
    let (now, mut table) = (Instant::now(), table());
    for number in 1..100 {
        table.on_seen(now, node_at(number, IpAddr::from([192, 168, 0, 1])));
    }
    assert!(table.len() > 40);
}

#[test]
fn five_findnodes_without_an_answer_in_a_row_drop_a_node() {
    let (now, mut table, mut dice) = (Instant::now(), table(), Dice::new(1));
    let hash = node(1).id.hash();
    table.on_seen(now, node(1));
    (1..FINDNODE_FAILURES).for_each(|_| table.on_findnode_failed(&hash, &mut dice));
    table.on_findnode_answered(&hash);
    (1..FINDNODE_FAILURES).for_each(|_| table.on_findnode_failed(&hash, &mut dice));
    assert_eq!(table.len(), 1);
    table.on_findnode_failed(&hash, &mut dice);
    assert!(table.is_empty() && table.subnets.is_empty());
}

#[test]
fn a_day_of_silence_is_forgotten() {
    let (now, mut table, mut dice) = (Instant::now(), table(), Dice::new(1));
    table.on_seen(now, node(1));
    table.on_seen(now + Duration::from_secs(60), node(2));
    table.expire(now + EXPIRY - Duration::from_secs(1), &mut dice);
    assert_eq!(table.len(), 2);
    table.expire(now + EXPIRY, &mut dice);
    assert_eq!(table.nodes().collect::<Vec<_>>(), [&node(2)]);
}

#[test]
fn the_closest_come_first_and_newcomers_can_be_left_out() {
    let (now, mut table) = (Instant::now(), table());
    let later = now + Duration::from_secs(5);
    see(&mut table, now, &nodes(1..20));
    table.on_seen(later, node(20));
    let target = node(20).id.hash();
    let closest = table.closest(&target, 5);
    assert_eq!((closest.len(), closest[0]), (5, node(20)));
    assert!(closest.is_sorted_by_key(|node| distance(&node.id.hash(), &target)));
    assert!(!table.closest_added_before(Some(now), &target, 50).contains(&node(20)));
}

#[test]
fn we_are_not_in_our_own_table() {
    let mut table = table();
    assert_eq!(table.on_seen(Instant::now(), node(0)), Seen::Refused);
    assert!(table.is_empty());
}
