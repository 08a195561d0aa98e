//! Attempts to join: charged before the password is hashed, given back when it was right.
//!
//! Nodes of a cluster charge buckets that they share. While those are away each node has a share of its own, smaller than the whole, so
//! that losing them limits more and not less.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use snug_bus::{SharedBucket, SharedLimits};
use snug_metrics::{Counter, Decisions};
use snug_protocol::RoomId;
use tokio::time::timeout;

use super::{Buckets, Rate};
use crate::config::Limits;

/// How long an attempt waits for the shared buckets before the node's own share decides.
const SHARED_LIMIT: Duration = Duration::from_millis(500);
/// One part in so many of each rate is a node's own while the shared buckets are away.
const OWN_SHARE: f64 = 4.0;

/// What an address counts as: itself, or for IPv6 its /64, which is one customer.
#[must_use]
pub fn subject(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        },
    }
}

/// An attempt that was charged, and where.
#[derive(Debug)]
pub struct Charge {
    room: RoomId,
    address: IpAddr,
    shared: bool,
}

struct Rates {
    room: Rate,
    address: Rate,
}

impl Rates {
    fn buckets(&self, room: RoomId) -> [SharedBucket; 2] {
        let bucket = |name: String, rate: Rate| SharedBucket { name, burst: rate.burst, per_second: rate.per_second };
        [bucket(format!("join:{room}"), self.room), bucket("join".to_owned(), self.address)]
    }
}

/// Guesses are limited per (room, address) and per address. A room as such is never locked, or anyone could lock it.
pub struct JoinLimiter {
    rates: Rates,
    room: Buckets<(RoomId, IpAddr)>,
    address: Buckets<IpAddr>,
    shared: Option<Arc<dyn SharedLimits>>,
    decisions: Decisions,
    decided_alone: Counter,
}

impl JoinLimiter {
    /// With the configured rates, over `shared` if there is such a thing.
    #[must_use]
    pub fn new(limits: &Limits, shared: Option<Arc<dyn SharedLimits>>) -> Self {
        let rates = Rates {
            room: Rate::per_minute(limits.joins_per_minute, limits.joins_burst),
            address: Rate::per_minute(limits.joins_per_address_per_minute, limits.joins_per_address_per_minute),
        };
        let own = |rate: Rate| if shared.is_some() { rate.share(OWN_SHARE) } else { rate };
        let (room, address) = (Buckets::new(own(rates.room)), Buckets::new(own(rates.address)));
        Self { rates, room, address, shared, decisions: Decisions::default(), decided_alone: Counter::new() }
    }

    /// How many attempts were let through and how many were not.
    #[must_use]
    pub const fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// How many were decided by this node's own share although there are shared buckets.
    #[must_use]
    pub const fn decided_alone(&self) -> &Counter {
        &self.decided_alone
    }

    /// Charges an attempt.
    ///
    /// # Errors
    /// How long to wait; then nothing is charged.
    pub async fn charge(&self, room: RoomId, address: IpAddr) -> Result<Charge, Duration> {
        self.decisions.count(self.decide(room, address).await)
    }

    async fn decide(&self, room: RoomId, address: IpAddr) -> Result<Charge, Duration> {
        let address = subject(address);
        if let Some(shared) = &self.shared {
            let (subject, buckets) = (address.to_string(), self.rates.buckets(room));
            match timeout(SHARED_LIMIT, shared.charge(&subject, &buckets)).await {
                Ok(Ok(charged)) => return charged.map(|()| Charge { room, address, shared: true }),
                Ok(Err(_)) | Err(_) => {
                    self.decided_alone.increment();
                    tracing::debug!("the shared limits are away; this node's own share decides");
                }
            }
        }
        let now = Instant::now();
        self.address.charge(&address, now)?;
        self.room.charge(&(room, address), now).inspect_err(|_| self.address.refund(&address))?;
        Ok(Charge { room, address, shared: false })
    }

    /// Gives an attempt back where it was charged: it was right, or failed for no fault of the caller.
    pub async fn refund(&self, Charge { room, address, shared }: Charge) {
        if let Some(limits) = self.shared.as_ref().filter(|_| shared) {
            let (subject, buckets) = (address.to_string(), self.rates.buckets(room));
            // If it is lost, so be it: the bucket fills by itself.
            let _ = timeout(SHARED_LIMIT, limits.refund(&subject, &buckets)).await;
        } else {
            self.address.refund(&address);
            self.room.refund(&(room, address));
        }
    }

