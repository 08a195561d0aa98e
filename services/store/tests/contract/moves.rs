//! Mailboxes for moving to another device.

use snug_store::{OfferOutcome, Store};

use crate::fixture::{contract, id};

contract![an_offer_is_answered_once, a_mailbox_takes_one_offer, without_an_offer_there_is_nothing_to_answer,];

async fn an_offer_is_answered_once(store: Store) {
    let offer = [7; 96];
    assert_eq!(store.offer(id(1)).await.unwrap(), None);
    assert_eq!(store.put_offer(id(1), &offer).await.unwrap(), OfferOutcome::Stored);
    assert_eq!(store.offer(id(1)).await.unwrap().as_deref(), Some(&offer[..]));
    assert_eq!(store.answer(id(1)).await.unwrap(), None);
    let answer = vec![8; 48 * 1024];
    assert!(store.put_answer(id(1), &answer).await.unwrap());
    assert!(store.put_answer(id(1), &answer).await.unwrap(), "the same again, since its acknowledgement may be lost");
    assert!(!store.put_answer(id(1), &[9; 100]).await.unwrap());
    assert_eq!(store.answer(id(1)).await.unwrap(), Some(answer));
    assert_eq!(store.sweep().await.unwrap().moves, 0, "it is young");
}

async fn a_mailbox_takes_one_offer(store: Store) {
    assert_eq!(store.put_offer(id(1), &[1; 96]).await.unwrap(), OfferOutcome::Stored);
    assert_eq!(store.put_offer(id(1), &[1; 96]).await.unwrap(), OfferOutcome::Stored);
    assert_eq!(store.put_offer(id(1), &[2; 96]).await.unwrap(), OfferOutcome::Taken);
    assert_eq!(store.offer(id(1)).await.unwrap(), Some(vec![1; 96]));
    assert_eq!(store.put_offer(id(2), &[2; 96]).await.unwrap(), OfferOutcome::Stored);
}

async fn without_an_offer_there_is_nothing_to_answer(store: Store) {
    assert!(!store.put_answer(id(1), &[1; 100]).await.unwrap());
    assert_eq!(store.answer(id(1)).await.unwrap(), None);
}
