//! Another recovery key: whoever saved the old one neither comes back by it nor reads what is written from then on.

use std::collections::HashSet;

use snug_client::crypto::{Device, RecoveryKey};
use snug_client::{Change, ClientError, Rekey, RekeyCause, Rekeyed};
use snug_protocol::Seq;
use snug_protocol::http::Role;
use snug_store::{SqliteOptions, Store};
use snug_tests::node::Node;
use snug_tests::{eventually, in_time};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::cast::{Cast, NAME, PASSWORD, Person, client, client_of, code};
use super::thief::{Dump, Thief};

/// Gives the room another key and another recovery key.
async fn renews(person: &Person, cause: RekeyCause, password: &str) -> Result<(Rekeyed, RecoveryKey), ClientError> {
    let (fresh, rekey) = (RecoveryKey::generate(), Rekey { cause: &cause, password });
    let rekeyed = in_time("another key", person.room.rekey_with_recovery(rekey, &fresh, |_| {})).await?;
    Ok((rekeyed, fresh))
}

/// Ana, who made the room and saved its recovery key, hands it over to Ben, who bans her.
struct Handover {
    cast: Cast,
    fresh: RecoveryKey,
    rekeyed: Rekeyed,
    later: Seq,
    folder: TempDir,
}

impl Handover {
    async fn take_place() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snug.db");
        let store = Store::open_sqlite(&path, SqliteOptions::default(), &TaskTracker::new()).await.expect("a database");
        let cast = Cast::at(Node::over(store, &[]).await).await;
        cast.ana.says("while it was mine").await;
        cast.ana.room.transfer(cast.ben.id()).await.expect("an owner may");
        eventually("Ben owns it", async || (cast.ben.room.role() == Role::Owner).then_some(())).await;
        assert!(cast.ben.room.state().recovery_is_astray(), "he is to be told");
        let cause = RekeyCause::Remove { devices: vec![cast.ana.id()], ban: true };
        let (rekeyed, fresh) = renews(&cast.ben, cause, "the second password").await.expect("an owner may");
        cast.cleo.reaches(1).await;
        let later = cast.cleo.says("without Ana").await;
        Self { cast, fresh, rekeyed, later, folder }
    }
}

#[tokio::test]
async fn who_handed_the_room_over_and_was_banned_does_not_come_back_by_the_key_that_was_saved() {
    let Handover { cast, fresh, .. } = Handover::take_place().await;
    let newcomer = client(&cast.node);
    let saved = RecoveryKey::parse(&cast.recovery.to_text()).expect("as it was shown");
    let answer = code(newcomer.recover_room(NAME, &saved, "Ana again").await);
    assert_eq!(answer, Err("recovery_replaced"));
    assert!(newcomer.rooms().await.is_ok_and(|rooms| rooms.is_empty()), "it has entered nothing");
    // Nor as a device like any other, though it knows the password.
    let old = client_of(&cast.node, &cast.node.url, saved.device());
    assert_eq!(code(old.join(NAME, "the second password", "Ana again").await), Err("banned"));
    let state = cast.ben.room.state();
    assert!(state.is_recovery(fresh.device().id()) && !state.is_recovery(saved.device().id()));
    assert_eq!((state.recovery_by, state.recovery_is_astray()), (cast.ben.id(), false));
    eventually("Cleo sees the same", async || (cast.cleo.room.state() == state).then_some(())).await;
    let change = cast.cleo.room.audit().pop().expect("an audit").change;
    assert!(matches!(change, Change::Epoch { epoch: 1, recovery: true, .. }), "{change:?}");
    assert_eq!(cast.ben.room.members().await.expect("a list").len(), 3, "neither recovery device is in it");
    cast.ben.is_content().await;
    cast.cleo.is_content().await;
}

#[tokio::test]
async fn a_stolen_database_and_the_old_recovery_key_open_nothing_sealed_later() {
    let Handover { cast, rekeyed, later, folder, .. } = Handover::take_place().await;
    let dump = Dump::of(&folder.path().join("snug.db")).await;
    assert!(dump.entries.contains_key(&later));
    let before: Vec<Seq> = dump.entries.keys().copied().filter(|seq| *seq < rekeyed.seq).collect();
    for device in [cast.recovery.device(), Device::import(&cast.ana.device())] {
        let keys = HashSet::from([*cast.ana.room.secrets().key.export()]);
        let thief = Thief { device, keys, passwords: vec![PASSWORD.into()], ..Thief::of(&cast.ana) };
        assert_eq!(thief.opens(&dump), before, "all that was said while she was there, and nothing since");
    }
}

#[tokio::test]
async fn the_new_recovery_key_makes_an_owner_who_reads_what_newcomers_may() {
    let Handover { cast, fresh, .. } = Handover::take_place().await;
    cast.ben.client.close().await;
    let saved = RecoveryKey::parse(&fresh.to_text()).expect("as it was shown");
    let newcomer = client(&cast.node);
    let room = in_time("recovered", newcomer.recover_room(NAME, &saved, "Ben again")).await.expect("recovered");
    let mut again = Person::of(newcomer, room).await;
    assert_eq!((again.room.role(), again.room.epoch()), (Role::Owner, 1));
    again.hears_text("while it was mine").await;
    again.hears_text("without Ana").await;
    again.is_content().await;
    cast.cleo.is_content().await;
}

#[tokio::test]
async fn a_recovery_key_made_after_the_history_was_cut_works_across_later_cuts() {
    let cast = Cast::gather().await;
    cast.ana.says("before the first cut").await;
    cast.ana.rekeys(RekeyCause::CutHistory, "the second password").await.expect("an owner may");
    let (_, fresh) = renews(&cast.ana, RekeyCause::Rotate, "the third password").await.expect("an owner may");
    cast.ana.says("between the cuts").await;
    let dropped = cast.ana.room.dropped_out(2).await.expect("both records name theirs");
    assert_eq!(dropped, [], "the old recovery device was replaced and not put out");
    cast.ana.is_content().await;
    cast.ana.rekeys(RekeyCause::CutHistory, "the fourth password").await.expect("an owner may");
    let newcomer = client(&cast.node);
    let room = in_time("recovered", newcomer.recover_room(NAME, &fresh, "Ana again")).await.expect("recovered");
    assert_eq!((room.role(), room.epoch(), room.state()), (Role::Owner, 3, cast.ana.room.state()));
    // Another one in its place: the chain of keys goes on.
    let (_, third) = renews(&cast.ana, RekeyCause::CutHistory, "the fifth password").await.expect("an owner may");
    let newcomer = client(&cast.node);
    assert_eq!(code(newcomer.recover_room(NAME, &fresh, "Ana again").await), Err("recovery_replaced"));
    in_time("recovered", newcomer.recover_room(NAME, &third, "Ana again")).await.expect("recovered");
}

#[tokio::test]
async fn nobody_but_an_owner_makes_a_new_recovery_key() {
    let cast = Cast::gather().await;
    cast.ana.room.set_role(cast.ben.id(), Role::Moderator).await.expect("an owner may");
    eventually("Ben knows", async || (cast.ben.room.role() == Role::Moderator).then_some(())).await;
    for person in [&cast.ben, &cast.cleo] {
        let answer = renews(person, RekeyCause::Rotate, "the second password").await;
        assert_eq!(code(answer), Err("not_allowed"));
    }
    assert_eq!(cast.ana.room.epoch(), 0);
    let newcomer = client(&cast.node);
    in_time("recovered", newcomer.recover_room(NAME, &cast.recovery, "Ana again")).await.expect("it is still good");
}
