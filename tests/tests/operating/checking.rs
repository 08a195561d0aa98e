//! `snug check`: what a start would stumble over, and what would stop working soon.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use snug_backing::free_port;
use snug_tests::otlp::Collector;
use snug_tests::process::Process;

use crate::commands::{Said, snug};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn data(folder: &Path) -> String {
    format!("--data-dir={}", folder.display())
}

/// A check for programs, of a node that would be here and has a port.
async fn check(folder: &Path, args: &[&str]) -> Said {
    let (data, port) = (data(folder), format!("--listen=127.0.0.1:{}", free_port()));
    snug(&[&["check", "--json", &data, &port], args].concat()).await
}

/// Writes a certificate for localhost and its key; returns the flags.
fn certificate(folder: &Path, from: SystemTime, until: SystemTime) -> [String; 2] {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("names");
    (params.not_before, params.not_after) = (from.into(), until.into());
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    write(folder, "cert.pem", &certificate.pem());
    write(folder, "key.pem", &key.serialize_pem());
    [format!("--tls-cert={}/cert.pem", folder.display()), format!("--tls-key={}/key.pem", folder.display())]
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}

/// Whether what a check found of this is as named, and all that was said.
fn found(said: &Said, what: &str) -> (String, String) {
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(report["ok"], said.ended_well);
    let findings = report["findings"].as_array().expect("a list");
    let finding = findings.iter().find(|finding| finding["what"] == what).unwrap_or_else(|| panic!("{what}: {said:?}"));
    let text = |key: &str| finding[key].as_str().expect("text").to_owned();
    (text("state"), text("said"))
}

#[tokio::test]
async fn a_check_finds_the_same_before_beside_and_after_a_node_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let flags = [format!("--data-dir={}", data.display()), format!("--listen=127.0.0.1:{}", free_port())];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let check = [&["check", "--json"], &flags[..]].concat();
    let before = snug(&check).await;
    assert_eq!(found(&before, "database").0, "ok", "it can be made: {before:?}");
    assert!(before.ended_well && !data.exists(), "a question makes nothing");
    let mut node = Process::start(&flags).await;
    let beside = snug(&check).await;
    assert!(beside.ended_well, "{beside:?}");
    assert!(found(&beside, "port").1.contains("a node is ready"), "{beside:?}");
    assert!(found(&beside, "database").1.contains("sqlite, durability local"), "{beside:?}");
    assert!(found(&beside, "pepper").1.contains("pepper 1"), "{beside:?}");
    assert!(node.terminate().await);
    let after = snug(&check).await;
    assert!(after.ended_well && found(&after, "port").1.contains("is free"), "{after:?}");
    std::fs::remove_file(data.join("pepper")).expect("it was made");
    let without = snug(&check).await;
    assert!(!without.ended_well);
    assert_eq!(found(&without, "pepper").0, "failed");
    let human = snug(&[&["check"], &flags[..]].concat()).await;
    assert!(!human.ended_well && human.out.contains("FAILED   pepper"), "{human:?}");
    assert!(human.err.starts_with("snug: 1 of ") && human.err.trim_end().lines().count() == 1, "{human:?}");
}

