//! Numbers and names as the tables show them: short, and safe to print.

use trunkline::trace::tools::Model;
use trunkline::trace::tools::model::{Conn, Step};

use crate::escape::escape;

/// A duration in three digits or so: `12us`, `1.5ms`, `2.31s`, `3m12s`, `2h05m`.
pub(super) fn span(ns: u64) -> String {
    let us = ns as f64 / 1e3;
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{us:.0}us"),
        1_000_000..1_000_000_000 => format!("{:.1}ms", us / 1e3),
        1_000_000_000..60_000_000_000 => format!("{:.2}s", us / 1e6),
        _ => {
            let seconds = ns / 1_000_000_000;
            match seconds {
                0..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
                _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
            }
        }
    }
}

/// Bytes in three digits or so: `812`, `4.5k`, `1.2M`.
pub(super) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1}k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", n as f64 / 1e6),
        _ => format!("{:.1}G", n as f64 / 1e9),
    }
}

/// The end of a peer id, which is the part that differs.
pub(super) fn short(peer: &str) -> String {
    let peer = escape(peer);
    // Escaped text is ASCII.
    match peer.len() {
        0..=10 => peer,
        length => format!("..{}", &peer[length - 8..]),
    }
}

/// Whose connection it is, as far as it is known.
pub(super) fn peer_of(model: &Model, conn: u32) -> String {
    match model.conns.get(&conn) {
        Some(Conn { peer: Some(peer), .. }) => short(peer),
        Some(Conn { addr: Some(addr), .. }) => escape(addr.split(' ').next().unwrap_or_default()),
        _ if conn == 0 => String::new(),
        _ => format!("conn {conn}"),
    }
}

/// A step, as files call it.
pub(super) fn step(step: Step) -> &'static str {
    match step {
        Step::Created => "created",
        Step::Queued => "queued",
        Step::Encoded => "encoded",
        Step::Written => "written",
        Step::FirstByte => "first_byte",
        Step::Received => "received",
        Step::Delivered => "delivered",
        Step::Decoded => "decoded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_at_every_size() {
        let spans =
            [0, 999, 1_000, 1_500_000, 2_310_000_000, 61_000_000_000, 7_500_000_000_000].map(span).join(" ");
        assert_eq!(spans, "0ns 999ns 1us 1.5ms 2.31s 1m01s 2h05m");
        assert_eq!([812, 4_500, 1_200_000, 3_000_000_000].map(bytes).join(" "), "812 4.5k 1.2M 3.0G");
        assert!(span(u64::MAX).len() < 12);
    }

    #[test]
    fn a_peer_is_known_by_its_end_and_never_printed_raw() {
        assert_eq!(short("16Uiu2HAm6EQKqgUqQcXEtdvoEthLKofdqt9sVT94BLNP2UJYsWdd"), "..2UJYsWdd");
        assert!(short("a\u{1b}[2J\n").bytes().all(|byte| byte.is_ascii_graphic()));
    }
}
