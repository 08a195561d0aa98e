//! Each fault as a client behind the proxy sees it, before a server that sends back what it gets.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::{Counts, Direction, FaultProxy, Flow};

/// Long enough for anything on loopback; only failing tests wait it out.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing must come before we believe that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

async fn proxy_of_an_echo() -> FaultProxy {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    TaskTracker::new().spawn(async move {
        let tasks = TaskTracker::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            tasks.spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    proxy
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    timeout(PATIENCE, stream.read_exact(&mut read)).await.expect("comes in time").expect("comes");
    read
}

async fn echo(stream: &mut TcpStream, what: &[u8]) {
    stream.write_all(what).await.unwrap();
    assert_eq!(read(stream, what.len()).await, what);
}

async fn assert_silent(stream: &mut TcpStream) {
    let heard = timeout(SILENCE, stream.read(&mut [0; 1])).await;
    assert!(heard.is_err(), "something came: {heard:?}");
}

async fn assert_reset(stream: &mut TcpStream) {
    let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("ends in time");
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

async fn eventually(proxy: &FaultProxy, holds: impl Fn(Counts) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(proxy.counts()) {
        assert!(Instant::now() < deadline, "did not happen in time: {:?}", proxy.counts());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_is_sent_passes_whole_and_its_end_too() {
    let proxy = proxy_of_an_echo().await;
    let mut stream = connect(&proxy).await;
    let much: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut from, mut to) = stream.split();
    let sending = async {
        to.write_all(&much).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(sending, timeout(PATIENCE, from.read_to_end(&mut received)));
    read.unwrap().unwrap();
    assert!(received == much);
    eventually(&proxy, |counts| counts.open == 0).await;
    let counts = proxy.counts();
    assert_eq!((counts.connections, counts.cut, counts.slowed, counts.bytes_withheld), (1, 0, 0, 0));
    assert_eq!((counts.bytes_to_server, counts.bytes_to_client), (1_000_000, 1_000_000));
}

#[tokio::test]
async fn a_delay_holds_from_now_on_and_ends_at_once() {
    let proxy = proxy_of_an_echo().await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"quick").await;
    proxy.set(Direction::ToServer, Flow::Delay(Duration::from_millis(120)));
    let started = Instant::now();
    echo(&mut stream, b"slow").await;
    assert!(started.elapsed() >= Duration::from_millis(120));
    assert_eq!(proxy.counts().slowed, 1);

    proxy.set_both(Flow::Delay(Duration::from_secs(3600)));
    stream.write_all(b"an hour").await.unwrap();
    eventually(&proxy, |counts| counts.slowed == 2).await;
    proxy.heal();
    assert_eq!(read(&mut stream, 7).await, b"an hour");
}

#[tokio::test]
async fn a_drip_delivers_piece_by_piece() {
    let proxy = proxy_of_an_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Direction::ToClient, Flow::Drip { bytes: 2, every: Duration::from_millis(30) });
    let started = Instant::now();
    echo(&mut stream, b"12345678").await;
    assert!(started.elapsed() >= Duration::from_millis(90), "three pauses before the last piece");
    assert_eq!(proxy.counts().slowed, 1);

    proxy.set(Direction::ToClient, Flow::Drip { bytes: 1, every: Duration::from_secs(3600) });
    stream.write_all(b"the rest comes at once").await.unwrap();
    assert_eq!(read(&mut stream, 1).await, b"t");
    proxy.heal();
    assert_eq!(read(&mut stream, 21).await, b"he rest comes at once");
}

#[tokio::test]
async fn a_black_hole_takes_bytes_and_delivers_them_when_healed() {
    let proxy = proxy_of_an_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Direction::ToClient, Flow::BlackHole);
    stream.write_all(b"one").await.unwrap();
    eventually(&proxy, |counts| counts.bytes_withheld == 3).await;
    assert_eq!(proxy.counts().bytes_to_server, 3, "the other direction is open");
    assert_silent(&mut stream).await;
    stream.write_all(b"two").await.unwrap();
    proxy.heal();
    assert_eq!(read(&mut stream, 6).await, b"onetwo");
}

#[tokio::test]
async fn through_a_black_hole_neither_side_sees_the_other_go_or_come() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.set_both(Flow::BlackHole);
    drop(client);
    assert_silent(&mut server).await;

    let mut late = connect(&proxy).await;
    late.write_all(b"hello?").await.unwrap();
    assert!(timeout(SILENCE, listener.accept()).await.is_err(), "a connection came out of a black hole");

    proxy.heal();
    assert_eq!(timeout(PATIENCE, server.read(&mut [0; 1])).await.unwrap().unwrap(), 0, "now it hears of the end");
    let (mut server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(read(&mut server, 6).await, b"hello?");
}

#[tokio::test]
async fn a_cut_resets_both_sides_whatever_the_flow() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    // What has passed shows that the proxy has connected too.
    client.write_all(b"!").await.unwrap();
    assert_eq!(read(&mut server, 1).await, b"!");
    proxy.set_both(Flow::BlackHole);
    proxy.cut();
    assert_reset(&mut client).await;
    assert_reset(&mut server).await;
    eventually(&proxy, |counts| counts.open == 0).await;
    assert_eq!((proxy.counts().connections, proxy.counts().cut), (1, 1));
}

#[tokio::test]
async fn a_server_taken_down_refuses_until_it_is_back() {
    let proxy = proxy_of_an_echo().await;
    let mut open = connect(&proxy).await;
    echo(&mut open, b"up").await;
    proxy.take_down();
    assert_reset(&mut open).await;
    for _ in 0..3 {
        // The reset may come before the connect has returned.
        if let Ok(mut stream) = TcpStream::connect(proxy.address()).await {
            assert_reset(&mut stream).await;
        }
    }
    eventually(&proxy, |counts| counts.refused == 3).await;
    assert_eq!((proxy.counts().connections, proxy.counts().cut), (1, 1));
    proxy.heal();
    echo(&mut connect(&proxy).await, b"back").await;
}

#[tokio::test]
async fn nobody_behind_the_proxy_is_a_refusal_and_a_new_aim_helps() {
    let there = proxy_of_an_echo().await;
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(nobody).await.unwrap();
    assert_reset(&mut connect(&proxy).await).await;
    assert_eq!(proxy.counts().refused, 1);
    proxy.aim(there.address());
    echo(&mut connect(&proxy).await, b"found").await;
}

#[tokio::test]
async fn a_connection_is_cut_before_what_it_was_about_to_say() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.cut_at(Direction::ToServer, b"COMMIT");
    client.write_all(b"COMMIT is said by the server: ").await.unwrap_or_default();
    assert_reset(&mut server).await;
    assert_reset(&mut client).await;
    assert!(!proxy.is_armed());
    assert_eq!((proxy.counts().cut_by_pattern, proxy.counts().bytes_to_server), (1, 0));
}

