//! A store with one room, for tests.

use snug_protocol::envelope::{HEADER_BYTES, Header};
use snug_protocol::{DeviceId, EntryKind, Envelope, GrantId, InstanceId, RoomId, Seq};
use snug_store::{DeviceKeys, GrantSecret, NewRoom, Store};

pub(crate) const ROOM: RoomId = RoomId([1; 16]);
pub(crate) const ANA: DeviceId = DeviceId([2; 16]);

pub(crate) fn envelope(kind: EntryKind, counter: u64, target: u64) -> Envelope {
    let instance = InstanceId(if kind == EntryKind::EpochRecord { [8; 16] } else { [9; 16] });
    let header = Header { kind, room: ROOM, epoch: 0, device: ANA, instance, counter, target: Seq(target) };
    let sealed = [0; 256 + 16];
    let bytes: Vec<u8> = [&header.encode()[..], &sealed].concat();
    assert_eq!(bytes.len(), HEADER_BYTES + sealed.len());
    Envelope::parse(bytes.into()).expect("the smallest envelope")
}

pub(crate) async fn store_with_room() -> Store {
    let store = Store::memory();
    found_room(&store).await;
    store
}

pub(crate) async fn found_room(store: &Store) {
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
}
