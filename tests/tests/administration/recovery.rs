//! The recovery key makes an owner where every owner's device is lost.

use snug_client::Change;
use snug_client::crypto::{RecoveryKey, Step};
use snug_protocol::http::Role;
use snug_tests::in_time;

use super::cast::{Cast, NAME, Person, client, code};

#[tokio::test]
async fn the_recovery_key_makes_an_owner_who_governs_and_reads_it_all() {
    let mut cast = Cast::gather().await;
    cast.ben.says("before the loss").await;
    cast.ana.hears_text("before the loss").await;
    cast.ana.removes(cast.cleo.id(), false, "the second password").await;
    cast.ana.client.close().await;
    let saved = RecoveryKey::parse(&cast.recovery.to_text()).expect("as it was shown");
    let newcomer = client(&cast.node);
    let room = in_time("recovered", newcomer.recover_room(NAME, &saved, "Ana again")).await.expect("recovered");
    let mut again = Person::of(newcomer, room).await;
    assert_eq!((again.room.role(), again.room.epoch()), (Role::Owner, 1));
    again.hears_text("before the loss").await;
    again.room.set_role(cast.ana.id(), Role::Member).await.expect("an owner may");
    let rekeyed = again.removes(cast.ana.id(), true, "the third password").await;
    assert_eq!(rekeyed.epoch, 2);
    cast.ben.reaches(2).await;
    again.says("without the lost device").await;
    cast.ben.hears_text("without the lost device").await;
    cast.ben.says("welcome back").await;
    again.hears_text("welcome back").await;
    cast.ben.is_content().await;
    again.is_content().await;
    let members = again.room.members().await.expect("a list");
    assert!(
        members.iter().all(|member| member.device != saved.device().id()),
        "the recovery device is nobody in the room"
    );
}

#[tokio::test]
async fn the_recovery_key_works_in_a_locked_room_which_stays_locked_all_the_time() {
    let cast = Cast::gather().await;
    cast.ana.room.set_locked(true).await.expect("an owner may");
    let newcomer = client(&cast.node);
    let room = in_time("recovered", newcomer.recover_room(NAME, &cast.recovery, "Ana again")).await.expect("recovered");
    assert_eq!((room.role(), room.state().locked), (Role::Owner, true));
    snug_tests::eventually("all know", async || {
        (cast.ben.room.state() == room.state() && cast.ben.room.state().locked).then_some(())
    })
    .await;
    let locks = room.audit().into_iter().filter(|entry| matches!(entry.change, Change::Step(Step::Lock { .. })));
    assert_eq!(locks.count(), 1, "nobody else could have come in meanwhile");
    let again = in_time("again", newcomer.recover_room(NAME, &cast.recovery, "Ana again")).await.expect("it is safe");
    assert_eq!(again.state(), cast.ben.room.state());
}

#[tokio::test]
async fn another_rooms_recovery_key_opens_nothing() {
    let cast = Cast::gather().await;
    let newcomer = client(&cast.node);
    let strange = RecoveryKey::generate();
    assert_eq!(code(newcomer.recover_room(NAME, &strange, "Eve").await), Err("device_unknown"));
    let (_cellar, cellars) =
        in_time("a room", newcomer.create_room("Cellar", "a password for it", "Eve")).await.expect("a room");
    let answer = code(newcomer.recover_room(NAME, &cellars, "Eve").await);
    assert!(answer.is_err(), "{answer:?}");
    assert!(newcomer.rooms().await.expect("a list").iter().all(|room| room.name == "Cellar"));
    assert_eq!(cast.ana.room.members().await.expect("a list").len(), 3);
}
