//! Secrets and texts of a run are in nothing that a node tells, however much it is asked to say.

use std::time::Duration;

use snug_backing::free_port;
use snug_backing::{Postgres, Redis};
use snug_client::crypto::Device;
use snug_client::{Client, ClientConfig, Event};
use snug_protocol::frame::ServerFrame;
use snug_tests::guest::{Guest, random};
use snug_tests::otlp::Collector;
use snug_tests::process::Process;
use snug_tests::{eventually, in_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{command_to_file, scrape};

/// What must be nowhere, each with what it is.
#[derive(Default)]
struct Canaries(Vec<(&'static str, Vec<u8>)>);

impl Canaries {
    fn text(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 8, "{what} would be found by accident");
        self.0.push((what, secret.as_bytes().to_vec()));
    }

    /// Raw, and as it crosses the wire.
    fn bytes(&mut self, what: &'static str, secret: &[u8]) {
        self.text(what, &snug_protocol::encode_base64(secret));
        self.0.push((what, secret.to_vec()));
        // As Rust shows a list of bytes.
        self.text(what, format!("{:?}", &secret[..12]).trim_matches(['[', ']']));
        self.text(what, &secret[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }

    fn found_in(&self, said: &[u8]) -> Vec<&'static str> {
        let is_in = |secret: &[u8]| said.windows(secret.len()).any(|window| window == secret);
        self.0.iter().filter(|(_, secret)| is_in(secret)).map(|(what, _)| *what).collect()
    }
}

/// A text that stands out.
fn word(of: &str) -> String {
    let random: String = random::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("canary {of} {random}")
}

#[tokio::test]
async fn secrets_and_texts_are_in_no_log_no_trace_and_no_metric() {
    let (folder, collector) = (tempfile::tempdir().expect("a folder"), Collector::start().await);
    let mut canaries = Canaries::default();
    let redis_password = word("redis").replace(' ', "-");
    canaries.text("the password of Redis", &redis_password);
    let (redis, postgres) = tokio::join!(Redis::start(&[]), Postgres::start());
    protect(&redis, &redis_password).await;
    let database = postgres.database().await;
    let (pepper, log, admin) = (folder.path().join("pepper"), folder.path().join("log"), free_port());
    let secret = random::<32>();
    canaries.bytes("the pepper", &secret);
    std::fs::write(&pepper, format!("1 {}\n", snug_protocol::encode_base64(&secret))).expect("a folder of ours");
    let given = [
        "--listen=127.0.0.1:0".to_owned(),
        format!("--admin-listen=127.0.0.1:{admin}"),
        format!("--data-dir={}", folder.path().join("data").display()),
        format!("--pepper-file={}", pepper.display()),
        format!("--database-url={database}"),
        format!("--redis-url={}", redis.url().replace("redis://", &format!("redis://:{redis_password}@"))),
        format!("--otlp-url={}", collector.url()),
        "--trace-share=1".to_owned(),
        "--drain-wait-ms=0".to_owned(),
        "--drain-move-ms=0".to_owned(),
    ];
    let args: Vec<&str> = given.iter().map(String::as_str).collect();
    let mut process = Process::spawn(command_to_file(&args, &log, "trace")).await;
    people_talk(&process.url, &mut canaries).await;
    devices_talk(&process.url, &mut canaries).await;
    eventually("traces of it arrive", async || {
        collector.spans().iter().any(|span| span.name == "deliver").then_some(())
    })
    .await;
    eventually("numbers arrive", async || (!collector.metrics().is_empty()).then_some(())).await;
    let scraped = scrape(&format!("127.0.0.1:{admin}")).await;
    assert!(process.terminate().await);

    let logged = std::fs::read(&log).expect("a log");
    let told = String::from_utf8_lossy(&logged);
    assert!(told.contains("TRACE") && told.contains("a session begins"), "nothing is logged, so nothing was looked at");
    assert!(scraped.contains("snug_appends_total{outcome=\"appended\"}"));
    assert_eq!(canaries.found_in(&logged), [""; 0], "in the log");
    assert_eq!(canaries.found_in(scraped.as_bytes()), [""; 0], "in the metrics");
    for body in collector.bodies() {
        assert_eq!(canaries.found_in(&body), [""; 0], "at the collector");
    }
    // A search that finds nothing must be able to.
    assert_eq!(canaries.found_in(format!("...{}...", redis_password).as_bytes()), ["the password of Redis"]);
}

/// From now on Redis wants a password.
async fn protect(redis: &Redis, password: &str) {
    let mut stream = TcpStream::connect(redis.address()).await.expect("Redis listens");
    stream.write_all(format!("CONFIG SET requirepass {password}\r\n").as_bytes()).await.expect("said");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"+OK\r\n");
}

/// Two people by the SDK, with passwords, names, a link and texts.
async fn people_talk(url: &str, canaries: &mut Canaries) {
    let (name, password) = (word("room"), word("password"));
    let (ana, ben, cy, said) = (word("ana"), word("ben"), word("cy"), word("said"));
    for (what, secret) in [("a room's name", &name), ("a password", &password), ("a member's name", &ana)] {
        canaries.text(what, secret);
    }
    for (what, secret) in [("a member's name", &ben), ("a member's name", &cy), ("a message", &said)] {
        canaries.text(what, secret);
    }
    let client = || Client::connect(ClientConfig::new(url), Device::generate()).expect("an address");
    let (first, second, third) = (client(), client(), client());
    let (room, _recovery) = first.create_room(&name, &password, &ana).await.expect("a room");
    let mut events = room.events().await.expect("open");
    let wrong = word("guess");
    canaries.text("a wrong password", &wrong);
    second.join(&name, &wrong, &ben).await.expect_err("it is refused");
    let _by_password = second.join(&name, &password, &ben).await.expect("in");
    let (link, _) = room.create_invite(Some(Duration::from_secs(3_600)), Some(1)).await.expect("an invite");
    canaries.text("an invite", &link.fragment());
    let theirs = third.join_by_link(&link, &cy).await.expect("in");
    in_time("a message", theirs.send(&said)).await.expect("sent");
    in_time("it is read", async {
        while !matches!(events.next().await, Some(Event::Message { text, .. }) if text == said) {}
    })
    .await;
}

/// Devices by the raw protocol, whose tokens and proofs are known.
async fn devices_talk(url: &str, canaries: &mut Canaries) {
    let (mut ana, mut ben) = (Guest::new(url), Guest::new(url));
    let name = word("raw");
    canaries.text("a room's name", &name);
    let mut room = ana.create(&name).await;
    ben.join(&room).await;
    for guest in [&ana, &ben] {
        canaries.text("a token", guest.token.as_ref().expect("signed in"));
    }
    let mut socket = ana.socket().await;
    assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
    let text = word("raw text");
    canaries.text("a message", &text);
    let envelope = ana.message(&mut room, &text);
    socket.append_and_see(&envelope).await;
    let (invite, _) = ana.draft_invite(&room, None, Some(1));
    let join = ben.draft_join(room.room, room.grant, &room.secret).await;
    for (what, proof) in [("an invite's proof", &invite.auth), ("a password's proof", &join.auth)] {
        canaries.bytes(what, proof.array::<32>().expect("32 bytes").as_slice());
    }
    let (status, answer) = ana.post(&format!("/api/rooms/{}/invites", room.room), &invite).await;
    assert_eq!(status, 201, "{answer}");
    let (status, _) = ben.post("/api/join", &join).await;
    assert!(status < 500, "{status}");
    // Not a secret, but nobody's to read in a log: the sealed bytes.
    canaries.bytes("a sealed message", &envelope.bytes()[envelope.bytes().len() - 32..]);
    let (status, _) = ana.get(&format!("/api/rooms/{}/history", room.room)).await;
    assert_eq!(status, 200);
    let (status, _) = ana.delete("/api/token").await;
    assert!((200..300).contains(&status), "{status}");
}
