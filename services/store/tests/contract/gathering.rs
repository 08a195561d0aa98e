//! Commits on a node that has more to do than it has time for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use snug_store::Store;
use tokio_util::task::TaskTracker;

use crate::fixture::{Behind, Instance, behind, device, new_room, room_of};

behind![on_a_strained_node_messages_that_follow_others_go_together_and_nothing_else_waits];

/// Long enough for all that the test does meanwhile, which takes milliseconds.
const GATHERS: Duration = Duration::from_secs(3);
const MESSAGES: u32 = 5;

async fn on_a_strained_node_messages_that_follow_others_go_together_and_nothing_else_waits(store: Store, _: Behind) {
    let room = room_of(&store, 1, &[device(1)]).await;
    let batches = || store.metrics().batches.read().count();
    store.gather(GATHERS);
    Instance::new(room, device(1), 0).say(&store).await;
    assert_eq!(batches(), 1, "the first waits for nobody");
    let (tasks, are_committed) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
    for instance in 1..=MESSAGES {
        let (sends, are_committed) = (store.clone(), Arc::clone(&are_committed));
        let message = Instance::new(room, device(1), instance).message();
        tasks.spawn(async move {
            sends.append(message).await.expect("it is appended");
            are_committed.store(true, Ordering::Relaxed);
        });
        // Apart from each other: without gathering each would be committed by itself.
        store.enter(room, new_room(1, device(1)).grant, device(1 + instance)).await.expect("it enters");
    }
    assert!(!are_committed.load(Ordering::Relaxed), "others enter while the messages wait");
    tasks.close();
    tasks.wait().await;
    assert_eq!(batches(), 2);
    store.gather(Duration::ZERO);
    Instance::new(room, device(1), MESSAGES + 1).say(&store).await;
}
