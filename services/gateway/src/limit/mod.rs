//! Rates: a keyed token bucket whose charges can be refunded, and the join limiter made of two of them.
//!
//! HTTP as a whole is limited by tower-governor in `http`; its algorithm cannot give back a charge, which joins need.

mod bucket;
mod join;

pub use bucket::{Bucket, Buckets, Rate};
pub use join::{JoinLimiter, subject};