#[tokio::test]
async fn a_check_finds_what_a_start_would_stumble_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("--listen={}", taken.local_addr().expect("bound"));
    let file = folder.path().join("a file");
    std::fs::write(&file, "not a folder").expect("a file");
    let inside = data(&file.join("data"));
    let damaged = folder.path().join("damaged");
    std::fs::create_dir(&damaged).expect("a folder");
    std::fs::write(damaged.join("snug.db"), "this is a letter, not a database. ".repeat(200)).expect("a file");
    let unreachable = format!("--redis-url=redis://127.0.0.1:{}", free_port());
    let nobody = format!("--database-url=postgres://snug@127.0.0.1:{}/snug", free_port());
    let (elsewhere, damaged, pepper) = (data(folder.path()), data(&damaged), "--pepper-file=/nowhere/pepper");
    for (args, what, word) in [
        (&[taken.as_str(), &elsewhere][..], "port", "cannot listen"),
        (&[&inside], "database", "is no folder"),
        (&[&damaged], "database", "snug.db"),
        (&["--public-url=chat.example", &elsewhere], "settings", "SNUG_PUBLIC_URL"),
        (&[&nobody, pepper], "database", "cannot reach"),
        (&[&nobody, pepper, &unreachable], "redis", "cannot be reached"),
        (&["--tls-cert=/nowhere.pem", "--tls-key=/nowhere.pem", &elsewhere], "certificate", "SNUG_TLS_CERT"),
    ] {
        let free = format!("--listen=127.0.0.1:{}", free_port());
        let free = if args[0].starts_with("--listen") { vec![] } else { vec![free.as_str()] };
        let said = snug(&[&["check", "--json"], args, &free].concat()).await;
        let (state, text) = found(&said, what);
        assert!(state == "failed" && text.contains(word), "{args:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_check_says_that_a_certificate_will_end_before_it_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = SystemTime::now();
    for (from, until, state, word, fit) in [
        (now - DAY, now + 30 * DAY, "ok", "and its key fit, until 20", true),
        (now - DAY, now + 10 * DAY + DAY / 2, "warning", "in 10 days; renew it", true),
        (now - 10 * DAY, now - DAY, "failed", "ended at 20", false),
        (now + DAY, now + 10 * DAY, "failed", "is this machine's clock right?", false),
    ] {
        let [cert, key] = certificate(folder.path(), from, until);
        let said = check(folder.path(), &[&cert, &key]).await;
        let (found_state, text) = found(&said, "certificate");
        assert!(found_state == state && text.contains(word) && text.contains("cert.pem"), "{said:?}");
        assert_eq!(said.ended_well, fit, "{said:?}");
        assert_eq!(found(&said, "host name").0, "ok", "{said:?}");
    }
    let [cert, key] = certificate(folder.path(), now - DAY, now + 10 * DAY);
    let data = data(folder.path());
    let port = format!("--listen=127.0.0.1:{}", free_port());
    let human = snug(&["check", &data, &port, &cert, &key]).await;
    assert!(human.ended_well && human.out.contains("\nwarning  certificate"), "{human:?}");
}

#[tokio::test]
async fn a_check_tells_which_of_certificate_and_key_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = SystemTime::now();
    let [cert, key] = certificate(folder.path(), now - DAY, now + 30 * DAY);
    let elsewhere = check(folder.path(), &[&cert, &key, "--public-url=https://chat.example:8443"]).await;
    let (state, text) = found(&elsewhere, "host name");
    assert!(state == "warning" && text.contains("not for chat.example,") && elsewhere.ended_well, "{elsewhere:?}");

    let another = KeyPair::generate().expect("a key").serialize_pem();
    for (file, text, word) in [
        ("key.pem", another.as_str(), "SNUG_TLS_CERT and SNUG_TLS_KEY do not work together"),
        ("key.pem", "a letter", "SNUG_TLS_KEY ("),
        ("cert.pem", another.as_str(), "there is no certificate in it"),
        ("cert.pem", "-----BEGIN CERTIFICATE-----\nnonsense", "SNUG_TLS_CERT ("),
    ] {
        write(folder.path(), file, text);
        let said = check(folder.path(), &[&cert, &key]).await;
        let (state, text) = found(&said, "certificate");
        assert!(state == "failed" && text.contains(word) && text.lines().count() == 1, "{said:?}");
    }
}

#[tokio::test]
async fn a_check_finds_the_admin_port_free_taken_or_a_nodes() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data(&folder.path().join("data"));
    let (port, admin) = (free_port(), free_port());
    let flags = [format!("--listen=127.0.0.1:{port}"), format!("--admin-listen=127.0.0.1:{admin}"), data];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let asks = [&["check", "--json"], &flags[..]].concat();
    let before = snug(&asks).await;
    assert!(before.ended_well && found(&before, "admin port").1.contains("is free"), "{before:?}");
    let mut node = Process::start(&flags).await;
    let beside = snug(&asks).await;
    assert!(beside.ended_well && found(&beside, "admin port").1.contains("a node tells its metrics"), "{beside:?}");
    assert!(node.terminate().await);

    let taken = std::net::TcpListener::bind(("127.0.0.1", admin)).expect("it is free again");
    let said = snug(&asks).await;
    let (state, text) = found(&said, "admin port");
    assert!(state == "failed" && text.contains("cannot listen") && text.contains("SNUG_ADMIN_LISTEN"), "{said:?}");
    drop(taken);
    // One port for people and for numbers is one too few.
    let both = format!("--admin-listen=127.0.0.1:{port}");
    let said = snug(&["check", "--json", flags[0], &both, flags[2]]).await;
    assert_eq!(found(&said, "port").0, "ok", "{said:?}");
    assert_eq!(found(&said, "admin port").0, "failed", "{said:?}");
}

#[tokio::test]
async fn a_check_asks_the_collector_and_a_node_does_not_need_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start().await;
    let said = check(folder.path(), &[&format!("--otlp-url={}", collector.url())]).await;
    assert!(found(&said, "collector").0 == "ok" && said.ended_well, "{said:?}");
    assert_eq!(collector.asked(), 1);
    assert!(collector.spans().is_empty() && collector.metrics().is_empty(), "a question tells nothing");

    let nobody = format!("--otlp-url=http://127.0.0.1:{}", free_port());
    let said = check(folder.path(), &[&nobody]).await;
    let (state, text) = found(&said, "collector");
    assert!(state == "warning" && text.contains("SNUG_OTLP_URL") && said.ended_well, "{said:?}");

    let said = check(folder.path(), &["--otlp-url=grpc://user:secret@collector:4317"]).await;
    let (state, text) = found(&said, "collector");
    assert!(state == "failed" && text.contains("SNUG_OTLP_URL") && !said.ended_well, "{said:?}");
    assert!(!said.out.contains("secret") && !said.err.contains("secret"), "{said:?}");

    let said = check(folder.path(), &["--log=a=b=c"]).await;
    let (state, text) = found(&said, "log");
    assert!(state == "failed" && text.contains("SNUG_LOG") && !said.ended_well, "{said:?}");
}
