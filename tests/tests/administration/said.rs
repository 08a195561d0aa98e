//! What is said about messages: edits, deletions, reactions, pins, replies, mentions.

use snug_client::crypto::Message;
use snug_client::{DeletedBy, Event, Reactions};
use snug_protocol::Seq;
use snug_protocol::http::Role;

use super::cast::{Cast, Person, done, joins, refused, whole};

/// More than a page, so that what was said before is not loaded by who comes later.
const MANY: usize = 230;

fn is_message(event: &Event, wanted: &str, edited_: bool) -> bool {
    matches!(event, Event::Message { text, edited, .. } if text == wanted && *edited == edited_)
}

#[tokio::test]
async fn what_is_said_about_messages_reaches_everyone_and_stands_on_old_pages() {
    let mut cast = Cast::gather().await;
    let [a, b, c] = [&cast.ana, &cast.ben, &cast.cleo].map(Person::id);
    let tea = cast.ana.says("Tea at four").await;
    cast.ben.hears_text("Tea at four").await;
    let answer = Message { text: "I'll bring cake".into(), reply_to: Some(tea), mentions: vec![a, c] };
    let cake = done(cast.ben.room.send(answer)).await.seq;
    let slip = cast.cleo.says("meant for elsewhere").await;
    for person in [&mut cast.ana, &mut cast.ben, &mut cast.cleo] {
        let heard = person.hears(|event| event.seq() == Some(cake)).await;
        let Event::Message { reply_to, mentions, .. } = heard else { panic!("{heard:?}") };
        assert_eq!((reply_to, mentions), (Some(tea), vec![a, c]));
    }
    done(cast.ana.room.edit(tea, "Tea at five")).await;
    done(cast.cleo.room.react(cake, "🍰", true)).await;
    done(cast.ana.room.react(cake, "🍰", true)).await;
    done(cast.ana.room.react(cake, "👍", true)).await;
    done(cast.ana.room.react(cake, "👍", false)).await;
    done(cast.ben.room.pin(tea, true)).await;
    done(cast.cleo.room.delete_message(slip)).await;
    for person in [&mut cast.ana, &mut cast.ben, &mut cast.cleo] {
        let heard = person.hears(|event| matches!(event, Event::Edited { .. })).await;
        let Event::Edited { seq, device, text, .. } = heard else { unreachable!("only edits are wanted") };
        assert_eq!((seq, device, text.as_str()), (tea, a, "Tea at five"));
        person.hears(|event| *event == Event::Reacted { seq: cake, device: c, emoji: "🍰".into(), on: true }).await;
        person.hears(|event| *event == Event::Reacted { seq: cake, device: a, emoji: "👍".into(), on: false }).await;
        person.hears(|event| *event == Event::Pinned { seq: tea, device: b, on: true }).await;
        let deleted = |event: &Event| matches!(event, Event::Deleted { seq, by, .. } if *seq == slip && *by == DeletedBy::Device(c));
        person.hears(deleted).await;
    }
    let sendings: Vec<_> = (0..MANY).map(|n| cast.ana.room.send(format!("message {n}"))).collect();
    for sending in sendings {
        done(sending).await;
    }
    // About messages that lie a page back.
    done(cast.ben.room.react(tea, "☕", true)).await;
    let late = cast.ben.says("one more").await;
    let dora = joins(&cast.node, &cast.ana, "Dora").await;
    assert!(
        dora.room.loaded().await.expect("open").iter().all(|event| event.seq() > Some(slip)),
        "it lies further back"
    );
    cast.ana.hears(|event| event.seq() == Some(late)).await;
    for reader in [&dora, &cast.ana] {
        let shown = whole(reader).await;
        let at = |seq: Seq| shown.iter().find(|event| event.seq() == Some(seq)).cloned().expect("it is shown");
        let Event::Message { text, edited, pinned, reactions, .. } = at(tea) else { panic!("{:?}", at(tea)) };
        assert_eq!((text.as_str(), edited, pinned), ("Tea at five", true, true));
        assert_eq!(reactions, [Reactions { emoji: "☕".into(), devices: vec![b] }]);
        let Event::Message { reply_to, mentions, reactions, edited, .. } = at(cake) else { panic!("{:?}", at(cake)) };
        let mut both = vec![a, c];
        both.sort_unstable();
        assert_eq!((reply_to, mentions, edited), (Some(tea), vec![a, c], false));
        assert_eq!(reactions, [Reactions { emoji: "🍰".into(), devices: both }]);
        assert!(matches!(at(slip), Event::Deleted { device, by: DeletedBy::Device(by), .. } if (device, by) == (c, c)));
        assert!(!format!("{shown:?}").contains("meant for elsewhere"));
        reader.is_content().await;
    }
}

#[tokio::test]
async fn an_old_page_never_shows_what_was_deleted_or_edited_after_it() {
    let cast = Cast::gather().await;
    let (gone, changed) = (cast.ben.says("to be deleted").await, cast.ben.says("before").await);
    let sendings: Vec<_> = (0..MANY).map(|n| cast.ana.room.send(format!("message {n}"))).collect();
    for sending in sendings {
        done(sending).await;
    }
    done(cast.ben.room.delete_message(gone)).await;
    done(cast.ben.room.edit(changed, "after")).await;
    let dora = joins(&cast.node, &cast.ana, "Dora").await;
    let page = dora.room.history_before(changed.next(), 2).await.expect("a page").events;
    assert!(matches!(page[0], Event::Deleted { seq, .. } if seq == gone), "{page:?}");
    assert!(is_message(&page[1], "after", true), "{page:?}");
    dora.is_content().await;
}

#[tokio::test]
async fn nobody_edits_what_others_wrote_and_only_a_higher_role_deletes_it() {
    let mut cast = Cast::gather().await;
    let (anas, bens) = (cast.ana.says("Ana's").await, cast.ben.says("Ben's").await);
    cast.cleo.hears_text("Ben's").await;
    assert_eq!(refused(cast.cleo.room.edit(bens, "Cleo's")).await, "not_allowed");
    assert_eq!(refused(cast.ana.room.edit(bens, "Ana's")).await, "not_allowed", "not even an owner");
    assert_eq!(refused(cast.cleo.room.delete_message(bens)).await, "not_allowed");
    cast.ana.room.set_role(cast.cleo.id(), Role::Moderator).await.expect("an owner may");
    let (b, c) = (cast.ben.id(), cast.cleo.id());
    assert_eq!(refused(cast.cleo.room.delete_message(anas)).await, "not_allowed");
    done(cast.cleo.room.delete_message(bens)).await;
    for person in [&mut cast.ana, &mut cast.ben, &mut cast.cleo] {
        let heard = person.hears(|event| matches!(event, Event::Deleted { .. })).await;
        let Event::Deleted { seq, device, by, .. } = heard else { unreachable!("only deletions are wanted") };
        assert_eq!((seq, device, by), (bens, b, DeletedBy::Device(c)));
        assert!(is_message(&person.shown(anas).await, "Ana's", false));
    }
    // Refusals end nothing: each goes on writing.
    cast.all_talk("hello").await;
    for about in
        [cast.ben.room.react(bens, "👍", true), cast.ben.room.edit(bens, "again"), cast.ben.room.pin(bens, true)]
    {
        assert_eq!(refused(about).await, "target_gone");
    }
    assert_eq!(refused(cast.ben.room.react(Seq(1), "👍", true)).await, "target_invalid", "a record is no message");
}
