//! The bus between the simulated nodes: it keeps a publisher's order in a room and nothing else. It delays, drops and repeats; a node can
//! be away from it and know it, or be deaf and not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use snug_bus::{Bus, BusError, BusEvent, BusHealth, Listener, Listeners, Listening};
use snug_protocol::RoomId;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::TaskTracker;

use crate::dice::Dice;
use crate::journal::Journal;

/// How a node stands to the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Connected,
    /// Nothing gets through, and the node knows.
    Away,
    /// Nothing reaches the node, and it does not know.
    Deaf,
}

struct Port {
    listeners: Arc<Listeners>,
    /// Followed; each with the number of the following, so that an older unfollowing does not end it.
    wanted: BTreeMap<RoomId, u64>,
    /// Followed, and not confirmed.
    unconfirmed: BTreeSet<RoomId>,
    reach: Reach,
    /// When the last event of a publisher and room is to arrive.
    lanes: BTreeMap<(usize, Option<RoomId>), Instant>,
}

/// How the bus fares at present: one event in so many is lost, or comes twice; 0: none.
#[derive(Default)]
pub struct Weather {
    pub lost_one_in: AtomicUsize,
    pub twice_one_in: AtomicUsize,
    /// One following in so many is not confirmed at first.
    pub unconfirmed_one_in: AtomicUsize,
    /// The longest way of an event, milliseconds.
    pub way_ms_max: AtomicUsize,
}

pub struct Fabric {
    ports: Mutex<BTreeMap<usize, Port>>,
    pub weather: Weather,
    dice: Dice,
    journal: Arc<Journal>,
    tasks: TaskTracker,
    /// One event in so many is lost with others, and the node told so, as where more comes than it takes; 0: none.
    overrun_one_in: usize,
}

const fn room_of(event: &BusEvent) -> Option<RoomId> {
    match event {
        BusEvent::Hint { room, .. } | BusEvent::Access { room, .. } | BusEvent::Ephemeral { room, .. } => Some(*room),
        BusEvent::Token { .. } | BusEvent::Checked => None,
        BusEvent::Missed { room } => *room,
    }
}

