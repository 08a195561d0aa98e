//! What the tests share: nodes in this process, nodes as processes, a fleet of them with all that they stand on, and a guest who speaks the raw protocol.
//!
//! Everything listens on loopback with a port of the system's choice. Nothing here sleeps to synchronise: waits are for a condition,
//! under [`PATIENCE`].

pub mod cluster;
pub mod fleet;
pub mod guest;
pub mod history;
pub mod hostile;
pub mod lossy;
pub mod node;
pub mod otlp;
pub mod process;
pub mod rng;
pub mod tls;

use std::time::Duration;

/// How long a test waits for what must happen. Long, since machines are slow at times; only failing tests wait it out.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` returns something.
///
/// # Panics
/// When it has not by the end of [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs `work` under [`PATIENCE`].
///
/// # Panics
/// When it takes longer.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("did not happen in time: {what}"),
    }
}

/// A client for plain HTTP calls.
#[must_use]
pub fn http() -> reqwest::Client {
    // An error says that the process has a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().build().expect("a client needs nothing")
}
