//! Token buckets that all nodes of a cluster share.

use std::time::Duration;

use async_trait::async_trait;

use crate::BusError;

/// One bucket and how it fills.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedBucket {
    /// Its name among the buckets of its subject.
    pub name: String,
    /// How many charges it holds when full.
    pub burst: f64,
    /// How many it gets back a second.
    pub per_second: f64,
}

/// Buckets in one place for all nodes. Losing them refills them, nothing else.
#[async_trait]
pub trait SharedLimits: Send + Sync + 'static {
    /// Takes one from each of `buckets`, all of `subject`, or from none of them: then the answer is how long until that would succeed.
    ///
    /// # Errors
    /// `Unavailable`: nothing is known to be charged, and the caller limits by itself.
    async fn charge(&self, subject: &str, buckets: &[SharedBucket]) -> Result<Result<(), Duration>, BusError>;

    /// Puts one back into each of `buckets`, never beyond full.
    ///
    /// # Errors
    /// `Unavailable`: the charge stands.
    async fn refund(&self, subject: &str, buckets: &[SharedBucket]) -> Result<(), BusError>;
}
