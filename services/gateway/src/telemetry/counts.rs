//! Numbers that belong to no part of their own: calls to the roster, and requests.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use snug_bus::{BusError, Departure, NodeId, Roster, Stand};
use snug_metrics::{Counter, Counters, Histogram};
use snug_protocol::{DeviceId, RoomId};

snug_metrics::label! {
    /// What the roster is asked.
    pub enum RosterCall("call") {
        /// A device comes.
        Enter = "enter",
        /// A device goes.
        Leave = "leave",
        /// A device is removed.
        Expel = "expel",
        /// Who is here?
        Here = "here",
        /// The lease goes on.
        Renew = "renew",
        /// Whose lease has ended?
        Bury = "bury",
        /// The lease is given back.
        Resign = "resign",
    }
}

/// What became of calls to the roster.
#[derive(Debug)]
pub struct RosterCounters {
    /// Answered.
    pub answered: Counters<RosterCall>,
    /// Failed, or not answered while anybody waited.
    pub failed: Counters<RosterCall>,
    /// How long answers took.
    pub seconds: Histogram,
}

impl Default for RosterCounters {
    fn default() -> Self {
        Self { answered: Counters::default(), failed: Counters::default(), seconds: Histogram::of_seconds() }
    }
}

/// A roster whose calls are counted.
pub struct CountedRoster {
    inner: Arc<dyn Roster>,
    counters: Arc<RosterCounters>,
}

/// A call under way. One that is dropped before its answer has failed.
struct Call<'a> {
    counters: &'a RosterCounters,
    call: RosterCall,
    began: Instant,
    is_answered: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            self.counters.answered.of(self.call).increment();
            self.counters.seconds.observe(self.began.elapsed());
        } else {
            self.counters.failed.of(self.call).increment();
        }
    }
}

impl CountedRoster {
    /// Counts the calls to `inner`.
    #[must_use]
    pub fn over(inner: Arc<dyn Roster>) -> (Arc<dyn Roster>, Arc<RosterCounters>) {
        let counters = Arc::<RosterCounters>::default();
        (Arc::new(Self { inner, counters: Arc::clone(&counters) }), counters)
    }

    async fn count<T>(
        &self,
        call: RosterCall,
        answer: impl Future<Output = Result<T, BusError>>,
    ) -> Result<T, BusError> {
        let mut call = Call { counters: &self.counters, call, began: Instant::now(), is_answered: false };
        let answer = answer.await;
        call.is_answered = answer.is_ok();
        answer
    }
}

#[async_trait]
impl Roster for CountedRoster {
    async fn enter(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.count(RosterCall::Enter, self.inner.enter(node, room, device)).await
    }

    async fn leave(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.count(RosterCall::Leave, self.inner.leave(node, room, device)).await
    }

    async fn expel(&self, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.count(RosterCall::Expel, self.inner.expel(room, device)).await
    }

    async fn here(&self, room: RoomId, listed_max: usize) -> Result<(Vec<DeviceId>, u32), BusError> {
        self.count(RosterCall::Here, self.inner.here(room, listed_max)).await
    }

    async fn renew(&self, node: NodeId) -> Result<bool, BusError> {
        self.count(RosterCall::Renew, self.inner.renew(node)).await
    }

    async fn bury(&self) -> Result<Vec<Departure>, BusError> {
        self.count(RosterCall::Bury, self.inner.bury()).await
    }

    async fn resign(&self, node: NodeId) -> Result<Vec<Departure>, BusError> {
        self.count(RosterCall::Resign, self.inner.resign(node)).await
    }
}

snug_metrics::label! {
    /// How a request was answered.
    pub enum StatusClass("status") {
        /// A socket.
        Informational = "1xx",
        /// As asked.
        Success = "2xx",
        /// Elsewhere, or as before.
        Redirection = "3xx",
        /// Refused.
        ClientError = "4xx",
        /// Failed.
        ServerError = "5xx",
    }
}

impl StatusClass {
    /// The class of a status.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            0..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

/// Requests by HTTP, without the probes.
#[derive(Debug)]
pub struct HttpCounters {
    /// By how they were answered.
    pub requests: Counters<StatusClass>,
    /// How long answers took, up to their first byte.
    pub seconds: Histogram,
    /// Those that came too fast.
    pub limited: Counter,
}

impl Default for HttpCounters {
    fn default() -> Self {
        Self { requests: Counters::default(), seconds: Histogram::of_seconds(), limited: Counter::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snug_bus::LocalRoster;

    use super::*;

    struct Silent;

    #[async_trait]
    impl Roster for Silent {
        async fn enter(&self, _: NodeId, _: RoomId, _: DeviceId) -> Result<Stand, BusError> {
            Err(BusError::Unavailable)
        }
        async fn leave(&self, _: NodeId, _: RoomId, _: DeviceId) -> Result<Stand, BusError> {
            std::future::pending().await
        }
        async fn expel(&self, _: RoomId, _: DeviceId) -> Result<Stand, BusError> {
            std::future::pending().await
        }
        async fn here(&self, _: RoomId, _: usize) -> Result<(Vec<DeviceId>, u32), BusError> {
            std::future::pending().await
        }
        async fn renew(&self, _: NodeId) -> Result<bool, BusError> {
            std::future::pending().await
        }
        async fn bury(&self) -> Result<Vec<Departure>, BusError> {
            std::future::pending().await
        }
        async fn resign(&self, _: NodeId) -> Result<Vec<Departure>, BusError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_waits_for_any_more_has_failed() {
        let (node, room, device) = (NodeId([1; 8]), RoomId([2; 16]), DeviceId([3; 16]));
        let (roster, counters) = CountedRoster::over(Arc::new(LocalRoster::new()));
        roster.enter(node, room, device).await.expect("local");
        assert_eq!(counters.answered.of(RosterCall::Enter).get(), 1);
        assert_eq!(counters.seconds.read().count(), 1);
        let (roster, counters) = CountedRoster::over(Arc::new(Silent));
        assert!(roster.enter(node, room, device).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(2), roster.renew(node)).await.is_err());
        assert_eq!(counters.failed.read().map(|(_, count)| count).sum::<u64>(), 2);
        assert_eq!(counters.answered.read().map(|(_, count)| count).sum::<u64>(), 0);
    }
}
