//! Starting where it cannot, each with one clear line; stopping without losing anything.

use std::path::Path;

use snug_backing::free_port;
use snug_protocol::frame::{ServerFrame, close};
use snug_tests::guest::Guest;
use snug_tests::in_time;
use snug_tests::node::Node;
use snug_tests::process::{Process, refuses_to_start};
use snug_tests::tls::Certificate;

fn data(folder: &Path) -> String {
    format!("--data-dir={}", folder.display())
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let first = Process::start(&["--listen=127.0.0.1:0", &data(folder.path())]).await;
    let port = first.url.rsplit(':').next().expect("a port");
    let said = refuses_to_start(&[&format!("--listen=127.0.0.1:{port}"), &data(other.path())]).await;
    assert!(said.contains("cannot listen") && said.contains("SNUG_LISTEN"), "{said}");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    std::fs::write(&file, "not a folder").expect("a file");
    let said = refuses_to_start(&["--listen=127.0.0.1:0", &data(&file.join("data"))]).await;
    assert!(said.contains("data folder") && said.contains("SNUG_DATA_DIR"), "{said}");
    // Writing there is refused even to root, who may write anywhere else.
    let said = refuses_to_start(&["--listen=127.0.0.1:0", &data(Path::new("/proc/snug-data"))]).await;
    assert!(said.contains("data folder"), "{said}");
}

#[tokio::test]
async fn a_database_that_is_none_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("snug.db"), "this is a letter, not a database. ".repeat(200)).expect("a file");
    let said = refuses_to_start(&["--listen=127.0.0.1:0", &data(folder.path())]).await;
    assert!(said.starts_with("snug: ") && said.contains("snug.db"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn another_pepper_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["--listen=127.0.0.1:0", &data(folder.path())];
    assert!(Process::start(&args).await.terminate().await, "a first start makes pepper and database");
    let pepper = folder.path().join("pepper");
    std::fs::write(&pepper, format!("1 {}\n", snug_protocol::encode_base64(&[7; 32]))).expect("a file");
    let said = refuses_to_start(&args).await;
    assert!(said.contains("pepper 1") && said.contains("restore"), "{said}");
    std::fs::remove_file(&pepper).expect("it is there");
    let said = refuses_to_start(&args).await;
    assert!(said.contains("pepper file"), "{said}");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, word) in [
        (&["--public-url=chat.example"][..], "SNUG_PUBLIC_URL"),
        (&["--redis-url=redis://localhost"], "SNUG_REDIS_URL"),
        (&["--database-url=mysql://localhost"], "SNUG_DATABASE_URL"),
        (&["--database-url=postgres://localhost"], "SNUG_PEPPER_FILE"),
        (&["--trusted-proxies=everyone"], "everyone"),
        (&["--tls-cert=/nowhere.pem", "--tls-key=/nowhere.pem"], "SNUG_TLS_CERT"),
        (&["--tls-cert=/nowhere.pem"], "--tls-key"),
        (&["--listen=localhost"], "--listen"),
        (&["--log=a=b=c"], "SNUG_LOG"),
    ] {
        let data = data(folder.path());
        let args: Vec<&str> = args.iter().copied().chain([data.as_str()]).collect();
        let args = if args.iter().any(|arg| arg.starts_with("--listen")) {
            args
        } else {
            [&["--listen=127.0.0.1:0"], args.as_slice()].concat()
        };
        let said = refuses_to_start(&args).await;
        assert!(said.contains(word) && !said.contains("panicked"), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_messages_keeps_old_ones_and_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = format!("--listen=127.0.0.1:{}", free_port());
    let data = data(folder.path());
    let fast = ["--sends-per-second=100000", "--sends-burst=100000"];
    let mut process = Process::start(&[&port, &data, "--database-bytes-max=600000", fast[0], fast[1]]).await;
    let mut guest = Guest::new(&process.url);
    let mut room = guest.create("Full").await;
    let mut socket = guest.socket().await;
    let mut stored = 0;
    let refused = loop {
        let envelope = guest.message(&mut room, &"x".repeat(3_000));
        socket.send(1, &envelope).await;
        match socket.hear().await {
            ServerFrame::Sent { .. } => stored += 1,
            ServerFrame::Error { error, .. } => {
                assert_eq!(error.code.as_str(), "storage_full");
                break envelope;
            }
            other => panic!("{other:?}"),
        }
        assert!(stored < 1_000, "the limit is there to be reached");
    };
    assert!(stored > 5);
    assert_eq!(guest.get("/api/rooms").await.1["rooms"][0]["head"], stored + 1, "what is there can be read");
    process.terminate().await;
    let process = Process::start(&[&port, &data, fast[0], fast[1]]).await;
    guest.url.clone_from(&process.url);
    let mut socket = guest.socket().await;
    socket.send(2, &refused).await;
    assert_eq!(
        socket.sent(2).await.0.0,
        stored + 2,
        "nothing was lost, and the refused message goes out once there is space"
    );
}

#[tokio::test]
async fn a_stop_commits_what_is_in_flight_says_goodbye_and_is_quick() {
    let node = Node::start().await;
    let store = node.store.clone();
    let mut guest = Guest::new(&node.url);
    let mut room = guest.create("Goodbye").await;
    let mut socket = guest.socket().await;
    for id in 0..20 {
        let envelope = guest.message(&mut room, "last words");
        socket.send(id, &envelope).await;
    }
    socket.sent(0).await;
    let stopped = node.begin_stop();
    let mut acknowledged = 1;
    let code = loop {
        match socket.next().await {
            snug_client::wire::Incoming::Frame(ServerFrame::Sent { .. }) => acknowledged += 1,
            snug_client::wire::Incoming::Closed { code } => break code,
            _ => {}
        }
    };
    assert_eq!(code, Some(close::RESTART));
    in_time("the node stops", stopped.wait()).await;
    assert!(acknowledged >= 1);
    assert!(store.check().await.is_err(), "the store is closed last");
}

#[tokio::test]
async fn a_draining_node_tells_its_clients_to_move_and_stops_when_they_have() {
    let node = Node::start_with(&["--drain-move-ms=20000"]).await;
    let mut guest = Guest::new(&node.url);
    let room = guest.create("Moving").await;
    let mut socket = guest.socket().await;
    socket.follow(room.room, None).await;
    let stopped = node.begin_stop();
    let told = socket.hear().await;
    assert!(
        matches!(told, ServerFrame::Move { within_ms: 10_000..=17_000 }),
        "some time is kept for closing: {told:?}"
    );
    let began = std::time::Instant::now();
    drop(socket);
    in_time("the node stops", stopped.wait()).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "it does not wait for nobody");
}

#[tokio::test]
async fn a_node_with_a_certificate_speaks_tls() {
    let certificate = Certificate::new();
    let node = Node::start_with(&certificate.args().each_ref().map(String::as_str)).await;
    assert!(node.url.starts_with("https://"));
    drop(snug_tests::http());
    let root = reqwest::Certificate::from_pem(certificate.pem.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([root]).build().expect("a client");
    let response = client.get(format!("{}/livez", node.url)).send().await.expect("an answer over TLS");
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("strict-transport-security"));
    let plain = snug_tests::http().get(node.url.replace("https", "http")).send().await;
    assert!(plain.is_err(), "no plain HTTP on the TLS port");
}
