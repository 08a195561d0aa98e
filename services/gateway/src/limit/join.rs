//! Attempts to join: charged before the password is hashed, given back when it was right.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use snug_protocol::RoomId;

use super::{Buckets, Rate};
use crate::config::Limits;

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

/// Guesses are limited per (room, address) and per address. A room as such is never locked, or anyone could lock it.
pub struct JoinLimiter {
    room: Buckets<(RoomId, IpAddr)>,
    address: Buckets<IpAddr>,
}

impl JoinLimiter {
    /// With the configured rates.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            room: Buckets::new(Rate::per_minute(limits.joins_per_minute, limits.joins_burst)),
            address: Buckets::new(Rate::per_minute(
                limits.joins_per_address_per_minute,
                limits.joins_per_address_per_minute,
            )),
        }
    }

    /// Charges an attempt.
    ///
    /// # Errors
    /// How long to wait; then nothing is charged.
    pub fn charge(&self, room: RoomId, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = subject(address);
        self.address.charge(&address, now)?;
        self.room.charge(&(room, address), now).inspect_err(|_| self.address.refund(&address))
    }

    /// Gives an attempt back: it was right, or failed for no fault of the caller.
    pub fn refund(&self, room: RoomId, address: IpAddr) {
        let address = subject(address);
        self.address.refund(&address);
        self.room.refund(&(room, address));
    }

    /// Forgets who owes nothing.
    pub fn sweep(&self, now: Instant) {
        self.room.sweep(now);
        self.address.sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_counts_by_its_customer() {
        let subject_of = |text: &str| subject(text.parse().expect("an address"));
        assert_eq!(subject_of("2001:db8::1"), subject_of("2001:db8::ffff:1:2:3"));
        assert_ne!(subject_of("2001:db8::1"), subject_of("2001:db8:0:1::1"));
        assert_eq!(subject_of("::ffff:10.0.0.1"), subject_of("10.0.0.1"));
    }
}
