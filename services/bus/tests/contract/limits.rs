//! What shared limits promise. There is no local implementation: a node that is alone has its own.

use std::time::Duration;

use futures_util::future::join_all;
use snug_bus::SharedBucket;

use crate::fixture::{Node, random, redis_nodes};

fn bucket(name: &str, burst: f64, per_second: f64) -> SharedBucket {
    SharedBucket { name: name.to_owned(), burst, per_second }
}

fn subject() -> String {
    format!("subject {:016x}", u64::from_be_bytes(random()))
}

impl Node {
    /// `None`: charged; else how long to wait.
    async fn charge(&self, subject: &str, buckets: &[SharedBucket]) -> Option<Duration> {
        self.limits().charge(subject, buckets).await.expect("Redis answers").err()
    }

    async fn refund(&self, subject: &str, buckets: &[SharedBucket]) {
        self.limits().refund(subject, buckets).await.expect("Redis answers");
    }
}

#[tokio::test]
async fn a_bucket_holds_its_burst_and_then_says_how_long_to_wait() {
    let (nodes, subject) = (redis_nodes(1).await, subject());
    let buckets = [bucket("joins", 3.0, 0.5)];
    for _ in 0..3 {
        assert_eq!(nodes[0].charge(&subject, &buckets).await, None);
    }
    let wait = nodes[0].charge(&subject, &buckets).await.expect("it is empty");
    assert!(wait > Duration::from_millis(1_000) && wait <= Duration::from_secs(2), "{wait:?}");
}

#[tokio::test]
async fn a_charge_succeeds_after_exactly_the_wait() {
    let (nodes, subject) = (redis_nodes(1).await, subject());
    let buckets = [bucket("joins", 1.0, 3.0)];
    assert_eq!(nodes[0].charge(&subject, &buckets).await, None);
    for _ in 0..3 {
        let wait = nodes[0].charge(&subject, &buckets).await.expect("it is empty");
        tokio::time::sleep(wait).await;
        assert_eq!(nodes[0].charge(&subject, &buckets).await, None);
    }
}

#[tokio::test]
async fn all_buckets_are_charged_or_none() {
    let (nodes, subject) = (redis_nodes(1).await, subject());
    let (wide, narrow) = (bucket("wide", 3.0, 0.001), bucket("narrow", 1.0, 0.001));
    assert_eq!(nodes[0].charge(&subject, &[wide.clone(), narrow.clone()]).await, None);
    for _ in 0..5 {
        assert!(nodes[0].charge(&subject, &[wide.clone(), narrow.clone()]).await.is_some());
    }
    assert_eq!(nodes[0].charge(&subject, std::slice::from_ref(&wide)).await, None);
    assert_eq!(nodes[0].charge(&subject, std::slice::from_ref(&wide)).await, None);
    assert!(nodes[0].charge(&subject, &[wide]).await.is_some());
}

#[tokio::test]
async fn a_refund_is_good_for_one_more_and_fills_no_further() {
    let (nodes, subject) = (redis_nodes(1).await, subject());
    let buckets = [bucket("joins", 2.0, 0.001)];
    for _ in 0..2 {
        assert_eq!(nodes[0].charge(&subject, &buckets).await, None);
    }
    nodes[0].refund(&subject, &buckets).await;
    assert_eq!(nodes[0].charge(&subject, &buckets).await, None);
    assert!(nodes[0].charge(&subject, &buckets).await.is_some());
    for _ in 0..5 {
        nodes[0].refund(&subject, &buckets).await;
    }
    for _ in 0..2 {
        assert_eq!(nodes[0].charge(&subject, &buckets).await, None);
    }
    assert!(nodes[0].charge(&subject, &buckets).await.is_some());
}

#[tokio::test]
async fn nodes_together_get_no_more_than_one_alone() {
    let (nodes, subject) = (redis_nodes(3).await, subject());
    let buckets = [bucket("joins", 10.0, 0.001)];
    let charges = (0..60).map(|at| nodes[at % 3].charge(&subject, &buckets));
    let charged = join_all(charges).await.into_iter().filter(Option::is_none).count();
    assert_eq!(charged, 10);
}

#[tokio::test]
async fn subjects_do_not_meet() {
    let nodes = redis_nodes(1).await;
    let buckets = [bucket("joins", 1.0, 0.001)];
    for subject in ["one", "other", "with {braces} and spaces", "{}"] {
        assert_eq!(nodes[0].charge(subject, &buckets).await, None, "{subject}");
        assert!(nodes[0].charge(subject, &buckets).await.is_some(), "{subject}");
    }
}

#[tokio::test]
async fn what_never_refills_is_waited_for_no_longer_than_a_day() {
    let (nodes, subject) = (redis_nodes(1).await, subject());
    let buckets = [bucket("joins", 1.0, 0.0)];
    assert_eq!(nodes[0].charge(&subject, &buckets).await, None);
    assert_eq!(nodes[0].charge(&subject, &buckets).await, Some(Duration::from_secs(24 * 3600)));
}
