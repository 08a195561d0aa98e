//! Invites and the secrets of grants.

use std::time::Duration;

use snug_protocol::{EntryKind, GrantId, RoomId};
use snug_store::{CreateInviteError, EnterError, GrantKind, NewInvite, Quotas, StepEffect, Store};

use crate::fixture::{
    Instance, administer, contract, device, expired, id, invite, recovery, room_of, secret, together,
};

contract![
    an_invite_is_read_back_as_it_was_made,
    an_invite_is_used_at_most_as_often_as_allowed_under_concurrency,
    a_used_up_invite_still_lets_its_members_in,
    an_expired_invite_lets_nobody_in_and_is_not_listed,
    a_revoked_invite_is_gone,
    a_password_is_not_an_invite,
    only_members_make_invites,
    an_invites_id_is_taken_once_in_a_room,
    a_room_has_at_most_as_many_invites_as_allowed,
    a_secret_is_replaced_only_under_the_pepper_that_was_read,
    expired_invites_do_not_pile_up,
    a_sweep_removes_invites_that_have_been_expired_long_enough,
    the_recovery_devices_invite_leads_into_a_locked_room_and_nothing_else_does,
];

async fn an_invite_is_read_back_as_it_was_made(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let new =
        NewInvite { expires_in: Some(Duration::from_secs(3600)), uses_max: Some(3), ..invite(room, 7, device(1)) };
    let made = store.create_invite(new).await.unwrap();
    assert_eq!(made.expires_at_ms, Some(made.created_at_ms + 3_600_000));
    assert_eq!((made.kind, made.uses, made.uses_max, made.expired), (GrantKind::Invite, 0, Some(3), false));
    assert_eq!(store.grant(room, GrantId(id(7))).await.unwrap(), Some(made.clone()));
    let second = store.create_invite(invite(room, 8, device(1))).await.unwrap();
    assert_eq!(second.expires_at_ms, None);
    let listed = store.invites(room).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.is_sorted_by_key(|invite| std::cmp::Reverse(invite.created_at_ms)), "newest first");
    assert!(listed.contains(&made) && listed.contains(&second));
}

async fn an_invite_is_used_at_most_as_often_as_allowed_under_concurrency(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    store.create_invite(NewInvite { uses_max: Some(5), ..invite(room, 7, device(1)) }).await.unwrap();
    let entering = (10..26).map(|number| {
        let store = store.clone();
        async move { store.enter(room, GrantId(id(7)), device(number)).await }
    });
    let answers = together(entering).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Err(EnterError::UsedUp))).count(), 11);
    assert_eq!(store.members(room, None, 100).await.unwrap().len(), 6);
    assert_eq!(store.grant(room, GrantId(id(7))).await.unwrap().unwrap().uses, 5);
    assert_eq!(store.invites(room).await.unwrap().len(), 1, "a used-up invite is listed");
}

async fn a_used_up_invite_still_lets_its_members_in(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    store.create_invite(NewInvite { uses_max: Some(1), ..invite(room, 7, device(1)) }).await.unwrap();
    assert!(store.enter(room, GrantId(id(7)), device(2)).await.unwrap().new_member);
    // Its first answer may have been lost on the way.
    assert!(!store.enter(room, GrantId(id(7)), device(2)).await.unwrap().new_member);
    assert!(matches!(store.enter(room, GrantId(id(7)), device(3)).await, Err(EnterError::UsedUp)));
    store.append(Instance::new(room, device(2), 1).next(EntryKind::Leave, 0)).await.unwrap();
    assert!(matches!(store.enter(room, GrantId(id(7)), device(2)).await, Err(EnterError::UsedUp)));
}

async fn an_expired_invite_lets_nobody_in_and_is_not_listed(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let made = store.create_invite(expired(invite(room, 7, device(1)))).await.unwrap();
    assert!(made.expired);
    assert!(matches!(store.enter(room, made.grant, device(2)).await, Err(EnterError::Expired)));
    assert!(store.invites(room).await.unwrap().is_empty());
    assert!(store.grant(room, made.grant).await.unwrap().unwrap().expired);
}

async fn a_revoked_invite_is_gone(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    store.create_invite(invite(room, 7, device(1))).await.unwrap();
    assert!(store.delete_invite(room, GrantId(id(7))).await.unwrap());
    assert!(!store.delete_invite(room, GrantId(id(7))).await.unwrap());
    assert!(matches!(store.enter(room, GrantId(id(7)), device(2)).await, Err(EnterError::Gone)));
}

async fn a_password_is_not_an_invite(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    assert!(!store.delete_invite(room, GrantId(id(1))).await.unwrap());
    store.enter(room, GrantId(id(1)), device(2)).await.expect("the password still works");
}

