//! Two admins at one time: of two acts on the same matter one wins and the other is told; acts on different matters are both done.

use snug_client::RekeyCause;
use snug_protocol::http::Role;

use super::cast::{Cast, Person, code};

async fn two_owners() -> Cast {
    let cast = Cast::gather().await;
    cast.ana.room.set_role(cast.ben.id(), Role::Owner).await.expect("an owner may");
    cast.agree().await;
    cast
}

#[tokio::test]
async fn of_two_new_keys_at_one_time_one_wins_and_the_other_is_told_and_may_try_again() {
    for round in 0..5 {
        let mut cast = two_owners().await;
        let (one, other) = tokio::join!(
            cast.ana.rekeys(RekeyCause::Rotate, "the password that Ana means"),
            cast.ben.rekeys(RekeyCause::Rotate, "the password that Ben means"),
        );
        let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
        let epoch = won.expect("one of them wins").epoch;
        // Each decides upon what was there before the other's.
        assert_eq!((epoch, code(lost)), (1, Err("chain_moved")), "round {round}");
        for person in [&cast.ana, &cast.ben, &cast.cleo] {
            person.reaches(epoch).await;
        }
        let again =
            cast.ben.rekeys(RekeyCause::Rotate, "the password after that").await.expect("a decision of its own");
        assert_eq!(again.epoch, epoch + 1);
        cast.all_talk("whichever it is").await;
        cast.agree().await;
    }
}

#[tokio::test]
async fn a_removal_and_a_topic_at_one_time_are_both_done_or_one_is_told() {
    for round in 0..5 {
        let cast = two_owners().await;
        let gone = cast.cleo.id();
        let (removed, topic) =
            tokio::join!(cast.ana.removes(gone, false, "without Cleo"), cast.ben.room.set_topic("Roses"));
        assert_eq!(removed.epoch, 1, "round {round}: a step beside it does not stop a removal");
        let topic = match topic {
            Ok(()) => "Roses",
            Err(error) => {
                assert_eq!(error.code(), "chain_moved", "round {round}");
                ""
            }
        };
        for person in [&cast.ana, &cast.ben] {
            person.reaches(1).await;
            snug_tests::eventually("the topic", async || (person.room.state().topic == topic).then_some(())).await;
            person.is_content().await;
        }
    }
}

#[tokio::test]
async fn steps_on_different_matters_at_one_time_are_both_done_and_on_the_same_one_is_told() {
    let mut cast = two_owners().await;
    let (locked, topic) = tokio::join!(cast.ana.room.set_locked(true), cast.ben.room.set_topic("Roses"));
    assert_eq!((code(locked), code(topic)), (Ok(()), Ok(())));
    let mut told = 0;
    for round in 0..10 {
        let (one, other) = (format!("Ana's {round}"), format!("Ben's {round}"));
        let (anas, bens) = tokio::join!(cast.ana.room.set_topic(&one), cast.ben.room.set_topic(&other));
        let answers = [code(anas), code(bens)];
        assert!(answers.contains(&Ok(())), "{answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer, Ok(()) | Err("chain_moved"))), "{answers:?}");
        told += answers.iter().filter(|answer| answer.is_err()).count();
        for person in [&cast.ana, &cast.ben] {
            let wanted = if answers == [Ok(()), Err("chain_moved")] { Some(&one) } else { None };
            if let Some(wanted) = wanted {
                snug_tests::eventually("one topic", async || (person.room.state().topic == *wanted).then_some(()))
                    .await;
            }
        }
    }
    assert!(told > 0, "they never met");
    cast.all_talk("in the end").await;
    cast.agree().await;
}

#[tokio::test]
async fn a_member_who_joins_while_the_key_is_replaced_has_the_new_key_or_is_put_out_and_told() {
    let cast = Cast::gather().await;
    for round in 0..4 {
        let password = format!("password number {round}");
        let (link, _) = cast.ana.room.create_invite(None, None).await.expect("an invite");
        let newcomer = super::cast::client(&cast.node);
        let (joined, rekeyed) =
            tokio::join!(newcomer.join_by_link(&link, "Dora"), cast.ana.rekeys(RekeyCause::Rotate, &password));
        rekeyed.expect("a newcomer does not stop it");
        match joined {
            // It had not shown that it has the key, or came when the keys were being sealed already.
            Ok(room) if snug_tests::in_time("told", room.send("hello")).await.is_err() => {
                let back = snug_tests::in_time("back", newcomer.join(super::cast::NAME, &password, "Dora")).await;
                let dora = Person::of(newcomer, back.expect("by the new password")).await;
                dora.says("hello").await;
                dora.is_content().await;
            }
            Ok(room) => {
                let dora = Person::of(newcomer, room).await;
                dora.says("hello again").await;
                dora.is_content().await;
            }
            Err(error) => assert!(["wrong_credentials", "not_a_member"].contains(&error.code()), "{error:?}"),
        }
        cast.ana.is_content().await;
    }
}
