//! What a roster promises.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use snug_bus::{Departure, Stand};
use snug_protocol::{DeviceId, RoomId};
use tokio::time::Instant;

use crate::fixture::{LEASE, Node, device, eventually, over_every_backend, room};

over_every_backend!(
    a_device_comes_with_its_first_node_and_goes_with_its_last(2),
    who_is_not_there_cannot_leave(1),
    some_are_listed_and_all_are_counted(1),
    who_is_expelled_is_there_by_no_node(2),
    a_lease_begins_with_its_first_renewal(1),
    a_node_that_stops_in_order_takes_its_devices_with_it(2),
    the_devices_of_a_dead_node_depart_once(4),
    a_dead_node_is_buried_in_all_its_rooms(2),
    who_renews_is_not_buried(2),
    a_node_that_was_thought_dead_comes_back(2),
);

const fn stand(changed: bool, here_count: u32) -> Stand {
    Stand { changed, here_count }
}

impl Node {
    async fn enter(&self, room: RoomId, device: DeviceId) -> Stand {
        self.roster().enter(self.id, room, device).await.expect("it is noted")
    }

    async fn leave(&self, room: RoomId, device: DeviceId) -> Stand {
        self.roster().leave(self.id, room, device).await.expect("it is noted")
    }

    async fn here(&self, room: RoomId) -> BTreeSet<DeviceId> {
        let (listed, count) = self.roster().here(room, 1_000).await.expect("it is told");
        assert_eq!(listed.len(), usize::try_from(count).expect("it fits"));
        listed.into_iter().collect()
    }

    async fn renew(&self) -> bool {
        self.roster().renew(self.id).await.expect("it is renewed")
    }
}

/// Lets all of `living` look for the dead until somebody finds one.
async fn bury(living: &[Node]) -> Vec<Departure> {
    eventually("a burial", async || {
        let found = join_all(living.iter().map(async |node| {
            node.renew().await;
            node.roster().bury().await.expect("it is told")
        }));
        Some(found.await.concat()).filter(|departures| !departures.is_empty())
    })
    .await
}

async fn a_device_comes_with_its_first_node_and_goes_with_its_last(nodes: Vec<Node>) {
    let (room, who) = (room(), device());
    assert_eq!(nodes[0].enter(room, who).await, stand(true, 1));
    assert_eq!(nodes[0].enter(room, who).await, stand(false, 1));
    assert_eq!(nodes[1].enter(room, who).await, stand(false, 1));
    assert_eq!(nodes[1].enter(room, device()).await, stand(true, 2));
    assert_eq!(nodes[0].leave(room, who).await, stand(false, 2));
    assert_eq!(nodes[0].leave(room, who).await, stand(false, 2));
    assert_eq!(nodes[1].leave(room, who).await, stand(true, 1));
    assert_eq!(nodes[1].leave(room, who).await, stand(false, 1));
}

async fn who_is_not_there_cannot_leave(nodes: Vec<Node>) {
    let room = room();
    assert_eq!(nodes[0].leave(room, device()).await, stand(false, 0));
    assert_eq!(nodes[0].roster().expel(room, device()).await.expect("it is told"), stand(false, 0));
    assert!(nodes[0].here(room).await.is_empty());
}

async fn some_are_listed_and_all_are_counted(nodes: Vec<Node>) {
    let (room, devices): (_, BTreeSet<DeviceId>) = (room(), (0..30).map(|_| device()).collect());
    for device in &devices {
        nodes[0].enter(room, *device).await;
    }
    let (listed, count) = nodes[0].roster().here(room, 10).await.expect("it is told");
    assert_eq!((listed.len(), count), (10, 30));
    assert!(listed.iter().collect::<BTreeSet<_>>().len() == 10 && listed.iter().all(|device| devices.contains(device)));
    assert_eq!(nodes[0].here(room).await, devices);
    assert_eq!(nodes[0].roster().here(room, 0).await.expect("it is told"), (Vec::new(), 30));
}

