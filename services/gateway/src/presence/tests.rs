//! Two nodes' presence over one roster that can be away, and can forget everything.
//!
//! These tests take as long as graces and leases do.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use snug_bus::{BusError, Listening, LocalBus, LocalRoster, Stand};
use tokio::sync::broadcast::{Receiver, Sender};

use super::*;
use crate::events;

const ROOM: RoomId = RoomId([1; 16]);
const ANA: DeviceId = DeviceId([2; 16]);
const BEN: DeviceId = DeviceId([3; 16]);
/// Longer than a grace.
const GRACE_OVER: Duration = Duration::from_secs(11);
/// Long enough for what must happen, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(40);
/// More than a test publishes while it does not look.
const EVENTS_QUEUED_MAX: usize = 8_192;

#[derive(Default)]
struct Flaky {
    roster: StdMutex<Arc<LocalRoster>>,
    away: AtomicBool,
    /// So many resignations are not answered.
    resignations_lost: AtomicU32,
    /// So many questions of who is here are not answered.
    questions_lost: AtomicU32,
}

/// Counts down to 0; whether it was not there yet.
fn one_less(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
}

impl Flaky {
    fn ask(&self) -> Result<Arc<LocalRoster>, BusError> {
        if self.away.load(Ordering::Relaxed) { Err(BusError::Unavailable) } else { Ok(Arc::clone(&lock(&self.roster))) }
    }

    fn forget(&self) {
        *lock(&self.roster) = Arc::default();
    }
}

#[async_trait]
impl Roster for Flaky {
    async fn enter(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.ask()?.enter(node, room, device).await
    }

    async fn leave(&self, node: NodeId, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.ask()?.leave(node, room, device).await
    }

    async fn expel(&self, room: RoomId, device: DeviceId) -> Result<Stand, BusError> {
        self.ask()?.expel(room, device).await
    }

    async fn here(&self, room: RoomId, listed_max: usize) -> Result<(Vec<DeviceId>, u32), BusError> {
        if one_less(&self.questions_lost) {
            return Err(BusError::Unavailable);
        }
        self.ask()?.here(room, listed_max).await
    }

    async fn renew(&self, node: NodeId) -> Result<bool, BusError> {
        self.ask()?.renew(node).await
    }

    async fn bury(&self) -> Result<Vec<Departure>, BusError> {
        self.ask()?.bury().await
    }

    async fn resign(&self, node: NodeId) -> Result<Vec<Departure>, BusError> {
        if one_less(&self.resignations_lost) {
            return Err(BusError::Unavailable);
        }
        self.ask()?.resign(node).await
    }
}

struct Scene {
    here: Presence,
    there: Presence,
    roster: Arc<Flaky>,
    told: Receiver<BusEvent>,
    _listening: Listening,
    _stop: tokio_util::sync::DropGuard,
}

fn scene() -> Scene {
    let (bus, roster, stop) = (Arc::new(LocalBus::new()), Arc::new(Flaky::default()), CancellationToken::new());
    let events = Sender::new(EVENTS_QUEUED_MAX);
    let (told, listening) = (events.subscribe(), bus.listen(Arc::new(events)));
    let backplane = Backplane { bus, roster: Arc::clone(&roster) as Arc<dyn Roster>, limits: None };
    let node = |number| {
        let tasks = TaskTracker::new();
        let presence = Presence::start(NodeId([number; 8]), &backplane, &tasks, &stop);
        events::listen(&*backplane.bus, vec![Arc::new(presence.clone())], &tasks, stop.clone());
        presence
    };
    Scene { here: node(1), there: node(2), roster, told, _listening: listening, _stop: stop.clone().drop_guard() }
}

fn told(device: DeviceId, state: PresenceState, here_count: u32) -> ServerFrame {
    ServerFrame::Presence { room: ROOM, device, state, here_count }
}

fn list(devices: &[DeviceId]) -> ServerFrame {
    let here_count = u32::try_from(devices.len()).expect("few");
    ServerFrame::Here { room: ROOM, here: Some(devices.to_vec()), here_count }
}

impl Scene {
    async fn next(&mut self) -> ServerFrame {
        loop {
            let event = timeout(PATIENCE, self.told.recv()).await.expect("in time").expect("the bus is there");
            if let BusEvent::Ephemeral { frame, .. } = event {
                return serde_json::from_slice(&frame).expect("a frame");
            }
        }
    }

    /// Waits for a list of who is here; what comes before it is passed over.
    async fn next_list(&mut self) -> ServerFrame {
        loop {
            if let frame @ ServerFrame::Here { .. } = self.next().await {
                return frame;
            }
        }
    }

    async fn silence(&mut self, span: Duration) {
        let said = timeout(span, self.next()).await;
        assert!(said.is_err(), "nothing was to be told, but {said:?} was");
    }
}

async fn here(presence: &Presence) -> Vec<DeviceId> {
    let Attendance { here: mut devices, here_count: count, .. } = presence.here(ROOM).await;
    devices.sort_unstable();
    assert_eq!(devices.len(), usize::try_from(count).expect("few"));
    devices
}

