//! What a node says of itself when something that it depends on is away.

use serde_json::Value;
use snug_bus::Backplane;
use snug_store::Store;
use snug_tests::cluster::{Cluster, ClusterNode};
use snug_tests::http;

async fn report(node: &ClusterNode) -> (u16, Value) {
    let answer = http().get(format!("{}/readyz", node.url)).send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.expect("text")).expect("JSON"))
}

#[tokio::test]
async fn without_its_bus_a_node_is_ready_and_degraded_and_without_its_database_it_is_not_ready() {
    let cluster = Cluster::new();
    let (node, bus) = cluster.node_with_losses(&[]).await;
    let (status, told) = report(&node).await;
    assert_eq!((status, &told["degraded"], &told["dependencies"]["bus"]["ok"]), (200, &false.into(), &true.into()));
    bus.set_away(true);
    let (status, told) = report(&node).await;
    assert_eq!((status, &told["ready"], &told["degraded"]), (200, &true.into(), &true.into()), "{told}");
    assert_eq!(told["dependencies"]["bus"]["shared"], true);
    bus.set_away(false);
    assert_eq!(report(&node).await.1["degraded"], false);
    cluster.store.close().await;
    assert_eq!(report(&node).await.0, 503);
}

#[tokio::test]
async fn a_node_that_shares_no_bus_says_so() {
    let alone = Cluster::over(Store::memory(), Backplane::local());
    let (_, told) = report(&alone.node(&[]).await).await;
    let bus = &told["dependencies"]["bus"];
    assert_eq!((bus["kind"].as_str(), bus["shared"].as_bool()), (Some("local"), Some(false)));
}