#[tokio::test]
async fn an_answer_is_cut_off_after_the_server_has_given_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.cut_at(Direction::ToClient, b"COMMIT\0");
    client.write_all(b"COMMIT\0").await.unwrap();
    assert_eq!(read(&mut server, 7).await, b"COMMIT\0", "the question passes");
    // In two reads, so that the pattern is torn.
    server.write_all(b"first COM").await.unwrap();
    assert_eq!(read(&mut client, 9).await, b"first COM");
    server.write_all(b"MIT\0").await.unwrap();
    assert_reset(&mut client).await;
    eventually(&proxy, |counts| counts.open == 0).await;
    assert_eq!((proxy.counts().cut, proxy.counts().cut_by_pattern, proxy.counts().bytes_to_client), (1, 1, 9));

    let mut next = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"COMMIT\0").await.unwrap();
    assert_eq!(read(&mut next, 7).await, b"COMMIT\0", "one cut, not two");
}

#[tokio::test]
async fn a_dropped_proxy_lets_go_of_everything() {
    let proxy = proxy_of_an_echo().await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"here").await;
    let address = proxy.address();
    drop(proxy);
    let ended = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("ends in time");
    assert!(!matches!(ended, Ok(1..)), "something came: {ended:?}");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "still listening");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_url_leads_through_the_proxy() {
    let proxy = proxy_of_an_echo().await;
    let at = proxy.address();
    assert_eq!(proxy.through("redis://127.0.0.1:6379/0"), format!("redis://{at}/0"));
    assert_eq!(proxy.through("postgres://a:b%40@db:5432/c?d=e@f"), format!("postgres://a:b%40@{at}/c?d=e@f"));
    assert_eq!(proxy.through("http://localhost"), format!("http://{at}"));
}