impl Fabric {
    pub fn new(seed: u64, journal: Arc<Journal>, tasks: TaskTracker) -> Self {
        let dice = Dice::of(seed, "bus");
        let overrun_one_in = if dice.one_in(4) { 50 } else { 0 };
        let weather = Weather::default();
        weather.way_ms_max.store(20, Ordering::Relaxed);
        weather.unconfirmed_one_in.store(20, Ordering::Relaxed);
        Self { ports: Mutex::default(), weather, dice, journal, tasks, overrun_one_in }
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<usize, Port>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's end.
    pub fn join(self: &Arc<Self>, node: usize) -> Arc<SimBus> {
        let listeners = Arc::<Listeners>::default();
        let (wanted, unconfirmed, lanes) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let port = Port { listeners: Arc::clone(&listeners), wanted, unconfirmed, reach: Reach::Connected, lanes };
        self.ports().insert(node, port);
        Arc::new(SimBus { node, fabric: Arc::clone(self), listeners })
    }

    /// The node is dead.
    pub fn part(&self, node: usize) {
        self.ports().remove(&node);
    }

    /// Whether the node is connected, as far as it knows; `None`: it is dead.
    pub fn reach(&self, node: usize) -> Option<Reach> {
        self.ports().get(&node).map(|port| port.reach)
    }

    /// Changes how a node stands. When it can hear again it is told that it may have missed something.
    pub fn set_reach(&self, node: usize, reach: Reach) {
        let mut ports = self.ports();
        let Some(port) = ports.get_mut(&node) else { return };
        port.reach = reach;
        if reach == Reach::Connected {
            port.unconfirmed.clear();
            let listeners = Arc::clone(&port.listeners);
            drop(ports);
            listeners.tell(&BusEvent::Missed { room: None });
        }
    }

    fn carry(self: &Arc<Self>, publisher: usize, event: &BusEvent) {
        let (room, now, mut ports) = (room_of(event), Instant::now(), self.ports());
        let lost_one_in = self.weather.lost_one_in.load(Ordering::Relaxed);
        let way_ms_max = self.weather.way_ms_max.load(Ordering::Relaxed);
        for (node, port) in &mut *ports {
            if room.is_some_and(|room| !port.wanted.contains_key(&room) || port.unconfirmed.contains(&room)) {
                continue;
            }
            if self.dice.one_in(lost_one_in) {
                self.journal.tally("event lost");
                continue;
            }
            let lane = port.lanes.entry((publisher, room)).or_insert(now);
            *lane = (now + self.dice.ms(1, way_ms_max.max(2))).max(*lane + Duration::from_millis(1));
            self.deliver(*node, event.clone(), *lane);
            if self.dice.one_in(self.weather.twice_one_in.load(Ordering::Relaxed)) {
                self.journal.tally("event twice");
                self.deliver(*node, event.clone(), *lane + self.dice.ms(1, 3000));
            }
        }
    }

    fn deliver(self: &Arc<Self>, node: usize, event: BusEvent, at: Instant) {
        let fabric = Arc::clone(self);
        self.tasks.spawn(async move {
            sleep_until(at).await;
            let listeners = fabric.listeners(node);
            let Some(listeners) = listeners else { return fabric.journal.tally("event not heard") };
            if fabric.dice.one_in(fabric.overrun_one_in) {
                fabric.journal.tally("node overrun");
                listeners.tell(&BusEvent::Missed { room: None });
            } else {
                listeners.tell(&event);
            }
        });
    }

    /// Who is to hear of events at a node, if it is there and hears.
    fn listeners(&self, node: usize) -> Option<Arc<Listeners>> {
        let ports = self.ports();
        ports.get(&node).filter(|port| port.reach == Reach::Connected).map(|port| Arc::clone(&port.listeners))
    }

    /// A following that was not confirmed is, after a while.
    fn confirm_later(self: &Arc<Self>, node: usize, room: RoomId) {
        let (fabric, wait) = (Arc::clone(self), self.dice.ms(200, 4000));
        self.tasks.spawn(async move {
            sleep(wait).await;
            let Some(listeners) = fabric.listeners(node) else { return };
            if fabric.ports().get_mut(&node).is_some_and(|port| port.unconfirmed.remove(&room)) {
                listeners.tell(&BusEvent::Missed { room: Some(room) });
            }
        });
    }
}

/// One node's end of the bus.
pub struct SimBus {
    node: usize,
    fabric: Arc<Fabric>,
    listeners: Arc<Listeners>,
}

#[async_trait]
impl Bus for SimBus {
    fn publish(&self, event: BusEvent) -> Result<(), BusError> {
        if matches!(event, BusEvent::Missed { .. } | BusEvent::Checked) {
            return Ok(());
        }
        let reach = self.fabric.reach(self.node);
        // At once: the order of calls is the order of a room's events.
        if matches!(reach, Some(Reach::Connected | Reach::Deaf)) {
            self.fabric.carry(self.node, &event);
        }
        match reach {
            Some(Reach::Connected | Reach::Deaf) => Ok(()),
            Some(Reach::Away) | None => Err(BusError::Unavailable),
        }
    }

    async fn follow(&self, room: RoomId) -> Result<(), BusError> {
        {
            let mut ports = self.fabric.ports();
            let Some(port) = ports.get_mut(&self.node) else { return Err(BusError::Unavailable) };
            *port.wanted.entry(room).or_default() += 1;
            port.unconfirmed.insert(room);
        }
        sleep(self.fabric.dice.ms(1, 30)).await;
        let unlucky = self.fabric.dice.one_in(self.fabric.weather.unconfirmed_one_in.load(Ordering::Relaxed));
        {
            let mut ports = self.fabric.ports();
            let port = ports.get_mut(&self.node);
            let Some(port) = port.filter(|port| port.reach != Reach::Away && !unlucky) else {
                drop(ports);
                self.fabric.journal.tally("following unconfirmed");
                self.fabric.confirm_later(self.node, room);
                return Err(BusError::Unavailable);
            };
            port.unconfirmed.remove(&room);
        }
        Ok(())
    }

    async fn unfollow(&self, room: RoomId) {
        let following = self.fabric.ports().get(&self.node).and_then(|port| port.wanted.get(&room).copied());
        sleep(self.fabric.dice.ms(1, 30)).await;
        let mut ports = self.fabric.ports();
        let Some(port) = ports.get_mut(&self.node) else { return };
        // A following that has begun since goes on.
        if port.wanted.get(&room).copied() == following {
            port.wanted.remove(&room);
        }
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Listening {
        self.listeners.add(listener)
    }

    fn name(&self) -> &'static str {
        "simulated"
    }

    fn health(&self) -> BusHealth {
        match self.fabric.reach(self.node) {
            Some(Reach::Connected | Reach::Deaf) => BusHealth::Connected,
            Some(Reach::Away) | None => BusHealth::Away,
        }
    }
}
