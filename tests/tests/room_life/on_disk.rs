//! What the other modules try over a store in memory, over the database that people use.

use snug_store::{SqliteOptions, Store};
use snug_tests::node::Node;
use tokio_util::task::TaskTracker;

use super::{messages, moves, removal};

#[tokio::test]
async fn the_database_on_disk_keeps_the_same_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snug.db");
    let store = Store::open_sqlite(&path, SqliteOptions::default(), &TaskTracker::new()).await.expect("a database");
    let node = Node::over(store, &[]).await;
    messages::deletion(&node).await;
    messages::erase_step(&node).await;
    removal::removal(&node).await;
    removal::exact_epoch(&node).await;
    moves::meeting(&node).await;
    node.stop().await;
}
