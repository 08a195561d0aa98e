//! Following over a bus that loses everything: what must not hang on hints.

use std::sync::Arc;

use snug_bus::{Bus, LocalBus};
use snug_protocol::envelope::{HEADER_BYTES, Header};
use snug_protocol::{DeviceId, EntryKind, Envelope, GrantId, InstanceId, RoomId, Seq};
use snug_store::{DeviceKeys, GrantSecret, NewRoom, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Read, Rooms, Wake};

const ROOM: RoomId = RoomId([1; 16]);
const ANA: DeviceId = DeviceId([2; 16]);

fn envelope(kind: EntryKind, counter: u64, target: u64) -> Envelope {
    let instance = InstanceId(if kind == EntryKind::EpochRecord { [8; 16] } else { [9; 16] });
    let header = Header { kind, room: ROOM, epoch: 0, device: ANA, instance, counter, target: Seq(target) };
    let sealed = [0; 256 + 16];
    let bytes: Vec<u8> = [&header.encode()[..], &sealed].concat();
    assert_eq!(bytes.len(), HEADER_BYTES + sealed.len());
    Envelope::parse(bytes.into()).expect("the smallest envelope")
}

async fn store_with_room() -> Store {
    let store = Store::memory();
    let keys = |device| DeviceKeys { device, sign_key: [3; 32], agree_key: [4; 32] };
    let new = NewRoom {
        room: ROOM,
        name: "Lost news".into(),
        likeness: "lost news".into(),
        owner: keys(ANA),
        recovery: keys(DeviceId([5; 16])),
        recovery_key: [6; 80],
        grant: GrantId([7; 16]),
        kdf: 1,
        secret: GrantSecret { verifier: vec![1; 32], sealed_blob: vec![1; 157], pepper: 1 },
        epoch_record: envelope(EntryKind::EpochRecord, 0, 0),
    };
    store.create_room(new).await.expect("memory");
    store
}

#[tokio::test]
async fn who_follows_before_the_news_of_a_deletion_reads_from_the_store() {
    let store = store_with_room().await;
    let message = store.append(envelope(EntryKind::Message, 0, 0)).await.expect("a message").seq;
    // Nobody publishes on this bus.
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
    let rooms = Rooms::start(store.clone(), bus, TaskTracker::new(), CancellationToken::new());
    let follow = async || rooms.follow(ROOM, ANA, Arc::<Wake>::default()).await.expect("memory").expect("it exists").0;
    let earlier = follow().await;
    let kept = earlier.after(Seq(1), usize::MAX);
    assert!(matches!(&kept, Read::Frames(frames) if frames.len() == 1 && !frames[0].is_tombstone()), "{kept:?}");
    let deletion = store.append(envelope(EntryKind::Deletion, 1, message.0)).await.expect("a deletion").seq;
    // The tail still holds the text here; the repair that following starts has had no chance to run.
    let later = follow().await;
    assert_eq!(later.after(Seq(1), usize::MAX), Read::Behind);
    let frames = store.read_after(ROOM, Seq(1), 10, usize::MAX).await.expect("memory");
    assert!(frames[0].is_tombstone() && frames[1].seq() == deletion, "and the store has the truth");
}
