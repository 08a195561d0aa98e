//! What admins change by one step, with everyone staying where they are.

use std::time::Duration;

use snug_client::crypto::{Cause, Step};
use snug_client::{Change, DeletedBy, Event};
use snug_protocol::http::Role;
use tokio::time::Instant;

use super::cast::{Cast, NAME, PASSWORD, client, code, done, joins, joins_by, refused};

#[tokio::test]
async fn every_step_holds_for_everyone_and_nobody_is_put_out_by_it() {
    let mut cast = Cast::gather().await;
    let old = cast.ben.says("said before all of it").await;
    cast.ana.hears_text("said before all of it").await;
    let (link, _) = cast.cleo.room.create_invite(None, None).await.expect("any member may");
    let (b, c) = (cast.ben.id(), cast.cleo.id());
    let ana = &cast.ana.room;
    ana.set_topic("  Roses  ").await.expect("an owner may");
    ana.set_slow(Duration::from_millis(50)).await.expect("an owner may");
    ana.mute(c, u64::MAX >> 11).await.expect("an owner may");
    ana.mute(c, 0).await.expect("an owner may");
    ana.set_retention(Some(Duration::from_secs(3600))).await.expect("an owner may");
    ana.set_retention(None).await.expect("an owner may");
    ana.set_slow(Duration::ZERO).await.expect("an owner may");
    ana.set_role(b, Role::Moderator).await.expect("an owner may");
    ana.change_password("another password entirely").await.expect("an owner may");
    ana.set_locked(true).await.expect("an owner may");
    ana.unban(c).await.expect("a step that changes nothing is allowed");
    cast.agree().await;
    let state = cast.ben.room.state();
    assert_eq!((state.topic.as_str(), state.locked, cast.cleo.room.epoch()), ("Roses", true, 0));
    assert_eq!((cast.ben.room.role(), cast.cleo.room.role()), (Role::Moderator, Role::Member));
    let audit = cast.cleo.room.audit();
    assert_eq!(audit[0].change, Change::Epoch { epoch: 0, cause: Cause::Created, recovery: false });
    assert_eq!(audit.len(), 12, "all of it, with the beginning: {audit:?}");
    assert!(audit.iter().all(|entry| entry.device == cast.ana.id() && entry.at_ms > 0));
    let told = cast.cleo.hears(|event| matches!(event, Event::Administered(entry) if entry.seq > old)).await;
    let Event::Administered(entry) = told else { unreachable!("only administration is wanted") };
    assert_eq!(entry.change, Change::Step(Step::Topic { topic: "Roses".into() }));

    let late = client(&cast.node);
    assert_eq!(code(late.join_by_link(&link, "Dora").await), Err("room_locked"));
    assert_eq!(code(cast.ben.room.create_invite(None, None).await), Err("room_locked"));
    cast.ben.room.set_locked(false).await.expect("a moderator may");
    assert_eq!(code(late.join(NAME, PASSWORD, "Dora").await), Err("wrong_credentials"));
    let dora = joins_by(&cast.node, &link, "Dora").await;
    assert!(dora.texts().await.contains(&"said before all of it".to_owned()), "{:?}", dora.texts().await);
    dora.is_content().await;
    let eve = client(&cast.node);
    eve.join(NAME, "another password entirely", "Eve").await.expect("by the new password");
    cast.all_talk("after all of it").await;
}

#[tokio::test]
async fn a_muted_member_is_refused_until_the_mute_is_lifted_and_loses_nothing_else() {
    let mut cast = Cast::gather().await;
    let said = cast.ben.says("before").await;
    cast.ana.room.mute(cast.ben.id(), u64::MAX >> 11).await.expect("an owner may");
    assert_eq!(refused(cast.ben.room.send("a word")).await, "muted");
    assert_eq!(refused(cast.ben.room.react(said, "👍", true)).await, "muted");
    done(cast.ben.room.delete_message(said)).await;
    let muted =
        cast.ana.room.members().await.expect("a list").into_iter().find(|member| member.device == cast.ben.id());
    assert!(muted.is_some_and(|member| member.muted_until_ms == Some(u64::MAX >> 11)));
    cast.ana.room.mute(cast.ben.id(), 0).await.expect("an owner may");
    cast.all_talk("hello").await;
}

