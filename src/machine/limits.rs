//! The bounds of one exchange, with their defaults.

use std::time::Duration;

use super::outbox::OutboxLimits;
use crate::wire::segment::SegmentLimits;

/// Bounds and deadlines of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Requests of the peer that are served at once.
    pub serving_max: usize,
    /// Requests of the peer that may wait to be served; one more is a breach.
    pub waiting_max: usize,
    /// Bytes of requests of the peer that may wait to be served; one more request is a breach.
    pub waiting_bytes_max: usize,
    /// A reply starts only while fewer bytes than this are owed to the peer.
    pub owed_bytes_max: usize,
    /// Replies that may wait to be sent before the next one starts: tiny ones cost more than their
    /// bytes.
    pub owed_replies_max: usize,
    /// Announcements that may wait to be handled; newer ones are dropped and counted.
    pub inbox_max: usize,
    /// Bytes of announcements that may wait to be handled.
    pub inbox_bytes_max: usize,
    /// The remote's handshake must be whole within this time.
    pub status_timeout: Duration,
    /// The longest silence while a message is open.
    pub segment_timeout: Duration,
    /// The longest time without progress while bytes wait to be written.
    pub write_timeout: Duration,
    /// How long answers to given-up requests are excused.
    pub late_grace: Duration,
    /// Bounds of what waits to be sent.
    pub outbox: OutboxLimits,
    /// Bounds of messages and segments.
    pub segment: SegmentLimits,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            serving_max: 4,
            waiting_max: 256,
            waiting_bytes_max: 16 << 20,
            owed_bytes_max: 4 << 20,
            owed_replies_max: 4096,
            inbox_max: 64,
            inbox_bytes_max: 16 << 20,
            status_timeout: Duration::from_secs(5),
            segment_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            late_grace: Duration::from_secs(120),
            outbox: OutboxLimits::default(),
            segment: SegmentLimits::default(),
        }
    }
}
