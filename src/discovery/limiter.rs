//! How many packets are looked at: from one address, and from all of them.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;

/// What one bucket holds and how fast it fills again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Packets at once.
    pub burst: u32,
    /// Packets a second after that.
    pub per_s: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(now: Instant, rate: Rate) -> Self {
        Self { tokens: rate.burst.into(), filled: now }
    }

    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * f64::from(rate.per_s)).min(rate.burst.into());
        self.filled = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// Token buckets per source and one for everybody. Sources are whole IPv4 addresses and /64
/// networks of IPv6; the least recently heard of makes room.
#[derive(Debug)]
pub struct Limiter {
    sources: LruCache<IpAddr, Bucket>,
    source: Rate,
    all: Bucket,
    total: Rate,
}

impl Limiter {
    /// Follows `sources_max` sources.
    pub fn new(now: Instant, sources_max: usize, source: Rate, total: Rate) -> Self {
        let max = NonZeroUsize::new(sources_max).unwrap_or(NonZeroUsize::MIN);
        Self { sources: LruCache::new(max), source, all: Bucket::full(now, total), total }
    }

    /// Whether a packet from there is looked at. Once everybody's share is used up, one that is
    /// `awaited` (we asked there) still is, so that a flood cannot keep our answers out.
    pub fn allows(&mut self, now: Instant, from: IpAddr, awaited: impl FnOnce() -> bool) -> bool {
        let rate = self.source;
        let bucket = self.sources.get_or_insert_mut(network(from), || Bucket::full(now, rate));
        bucket.take(now, rate) && (self.all.take(now, self.total) || awaited())
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn no() -> bool {
        false
    }

    fn limiter(now: Instant) -> Limiter {
        Limiter::new(now, 16, Rate { burst: 4, per_s: 2 }, Rate { burst: 20, per_s: 10 })
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let (now, mut limiter) = (Instant::now(), limiter(Instant::now()));
        assert_eq!((0..10).filter(|_| limiter.allows(now, ip(1), no)).count(), 4);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..10).filter(|_| limiter.allows(later, ip(1), no)).count(), 2);
        assert!(limiter.allows(later, ip(2), no));
    }

    /// M5: many sources together are held to everybody's share, and awaited packets are not.
    #[test]
    fn a_flood_from_everywhere_is_bounded_and_answers_still_come_through() {
        let now = Instant::now();
        let mut limiter = limiter(now);
        assert_eq!((0..1000).filter(|n| limiter.allows(now, ip(*n), no)).count(), 20);
        assert!(!limiter.allows(now, ip(5000), no));
        assert!(limiter.allows(now, ip(5000), || true));
        assert!(limiter.sources.len() <= 16);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let now = Instant::now();
        let mut limiter = limiter(now);
        let allowed = (0..10).filter(|n| {
            let ip: IpAddr = format!("2001:db8::{n}").parse().unwrap();
            limiter.allows(now, ip, no)
        });
        assert_eq!(allowed.count(), 4);
    }
}
