//! The configuration that operators get, before small nodes that say who they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::{LoadBalancer, PATIENCE, eventually, free_port};

/// Answers `/readyz`, says its name and what it was told about the client to everything else, and echoes on `/ws`.
struct Node {
    ready: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl Node {
    async fn start(address: SocketAddr, name: &'static str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (ready, stop, tasks) = (Arc::new(AtomicBool::new(true)), CancellationToken::new(), TaskTracker::new());
        let (heard, stopped) = (Arc::clone(&ready), stop.clone());
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serve(stream, name, Arc::clone(&heard));
                tasks.spawn(stopped.clone().run_until_cancelled_owned(serving));
            }
        };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(accept));
        Self { ready, _stop: stop.drop_guard() }
    }
}

async fn serve(stream: TcpStream, name: &str, ready: Arc<AtomicBool>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut forwarded) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            match line.split_once(": ") {
                Some((header, value)) if header.eq_ignore_ascii_case("x-forwarded-for") => {
                    forwarded.push(value.to_owned());
                }
                _ if line.is_empty() => break,
                _ if path.is_empty() => path = line.split(' ').nth(1).unwrap_or_default().to_owned(),
                _ => {}
            }
        }
        if path == "/ws" {
            let upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
            stream.write_all(format!("{upgrade}{name}").as_bytes()).await?;
            let (mut from, mut to) = tokio::io::split(stream);
            return tokio::io::copy(&mut from, &mut to).await.map(|_| ());
        }
        let status =
            if path != "/readyz" || ready.load(Ordering::Relaxed) { "200 OK" } else { "503 Service Unavailable" };
        let body = format!("{name} {}", forwarded.join(", "));
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The answer's status and body.
async fn get(balancer: &LoadBalancer, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: snug\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// An open socket and the name of its node.
async fn open_socket(balancer: &LoadBalancer) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: snug\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("\r\n\r\nnode") || answer.ends_with("node") {
        let mut piece = [0; 512];
        let read = timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "ended: {answer}");
        answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    let name = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (stream, name)
}

async fn still_echoes(stream: &mut TcpStream) {
    stream.write_all(b"!").await.unwrap();
    let mut echo = [0; 1];
    timeout(PATIENCE, stream.read_exact(&mut echo)).await.unwrap().unwrap();
    assert_eq!(&echo, b"!");
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

#[tokio::test]
async fn sockets_go_where_the_fewest_are() {
    let addresses = [address(), address(), address()];
    let names = ["node0", "node1", "node2"];
    let mut nodes = Vec::new();
    for (address, name) in addresses.iter().zip(names) {
        nodes.push(Node::start(*address, name).await);
    }
    let balancer = LoadBalancer::start(&addresses).await;
    let mut sockets = Vec::new();
    for _ in 0..9 {
        sockets.push(open_socket(&balancer).await);
    }
    let count =
        |sockets: &[(TcpStream, String)]| names.map(|name| sockets.iter().filter(|(_, node)| node == name).count());
    assert_eq!(count(&sockets), [3, 3, 3]);
    sockets.retain(|(_, node)| node != "node1");
    // What was closed has to be noticed before it counts.
    eventually("node1 is filled up", async || {
        sockets.push(open_socket(&balancer).await);
        let (_, node) = sockets.last().expect("just pushed");
        node == "node1"
    })
    .await;
}

#[tokio::test]
async fn a_node_that_drains_gets_nothing_new_and_keeps_its_sockets() {
    let addresses = [address(), address()];
    let (going, _staying) = (Node::start(addresses[0], "node0").await, Node::start(addresses[1], "node1").await);
    let balancer = LoadBalancer::start(&addresses).await;
    let mut sockets = [open_socket(&balancer).await, open_socket(&balancer).await];
    sockets.sort_by(|(_, one), (_, other)| one.cmp(other));
    assert_eq!(sockets[0].1, "node0");

    going.ready.store(false, Ordering::Relaxed);
    // While the node counts, it has as many sockets as the other one and gets every second request.
    eventually("the node is seen to drain", async || {
        let answers =
            [get(&balancer, "").await, get(&balancer, "").await, get(&balancer, "").await, get(&balancer, "").await];
        answers.iter().all(|(status, body)| *status == 200 && body.starts_with("node1"))
    })
    .await;
    still_echoes(&mut sockets[0].0).await;
    assert_eq!(open_socket(&balancer).await.1, "node1");

    going.ready.store(true, Ordering::Relaxed);
    eventually("the node is back", async || open_socket(&balancer).await.1 == "node0").await;
}

#[tokio::test]
async fn no_request_fails_when_a_node_dies_and_none_is_answered_without_nodes() {
    let addresses = [address(), address()];
    let (dying, last) = (Node::start(addresses[0], "node0").await, Node::start(addresses[1], "node1").await);
    let mut balancer = LoadBalancer::start(&addresses).await;
    drop(dying);
    eventually("nobody listens", async || TcpStream::connect(addresses[0]).await.is_err()).await;
    for _ in 0..20 {
        let (status, body) = get(&balancer, "").await;
        assert!(status == 200 && body.starts_with("node1"), "{status} {body}");
    }
    drop(last);
    eventually("it says that there is no node", async || get(&balancer, "").await.0 == 503).await;
    let _back = Node::start(addresses[0], "node0").await;
    eventually("a node is back", async || get(&balancer, "").await.0 == 200).await;
    balancer.stop().await;
    assert!(TcpStream::connect(balancer.address()).await.is_err());
    balancer.start_again().await;
    eventually("it finds the node again", async || get(&balancer, "").await.0 == 200).await;
}

#[tokio::test]
async fn a_node_learns_the_clients_address_and_no_forged_one() {
    let node = address();
    let _node = Node::start(node, "node0").await;
    let balancer = LoadBalancer::start(&[node]).await;
    assert_eq!(get(&balancer, "X-Forwarded-For: 203.0.113.7\r\n").await, (200, "node0 127.0.0.1".to_owned()));
}
