//! Mailboxes for moving to another device.

use snug_store::{MovePart, OfferOutcome, Store};

use crate::fixture::{contract, id};

contract![
    the_parts_of_a_move_come_in_turn_and_each_once,
    a_mailbox_takes_one_offer,
    without_an_offer_there_is_nothing_to_answer,
];

const PARTS: [MovePart; 3] = [MovePart::Nonce, MovePart::Reveal, MovePart::Answer];

async fn the_parts_of_a_move_come_in_turn_and_each_once(store: Store) {
    let offer = [7; 64];
    assert_eq!(store.offer(id(1)).await.unwrap(), None);
    assert_eq!(store.put_offer(id(1), &offer).await.unwrap(), OfferOutcome::Stored);
    assert_eq!(store.offer(id(1)).await.unwrap().as_deref(), Some(&offer[..]));
    for (at, part) in PARTS.into_iter().enumerate() {
        for early in &PARTS[at + 1..] {
            assert!(!store.put_move_part(id(1), *early, &[1; 9]).await.unwrap(), "{early:?} comes after {part:?}");
        }
        assert_eq!(store.move_part(id(1), part).await.unwrap(), None);
        let bytes = vec![8; if part == MovePart::Answer { 48 * 1024 } else { 128 }];
        assert!(store.put_move_part(id(1), part, &bytes).await.unwrap());
        assert!(store.put_move_part(id(1), part, &bytes).await.unwrap(), "again: its acknowledgement may be lost");
        assert!(!store.put_move_part(id(1), part, &[9; 100]).await.unwrap());
        assert_eq!(store.move_part(id(1), part).await.unwrap(), Some(bytes));
    }
    assert_eq!(store.sweep().await.unwrap().moves, 0, "it is young");
}

async fn a_mailbox_takes_one_offer(store: Store) {
    assert_eq!(store.put_offer(id(1), &[1; 64]).await.unwrap(), OfferOutcome::Stored);
    assert_eq!(store.put_offer(id(1), &[1; 64]).await.unwrap(), OfferOutcome::Stored);
    assert_eq!(store.put_offer(id(1), &[2; 64]).await.unwrap(), OfferOutcome::Taken);
    assert_eq!(store.offer(id(1)).await.unwrap(), Some(vec![1; 64]));
    assert_eq!(store.put_offer(id(2), &[2; 64]).await.unwrap(), OfferOutcome::Stored);
}

async fn without_an_offer_there_is_nothing_to_answer(store: Store) {
    for part in PARTS {
        assert!(!store.put_move_part(id(1), part, &[1; 100]).await.unwrap());
        assert_eq!(store.move_part(id(1), part).await.unwrap(), None);
    }
}
