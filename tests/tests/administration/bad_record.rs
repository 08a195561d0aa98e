//! An admin begins an epoch with a record that nobody can open, or that is not allowed. The server cannot read it and goes on; an owner
//! closes the history upon it, and the room lives.

use snug_client::crypto::{
    Admin, Cause, ChainPlace, Content, Device, NextEpoch, Prev, RoomKey, next_record, seal, seal_room_key,
};
use snug_client::log::ViolationCode;
use snug_client::{Event, RekeyCause};
use snug_protocol::envelope::Header;
use snug_protocol::http::{NewEpoch, Role, SealedKey, StageKeys};
use snug_protocol::limits::{EPOCH_KEY_BYTES, GRANT_BLOB_BYTES};
use snug_protocol::{DeviceId, EntryKind, Envelope, EnvelopeHash, GrantId, InstanceId, recipients_hash};
use snug_tests::guest::{Guest, random};
use snug_tests::in_time;

use super::cast::{Cast, NAME, Person, client, code};

const NEXT: &str = "the password after that";

async fn with_a_moderator() -> Cast {
    let cast = Cast::gather().await;
    cast.ana.room.set_role(cast.ben.id(), Role::Moderator).await.expect("an owner may");
    cast.agree().await;
    cast
}

/// What the server takes from Ben as the next epoch, with keys for everyone.
async fn begins(cast: &Cast, record: &Envelope, sealed: impl Fn(DeviceId) -> [u8; EPOCH_KEY_BYTES]) {
    let mut ben = Guest::of(&cast.node.url, Device::import(&cast.ben.device()));
    ben.renew().await;
    let everyone = [cast.ana.id(), cast.ben.id(), cast.cleo.id(), cast.recovery.device().id()];
    let epoch = record.header().epoch;
    let keys = everyone.iter().map(|device| SealedKey { device: *device, key: sealed(*device).into() }).collect();
    let staged = StageKeys { record: EnvelopeHash::of(record.bytes()).0.into(), keys };
    let path = format!("/api/rooms/{}/epochs", cast.ana.room.id());
    let (status, answer) = ben.put(&format!("{path}/{epoch}/keys"), &staged).await;
    assert_eq!(status, 204, "{answer}");
    let request = NewEpoch {
        record: record.bytes().to_vec().into(),
        remove: Vec::new(),
        ban: false,
        recipients: recipients_hash(everyone).into(),
        sent_at_ms: 0,
        recovery: None,
        grant: GrantId(random()),
        kdf: 1,
        auth: random::<32>().into(),
        blob: random::<GRANT_BLOB_BYTES>().into(),
    };
    let (status, answer) = ben.post(&path, &request).await;
    assert_eq!(status, 200, "{answer}");
}

/// Ben begins an epoch with noise.
async fn spoils(cast: &Cast) {
    let room = cast.ana.room.id();
    let epoch = cast.ana.room.epoch() + 1;
    let header = Header {
        kind: EntryKind::EpochRecord,
        room,
        epoch,
        device: cast.ben.id(),
        instance: InstanceId(random()),
        counter: 0,
        target: cast.ana.room.audit().last().expect("a chain").seq,
    };
    let content = Content { prev: Prev::default(), sent_at_ms: 0, body: b"{}" };
    let device = Device::import(&cast.ben.device());
    let record = seal(&device, &RoomKey::generate(room, epoch), &header, &content).expect("short");
    begins(cast, &record, |_| random()).await;
}

/// The owner goes on, and the room is what it was.
async fn goes_on(cast: &mut Cast, epoch: u32) {
    let rekeyed = cast.ana.rekeys(RekeyCause::CutHistory, NEXT).await.expect("an owner may");
    assert_eq!((rekeyed.epoch, rekeyed.excluded), (epoch, Vec::new()));
    for person in [&cast.ana, &cast.ben, &cast.cleo] {
        person.reaches(epoch).await;
        assert_eq!(person.room.state().history_from, epoch);
    }
}

#[tokio::test]
async fn a_moderators_record_that_nobody_can_open_does_not_end_the_room() {
    let mut cast = with_a_moderator().await;
    cast.ana.says("before").await;
    spoils(&cast).await;
    for person in [&mut cast.ana, &mut cast.ben, &mut cast.cleo] {
        person.hears(|event| *event == Event::KeyMissing { epoch: 1 }).await;
    }
    // Nobody has a key that is the room's, and no other act goes on from there.
    assert_eq!(code(cast.ana.room.create_invite(None, None).await), Err("key_missing"));
    assert_eq!(code(cast.ana.room.set_topic("Roses").await), Err("key_missing"));
    assert_eq!(code(cast.ana.rekeys(RekeyCause::Rotate, NEXT).await), Err("chain_moved"));
    assert_eq!(code(cast.ben.rekeys(RekeyCause::CutHistory, NEXT).await), Err("not_allowed"));
    goes_on(&mut cast, 2).await;
    cast.all_talk("after it").await;
    let removed = cast.ana.removes(cast.ben.id(), true, "the password without Ben").await;
    assert_eq!(removed.epoch, 3);
    cast.cleo.reaches(3).await;
    cast.cleo.is_content().await;
}

