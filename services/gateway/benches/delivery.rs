//! The steps of a message's way through a node, each alone: `cargo bench -p snug-gateway`.

use bytes::{Bytes, BytesMut};
use divan::{Bencher, black_box};
use snug_gateway::room::{FLUSH_BYTES_MAX, Tail};
use snug_gateway::wire::{Entries, Incoming};
use snug_protocol::frame::{EntryFrame, SendFrame};
use snug_protocol::limits::FRAME_BYTES_MAX;
use snug_protocol::{DeviceId, EntryKind, Envelope, Header, InstanceId, RoomId, Seq};

/// Of an envelope with a text of 200 characters.
const ENVELOPE_BYTES: usize = 400;

fn main() {
    divan::main();
}

fn envelope(counter: u64) -> Envelope {
    let header = Header {
        kind: EntryKind::Message,
        room: RoomId([1; 16]),
        epoch: 0,
        device: DeviceId([2; 16]),
        instance: InstanceId([3; 16]),
        counter,
        target: Seq::ZERO,
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(ENVELOPE_BYTES, 0);
    Envelope::parse(Bytes::from(bytes)).expect("a valid size")
}

fn entries(count: u64) -> Vec<EntryFrame> {
    (1..=count).map(|seq| EntryFrame::new(Seq(seq), 0, envelope(seq).bytes())).collect()
}

/// From a client's bytes to an envelope.
#[divan::bench]
fn decode_a_send(bencher: Bencher) {
    let payload = SendFrame::encode(1, envelope(1).bytes());
    let length = u16::try_from(payload.len()).expect("small");
    let mut bytes = vec![0x82, 0x80 | 126];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&payload);
    let mut incoming = Incoming::new(FRAME_BYTES_MAX, BytesMut::new());
    bencher.bench_local(|| {
        incoming.take_in(black_box(&bytes));
        let Ok(Some(snug_gateway::wire::Message::Binary(message))) = incoming.next_message() else {
            panic!("a message")
        };
        SendFrame::parse(&message)
    });
}

/// What all sockets at one cursor share.
#[divan::bench(args = [1, 8, 64])]
fn encode_entries(bencher: Bencher, count: u64) {
    let entries = entries(count);
    bencher.bench_local(|| Entries::encode(black_box(&entries).iter()));
}

/// A frame comes, and the oldest goes.
#[divan::bench]
fn tail_accepts(bencher: Bencher) {
    let (mut tail, mut seq) = (Tail::default(), 0);
    let bytes = envelope(1);
    bencher
        .with_inputs(|| {
            seq += 1;
            EntryFrame::new(Seq(seq), 0, bytes.bytes())
        })
        .bench_local_values(|frame| tail.accept(frame));
}

/// A reader that is so many frames behind.
#[divan::bench(args = [1, 8, 64])]
fn tail_after(bencher: Bencher, behind: u64) {
    let mut tail = Tail::default();
    for entry in entries(200) {
        tail.accept(entry);
    }
    bencher.bench_local(|| tail.after(black_box(Seq(200 - behind)), FLUSH_BYTES_MAX));
}
