//! What is counted is what happened.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use snug_protocol::frame::{Cursor, ServerFrame};
use snug_protocol::{HistoryId, Seq};
use snug_tests::eventually;
use snug_tests::guest::Guest;
use snug_tests::otlp::Collector;

use crate::Watched;
use crate::exposition::Exposition;

#[tokio::test]
async fn a_conversation_is_counted_where_prometheus_and_a_collector_look() {
    let (folder, collector) = (tempfile::tempdir().expect("a folder"), Collector::start().await);
    let otlp = format!("--otlp-url={}", collector.url());
    let mut watched = Watched::start(folder.path(), &[&otlp, "--sends-burst=3", "--sends-per-second=1"]).await;
    let before = watched.metrics().await;
    assert!(before.get("snug_sockets", &[]) < 0.5);
    assert!((before.get("snug_bus_connected", &[("bus", "local")]) - 1.0).abs() < 0.1);
    let (mut ana, mut ben) = (Guest::new(&watched.process.url), Guest::new(&watched.process.url));
    let mut room = ana.create("Counted").await;
    ben.join(&room).await;
    let wrong = ben.draft_join(room.room, room.grant, &snug_client::crypto::Secret::generate()).await;
    assert_eq!(ben.post("/api/join", &wrong).await.0, 403);
    let (mut sends, mut hears) = (ana.socket().await, ben.socket().await);
    for socket in [&mut sends, &mut hears] {
        assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
    }
    let first = ana.message(&mut room, "one");
    let seq = sends.append(&first).await;
    sends.send(1, &first).await;
    assert!(sends.sent(1).await.1, "the same again");
    while hears.entry().await.seq() < seq {}
    for id in 2..6 {
        sends.send(id, &first).await;
    }
    eventually("somebody is too fast", async || matches!(sends.hear().await, ServerFrame::Error { .. }).then_some(()))
        .await;
    let cursor = Cursor { history: HistoryId([9; 16]), seq: Seq(1), hash: vec![0; 8].into() };
    assert!(matches!(hears.follow(room.room, Some(cursor)).await, ServerFrame::Followed { resync: Some(_), .. }));

    let after = eventually("it is all counted", async || {
        let after = watched.metrics().await;
        (after.get("snug_deliveries_total", &[]) >= 2.0).then_some(after)
    })
    .await;
    is_counted(&after);

    drop((sends, hears));
    assert!(watched.process.terminate().await);
    is_pushed(&after, &collector);
}

/// The conversation, in numbers.
fn is_counted(after: &Exposition) {
    let is = |name: &str, labels: &[(&str, &str)], expected: f64| {
        let value = after.get(name, labels);
        assert!((value - expected).abs() < 0.1, "{name} {labels:?} is {value}, not {expected}");
    };
    is("snug_sockets", &[], 2.0);
    is("snug_sockets_opened_total", &[], 2.0);
    is("snug_rooms_followed", &[], 1.0);
    is("snug_appends_total", &[("outcome", "appended")], 1.0);
    is("snug_proofs_total", &[("outcome", "wrong")], 1.0);
    is("snug_proofs_total", &[("outcome", "right")], 1.0);
    is("snug_resumes_total", &[("outcome", "other_history")], 1.0);
    is("snug_limit_decisions_total", &[("limit", "sockets"), ("decision", "allowed")], 2.0);
    is("snug_limit_decisions_total", &[("limit", "joins"), ("decision", "allowed")], 2.0);
    is("snug_draining", &[], 0.0);
    is("snug_database_up", &[], 1.0);
    is("snug_roster_away", &[], 0.0);
    for some in [
        ("snug_appends_total", ("outcome", "duplicate")),
        ("snug_limit_decisions_total", ("limit", "sends")),
        ("snug_http_requests_total", ("status", "2xx")),
        ("snug_http_requests_total", ("status", "4xx")),
        ("snug_roster_calls_total", ("call", "enter")),
    ] {
        let (name, label) = some;
        let labels: &[_] = match name {
            "snug_limit_decisions_total" => &[label, ("decision", "refused")],
            "snug_roster_calls_total" => &[label, ("outcome", "answered")],
            _ => &[label],
        };
        assert!(after.get(name, labels) >= 1.0, "{name} {labels:?}");
    }
    for histogram in [
        "snug_append_seconds",
        "snug_delivery_seconds",
        "snug_store_call_seconds",
        "snug_hash_seconds",
        "snug_commit_seconds",
    ] {
        assert!(after.get(&format!("{histogram}_count"), &[]) >= 1.0, "{histogram}");
    }
    assert!(after.get("process_resident_memory_bytes", &[]) > 1e6);
}

/// The last numbers come with the end, and are those that Prometheus would have read.
fn is_pushed(after: &Exposition, collector: &Collector) {
    let pushed = collector.metrics();
    for (name, family) in &after.0 {
        let told = pushed.iter().find(|metric| &metric.name == name).unwrap_or_else(|| panic!("{name} is not pushed"));
        let (kind, points) = match told.data.as_ref().expect("numbers") {
            Data::Sum(sum) => ("counter", sum.data_points.len()),
            Data::Gauge(gauge) => ("gauge", gauge.data_points.len()),
            Data::Histogram(histogram) => {
                let point = &histogram.data_points[0];
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1, "{name}");
                assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count, "{name}");
                ("histogram", histogram.data_points.len())
            }
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!((kind, &told.description), (family.kind.as_str(), &family.help), "{name}");
        assert!(points > 0 && !told.unit.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn the_admin_port_is_another_than_the_publics() {
    let folder = tempfile::tempdir().expect("a folder");
    let watched = Watched::start(folder.path(), &[]).await;
    let ask = async |url: String| {
        let answer = snug_tests::http().get(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (_, public) = ask(format!("{}/metrics", watched.process.url)).await;
    assert!(!public.contains("snug_sockets"), "the public port says nothing: {public}");
    for path in ["/", "/api/rooms", "/ws", "/readyz"] {
        assert_eq!(ask(format!("http://{}{path}", watched.admin)).await.0, 404, "{path}");
    }
}
