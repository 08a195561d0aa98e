//! One message is one trace, over all nodes that it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use snug_backing::{Postgres, Redis};
use snug_client::crypto::Device;
use snug_protocol::frame::ServerFrame;
use snug_tests::guest::{Guest, random};
use snug_tests::otlp::{Collector, Span};
use snug_tests::process::Process;

use crate::command_to_file;

/// Everything that a span may say. Whoever adds to it makes sure that nothing of a person's is told.
const SAID: [&str; 7] = ["kind", "bytes", "seq", "trace_id", "method", "route", "status"];

async fn node(folder: &Path, name: &str, redis: &Redis, database: &str, args: &[&str]) -> Process {
    let pepper = folder.join("pepper");
    if !pepper.exists() {
        let line = format!("1 {}\n", snug_protocol::encode_base64(&random::<32>()));
        std::fs::write(&pepper, line).expect("a folder of ours");
    }
    let given = [
        "--listen=127.0.0.1:0".to_owned(),
        format!("--data-dir={}", folder.join(name).display()),
        format!("--pepper-file={}", pepper.display()),
        format!("--database-url={database}"),
        format!("--redis-url={}", redis.url()),
        "--drain-wait-ms=0".to_owned(),
        "--drain-move-ms=0".to_owned(),
        "--log-format=json".to_owned(),
    ];
    let all: Vec<&str> = given.iter().map(String::as_str).chain(args.iter().copied()).collect();
    Process::spawn(command_to_file(&all, &folder.join(format!("{name}.log")), "warn,snug_gateway=debug")).await
}

/// The spans of the trace that has a `message` of this kind and all that belongs to it on two nodes.
fn whole(spans: &[Span], kind: &str) -> Option<Vec<Span>> {
    let root = spans.iter().find(|span| span.name == "message" && span.attributes["kind"] == kind)?;
    let trace: Vec<Span> = spans.iter().filter(|span| span.trace == root.trace).cloned().collect();
    let nodes_of = |name: &str| {
        trace.iter().filter(|span| span.name == name).map(|span| &span.node).collect::<BTreeSet<_>>().len()
    };
    (nodes_of("append") == 1 && nodes_of("publish") == 1 && nodes_of("hear") == 2 && nodes_of("deliver") == 2)
        .then_some(trace)
}

#[tokio::test]
async fn a_message_is_one_trace_from_its_senders_frame_to_each_receivers_write_on_another_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let (redis, postgres, collector) = tokio::join!(Redis::start(&[]), Postgres::start(), Collector::start());
    let database = postgres.database().await;
    let otlp = format!("--otlp-url={}", collector.url());
    let mut here = node(folder.path(), "here", &redis, &database, &[&otlp, "--trace-share=1"]).await;
    // Draws nothing itself, and continues what the other has drawn.
    let mut there = node(folder.path(), "there", &redis, &database, &[&otlp, "--trace-share=0"]).await;
    let (mut ana, mut ben) = (Guest::new(&here.url), Guest::new(&there.url));
    let mut room = ana.create("Traced").await;
    ben.join(&room).await;
    let (mut sends, mut hears) = (ana.socket().await, ben.socket().await);
    for socket in [&mut sends, &mut hears] {
        assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
    }
    let envelope = ana.message(&mut room, "a word");
    let seq = sends.append(&envelope).await;
    while hears.entry().await.seq() < seq {}
    let trace = collector.until("the whole trace arrives", |spans| whole(spans, "Message")).await;
    check(&trace, envelope.bytes().len(), seq.0);

    // A line of the log that belongs to a request names its trace.
    let request = collector.until("a request", |spans| spans.iter().find(|span| span.name == "request").cloned()).await;
    assert_eq!(request.attributes["method"], "POST");
    assert!(
        collector
            .spans()
            .iter()
            .all(|span| span.name != "request" || !span.attributes["route"].contains(&*room.room.to_string()))
    );
    assert!(here.terminate().await && there.terminate().await);
}

