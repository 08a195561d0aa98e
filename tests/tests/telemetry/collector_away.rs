//! A collector that is dead or says nothing costs nobody anything: not messages, not a stop.

use std::time::{Duration, Instant};

use snug_backing::free_port;
use snug_protocol::frame::ServerFrame;
use snug_tests::eventually;
use snug_tests::guest::Guest;
use snug_tests::otlp::Collector;

use crate::Watched;

/// Messages of one run.
const MESSAGES: u32 = 300;

/// Says something and hears it; how long that took, and how long the stop did.
async fn talk(otlp: &str) -> (Duration, Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = ["--sends-per-second=100000", "--sends-burst=100000"];
    let mut watched = Watched::start(folder.path(), &[otlp, "--trace-share=1", limits[0], limits[1]]).await;
    let mut ana = Guest::new(&watched.process.url);
    let mut room = ana.create("Dead air").await;
    let mut socket = ana.socket().await;
    assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
    let began = Instant::now();
    for _ in 0..MESSAGES {
        let envelope = ana.message(&mut room, "hello?");
        socket.append(&envelope).await;
    }
    let spoke = began.elapsed();
    if otlp.contains("http") {
        eventually("a batch is lost", async || {
            (watched.metrics().await.get("snug_telemetry_batches_total", &[("outcome", "traces_lost")]) >= 1.0)
                .then_some(())
        })
        .await;
    }
    drop(socket);
    let stopping = Instant::now();
    assert!(watched.process.terminate().await);
    (spoke, stopping.elapsed())
}

#[tokio::test]
async fn a_collector_that_is_dead_or_silent_delays_neither_messages_nor_a_stop() {
    let (spoke_without, stopped_without) = talk("--otlp-url=").await;
    let silent = Collector::start_silent().await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for url in [silent.url(), nobody] {
        let (spoke, stopped) = talk(&format!("--otlp-url={url}")).await;
        // Far below what one wait for the collector would cost: it may take five seconds to say nothing.
        assert!(spoke < spoke_without * 4 + Duration::from_secs(2), "{url}: {spoke:?}, and without {spoke_without:?}");
        assert!(
            stopped < stopped_without + Duration::from_secs(2),
            "{url}: {stopped:?}, and without {stopped_without:?}"
        );
    }
    assert!(silent.asked() >= 1, "it was asked, and said nothing");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_collector_that_has_just_fallen_silent() {
    let folder = tempfile::tempdir().expect("a folder");
    let silent = Collector::start_silent().await;
    let otlp = format!("--otlp-url={}", silent.url());
    let mut watched = Watched::start(folder.path(), &[&otlp, "--trace-share=1"]).await;
    let ana = Guest::new(&watched.process.url);
    let (status, _) = ana.post("/api/nonce", &()).await;
    assert_eq!(status, 200);
    // The node still believes in it, and has something to send.
    let began = Instant::now();
    assert!(watched.process.terminate().await);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
