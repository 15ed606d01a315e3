//! What may be set about a sync, with its defaults and bounds.

use std::time::Duration;

use alloy_primitives::B256;

/// What a sync does about the receipts of the blocks it stores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Receipts {
    /// They are not asked for.
    #[default]
    None,
    /// They are asked for behind headers and bodies. The head counts as reached without them, and a
    /// sync to a trusted head ends when they are complete or no peer has those of the next block.
    Available,
    /// The same, and neither is the head reached nor does such a sync end before they are complete.
    Required,
}

/// Settings of a sync. [`SyncConfig::default`] fits a follower of a public chain.
///
/// Values outside the bounds named here are moved to the nearest bound when the sync is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncConfig {
    /// A block that is trusted to be the head: the sync asks for nothing above it and ends when it
    /// is stored. Default: none; the highest head that a peer claims is followed, without an end.
    pub trusted_head: Option<B256>,
    /// A block that is trusted to start from, while the store is still empty. It is fetched by its
    /// hash. Default: none; a store without a head and without an anchor cannot be filled.
    pub anchor: Option<B256>,
    /// Whether blocks are weighed by their difficulty and announced whole, as on the development
    /// chain and before the merge. A heavier branch replaces ours, and a tie goes to the first seen.
    /// Default: no; all blocks weigh the same, so that only a longer branch replaces ours.
    pub heaviest: bool,
    /// How far back such a branch may leave ours, in blocks. Default 64, 1 to 900. A peer whose
    /// branch left earlier is left alone for a while.
    pub fork_depth_max: u64,
    /// How many headers may be held or asked for ahead of the stored head. Default 8,192, 64 to
    /// 65,536. No header beyond is asked for.
    pub header_window: u64,
    /// Bytes of headers held or being verified. Default 16 MiB, at least 1 MiB. What comes above
    /// that is dropped and asked for again later. An answer that continues the chain is let in
    /// whatever arrived early, so twice this and one answer is the most.
    pub header_bytes_max: usize,
    /// Bytes of bodies held, being verified, stored, or expected from requests in flight. Default
    /// 64 MiB, at least 4 MiB. Nothing more is asked for; only answers with the body that
    /// everything waits for (two at most) are let in above that.
    pub body_bytes_max: usize,
    /// Whether receipts are fetched. Default: no.
    pub receipts: Receipts,
    /// Bytes of receipts held, being verified, stored, or expected from requests in flight. Default
    /// 64 MiB, at least 32 MiB. Nothing more is asked for, and what comes above that is dropped and
    /// asked for again. The receipts of one block may have half of this.
    pub receipt_bytes_max: usize,
    /// Headers per request. Default 512, 16 to 1,000.
    pub headers_per_request_max: usize,
    /// Bodies per request. Default 512, 1 to 1,024.
    pub bodies_per_request_max: usize,
    /// Blocks per request for receipts. Default 256, 1 to 1,024.
    pub receipts_per_request_max: usize,
    /// The size that a request for bodies or receipts aims at. Default 1 MiB, 64 KiB to 2 MiB: peers stop
    /// answering at about 2 MiB, and the rest has to be asked for again.
    pub reply_bytes_aim: usize,
    /// Requests in flight to one peer. Default 16, 1 to 64. The sync starts with two and adds more
    /// while answers do not queue up behind each other.
    pub in_flight_max: usize,
    /// Time for an answer of a peer that has not answered yet. Default 15 s.
    pub timeout_start: Duration,
    /// The shortest time for an answer; with measured peers it is three times their round trip.
    /// Default 2 s, at least 100 ms.
    pub timeout_min: Duration,
    /// The longest time for an answer, also after repeated time-outs. Default 20 s.
    pub timeout_max: Duration,
    /// How often headers above the head are asked for once the target is reached, because
    /// announcements leave blocks out. Default 1 s, at least 50 ms.
    pub poll_interval: Duration,
    /// Batches being hashed at a time. Default 4, 1 to 64. Others wait, within the byte bounds.
    pub checks_max: usize,
    /// Blocks per delivery to the store. Default 1,024, at least 1.
    pub deliver_blocks_max: usize,
    /// Bytes per delivery to the store, as far as it has more than one block. Default 8 MiB.
    pub deliver_bytes_max: usize,
    /// Peers known at a time. Default 256, at least 1. More are not used until one leaves.
    pub peers_max: usize,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            trusted_head: None,
            anchor: None,
            heaviest: false,
            fork_depth_max: 64,
            header_window: 8_192,
            header_bytes_max: 16 << 20,
            body_bytes_max: 64 << 20,
            receipts: Receipts::None,
            receipt_bytes_max: 64 << 20,
            headers_per_request_max: 512,
            bodies_per_request_max: 512,
            receipts_per_request_max: 256,
            reply_bytes_aim: 1 << 20,
            in_flight_max: 16,
            timeout_start: Duration::from_secs(15),
            timeout_min: Duration::from_secs(2),
            timeout_max: Duration::from_secs(20),
            poll_interval: Duration::from_secs(1),
            checks_max: 4,
            deliver_blocks_max: 1_024,
            deliver_bytes_max: 8 << 20,
            peers_max: 256,
        }
    }
}

impl SyncConfig {
    /// The same settings, with what lies outside its bounds moved to the nearest one.
    pub(super) fn bounded(mut self) -> Self {
        self.fork_depth_max = self.fork_depth_max.clamp(1, 900);
        self.header_window = self.header_window.clamp(64, 65_536);
        self.header_bytes_max = self.header_bytes_max.max(1 << 20);
        self.body_bytes_max = self.body_bytes_max.max(4 << 20);
        self.receipt_bytes_max = self.receipt_bytes_max.max(32 << 20);
        self.headers_per_request_max = self.headers_per_request_max.clamp(16, 1_000);
        self.bodies_per_request_max = self.bodies_per_request_max.clamp(1, 1_024);
        self.receipts_per_request_max = self.receipts_per_request_max.clamp(1, 1_024);
        self.reply_bytes_aim = self.reply_bytes_aim.clamp(64 << 10, 2 << 20);
        self.in_flight_max = self.in_flight_max.clamp(1, 64);
        self.timeout_min = self.timeout_min.max(Duration::from_millis(100));
        self.timeout_max = self.timeout_max.max(self.timeout_min);
        self.timeout_start = self.timeout_start.clamp(self.timeout_min, self.timeout_max);
        self.poll_interval = self.poll_interval.max(Duration::from_millis(50));
        self.checks_max = self.checks_max.clamp(1, 64);
        self.deliver_blocks_max = self.deliver_blocks_max.max(1);
        self.peers_max = self.peers_max.max(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_lie_within_their_bounds_and_others_are_moved_there() {
        assert_eq!(SyncConfig::default().bounded(), SyncConfig::default());
        let wild = SyncConfig {
            header_window: u64::MAX,
            in_flight_max: 0,
            timeout_start: Duration::ZERO,
            ..SyncConfig::default()
        };
        let tame = wild.bounded();
        assert_eq!((tame.header_window, tame.in_flight_max), (65_536, 1));
        assert_eq!(tame.timeout_start, tame.timeout_min);
    }
}
