//! How fast hints cross Redis from one node to another: `cargo run --release -p snug-bus --example bus_speed redis://127.0.0.1:6379`.

use std::time::{Duration, Instant};

use snug_bus::{BusEvent, NodeId, RedisBackplane, RedisOptions};
use snug_protocol::frame::EntryFrame;
use snug_protocol::{RoomId, Seq};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const FRAME_BYTES: usize = 600;
const ROUND_TRIPS: usize = 2_000;
const HINTS_PER_SECOND: usize = 100;
const HINTS_TIMED: u64 = 1_000;
const HINTS_AT_ONCE: u32 = 200_000;
/// After so long no hint is on its way any more.
const SILENCE: Duration = Duration::from_secs(2);
/// What may have arrived and not been looked at.
const EVENTS_QUEUED_MAX: usize = 8_192;
const ROOM: RoomId = RoomId([7; 16]);

fn hint(seq: u64) -> BusEvent {
    let frame = EntryFrame::new(Seq(seq), 0, &[0; FRAME_BYTES]);
    BusEvent::Hint { room: ROOM, seq: Seq(seq), frames: vec![frame], trace: None }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: p50 {:?}, p99 {:?}, n={}", at(50), at(99), times.len());
}

async fn pings(host: &str) -> Vec<Duration> {
    let mut socket = TcpStream::connect(host).await.expect("Redis answers");
    socket.set_nodelay(true).expect("it can be set");
    let (mut times, mut period) = (Vec::new(), interval(Duration::from_millis(1)));
    for _ in 0..ROUND_TRIPS {
        period.tick().await;
        let begun = Instant::now();
        socket.write_all(b"PING\r\n").await.expect("it is sent");
        socket.read_exact(&mut [0; 7]).await.expect("it is answered");
        times.push(begun.elapsed());
    }
    times
}

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut nodes = Vec::new();
    for id in [1, 2] {
        let options = RedisOptions { prefix: "snug-speed:".to_owned(), ..RedisOptions::default() };
        let node = RedisBackplane::connect(&url, NodeId([id; 8]), options, &tasks, stop.clone()).await;
        nodes.push(node.unwrap_or_else(|error| panic!("{error}")));
    }
    let (talking, hearing) = (&nodes[0].backplane.bus, &nodes[1].backplane.bus);
    hearing.follow(ROOM).await.expect("it is followed");
    let heard = broadcast::Sender::new(EVENTS_QUEUED_MAX);
    let (mut events, _listening) = (heard.subscribe(), hearing.listen(std::sync::Arc::new(heard)));

    let host = url.rsplit(['/', '@']).next().unwrap_or_default();
    report("PING and its answer", pings(host).await);

    let (mut taken, mut arrived) = (Vec::new(), Vec::new());
    let mut period = interval(Duration::from_secs(1) / u32::try_from(HINTS_PER_SECOND).expect("it fits"));
    for seq in 1..=HINTS_TIMED {
        period.tick().await;
        let begun = Instant::now();
        talking.publish(hint(seq)).expect("it is taken");
        taken.push(begun.elapsed());
        events.recv().await.expect("it arrives");
        arrived.push(begun.elapsed());
    }
    report("publish() returns", taken);
    report("a hint arrives at the other node", arrived);

    let begun = Instant::now();
    let talking = std::sync::Arc::clone(talking);
    tasks.spawn(async move {
        for seq in 1..=HINTS_AT_ONCE {
            while talking.publish(hint(u64::from(seq))).is_err() {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
    });
    // What comes faster than it is taken is lost, as the bus may; then nothing comes any more.
    let (mut heard, mut last) = (0, begun);
    while heard < HINTS_AT_ONCE {
        match tokio::time::timeout(SILENCE, events.recv()).await {
            Ok(Ok(BusEvent::Hint { .. })) => (heard, last) = (heard + 1, Instant::now()),
            Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) | Err(_) => break,
        }
    }
    let seconds = (last - begun).as_secs_f64();
    println!(
        "{heard} of {HINTS_AT_ONCE} hints of {FRAME_BYTES} bytes in {seconds:.2} s: {:.0} a second",
        f64::from(heard) / seconds
    );
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
