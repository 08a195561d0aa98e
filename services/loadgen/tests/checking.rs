//! What a server does wrong is counted, and what it does right is not: through real sockets, from a server that misbehaves as told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use snug_loadgen::clock::now_ns;
use snug_loadgen::field::{Field, Played};
use snug_loadgen::floor::{ROOM, Shape, entry, tag};
use snug_loadgen::observer::Observer;
use snug_loadgen::scenario::climb::objection;
use snug_loadgen::script::{Line, Script, Shot, instance};
use snug_loadgen::socket::{Follow, Spec};
use snug_protocol::InstanceId;

const SHAPE: Shape = Shape { rooms: 1, members: 2, envelope_bytes: 364 };
const MESSAGES: u64 = 10;

/// What a message is sent as: its seq, its counter, and how many of its bytes.
type Sent = (u64, u64);

/// Two sockets in a room of ten messages; each is sent what it says, in that order and in pieces of some bytes.
fn played(first: &[Sent], second: &[Sent], spoil: fn(&mut Vec<u8>)) -> Played {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut field = Field::new(1, vec![ROOM]).expect("a field");
    let spec = |address: SocketAddr| Spec {
        address,
        token: None,
        follows: vec![Follow { place: 0, room: ROOM, cursor: None }],
        writer: None,
        group: 0,
        receive_buffer: None,
    };
    field.open(vec![spec(address); 2], Duration::from_secs(10)).expect("they open");
    let targets: Vec<TcpStream> = (0..2).map(|_| accept(&listener)).collect();
    let instance = instance(0);
    let shots =
        (0..MESSAGES).map(|counter| Shot { due_ns: counter * 1_000_000, tag: tag(0, counter), frame: Box::default() });
    let script = Script::new(&[(ROOM, 0)], vec![Line { room: 0, instance, shots: shots.collect() }]);
    let mut observer = Observer::of_floor(std::process::id());
    let send = |start_ns: u64| {
        while now_ns() < start_ns + MESSAGES * 1_000_000 {
            std::thread::sleep(Duration::from_millis(1));
        }
        for (mut target, sent) in targets.iter().zip([first, second]) {
            let mut bytes = frames(instance, sent);
            spoil(&mut bytes);
            // Frames come in pieces that have nothing to do with them.
            for piece in bytes.chunks(97) {
                target.write_all(piece)?;
            }
        }
        Ok(())
    };
    field.play(script, &mut observer, send, |_, _| Ok(())).expect("it is played")
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream.read_exact(&mut [0; 4]).expect("the room's place");
    stream
}

fn frames(instance: InstanceId, sent: &[Sent]) -> Vec<u8> {
    sent.iter().flat_map(|(seq, counter)| entry(SHAPE, (0, instance), *seq, *counter)).collect()
}

fn all() -> Vec<Sent> {
    (0..MESSAGES).map(|counter| (counter + 1, counter)).collect()
}

#[test]
fn what_is_right_is_not_objected_to() {
    let played = played(&all(), &all(), |_| {});
    assert_eq!(played.window.counts.delivered, 2 * MESSAGES);
    assert_eq!((played.missing, played.window.counts.wrongs(), played.verdict.holes), (0, 0, 0));
    assert_eq!(played.window.latency[0].len(), 2 * MESSAGES);
    assert!(played.window.latency[0].max_ms() >= 9.0, "the first was due ten milliseconds before it was sent");
}

#[test]
fn a_message_that_one_socket_never_gets_is_missing() {
    let mut less = all();
    less.remove(4);
    let played = played(&all(), &less, |_| {});
    assert_eq!((played.missing, played.window.counts.skipped), (1, 1));
    assert!(objection(&played).is_some());
}

#[test]
fn the_last_message_is_missed_too() {
    let mut less = all();
    less.pop();
    assert_eq!(played(&all(), &less, |_| {}).missing, 1);
}

#[test]
fn messages_of_which_nothing_is_heard_are_not_sustained() {
    let played = played(&[], &[], |_| {});
    assert_eq!((played.unanswered, played.missing), (MESSAGES, 0), "nobody knows whether there is anything to miss");
    assert!(objection(&played).is_some());
}

#[test]
fn messages_that_come_twice_or_late_are_counted() {
    let mut twice = all();
    twice.insert(6, twice[2]);
    let mut swapped = all();
    swapped.swap(7, 8);
    let played = played(&twice, &swapped, |_| {});
    let counts = &played.window.counts;
    assert_eq!((counts.duplicates, counts.late, counts.skipped, played.missing), (1, 1, 1, 0));
    assert!(objection(&played).is_some_and(|why| why.starts_with("wrong")));
}

#[test]
fn another_order_for_another_socket_and_for_one_writer_is_noticed() {
    let mut exchanged = all();
    (exchanged[3].1, exchanged[4].1) = (4, 3);
    let apart = played(&all(), &exchanged, |_| {});
    assert_eq!(apart.window.counts.diverged, 2);
    let together = played(&exchanged, &exchanged, |_| {});
    assert_eq!((together.window.counts.diverged, together.verdict.reordered), (0, 1));
}

#[test]
fn changed_bytes_are_noticed() {
    let played = played(&all(), &all(), |bytes| *bytes.last_mut().expect("bytes") ^= 1);
    assert_eq!(played.window.counts.mangled, 2);
    assert!(objection(&played).is_some());
}