#[tokio::test]
async fn who_was_away_while_records_that_nobody_can_open_came_reads_on_where_an_owner_went_on() {
    let mut cast = with_a_moderator().await;
    let secrets = cast.cleo.room.secrets();
    cast.cleo.client.close().await;
    spoils(&cast).await;
    cast.ana.hears(|event| *event == Event::KeyMissing { epoch: 1 }).await;
    // Ana's program ends in the middle of it, too.
    let anas = cast.ana.room.secrets();
    cast.ana.client.close().await;
    let again = client_of(&cast, &cast.ana);
    let room = in_time("back", again.resume(anas)).await.expect("her room");
    cast.ana = Person::of(again, room).await;
    cast.ana.rekeys(RekeyCause::CutHistory, NEXT).await.expect("an owner may");
    cast.ben.reaches(2).await;
    let back = client_of(&cast, &cast.cleo);
    let room = in_time("back", back.resume(secrets)).await.expect("her room");
    cast.cleo = Person::of(back, room).await;
    cast.cleo.reaches(2).await;
    cast.all_talk("after it").await;
}

fn client_of(cast: &Cast, person: &Person) -> snug_client::Client {
    super::cast::client_of(&cast.node, &cast.node.url, Device::import(&person.device()))
}

#[tokio::test]
async fn a_moderators_record_that_is_not_allowed_does_not_end_the_room_and_is_held_against_them() {
    let mut cast = with_a_moderator().await;
    let (room, ben) = (&cast.ana.room, Device::import(&cast.ben.device()));
    let mut state = room.state();
    state.admins.retain(|admin| admin.recovery);
    state.admins.push(Admin { keys: *ben.keys(), role: Role::Owner, recovery: false });
    state.admins.sort_by_key(Admin::device);
    let newest = room.audit().last().expect("a chain").seq;
    let hash = cast.node.store.entry_hash(room.id(), newest).await.expect("the store answers").expect("an entry");
    let after = ChainPlace { seq: newest, hash };
    let (key, before) = (RoomKey::generate(room.id(), 1), cast.ben.room.secrets().key);
    let people = [&cast.ana, &cast.ben, &cast.cleo].map(|person| *person.client.device().keys());
    let keys: Vec<_> = people.into_iter().chain([*cast.recovery.device().keys()]).collect();
    let recipients: Vec<DeviceId> = keys.iter().map(snug_client::crypto::PublicKeys::id).collect();
    let cause = Cause::Rotate;
    let next = NextEpoch { after, previous_key: &before, recipients: &recipients, cause, recovery: None, state };
    let record = next_record(&ben, &key, next, Prev { seq: newest, hash }, 1).expect("in bounds");
    begins(&cast, &record, |device| {
        let keys = keys.iter().find(|keys| keys.id() == device).expect("one of them");
        seal_room_key(&key, keys).expect("usual keys")
    })
    .await;
    for person in [&mut cast.ana, &mut cast.cleo] {
        let told = in_time("told", async {
            loop {
                if let Some(Event::Violation(violation)) = person.events.next().await {
                    return violation;
                }
            }
        });
        assert_eq!(told.await.code, ViolationCode::Authority);
        assert_eq!(person.room.state().role(person.id()), person.room.role());
    }
    assert_eq!(cast.ana.room.role(), Role::Owner);
    goes_on(&mut cast, 2).await;
    cast.ana.says("after it").await;
    snug_tests::eventually("it is read", async || {
        cast.cleo.texts().await.contains(&"after it".to_owned()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_recovery_key_comes_back_into_a_room_that_a_record_nobody_can_open_has_closed() {
    let mut cast = with_a_moderator().await;
    spoils(&cast).await;
    cast.cleo.hears(|event| *event == Event::KeyMissing { epoch: 1 }).await;
    cast.ana.client.close().await;
    let newcomer = client(&cast.node);
    let strict = in_time("an answer", newcomer.recover_room(NAME, &cast.recovery, "Ana again")).await;
    assert_eq!(code(strict), Err("key_missing"), "nothing is done to the room without being asked for");
    let recovering = newcomer.recover_stalled_room(NAME, &cast.recovery, "Ana again");
    let room = in_time("recovered", recovering).await.expect("recovered");
    assert_eq!((room.role(), room.epoch()), (Role::Owner, 2));
    room.change_password(NEXT).await.expect("an owner may");
    let by_password = client(&cast.node);
    in_time("joined", by_password.join(NAME, NEXT, "Dora")).await.expect("by the new password");
    cast.cleo.reaches(2).await;
    cast.cleo.says("still here").await;
    cast.cleo.is_content().await;
}
