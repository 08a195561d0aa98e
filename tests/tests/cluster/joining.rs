//! Guesses are counted once for all nodes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use snug_bus::{Backplane, BusError, SharedBucket, SharedLimits};
use snug_client::crypto::Secret;
use snug_store::Store;
use snug_tests::cluster::Cluster;
use snug_tests::guest::{Guest, GuestRoom};

/// Buckets that do not fill again.
#[derive(Default)]
struct Buckets {
    spent: Mutex<HashMap<(String, String), f64>>,
    away: AtomicBool,
}

#[async_trait]
impl SharedLimits for Buckets {
    async fn charge(&self, subject: &str, buckets: &[SharedBucket]) -> Result<Result<(), Duration>, BusError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(BusError::Unavailable);
        }
        let mut spent = self.spent.lock().expect("no panic");
        let key = |bucket: &SharedBucket| (subject.to_owned(), bucket.name.clone());
        if buckets.iter().any(|bucket| spent.get(&key(bucket)).is_some_and(|spent| *spent >= bucket.burst)) {
            return Ok(Err(Duration::from_secs(9)));
        }
        buckets.iter().for_each(|bucket| *spent.entry(key(bucket)).or_default() += 1.0);
        Ok(Ok(()))
    }

    async fn refund(&self, subject: &str, buckets: &[SharedBucket]) -> Result<(), BusError> {
        let mut spent = self.spent.lock().expect("no panic");
        for bucket in buckets {
            *spent.entry((subject.to_owned(), bucket.name.clone())).or_default() -= 1.0;
        }
        Ok(())
    }
}

/// The code of the answer to a guess.
async fn guess(url: &str, room: &GuestRoom) -> String {
    let stranger = Guest::new(url);
    let request = stranger.draft_join(room.room, room.grant, &Secret::generate()).await;
    let (_, answer) = stranger.post("/api/join", &request).await;
    answer["code"].as_str().expect("a refusal").to_owned()
}

#[tokio::test]
async fn guesses_through_two_nodes_are_counted_together_and_right_ones_are_free() {
    let limits = Arc::new(Buckets::default());
    let shared: Arc<dyn SharedLimits> = Arc::clone(&limits) as Arc<dyn SharedLimits>;
    let cluster = Cluster::over(Store::memory(), Backplane { limits: Some(shared), ..Backplane::local() });
    let args = ["--joins-per-minute=1", "--joins-burst=4", "--joins-per-address-per-minute=100"];
    let (here, there) = (cluster.node(&args).await, cluster.node(&args).await);
    let mut ana = Guest::new(&here.url);
    let room = ana.create("Guessed").await;
    for url in [&here.url, &there.url, &here.url, &there.url, &here.url] {
        Guest::new(url).join(&room).await;
    }
    for url in [&here.url, &there.url, &here.url, &there.url] {
        assert_eq!(guess(url, &room).await, "wrong_credentials");
    }
    for url in [&here.url, &there.url] {
        assert_eq!(guess(url, &room).await, "too_many_attempts");
    }
    // Each node's own share is a quarter of four, and it is closed after that rather than open.
    limits.away.store(true, Ordering::Relaxed);
    for url in [&here.url, &there.url] {
        assert_eq!(guess(url, &room).await, "wrong_credentials");
        assert_eq!(guess(url, &room).await, "too_many_attempts");
    }
}
