//! Who is away while the key is replaced comes back without typing anything, and loses and doubles nothing that waits to be sent.

use snug_client::{Event, RekeyCause};
use snug_protocol::limits::BACKLOG_MAX;
use snug_tests::hostile::HostileServer;
use snug_tests::in_time;

use super::cast::{Cast, Person, client_of, done, joins_by, texts, whole};
use snug_client::crypto::Device;

/// Ben, whose connection can be taken away.
async fn behind_a_door(cast: &Cast) -> (HostileServer, Person) {
    let door = HostileServer::before(&cast.node.url).await;
    let (link, _) = cast.ana.room.create_invite(None, Some(1)).await.expect("an invite");
    let client = client_of(&cast.node, &door.url, Device::generate());
    let room = in_time("joined", client.join_by_link(&link, "Dora")).await.expect("joined");
    let mut dora = Person::of(client, room).await;
    let own = dora.id();
    dora.hears(|event| matches!(event, Event::Joined { device, .. } if *device == own)).await;
    (door, dora)
}

async fn shut(door: &HostileServer, person: &mut Person) {
    door.refuse(true);
    door.cut();
    person.hears(|event| *event == Event::ConnectionLost).await;
}

#[tokio::test]
async fn a_member_who_is_away_during_three_new_keys_reads_it_all_when_it_is_back() {
    let mut cast = Cast::gather().await;
    let (door, mut dora) = behind_a_door(&cast).await;
    shut(&door, &mut dora).await;
    for epoch in 1..=3 {
        let password = format!("password number {epoch}");
        cast.ana.rekeys(RekeyCause::Rotate, &password).await.expect("an owner may");
        cast.ana.says(&format!("in epoch {epoch}")).await;
        cast.ben.says(&format!("Ben in epoch {epoch}")).await;
    }
    door.refuse(false);
    dora.hears_text("in epoch 1").await;
    dora.hears_text("Ben in epoch 3").await;
    assert_eq!(dora.room.epoch(), 3);
    dora.says("I am back").await;
    cast.ben.hears_text("I am back").await;
    dora.is_content().await;
    assert_eq!(dora.room.audit(), cast.ana.room.audit());
}

/// Twice as much is further behind than what is sent again.
const HALF: u64 = BACKLOG_MAX / 2 + 1;

#[tokio::test]
async fn who_was_away_for_more_than_is_sent_again_and_for_new_keys_catches_up_with_all_of_it() {
    let mut cast = Cast::gather().await;
    let (door, mut dora) = behind_a_door(&cast).await;
    dora.says("before").await;
    cast.cleo.hears_text("before").await;
    shut(&door, &mut dora).await;
    cast.ana.rekeys(RekeyCause::Rotate, "the second password").await.expect("an owner may");
    cast.ben.reaches(1).await;
    for half in ["one", "other"] {
        let many: Vec<_> = (0..HALF).map(|n| cast.ben.room.send(format!("{half} {n}"))).collect();
        for sending in many {
            done(sending).await;
        }
    }
    cast.ana.removes(cast.cleo.id(), false, "the third password").await;
    cast.ana.says("without Cleo").await;
    door.refuse(false);
    dora.hears_text("without Cleo").await;
    assert_eq!((dora.room.epoch(), dora.room.audit()), (2, cast.ana.room.audit()));
    dora.says("I am back").await;
    cast.ben.hears_text("I am back").await;
    let told = texts(whole(&dora).await);
    assert_eq!((told.len() as u64, told.first().map(String::as_str)), (2 * HALF + 3, Some("before")));
    dora.is_content().await;
}

#[tokio::test]
async fn a_program_that_kept_the_first_epochs_secrets_comes_back_after_three_new_keys() {
    let cast = Cast::gather().await;
    let (secrets, device) = (cast.ben.room.secrets(), cast.ben.device());
    cast.ben.says("before").await;
    cast.ben.client.close().await;
    for epoch in 1..=3 {
        cast.ana.rekeys(RekeyCause::Rotate, &format!("password number {epoch}")).await.expect("an owner may");
        cast.ana.says(&format!("in epoch {epoch}")).await;
    }
    let client = client_of(&cast.node, &cast.node.url, Device::import(&device));
    let room = in_time("back", client.resume(secrets)).await.expect("nothing is typed");
    let mut ben = Person::of(client, room).await;
    ben.hears_text("in epoch 3").await;
    assert_eq!(texts(whole(&ben).await), ["before", "in epoch 1", "in epoch 2", "in epoch 3"]);
    ben.says("here I am").await;
    ben.is_content().await;
}

#[tokio::test]
async fn what_waits_under_an_old_key_is_sealed_anew_once_and_none_is_lost_or_doubled() {
    let mut cast = Cast::gather().await;
    let (door, mut dora) = behind_a_door(&cast).await;
    let mut wanted = Vec::new();
    for round in 0..3 {
        shut(&door, &mut dora).await;
        // More than are in flight at one time, so that some are sealed under the old key and some are drafts.
        let words: Vec<String> = (0..20).map(|n| format!("round {round}, message {n}")).collect();
        let sendings: Vec<_> = words.iter().map(|text| dora.room.send(text)).collect();
        cast.ana.rekeys(RekeyCause::Rotate, &format!("password number {round}")).await.expect("an owner may");
        door.refuse(false);
        for sending in sendings {
            in_time("it is sent under the new key", sending).await.expect("it is sent");
        }
        wanted.extend(words);
    }
    let last = wanted.last().cloned().expect("some");
    cast.ben.hears_text(&last).await;
    assert_eq!(cast.ben.texts().await, wanted);
    cast.ben.is_content().await;
    dora.is_content().await;
}

#[tokio::test]
async fn messages_in_full_flow_survive_new_keys_and_lost_answers_in_order_and_once() {
    let mut cast = Cast::gather().await;
    let (door, dora) = behind_a_door(&cast).await;
    let words: Vec<String> = (0..200).map(|n| format!("message {n}")).collect();
    let mut sendings: Vec<_> = words.iter().map(|text| dora.room.send(text)).collect();
    for epoch in 1..=4 {
        // The next of them is on its way while the key is replaced and the connection breaks.
        in_time("it is sent", sendings.remove(0)).await.expect("it is sent");
        door.cut();
        cast.ana.rekeys(RekeyCause::Rotate, &format!("password number {epoch}")).await.expect("an owner may");
    }
    for sending in sendings {
        in_time("it is sent", sending).await.expect("it is sent");
    }
    cast.ben.hears_text("message 199").await;
    assert_eq!(cast.ben.texts().await, words);
    cast.ben.is_content().await;
    dora.is_content().await;
}

#[tokio::test]
async fn an_invite_by_who_has_not_heard_of_the_new_key_yet_leads_into_the_room_all_the_same() {
    let cast = Cast::gather().await;
    let (door, dora) = behind_a_door(&cast).await;
    // What the node says from here on is long on its way.
    door.on_entry(|_| vec![]);
    cast.ana.rekeys(RekeyCause::Rotate, "the second password").await.expect("an owner may");
    assert_eq!(dora.room.epoch(), 0);
    let (link, invite) = in_time("an invite", dora.room.create_invite(None, None)).await.expect("any member may");
    let mut emil = joins_by(&cast.node, &link, "Emil").await;
    emil.is_content().await;
    cast.ana.says("welcome").await;
    emil.hears_text("welcome").await;
    let grants: Vec<_> = cast.ana.room.invites().await.expect("a list").iter().map(|invite| invite.grant).collect();
    assert_eq!(grants, [invite.grant], "the one with the old key is revoked");
}
