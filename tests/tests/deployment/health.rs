//! `snug health`, which a container engine runs.

use std::path::Path;

use snug_backing::free_port;
use snug_tests::process::{Process, command};

/// Whether `snug health` with these settings ends well, and what it said.
async fn health(args: &[&str]) -> (bool, String) {
    let asking = command(&[&["health"], args].concat()).output();
    let output = snug_tests::in_time("an answer", asking).await.expect("the binary runs");
    (output.status.success(), String::from_utf8(output.stderr).expect("text"))
}

fn flags(folder: &Path, address: &str) -> [String; 2] {
    [format!("--listen={address}:{}", free_port()), format!("--data-dir={}", folder.display())]
}

#[tokio::test]
async fn a_running_node_is_healthy_and_a_stopped_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = flags(folder.path(), "0.0.0.0");
    let flags = flags.each_ref().map(String::as_str);
    let (healthy, said) = health(&flags).await;
    assert!(!healthy && said.contains("no node answers at 127.0.0.1"), "{said}");
    let mut process = Process::start(&flags).await;
    assert_eq!(health(&flags).await, (true, String::new()));
    assert!(process.terminate().await);
    assert!(!health(&flags).await.0);
}

#[tokio::test]
async fn a_node_with_tls_is_asked_by_tls_whatever_name_its_certificate_is_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let certified = rcgen::generate_simple_self_signed(["chat.example".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).expect("a file");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("a file");
    let flags = flags(folder.path(), "127.0.0.1");
    let tls = [format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())];
    let flags: Vec<&str> = flags.iter().chain(&tls).map(String::as_str).collect();
    let _process = Process::start(&flags).await;
    assert_eq!(health(&flags).await, (true, String::new()));
}

#[tokio::test]
async fn what_is_not_a_node_is_not_healthy() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listen = format!("--listen={}", listener.local_addr().expect("bound"));
    let flags = [listen.as_str()];
    let asking = health(&flags);
    let answering = async {
        let (mut stream, _) = listener.accept().await.expect("a question");
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 503 No\r\n\r\n{\"ready\":false}")
            .await
            .expect("said");
    };
    let ((healthy, said), ()) = tokio::join!(asking, answering);
    assert!(!healthy && said.contains("is not ready: {\"ready\":false}"), "{said}");
}
