//! Lost news are counted by the way that they were found.

use std::sync::Arc;

use snug_bus::{Backplane, Bus, BusEvent};
use snug_gateway::Server;
use snug_gateway::telemetry::{Sources, Value};
use snug_protocol::frame::{Cursor, ServerFrame};
use snug_protocol::{HistoryId, Seq};
use snug_store::Store;
use snug_tests::guest::Guest;
use snug_tests::lossy::LossyBus;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A node in this process whose bus loses what it is told to.
struct Lossy {
    url: String,
    numbers: Sources,
    bus: Arc<LossyBus>,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

async fn start() -> Lossy {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = snug_tests::node::settings(&[]);
    settings.data_dir = folder.path().to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let local = Backplane::local();
    let bus = LossyBus::over(Arc::clone(&local.bus));
    let backplane = Backplane { bus: Arc::clone(&bus) as Arc<dyn Bus>, ..local };
    let server = Server::over(settings, listener, Store::memory(), backplane, TaskTracker::new()).await;
    let server = server.expect("the node starts");
    let (numbers, stop) = (server.numbers().clone(), CancellationToken::new());
    TaskTracker::new().spawn(server.run(stop.clone().cancelled_owned()));
    Lossy { url, numbers, bus, _stop: stop.drop_guard(), _folder: folder }
}

async fn found_by(numbers: &Sources, way: &str) -> u64 {
    let families = numbers.gather().await;
    let family = families.iter().find(|family| family.name == "snug_hint_losses_total").expect("it is told");
    let series = family.series.iter().find(|series| series.labels.iter().any(|(_, value)| value == way));
    match series.expect("each way is told").value {
        Value::Count(count) => count,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lost_hint_is_counted_by_the_way_that_it_was_found() {
    let node = start().await;
    let mut ana = Guest::new(&node.url);
    let mut room = ana.create("Losses").await;
    let mut socket = ana.socket().await;
    assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
    let lose = |seq: u64| node.bus.lose(move |event| matches!(event, BusEvent::Hint { seq: of, .. } if of.0 == seq));
    // A message that is too large for a hint is read from the store, and nothing was lost.
    let large = ana.message(&mut room, &"x".repeat(12_000));
    let seq = socket.append_and_see(&large).await;
    assert_eq!((found_by(&node.numbers, "gap").await, found_by(&node.numbers, "head_check").await), (0, 0));

    lose(seq.0 + 1);
    let [lost, next] = ["lost", "and the next"].map(|text| ana.message(&mut room, text));
    socket.append(&lost).await;
    socket.append_and_see(&next).await;
    assert_eq!((found_by(&node.numbers, "gap").await, found_by(&node.numbers, "head_check").await), (1, 0));

    lose(seq.0 + 3);
    let envelope = ana.message(&mut room, "lost, and nothing after it");
    socket.append_and_see(&envelope).await;
    assert_eq!((found_by(&node.numbers, "gap").await, found_by(&node.numbers, "head_check").await), (1, 1));

    // A client that has less than it was sent follows again.
    assert_eq!(found_by(&node.numbers, "client").await, 0);
    let cursor = Cursor { history: HistoryId::default(), seq: Seq(1), hash: vec![0; 8].into() };
    socket.follow(room.room, Some(cursor)).await;
    assert_eq!(found_by(&node.numbers, "client").await, 1);
}
