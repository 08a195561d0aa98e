//! What an operator is told when Redis cannot be used: one line, soon, without the password.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use snug_backing::free_port;
use snug_bus::{BusHealth, NodeId, RedisBackplane, RedisOptions};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::{Node, options, random};
use crate::server::Server;

/// What connecting says. It must be quick, one line, and without `hunter2`.
async fn refusal(url: &str) -> String {
    let (tasks, stop, begun) = (TaskTracker::new(), CancellationToken::new(), Instant::now());
    let outcome = RedisBackplane::connect(url, NodeId(random()), options(), &tasks, stop).await;
    let refusal = outcome.err().expect("this cannot be used").to_string();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(!refusal.contains('\n') && !refusal.contains("hunter2"), "{refusal}");
    refusal
}

fn says(refusal: &str, words: &[&str]) {
    assert!(words.iter().all(|word| refusal.contains(word)), "{refusal:?} does not say {words:?}");
}

#[tokio::test]
async fn nobody_listens() {
    let port = free_port();
    for scheme in ["redis", "redis-cluster"] {
        let refusal = refusal(&format!("{scheme}://:hunter2@127.0.0.1:{port}")).await;
        assert_eq!(refusal, format!("Redis at 127.0.0.1:{port} cannot be reached: Connection refused"));
    }
    let sentinel = format!("redis-sentinel://:hunter2@127.0.0.1:{port}?sentinelServiceName=snug");
    says(&refusal(&sentinel).await, &["cannot be reached", "sentinel"]);
}

#[tokio::test]
async fn somebody_accepts_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it has one").port();
    says(&refusal(&format!("redis://127.0.0.1:{port}")).await, &["cannot be reached"]);
}

#[tokio::test]
async fn the_password_is_missing_or_wrong() {
    let redis = Server::start(&["--requirepass", "right"]).await;
    says(&refusal(&redis.url()).await, &["refuses the sign-in", "wants a password"]);
    let wrong = format!("redis://:hunter2@127.0.0.1:{}", redis.port);
    says(&refusal(&wrong).await, &["refuses the sign-in", "WRONGPASS"]);
    let right = format!("redis://:right@127.0.0.1:{}", redis.port);
    let node = Node::on_redis(&right, options()).await;
    assert_eq!(node.bus().health(), BusHealth::Connected);
}

#[tokio::test]
async fn the_user_may_not_do_what_is_needed() {
    let redis = Server::start(&[]).await;
    for (rights, named) in [
        ("~* &* +@all -spublish", "spublish"),
        ("~* &* +@all -ssubscribe", "ssubscribe"),
        ("~* &other:* +@all", "channel"),
        ("~* &* +@all -@scripting", "eval"),
        ("~* &* +@all -eval", "eval"),
        ("~other:* &* +@all", "key"),
    ] {
        let rights: Vec<&str> = rights.split(' ').collect();
        redis.cli(&[&["ACL", "SETUSER", "snug", "reset", "on", ">hunter2"], &rights[..]].concat()).await;
        let refusal = refusal(&format!("redis://snug:hunter2@127.0.0.1:{}", redis.port)).await;
        says(&refusal, &["does not do what is needed", "NOPERM", named]);
    }
}

#[tokio::test]
async fn it_is_a_replica() {
    let main = Server::start(&[]).await;
    let replica = Server::start(&["--replicaof", "127.0.0.1", &main.port.to_string()]).await;
    says(&refusal(&replica.url()).await, &["does not do what is needed", "READONLY"]);
}

#[tokio::test]
async fn a_cluster_is_taken_for_none_or_the_other_way_round() {
    let (cluster, single) = (Server::start_clustered().await, Server::start(&[]).await);
    says(&refusal(&cluster.url()).await, &["it is a cluster", "redis-cluster"]);
    says(&refusal(&single.url().replace("redis:", "redis-cluster:")).await, &["it is not a cluster"]);
}

/// Answers as a Redis of `version` would, as far as anybody asks.
async fn pretend(version: &'static str, knows_hello: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it has one").port();
    TaskTracker::new().spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (reading, mut writing) = socket.split();
            let mut lines = BufReader::new(reading).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let info = format!("redis_version:{version}\r\nredis_mode:standalone\r\n");
                // The first is sent as plain words, later ones as arrays.
                let answer = match line.split(' ').next().unwrap_or_default() {
                    "HELLO" if knows_hello => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
                    "HELLO" => "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n".to_owned(),
                    "CLIENT" => ":1\r\n".to_owned(),
                    "INFO" => format!("${}\r\n{info}\r\n", info.len()),
                    _ => continue,
                };
                let _ = writing.write_all(answer.as_bytes()).await;
            }
        }
    });
    port
}

#[tokio::test]
async fn it_is_too_old() {
    let port = pretend("6.2.14", true).await;
    let refusal_of_6 = refusal(&format!("redis://127.0.0.1:{port}")).await;
    assert_eq!(refusal_of_6, format!("Redis at 127.0.0.1:{port} is version 6.2.14; version 7 or later is needed"));
    let port = pretend("5.0.7", false).await;
    says(&refusal(&format!("redis://127.0.0.1:{port}")).await, &["version 7 or later is needed"]);
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_operator_trusts() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &authority).expect("a certificate");
    std::fs::write(file("ca"), authority.pem()).expect("it is written");
    std::fs::write(file("cert"), certificate.pem()).expect("it is written");
    std::fs::write(file("key"), key.serialize_pem()).expect("it is written");

    let tls_port = free_port();
    let port = tls_port.to_string();
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let _redis = Server::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let url = format!("rediss://localhost:{port}");
    let trusted = Some(authority.pem().into_bytes());
    let node = Node::on_redis(&url, RedisOptions { trusted, ..options() }).await;
    assert_eq!(node.bus().health(), BusHealth::Connected);
    says(&refusal(&url).await, &["cannot be reached"]);
}
