//! Cutting the history: who comes later does not read what was before, who was there does.

use snug_client::crypto::Device;
use snug_client::{Event, RekeyCause};
use snug_tests::in_time;

use super::cast::{Cast, Person, client_of, joins, texts, whole};

#[tokio::test]
async fn a_newcomer_does_not_read_what_was_before_a_cut_and_all_others_do() {
    let mut cast = Cast::gather().await;
    cast.ben.says("between us").await;
    cast.ana.hears_text("between us").await;
    cast.ana.rekeys(RekeyCause::Rotate, "the second password").await.expect("an owner may");
    cast.ana.says("still between us").await;
    cast.ana.rekeys(RekeyCause::CutHistory, "the third password").await.expect("an owner may");
    cast.cleo.reaches(2).await;
    assert_eq!(cast.ana.room.state().history_from, 2);
    cast.cleo.says("for all").await;
    cast.ana.rekeys(RekeyCause::Rotate, "the fourth password").await.expect("an owner may");
    cast.cleo.reaches(3).await;
    let mut dora = joins(&cast.node, &cast.cleo, "Dora").await;
    let shown = whole(&dora).await;
    assert_eq!(texts(shown.clone()), ["for all"]);
    let said = shown.iter().find(|event| matches!(event, Event::Message { .. })).expect("what Cleo said");
    // Cleo introduced herself again before she first wrote under the new key.
    assert!(matches!(said, Event::Message { name: Some(name), .. } if name == "Cleo"), "{said:?}");
    assert!(
        shown.iter().any(|event| matches!(event, Event::Unreadable { .. })),
        "that something was there is no secret"
    );
    assert!(!format!("{shown:?}").contains("between us"));
    dora.is_content().await;
    assert_eq!(dora.room.state(), cast.ana.room.state());
    cast.cleo.says("welcome").await;
    dora.hears_text("welcome").await;
    dora.says("thank you").await;
    cast.ana.hears_text("thank you").await;
    for person in [&cast.ana, &cast.ben, &cast.cleo] {
        let told = texts(whole(person).await);
        assert_eq!(told[..3], ["between us", "still between us", "for all"]);
        person.is_content().await;
    }
    dora.is_content().await;
}

#[tokio::test]
async fn who_was_there_before_a_cut_reads_across_it_after_coming_back() {
    let mut cast = Cast::gather().await;
    cast.ben.says("between us").await;
    cast.cleo.hears_text("between us").await;
    cast.ana.rekeys(RekeyCause::CutHistory, "the second password").await.expect("an owner may");
    cast.cleo.reaches(1).await;
    cast.cleo.says("after it").await;
    let (secrets, device) = (cast.cleo.room.secrets(), cast.cleo.device());
    assert_eq!(secrets.older.len(), 1, "nothing leads back from the new key");
    cast.cleo.client.close().await;
    let client = client_of(&cast.node, &cast.node.url, Device::import(&device));
    let room = in_time("back", client.resume(secrets)).await.expect("nothing is typed");
    let mut cleo = Person::of(client, room).await;
    cleo.hears_text("after it").await;
    assert_eq!(texts(whole(&cleo).await), ["between us", "after it"]);
    cleo.is_content().await;
}