    /// Forgets who owes nothing.
    pub fn sweep(&self, now: Instant) {
        self.room.sweep(now);
        self.address.sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use clap::Parser;
    use snug_bus::BusError;

    use super::*;
    use crate::config::Cli;

    const ROOM: RoomId = RoomId([1; 16]);

    /// Buckets that never fill again, and can be away.
    #[derive(Default)]
    struct Shared {
        charged: Mutex<HashMap<(String, String), f64>>,
        away: AtomicBool,
    }

    #[async_trait]
    impl SharedLimits for Shared {
        async fn charge(&self, subject: &str, buckets: &[SharedBucket]) -> Result<Result<(), Duration>, BusError> {
            if self.away.load(Ordering::Relaxed) {
                return Err(BusError::Unavailable);
            }
            let mut charged = self.charged.lock().expect("no panic");
            let key = |bucket: &SharedBucket| (subject.to_owned(), bucket.name.clone());
            let is_full = |bucket: &SharedBucket| charged.get(&key(bucket)).is_some_and(|spent| *spent >= bucket.burst);
            if buckets.iter().any(is_full) {
                return Ok(Err(Duration::from_secs(7)));
            }
            for bucket in buckets {
                *charged.entry(key(bucket)).or_default() += 1.0;
            }
            Ok(Ok(()))
        }

        async fn refund(&self, subject: &str, buckets: &[SharedBucket]) -> Result<(), BusError> {
            let mut charged = self.charged.lock().expect("no panic");
            for bucket in buckets {
                *charged.entry((subject.to_owned(), bucket.name.clone())).or_default() -= 1.0;
            }
            Ok(())
        }
    }

    fn limits() -> Limits {
        Cli::parse_from(["snug", "--joins-burst=8", "--joins-per-address-per-minute=12"]).settings.limits
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many attempts are let through before the first that is not.
    async fn attempts(limiter: &JoinLimiter, room: RoomId, from: &str) -> usize {
        for count in 0..100 {
            if limiter.charge(room, address(from)).await.is_err() {
                return count;
            }
        }
        panic!("nothing is limited");
    }

    #[test]
    fn an_address_of_ipv6_counts_by_its_customer() {
        let subject_of = |text: &str| subject(address(text));
        assert_eq!(subject_of("2001:db8::1"), subject_of("2001:db8::ffff:1:2:3"));
        assert_ne!(subject_of("2001:db8::1"), subject_of("2001:db8:0:1::1"));
        assert_eq!(subject_of("::ffff:10.0.0.1"), subject_of("10.0.0.1"));
    }

    #[tokio::test]
    async fn a_node_that_is_alone_limits_by_room_and_by_address() {
        let limiter = JoinLimiter::new(&limits(), None);
        assert_eq!(attempts(&limiter, ROOM, "10.0.0.1").await, 8);
        assert_eq!(attempts(&limiter, RoomId([2; 16]), "10.0.0.1").await, 4, "the address has had its twelve");
        assert_eq!(attempts(&limiter, ROOM, "10.0.0.2").await, 8, "another address is another matter");
    }

    #[tokio::test]
    async fn two_nodes_charge_one_bucket_and_a_right_attempt_is_free_on_either() {
        let shared: Arc<dyn SharedLimits> = Arc::new(Shared::default());
        let node = || JoinLimiter::new(&limits(), Some(Arc::clone(&shared)));
        let (here, there) = (node(), node());
        for limiter in [&here, &there, &here] {
            let charge = limiter.charge(ROOM, address("10.0.0.1")).await.expect("within the burst");
            limiter.refund(charge).await;
        }
        for _ in 0..4 {
            here.charge(ROOM, address("10.0.0.1")).await.expect("within the burst");
        }
        assert_eq!(attempts(&there, ROOM, "10.0.0.1").await, 4);
        assert_eq!(here.charge(ROOM, address("10.0.0.1")).await.map(drop), Err(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn without_the_shared_buckets_a_node_lets_fewer_through_and_not_more() {
        let shared = Arc::new(Shared::default());
        let limiter = JoinLimiter::new(&limits(), Some(shared.clone()));
        shared.away.store(true, Ordering::Relaxed);
        let early = limiter.charge(ROOM, address("10.0.0.1")).await.expect("its own share");
        assert_eq!(attempts(&limiter, ROOM, "10.0.0.1").await, 1, "a quarter of eight is two");
        shared.away.store(false, Ordering::Relaxed);
        limiter.refund(early).await;
        assert_eq!(*shared.charged.lock().expect("no panic"), HashMap::new(), "given back where it was charged");
    }
}
