//! Sealing and opening a message of 200 characters: `cargo bench -p snug-client`.

use divan::{Bencher, black_box};
use snug_client::crypto::{Body, Content, Device, Message, Prev, RoomKey, open, seal};
use snug_protocol::{EntryKind, Header, InstanceId, RoomId, Seq};

const CHARACTERS: usize = 200;

fn main() {
    divan::main();
}

fn scene() -> (Device, RoomKey, Header, Vec<u8>) {
    let (room, device) = (RoomId([7; 16]), Device::generate());
    let header = Header {
        kind: EntryKind::Message,
        room,
        epoch: 0,
        device: device.id(),
        instance: InstanceId([1; 16]),
        counter: 0,
        target: Seq::ZERO,
    };
    (device, RoomKey::generate(room, 0), header, Body::Message(Message::of("x".repeat(CHARACTERS))).to_json())
}

#[divan::bench]
fn seal_a_message(bencher: Bencher) {
    let (device, key, header, body) = scene();
    let content = Content { prev: Prev::default(), sent_at_ms: 0, body: &body };
    bencher.bench_local(|| seal(&device, &key, black_box(&header), &content));
}

#[divan::bench]
fn open_a_message(bencher: Bencher) {
    let (device, key, header, body) = scene();
    let content = Content { prev: Prev::default(), sent_at_ms: 0, body: &body };
    let envelope = seal(&device, &key, &header, &content).expect("a small body");
    bencher.bench_local(|| open(key.room(), &key, device.keys(), black_box(envelope.bytes().clone())));
}
