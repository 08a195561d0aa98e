//! Removal and banning: who stays does nothing for it, who is removed is out at once.

use snug_client::crypto::Cause;
use snug_client::{Change, Event, RekeyCause, RoomMember};
use snug_protocol::DeviceId;
use snug_protocol::http::{MemberState, Role};

use super::cast::{Cast, NAME, PASSWORD, Person, client, client_of, code, joins, refused, whole};
use snug_client::crypto::Device;
use snug_tests::in_time;

const NEW: &str = "a password that Ben does not know";

async fn row(person: &Person, device: DeviceId) -> RoomMember {
    let members = person.room.members().await.expect("a list");
    members.into_iter().find(|member| member.device == device).expect("who was there stays in the list")
}

#[tokio::test]
async fn those_who_stay_read_and_write_on_and_the_removed_one_is_out_at_once() {
    let mut cast = Cast::gather().await;
    cast.ben.says("Ben was here").await;
    cast.cleo.hears_text("Ben was here").await;
    let (link, invite) = cast.ben.room.create_invite(None, None).await.expect("any member may");
    let gone = cast.ben.id();
    let rekeyed = cast.ana.removes(gone, false, NEW).await;
    assert_eq!((rekeyed.epoch, rekeyed.excluded.as_slice()), (1, [].as_slice()));
    assert!(rekeyed.revoked.iter().any(|revoked| revoked.grant == invite.grant), "the admin is told which");
    let closed = in_time("the room closes", async {
        loop {
            match cast.ben.events.next().await.expect("a last event") {
                Event::Closed { code } => break code,
                event => assert_ne!(event.seq(), Some(rekeyed.seq), "the record is not for him"),
            }
        }
    })
    .await;
    assert_eq!(closed, "removed");
    assert!(cast.ben.events.next().await.is_none());
    assert_eq!(refused(cast.ben.room.send("one more thing")).await, "closed");
    assert_eq!(code(cast.ben.client.resume(cast.ben.room.secrets()).await), Err("not_a_member"));
    assert_eq!(code(cast.ben.client.join(NAME, PASSWORD, "Ben").await), Err("wrong_credentials"));
    assert_eq!(code(client(&cast.node).join_by_link(&link, "Ben").await), Err("wrong_credentials"));

    cast.cleo.hears(|event| matches!(event, Event::Administered(entry) if entry.seq == rekeyed.seq)).await;
    cast.ana.says("among us").await;
    cast.cleo.hears_text("among us").await;
    cast.cleo.says("at last").await;
    cast.ana.hears_text("at last").await;
    for person in [&cast.ana, &cast.cleo] {
        assert_eq!(person.room.epoch(), 1);
        assert_eq!(person.texts().await, ["Ben was here", "among us", "at last"], "history stays readable");
        let named = person.room.loaded().await.expect("open");
        let events: Vec<&Event> = named.iter().filter(|event| matches!(event, Event::Renamed { .. })).collect();
        assert!(events.is_empty(), "introducing oneself to a new epoch is no news: {events:?}");
        person.is_content().await;
    }
    let row = row(&cast.cleo, gone).await;
    assert_eq!((row.name.as_deref(), row.state), (Some("Ben"), MemberState::Removed));
    let audit = cast.cleo.room.audit();
    let cause = Cause::Remove { devices: vec![gone], ban: false };
    assert_eq!(
        audit.last().map(|entry| entry.change.clone()),
        Some(Change::Epoch { epoch: 1, cause, recovery: false })
    );
}

#[tokio::test]
async fn who_was_removed_comes_back_by_the_new_password_and_reads_it_all() {
    let mut cast = Cast::gather().await;
    cast.ana.removes(cast.ben.id(), false, NEW).await;
    cast.ana.says("while he was gone").await;
    let back = in_time("joined again", cast.ben.client.join(NAME, NEW, "Ben")).await.expect("by the new password");
    cast.ben = Person::of(cast.ben.client.clone(), back).await;
    let own = cast.ben.id();
    cast.cleo.hears(|event| matches!(event, Event::Joined { device, .. } if *device == own)).await;
    cast.ben.hears_text("while he was gone").await;
    cast.all_talk("hello again").await;
    let removed_again = cast.ana.removes(own, false, "yet another password").await;
    assert_eq!(removed_again.epoch, 2);
}

#[tokio::test]
async fn a_ban_holds_against_password_and_invite_until_it_is_lifted() {
    let mut cast = Cast::gather().await;
    let banned = cast.ben.id();
    cast.ana.removes(banned, true, NEW).await;
    cast.cleo.reaches(1).await;
    assert!(cast.cleo.room.state().is_banned(banned));
    assert_eq!(row(&cast.cleo, banned).await.state, MemberState::Banned);
    let (link, _) = cast.ana.room.create_invite(None, None).await.expect("an invite");
    let ben = cast.ben.client.clone();
    assert_eq!(code(ben.join(NAME, NEW, "Ben").await), Err("banned"));
    assert_eq!(code(ben.join_by_link(&link, "Ben").await), Err("banned"));
    cast.ana.room.unban(banned).await.expect("an owner may");
    cast.cleo
        .hears(|event| matches!(event, Event::Administered(entry) if matches!(entry.change, Change::Step(_))))
        .await;
    assert!(!cast.cleo.room.state().is_banned(banned));
    let back = in_time("joined again", ben.join_by_link(&link, "Ben")).await.expect("the ban is lifted");
    cast.ben = Person::of(ben, back).await;
    cast.all_talk("forgiven").await;
}

