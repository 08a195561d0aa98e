//! What tests stand on: real servers behind and before the nodes, and a network that can do wrong.
//!
//! - [`postgres`], [`redis`]: one server for all tests of a process, for suites that only need a URL.
//! - [`Postgres::start`], [`Redis::start`]: a server of the test's own, to be killed, stopped, paused and started again.
//! - [`LoadBalancer`]: HAProxy as operators get it, before nodes of the test's choice.
//! - [`FaultProxy`]: stands before any TCP server on loopback and delays, drips, withholds or cuts what passes.
//!
//! Servers run in containers; only where no container can run are they plain processes, with the same controls ([`Engine`]).
//! `tests/setup/containers` brings what is needed. Nothing here knows Snug: no store, no bus, no frames. Everything listens on loopback,
//! and whatever is started here ends with the process that started it, however that ends.
//!
//! This is a harness: what should work and does not is a panic that says why.

mod container;
mod engine;
mod fault_proxy;
mod load_balancer;
mod port;
mod postgres;
mod process;
mod redis;
mod server;
#[cfg(test)]
mod tests {
    mod balancing;
    mod servers;
}
mod watcher;

pub use engine::Engine;
pub use fault_proxy::{Counts, Direction, FaultProxy, Flow};
pub use load_balancer::LoadBalancer;
pub use port::free_port;
pub use postgres::{Postgres, postgres};
pub use redis::{Redis, redis};
pub use server::Server;

/// How long a server may take to start, stop or answer. Long, since machines are slow at times; only failing tests wait it out.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Looks every few milliseconds until `look` is content.
///
/// # Panics
/// When it is not by the end of [`PATIENCE`].
async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !look().await {
        assert!(tokio::time::Instant::now() < deadline, "did not happen in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
