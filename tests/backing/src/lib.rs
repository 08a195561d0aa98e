//! What tests stand on: real servers behind and before the nodes, and a network that can do wrong.
//!
//! - [`FaultProxy`]: stands before any TCP server on loopback and delays, drips, withholds or cuts what passes.
//!
//! Nothing here knows Snug: no store, no bus, no frames. Everything listens on loopback, and whatever is started here is stopped again.

mod fault_proxy;

pub use fault_proxy::{Counts, Direction, FaultProxy, Flow};