#[tokio::test]
async fn all_that_a_member_wrote_is_erased_for_everyone_and_what_comes_later_is_not() {
    let mut cast = Cast::gather().await;
    let (one, kept) = (cast.ben.says("spam").await, cast.ana.says("not spam").await);
    done(cast.ben.room.edit(one, "more spam")).await;
    cast.cleo.hears(|event| matches!(event, Event::Edited { seq, .. } if *seq == one)).await;
    cast.ana.room.erase(cast.ben.id()).await.expect("an owner may");
    cast.agree().await;
    let (a, b) = (cast.ana.id(), cast.ben.id());
    let after = cast.ben.says("sorry").await;
    let dora = joins(&cast.node, &cast.ana, "Dora").await;
    cast.cleo.hears_text("sorry").await;
    cast.ben.hears_text("sorry").await;
    for person in [&cast.ben, &cast.cleo, &dora] {
        let shown = person.shown(one).await;
        let by = DeletedBy::Device(a);
        assert!(matches!(shown, Event::Deleted { device, by: it, .. } if (device, it) == (b, by)), "{shown:?}");
        assert!(matches!(person.shown(kept).await, Event::Message { text, .. } if text == "not spam"));
        assert!(matches!(person.shown(after).await, Event::Message { text, .. } if text == "sorry"));
        assert_eq!(person.texts().await, ["not spam", "sorry"]);
        person.is_content().await;
    }
}

#[tokio::test]
async fn a_room_is_handed_over_and_its_first_owner_obeys() {
    let mut cast = Cast::gather().await;
    cast.ana.room.transfer(cast.ben.id()).await.expect("an owner may");
    cast.agree().await;
    assert_eq!((cast.ana.room.role(), cast.ben.room.role()), (Role::Moderator, Role::Owner));
    assert_eq!(code(cast.ana.room.set_role(cast.cleo.id(), Role::Owner).await), Err("not_allowed"));
    cast.ben.room.set_role(cast.ana.id(), Role::Member).await.expect("an owner may");
    cast.agree().await;
    assert_eq!(code(cast.ana.room.set_topic("mine").await), Err("not_allowed"));
    assert_eq!(code(cast.ben.room.set_role(cast.ben.id(), Role::Member).await), Err("last_owner"));
    assert_eq!(code(cast.ben.room.transfer(cast.ben.id()).await), Err("not_allowed"));
    cast.all_talk("under Ben").await;
}

#[tokio::test]
async fn a_step_out_of_bounds_or_by_a_member_is_refused_and_changes_nothing() {
    let mut cast = Cast::gather().await;
    let before = cast.ana.room.state();
    let (ana, ben) = (&cast.ana.room, &cast.ben.room);
    let second = Duration::from_secs(1);
    assert_eq!(code(ana.set_topic(&"x".repeat(201)).await), Err("topic_too_long"));
    assert_eq!(code(ana.set_slow(3601 * second).await), Err("bad_request"));
    assert_eq!(code(ana.set_retention(Some(3599 * second)).await), Err("bad_request"));
    assert_eq!(code(ana.mute(cast.ben.id(), u64::MAX).await), Err("bad_request"));
    assert_eq!(code(ben.set_topic("mine").await), Err("not_allowed"));
    assert_eq!(code(ben.set_locked(true).await), Err("not_allowed"));
    assert_eq!(code(ben.mute(cast.cleo.id(), 1).await), Err("not_allowed"));
    assert_eq!(code(ben.erase(cast.cleo.id()).await), Err("not_allowed"));
    assert_eq!(code(ben.change_password("a password of mine").await), Err("not_allowed"));
    assert_eq!(code(ana.mute(cast.ana.id(), 1).await), Err("not_allowed"), "nobody has a higher role than oneself");
    assert_eq!(code(ana.erase(cast.recovery.device().id()).await), Err("not_allowed"));
    assert_eq!(cast.ana.room.state(), before);
    cast.all_talk("as before").await;
}

#[tokio::test]
async fn slow_mode_delays_what_comes_too_early_and_loses_nothing() {
    let mut cast = Cast::gather().await;
    let pause = Duration::from_millis(400);
    cast.ana.room.set_slow(pause).await.expect("an owner may");
    let begun = Instant::now();
    let sendings = ["one", "two", "three"].map(|text| cast.ben.room.send(text));
    for sending in sendings {
        done(sending).await;
    }
    assert!(begun.elapsed() >= 2 * pause, "{:?}", begun.elapsed());
    for text in ["one", "two", "three"] {
        cast.cleo.hears_text(text).await;
    }
    let begun = Instant::now();
    for text in ["four", "five", "six"] {
        cast.ana.says(text).await;
    }
    assert!(begun.elapsed() < 2 * pause, "it is for plain members");
}