async fn who_is_expelled_is_there_by_no_node(nodes: Vec<Node>) {
    let (room, who) = (room(), device());
    for node in &nodes {
        node.enter(room, who).await;
    }
    assert_eq!(nodes[1].roster().expel(room, who).await.expect("it is noted"), stand(true, 0));
    assert_eq!(nodes[0].leave(room, who).await, stand(false, 0));
    assert_eq!(nodes[0].enter(room, who).await, stand(true, 1));
}

async fn a_lease_begins_with_its_first_renewal(nodes: Vec<Node>) {
    assert!(!nodes[0].renew().await);
    assert!(nodes[0].renew().await);
}

async fn a_node_that_stops_in_order_takes_its_devices_with_it(nodes: Vec<Node>) {
    let (room, [one, other]) = (room(), [device(), device()]);
    nodes[0].renew().await;
    for device in [one, other] {
        nodes[0].enter(room, device).await;
    }
    nodes[1].enter(room, other).await;
    let departures = nodes[0].roster().resign(nodes[0].id).await.expect("it is noted");
    assert_eq!(departures, [Departure { room, device: one, here_count: 1 }]);
    assert_eq!(nodes[1].here(room).await, BTreeSet::from([other]));
    assert!(!nodes[0].renew().await, "its lease has ended");
}

async fn the_devices_of_a_dead_node_depart_once(mut nodes: Vec<Node>) {
    let (room, [one, other]) = (room(), [device(), device()]);
    let dead = nodes.remove(0);
    dead.renew().await;
    for device in [one, other] {
        dead.enter(room, device).await;
    }
    nodes[0].renew().await;
    nodes[0].enter(room, other).await;
    assert_eq!(bury(&nodes).await, [Departure { room, device: one, here_count: 1 }]);
    for node in &nodes {
        assert_eq!(node.roster().bury().await.expect("it is told"), []);
        assert_eq!(node.here(room).await, BTreeSet::from([other]));
    }
}

async fn a_dead_node_is_buried_in_all_its_rooms(mut nodes: Vec<Node>) {
    let (rooms, who): (BTreeSet<RoomId>, _) = ((0..150).map(|_| room()).collect(), device());
    let dead = nodes.remove(0);
    for room in &rooms {
        dead.enter(*room, who).await;
    }
    dead.renew().await;
    // Entries from before a first renewal are not lost sight of either.
    for room in &rooms {
        dead.enter(*room, who).await;
    }
    let mut gone = BTreeSet::new();
    while gone.len() < rooms.len() {
        for departure in bury(&nodes).await {
            assert_eq!((departure.device, departure.here_count), (who, 0));
            assert!(gone.insert(departure.room), "each departs once");
        }
    }
    assert_eq!(gone, rooms);
}

async fn who_renews_is_not_buried(nodes: Vec<Node>) {
    let (room, who) = (room(), device());
    nodes[0].renew().await;
    nodes[0].enter(room, who).await;
    let until = Instant::now() + LEASE * 2;
    while Instant::now() < until {
        assert!(nodes[0].renew().await);
        assert_eq!(nodes[1].roster().bury().await.expect("it is told"), []);
        tokio::time::sleep(LEASE / 20).await;
    }
    assert_eq!(nodes[1].here(room).await, BTreeSet::from([who]));
}

async fn a_node_that_was_thought_dead_comes_back(mut nodes: Vec<Node>) {
    let (room, who, paused) = (room(), device(), nodes.remove(0));
    paused.renew().await;
    paused.enter(room, who).await;
    assert_eq!(bury(&nodes).await, [Departure { room, device: who, here_count: 0 }]);
    assert!(!paused.renew().await, "it must write its entries again");
    assert_eq!(paused.enter(room, who).await, stand(true, 1));
    assert!(paused.renew().await);
    assert_eq!(nodes[0].roster().bury().await.expect("it is told"), []);
    assert_eq!(paused.leave(room, who).await, stand(true, 0));
}
