//! All sessions of this node: how many there are, of whom, and how to reach them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snug_bus::{Bus, BusEvent};
use snug_protocol::DeviceId;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::limit::subject;
use crate::room::Wake;

struct Row {
    device: DeviceId,
    address: IpAddr,
    wake: Arc<Wake>,
}

#[derive(Default)]
struct Rows {
    by_id: HashMap<u64, Row>,
    of_device: HashMap<DeviceId, usize>,
    of_address: HashMap<IpAddr, usize>,
}

fn one_less<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => {
            counts.remove(key);
        }
        None => {}
    }
}

impl Rows {
    fn insert(&mut self, id: u64, row: Row) {
        *self.of_device.entry(row.device).or_default() += 1;
        *self.of_address.entry(row.address).or_default() += 1;
        self.by_id.insert(id, row);
    }

    fn remove(&mut self, id: u64) {
        if let Some(row) = self.by_id.remove(&id) {
            one_less(&mut self.of_device, &row.device);
            one_less(&mut self.of_address, &row.address);
        }
    }
}

struct Shared {
    rows: Mutex<Rows>,
    next: AtomicU64,
    limits: Limits,
    tasks: TaskTracker,
    emptied: Notify,
}

/// The table. Cheap to clone.
#[derive(Clone)]
pub struct SessionTable {
    shared: Arc<Shared>,
}

/// A session's row; it goes with this guard.
pub struct Admission {
    table: SessionTable,
    id: u64,
    wake: Arc<Wake>,
}

impl Admission {
    /// The session's bell.
    #[must_use]
    pub fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let left = {
            let mut rows = self.table.rows();
            rows.remove(self.id);
            rows.by_id.len()
        };
        if left == 0 {
            self.table.shared.emptied.notify_waiters();
        }
    }
}

impl SessionTable {
    /// An empty table, and the task that hears of revoked tokens.
    #[must_use]
    pub fn start(limits: Limits, bus: &dyn Bus, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let shared = Shared { rows: Mutex::default(), next: AtomicU64::new(0), limits, tasks, emptied: Notify::new() };
        let table = Self { shared: Arc::new(shared) };
        table.shared.tasks.spawn(table.clone().run(bus.events(), stop));
        table
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.shared.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's tasks, for work that outlives a session.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.shared.tasks
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows().by_id.len()
    }

    /// A place for one more session; `None` when the node, the address or the device has as many as it may.
    #[must_use]
    pub fn admit(&self, device: DeviceId, address: IpAddr) -> Option<Admission> {
        let (address, limits) = (subject(address), &self.shared.limits);
        let mut rows = self.rows();
        let full = rows.by_id.len() >= limits.sockets_max
            || rows.of_device.get(&device).is_some_and(|count| *count >= limits.sockets_per_device)
            || rows.of_address.get(&address).is_some_and(|count| *count >= limits.sockets_per_address);
        if full {
            return None;
        }
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let wake = Arc::<Wake>::default();
        rows.insert(id, Row { device, address, wake: Arc::clone(&wake) });
        drop(rows);
        Some(Admission { table: self.clone(), id, wake })
    }

    /// Waits until there is no session. Cancel-safe.
    pub async fn empty(&self) {
        loop {
            let changed = self.shared.emptied.notified();
            if self.count() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Tells every session to move to another node.
    pub fn tell_to_move(&self) {
        for row in self.rows().by_id.values() {
            row.wake.tell_to_move();
        }
    }

    fn recheck_tokens(&self, device: Option<DeviceId>) {
        for row in self.rows().by_id.values() {
            if device.is_none_or(|device| device == row.device) {
                row.wake.recheck_token();
            }
        }
    }

    async fn run(self, mut events: tokio::sync::broadcast::Receiver<BusEvent>, stop: CancellationToken) {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(BusEvent::Token { device }) => self.recheck_tokens(Some(device)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.recheck_tokens(None),
                Err(RecvError::Closed) => return,
            }
        }
    }
}