fn check(trace: &[Span], bytes: usize, seq: u64) {
    let by_id: BTreeMap<&[u8], &Span> = trace.iter().map(|span| (span.id.as_slice(), span)).collect();
    assert_eq!(by_id.len(), trace.len(), "no span is told twice");
    let parent = |span: &Span| by_id.get(span.parent.as_slice()).copied();
    let root = trace.iter().find(|span| span.name == "message").expect("the root");
    assert!(root.parent.is_empty());
    assert!(root.attributes["bytes"].parse::<usize>().expect("a number") >= bytes);
    for span in trace {
        let above = parent(span);
        match span.name.as_str() {
            "message" => {}
            "append" | "publish" => {
                assert_eq!(above, Some(root), "{span:?}");
                assert_eq!(span.node, root.node);
                assert!(root.began <= span.began && span.ended <= root.ended);
            }
            "hear" => assert_eq!(above.map(|above| above.name.as_str()), Some("publish"), "{span:?}"),
            "deliver" => {
                let above = above.expect("a parent in the trace");
                assert_eq!((above.name.as_str(), &above.node), ("hear", &span.node));
                assert!(above.began <= span.began, "it is written after it was heard of");
            }
            other => panic!("a message has no span {other}"),
        }
        if matches!(span.name.as_str(), "append" | "hear" | "deliver") {
            assert_eq!(span.attributes["seq"], seq.to_string(), "{span:?}");
        }
        assert!(span.attributes.keys().all(|key| SAID.contains(&key.as_str())), "{span:?}");
        assert_eq!(span.events, 0, "what logs say is in no trace");
        assert!(span.ended >= span.began);
    }
    let nodes: BTreeSet<&str> = trace.iter().map(|span| span.node.as_str()).collect();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
}

#[tokio::test]
async fn a_crowd_of_receivers_is_traced_by_a_few_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start().await;
    let otlp = format!("--otlp-url={}", collector.url());
    let watched = crate::Watched::start(folder.path(), &[&otlp, "--trace-share=1"]).await;
    let mut ana = Guest::new(&watched.process.url);
    let mut room = ana.create("Crowd").await;
    let mut sockets = Vec::new();
    for _ in 0..12 {
        let mut socket = ana.socket().await;
        assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
        sockets.push(socket);
    }
    let envelope = ana.message(&mut room, "to all");
    let seq = sockets[0].append_and_see(&envelope).await;
    for socket in &mut sockets[1..] {
        while socket.entry().await.seq() < seq {}
    }
    let metrics = watched.metrics().await;
    assert!(metrics.get("snug_deliveries_total", &[]) >= 12.0);
    let mut process = watched.process;
    // The last spans leave with the node.
    assert!(process.terminate().await);
    let spans = collector.spans();
    let root = spans.iter().find(|span| span.name == "message").expect("the message's trace");
    let writes = spans.iter().filter(|span| span.trace == root.trace && span.name == "deliver").count();
    assert!((1..=4).contains(&writes), "{writes}");
}

#[tokio::test]
async fn a_line_of_the_log_names_the_trace_that_it_belongs_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start().await;
    let otlp = format!("--otlp-url={}", collector.url());
    let (data, log) = (format!("--data-dir={}", folder.path().join("data").display()), folder.path().join("log"));
    let fast = ["--sends-per-second=100000", "--sends-burst=100000"];
    let told = ["--trace-share=1", "--log-format=json", "--database-bytes-max=600000"];
    let args = [&["--listen=127.0.0.1:0", data.as_str(), otlp.as_str()], &fast[..], &told[..]].concat();
    let mut process = Process::spawn(command_to_file(&args, &log, "warn")).await;
    let mut ana = Guest::of(&process.url, Device::generate());
    let mut room = ana.create("Full").await;
    let mut socket = ana.socket().await;
    // Until there is no space left, which is worth a warning in a message's trace.
    let (mut id, large) = (0, "x".repeat(16_000));
    loop {
        id += 1;
        socket.send(id, &ana.message(&mut room, &large)).await;
        match socket.hear().await {
            ServerFrame::Sent { .. } => assert!(id < 2_000, "the quota is reached"),
            ServerFrame::Error { .. } => break,
            _ => {}
        }
    }
    assert!(process.terminate().await);
    let said = std::fs::read_to_string(&log).expect("a log");
    let traced = said.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        let span = line["spans"].as_array()?.iter().find(|span| span["name"] == "message")?.clone();
        span["trace_id"].as_str().map(str::to_owned)
    });
    let known: BTreeSet<String> =
        collector.spans().iter().map(|span| span.trace.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    let traced: BTreeSet<String> = traced.collect();
    assert!(!traced.is_empty(), "{said}");
    assert!(traced.is_subset(&known), "{traced:?} in {known:?}");
}
