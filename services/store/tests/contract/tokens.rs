//! Access tokens.

use std::time::Duration;

use snug_store::Store;

use crate::fixture::{contract, device, room_of};

const IDLE: Duration = Duration::from_secs(7 * 24 * 3600);
const ABSOLUTE: Duration = Duration::from_secs(30 * 24 * 3600);

contract![
    a_token_names_its_device_until_it_is_revoked,
    an_expired_token_is_unknown,
    a_devices_tokens_are_independent,
    revoking_a_token_raises_the_access_version_of_its_devices_rooms,
    a_sweep_removes_expired_tokens_and_no_others,
];

async fn a_token_names_its_device_until_it_is_revoked(store: Store) {
    let device = device(1).device;
    let issued = store.issue_token([1; 32], device, IDLE, ABSOLUTE).await.unwrap();
    assert_eq!(issued.device, device);
    let found = store.token([1; 32]).await.unwrap().expect("it is known");
    assert_eq!((found.device, found.expires_at_ms), (device, issued.expires_at_ms), "one use does not move its end");
    assert_eq!(store.token([2; 32]).await.unwrap(), None);
    assert_eq!(store.revoke_token([1; 32]).await.unwrap(), Some(device));
    assert_eq!(store.token([1; 32]).await.unwrap(), None);
    assert_eq!(store.revoke_token([1; 32]).await.unwrap(), None);
}

async fn an_expired_token_is_unknown(store: Store) {
    let device = device(1).device;
    for (hash, idle, absolute) in [([1; 32], Duration::ZERO, ABSOLUTE), ([2; 32], IDLE, Duration::ZERO)] {
        store.issue_token(hash, device, idle, absolute).await.unwrap();
        assert_eq!(store.token(hash).await.unwrap(), None);
    }
}

async fn a_devices_tokens_are_independent(store: Store) {
    let device = device(1).device;
    for hash in [[1; 32], [2; 32]] {
        store.issue_token(hash, device, IDLE, ABSOLUTE).await.unwrap();
    }
    store.revoke_token([1; 32]).await.unwrap();
    assert!(store.token([2; 32]).await.unwrap().is_some());
}

async fn revoking_a_token_raises_the_access_version_of_its_devices_rooms(store: Store) {
    let own = room_of(&store, 1, &[device(1), device(2)]).await;
    let other = room_of(&store, 2, &[device(2)]).await;
    store.issue_token([1; 32], device(1).device, IDLE, ABSOLUTE).await.unwrap();
    let before = [store.room(own).await.unwrap().unwrap(), store.room(other).await.unwrap().unwrap()];
    store.revoke_token([1; 32]).await.unwrap();
    let after = [store.room(own).await.unwrap().unwrap(), store.room(other).await.unwrap().unwrap()];
    assert_eq!(after[0].access_version, before[0].access_version + 1);
    assert_eq!(after[1], before[1]);
}

async fn a_sweep_removes_expired_tokens_and_no_others(store: Store) {
    for n in 0..5 {
        store.issue_token([n; 32], device(1).device, Duration::ZERO, ABSOLUTE).await.unwrap();
    }
    store.issue_token([9; 32], device(1).device, IDLE, ABSOLUTE).await.unwrap();
    assert_eq!(store.sweep().await.unwrap().tokens, 5);
    assert_eq!(store.sweep().await.unwrap().tokens, 0);
    assert!(store.token([9; 32]).await.unwrap().is_some());
}