async fn only_members_make_invites(store: Store) {
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    store.append(Instance::new(room, device(2), 1).next(EntryKind::Leave, 0)).await.unwrap();
    for (room, maker) in [(room, device(2)), (room, device(3)), (RoomId(id(9)), device(1))] {
        let refused = store.create_invite(invite(room, 7, maker)).await;
        assert!(matches!(refused, Err(CreateInviteError::NotAMember)), "{refused:?}");
    }
}

async fn an_invites_id_is_taken_once_in_a_room(store: Store) {
    let (one, two) = (room_of(&store, 1, &[device(1)]).await, room_of(&store, 2, &[device(1)]).await);
    store.create_invite(invite(one, 7, device(1))).await.unwrap();
    for number in [7, 1] {
        let refused = store.create_invite(invite(one, number, device(1))).await;
        assert!(matches!(refused, Err(CreateInviteError::IdTaken)), "{refused:?}");
    }
    store.create_invite(invite(two, 7, device(1))).await.expect("another room is another matter");
}

async fn a_room_has_at_most_as_many_invites_as_allowed(store: Store) {
    let store = store.with_quotas(Quotas { invites_per_room_max: 2, ..Quotas::default() });
    let room = room_of(&store, 1, &[device(1)]).await;
    store.create_invite(expired(invite(room, 6, device(1)))).await.unwrap();
    store.create_invite(invite(room, 7, device(1))).await.unwrap();
    store.create_invite(invite(room, 8, device(1))).await.expect("an expired one does not count");
    let refused = store.create_invite(invite(room, 9, device(1))).await;
    assert!(matches!(refused, Err(CreateInviteError::TooManyInvites)), "{refused:?}");
    store.delete_invite(room, GrantId(id(7))).await.unwrap();
    store.create_invite(invite(room, 9, device(1))).await.expect("there is a place again");
}

async fn a_secret_is_replaced_only_under_the_pepper_that_was_read(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let grant = GrantId(id(1));
    assert!(store.replace_grant_secret(room, grant, 1, &secret(2)).await.unwrap());
    assert!(!store.replace_grant_secret(room, grant, 1, &secret(3)).await.unwrap(), "another was first");
    assert!(!store.replace_grant_secret(room, GrantId(id(9)), 1, &secret(3)).await.unwrap());
    assert_eq!(store.grant(room, grant).await.unwrap().unwrap().secret, secret(2));
}

async fn a_sweep_removes_invites_that_have_been_expired_long_enough(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    for number in 10..15 {
        store.create_invite(expired(invite(room, number, device(1)))).await.unwrap();
    }
    store.create_invite(invite(room, 20, device(1))).await.unwrap();
    assert_eq!(store.sweep().await.unwrap().invites, 0, "a holder is still told that it has expired");
    let strict = store.clone().with_quotas(Quotas { expired_invites_kept: Duration::ZERO, ..Quotas::default() });
    assert_eq!(strict.sweep().await.unwrap().invites, 5);
    assert!(matches!(store.enter(room, GrantId(id(10)), device(2)).await, Err(EnterError::Gone)));
    store.enter(room, GrantId(id(20)), device(2)).await.expect("the others stay");
    store.enter(room, GrantId(id(1)), device(3)).await.expect("and so does the password");
}

async fn expired_invites_do_not_pile_up(store: Store) {
    let quotas = Quotas { invites_per_room_max: 3, expired_invites_kept: Duration::ZERO, ..Quotas::default() };
    let store = store.with_quotas(quotas);
    let room = room_of(&store, 1, &[device(1)]).await;
    for number in 10..40 {
        store.create_invite(expired(invite(room, number, device(1)))).await.unwrap();
    }
    let kept = store.sweep().await.unwrap().invites;
    assert!(kept <= 7, "{kept} were kept");
    store.enter(room, GrantId(id(1)), device(2)).await.expect("the password is no invite");
}

async fn the_recovery_devices_invite_leads_into_a_locked_room_and_nothing_else_does(store: Store) {
    let room = room_of(&store, 1, &[device(1)]).await;
    store.create_invite(invite(room, 7, device(1))).await.unwrap();
    let password = StepEffect::Password { grant: GrantId(id(6)), kdf: 1, secret: secret(1) };
    administer(&store, room, recovery(1), password).await;
    administer(&store, room, device(1), StepEffect::Lock { locked: true }).await;
    store.create_invite(NewInvite { uses_max: Some(1), ..invite(room, 8, recovery(1)) }).await.unwrap();
    for grant in [6, 7] {
        let answer = store.enter(room, GrantId(id(grant)), device(2)).await;
        assert!(matches!(answer, Err(EnterError::Locked)), "{answer:?}");
    }
    assert!(store.enter(room, GrantId(id(8)), device(2)).await.unwrap().new_member);
    let answer = store.enter(room, GrantId(id(8)), device(3)).await;
    assert!(matches!(answer, Err(EnterError::UsedUp)), "{answer:?}");
    assert!(store.room(room).await.unwrap().unwrap().locked);
}