#[tokio::test]
async fn nobody_is_removed_but_by_a_higher_role_and_nobody_removes_themselves() {
    let mut cast = Cast::gather().await;
    let [a, b, c] = [&cast.ana, &cast.ben, &cast.cleo].map(Person::id);
    let recovery = cast.recovery.device().id();
    let remove = |devices: &[DeviceId]| RekeyCause::Remove { devices: devices.to_vec(), ban: false };
    cast.ana.room.set_role(b, Role::Moderator).await.expect("an owner may");
    cast.agree().await;
    for (who, devices, refused) in [
        (&cast.ana, vec![a], "not_allowed"),
        (&cast.ana, vec![b, a], "not_allowed"),
        (&cast.ana, vec![recovery], "not_allowed"),
        (&cast.ana, vec![], "bad_request"),
        (&cast.ben, vec![a], "not_allowed"),
        (&cast.ben, vec![b], "not_allowed"),
        (&cast.cleo, vec![b], "not_allowed"),
        (&cast.cleo, vec![c], "not_allowed"),
    ] {
        assert_eq!(code(who.rekeys(remove(&devices), NEW).await), Err(refused), "{devices:?}");
    }
    assert_eq!(code(cast.cleo.rekeys(RekeyCause::Rotate, NEW).await), Err("not_allowed"));
    assert_eq!(code(cast.ben.rekeys(RekeyCause::CutHistory, NEW).await), Err("not_allowed"));
    assert_eq!(code(cast.ana.rekeys(RekeyCause::Rotate, "").await), Err("password_empty"));
    assert_eq!(code(cast.ana.room.set_role(a, Role::Member).await), Err("last_owner"));
    assert_eq!(refused_to_leave(&cast.ana).await, "last_owner");
    assert_eq!(cast.ana.room.epoch(), 0);
    cast.all_talk("as before").await;
    cast.ana.room.set_role(c, Role::Owner).await.expect("an owner may");
    assert_eq!(code(cast.ana.rekeys(remove(&[c]), NEW).await), Err("not_allowed"), "another owner");
    cast.agree().await;
    in_time("left", cast.ana.room.leave()).await.expect("there is another owner");
}

async fn refused_to_leave(person: &Person) -> &'static str {
    in_time("an answer", person.room.leave()).await.expect_err("others are in the room").code()
}

#[tokio::test]
async fn several_are_removed_at_once_and_a_removal_of_who_has_left_already_is_done() {
    let cast = Cast::gather().await;
    let dora = joins(&cast.node, &cast.ana, "Dora").await;
    in_time("left", dora.room.leave()).await.expect("she may");
    let cause = RekeyCause::Remove { devices: vec![cast.ben.id(), dora.id(), cast.ben.id()], ban: true };
    let rekeyed = cast.ana.rekeys(cause, NEW).await.expect("an owner may");
    assert_eq!(rekeyed.epoch, 1);
    cast.cleo.reaches(1).await;
    for device in [cast.ben.id(), dora.id()] {
        assert!(cast.cleo.room.state().is_banned(device));
    }
}

#[tokio::test]
async fn a_moderator_removes_a_member_and_everyone_else_follows() {
    let mut cast = Cast::gather().await;
    let dora = joins(&cast.node, &cast.ana, "Dora").await;
    cast.ana.room.set_role(cast.ben.id(), Role::Moderator).await.expect("an owner may");
    cast.agree().await;
    cast.ben.removes(dora.id(), false, NEW).await;
    cast.all_talk("after it").await;
    cast.agree().await;
}

#[tokio::test]
async fn who_comes_in_after_a_removal_reads_what_was_before_and_comes_back_by_kept_secrets() {
    let mut cast = Cast::gather().await;
    cast.ben.says("long ago").await;
    cast.ana.hears_text("long ago").await;
    cast.ana.removes(cast.ben.id(), false, NEW).await;
    cast.cleo.reaches(1).await;
    cast.cleo.says("later").await;
    cast.ana.rekeys(RekeyCause::Rotate, "the third password").await.expect("an owner may");
    cast.cleo.reaches(2).await;
    let dora = joins(&cast.node, &cast.cleo, "Dora").await;
    let shown = super::cast::texts(whole(&dora).await);
    assert_eq!(shown, ["long ago", "later"]);
    assert_eq!((dora.room.audit(), dora.room.state()), (cast.ana.room.audit(), cast.ana.room.state()));
    let (secrets, device) = (dora.room.secrets(), Device::import(&dora.device()));
    dora.client.close().await;
    cast.ana.says("while she was away").await;
    let client = client_of(&cast.node, &cast.node.url, device);
    let room = in_time("back", client.resume(secrets)).await.expect("nothing is typed");
    let mut dora = Person::of(client, room).await;
    dora.hears_text("while she was away").await;
    assert_eq!(dora.texts().await, ["long ago", "later", "while she was away"]);
    dora.says("I am back").await;
    cast.ana.hears_text("I am back").await;
    dora.is_content().await;
}