#[tokio::test]
async fn a_device_on_two_nodes_is_told_once_and_a_move_between_them_not_at_all() {
    let mut scene = scene();
    let _anas = scene.here.enter(ROOM, ANA);
    assert_eq!(scene.next().await, told(ANA, PresenceState::Here, 1));
    let first = scene.there.enter(ROOM, BEN);
    assert_eq!(scene.next().await, told(BEN, PresenceState::Here, 2));
    assert_eq!((here(&scene.here).await, here(&scene.there).await), (vec![ANA, BEN], vec![ANA, BEN]));
    drop(first);
    let second = scene.here.enter(ROOM, BEN);
    scene.silence(GRACE_OVER).await;
    assert_eq!(here(&scene.there).await, [ANA, BEN]);
    drop(second);
    assert_eq!(scene.next().await, told(BEN, PresenceState::Gone, 1));
    assert_eq!(here(&scene.there).await, [ANA]);
}

#[tokio::test]
async fn who_is_no_member_any_more_is_gone_from_all_nodes_at_once() {
    let mut scene = scene();
    let _here = scene.here.enter(ROOM, BEN);
    assert_eq!(scene.next().await, told(BEN, PresenceState::Here, 1));
    let there = scene.there.enter(ROOM, BEN);
    scene.here.expel(ROOM, BEN);
    // The other node's sessions are told to look, and do the same.
    scene.there.expel(ROOM, BEN);
    drop(there);
    assert_eq!(scene.next().await, told(BEN, PresenceState::Gone, 0));
    assert_eq!(here(&scene.there).await, []);
    let _again = scene.there.enter(ROOM, BEN);
    assert_eq!(scene.next().await, told(BEN, PresenceState::Here, 1));
    scene.silence(GRACE_OVER).await;
}

#[tokio::test]
async fn a_roster_that_forgot_everything_is_written_again_and_those_in_the_room_are_told_how_it_stands() {
    let mut scene = scene();
    let _anas = scene.here.enter(ROOM, ANA);
    scene.next().await;
    let bens = scene.there.enter(ROOM, BEN);
    scene.next().await;
    scene.roster.forget();
    // He leaves while nobody knows that he was there.
    drop(bens);
    loop {
        let frame = scene.next_list().await;
        if frame == list(&[ANA]) {
            break;
        }
        assert_eq!(frame, list(&[ANA, BEN]), "nobody who stayed was ever told to be gone");
    }
    assert_eq!(here(&scene.there).await, [ANA]);
}

#[tokio::test]
async fn a_roster_that_forgot_everything_and_then_fails_is_written_again_all_the_same() {
    let mut scene = scene();
    let _anas = scene.here.enter(ROOM, ANA);
    scene.next().await;
    let _bens = scene.there.enter(ROOM, BEN);
    scene.next().await;
    // The first renewal of each node begins a new lease, and what should follow it fails.
    scene.roster.resignations_lost.store(2, Ordering::Relaxed);
    scene.roster.forget();
    while scene.next_list().await != list(&[ANA, BEN]) {}
    assert_eq!(scene.roster.resignations_lost.load(Ordering::Relaxed), 0);
    assert_eq!((here(&scene.here).await, here(&scene.there).await), (vec![ANA, BEN], vec![ANA, BEN]));
}

#[tokio::test]
async fn how_a_room_stands_is_told_later_if_the_roster_does_not_say() {
    let mut scene = scene();
    let _anas = scene.here.enter(ROOM, ANA);
    scene.next().await;
    scene.roster.questions_lost.store(1, Ordering::Relaxed);
    scene.here.doubt([ROOM]);
    assert_eq!(scene.next_list().await, list(&[ANA]));
    assert_eq!(scene.roster.questions_lost.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn while_the_roster_is_away_a_node_knows_its_own_and_what_changed_is_made_up_for() {
    let mut scene = scene();
    let _anas = scene.here.enter(ROOM, ANA);
    scene.next().await;
    scene.roster.away.store(true, Ordering::Relaxed);
    let _bens = scene.there.enter(ROOM, BEN);
    assert_eq!(scene.next().await, told(BEN, PresenceState::Here, 1), "those on his node see him");
    assert_eq!((here(&scene.here).await, here(&scene.there).await), (vec![ANA], vec![BEN]));
    scene.roster.away.store(false, Ordering::Relaxed);
    assert_eq!(scene.next_list().await, list(&[ANA, BEN]));
    assert_eq!(here(&scene.here).await, [ANA, BEN]);
}

#[tokio::test]
async fn a_node_that_stops_in_order_leaves_the_rest_to_its_lease_if_somebody_may_still_move() {
    let mut scene = scene();
    let bens = scene.there.enter(ROOM, BEN);
    scene.next().await;
    drop(bens);
    scene.there.resign().await;
    let _moved = scene.here.enter(ROOM, BEN);
    scene.silence(Duration::from_secs(1)).await;
    assert_eq!(here(&scene.here).await, [BEN]);
}
