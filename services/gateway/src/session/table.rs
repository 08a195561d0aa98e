//! All sessions of this node: how many there are, of whom, and how to reach them.
//!
//! What concerns all of them is spread over time: tens of thousands that ask the database, or come back to another node, at one moment
//! would be a storm of our own making.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use snug_bus::{BusEvent, Listener};
use snug_protocol::DeviceId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SessionCounters;
use crate::config::Limits;
use crate::limit::subject;
use crate::room::{News, Wake};

/// Sessions that are told to check their tokens at one time, when all are.
const RECHECKS_AT_ONCE: usize = 100;
/// From those to the next: 2,000 sessions a second.
const RECHECKS_EVERY: Duration = Duration::from_millis(50);
/// In so many steps sessions are told to move.
const MOVE_STEPS: usize = 50;

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
    /// Every session's token is to be checked.
    recheck_all: Notify,
    /// When all sockets close, once that is known.
    closes_at: OnceLock<Instant>,
    counters: SessionCounters,
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
    /// An empty table, and its task, which has all tokens checked when news of revoked ones may have been lost. It is to hear the bus's
    /// events.
    #[must_use]
    pub fn start(limits: Limits, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let shared = Shared {
            rows: Mutex::default(),
            next: AtomicU64::new(0),
            limits,
            tasks,
            emptied: Notify::new(),
            recheck_all: Notify::new(),
            closes_at: OnceLock::new(),
            counters: SessionCounters::default(),
        };
        let table = Self { shared: Arc::new(shared) };
        table.shared.tasks.spawn(table.clone().run_rechecks(stop));
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

    /// What all sessions have done.
    #[must_use]
    pub fn counters(&self) -> &SessionCounters {
        &self.shared.counters
    }

    /// How many sessions there may be.
    #[must_use]
    pub fn count_max(&self) -> usize {
        self.shared.limits.sockets_max
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows().by_id.len()
    }

    /// A place for one more session; `None` when the node, the address or the device has as many as it may.
    #[must_use]
    pub fn admit(&self, device: DeviceId, address: IpAddr) -> Option<Admission> {
        self.shared.counters.admissions.count(self.try_admit(device, address).ok_or(())).ok()
    }

    fn try_admit(&self, device: DeviceId, address: IpAddr) -> Option<Admission> {
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

    /// Has every session end. One that is admitted from now on must find this out by itself.
    pub fn close_all(&self) {
        self.rows().by_id.values().for_each(|row| row.wake.tell(News::CLOSE));
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

    /// Whether sessions are told to move, so that none may begin.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.shared.closes_at.get().is_some()
    }

    /// How long until sockets close; 0 when nobody knows.
    #[must_use]
    pub fn closes_in(&self) -> Duration {
        self.shared.closes_at.get().map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Tells every session to move to another node before `closes_at`, in no order and spread over the first half of that time.
    pub async fn tell_to_move(&self, closes_at: Instant) {
        let _ = self.shared.closes_at.set(closes_at);
        let wakes: Vec<Arc<Wake>> = self.rows().by_id.values().map(|row| Arc::clone(&row.wake)).collect();
        let pause = closes_at.saturating_duration_since(Instant::now()) / 2 / u32::try_from(MOVE_STEPS).expect("few");
        for (index, wakes) in wakes.chunks(wakes.len().div_ceil(MOVE_STEPS).max(1)).enumerate() {
            if index > 0 {
                sleep(pause).await;
            }
            wakes.iter().for_each(|wake| wake.tell(News::MOVE));
            self.shared.counters.told_to_move.add(wakes.len() as u64);
        }
    }

    /// Has all tokens checked when asked to, a few at a time; once more if asked meanwhile.
    async fn run_rechecks(self, stop: CancellationToken) {
        let all = async {
            loop {
                self.shared.recheck_all.notified().await;
                let wakes: Vec<Arc<Wake>> = self.rows().by_id.values().map(|row| Arc::clone(&row.wake)).collect();
                for wakes in wakes.chunks(RECHECKS_AT_ONCE) {
                    wakes.iter().for_each(|wake| wake.tell(News::TOKEN));
                    sleep(RECHECKS_EVERY).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = all => {}
        }
    }
}

impl Listener for SessionTable {
    fn hear(&self, event: &BusEvent) {
        match event {
            BusEvent::Token { device } => {
                for row in self.rows().by_id.values().filter(|row| row.device == *device) {
                    row.wake.tell(News::TOKEN);
                }
            }
            BusEvent::Missed { room: None } => self.shared.recheck_all.notify_one(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::Parser;

    fn table(sessions: usize) -> (SessionTable, Vec<Admission>) {
        let args = ["snug", "--sockets-per-device=100000", "--sockets-per-address=100000"];
        let limits = Cli::parse_from(args).settings.limits;
        let table = SessionTable::start(limits, TaskTracker::new(), CancellationToken::new());
        let address = IpAddr::from([10, 0, 0, 1]);
        let admissions = (0..sessions).map(|_| table.admit(DeviceId([1; 16]), address).expect("a place")).collect();
        (table, admissions)
    }

    #[tokio::test]
    async fn lost_news_have_every_token_checked_but_not_all_at_one_moment() {
        let (table, admissions) = table(5_000);
        let checked = || admissions.iter().filter(|admission| admission.wake().take().has(News::TOKEN)).count();
        for _ in 0..3 {
            table.hear(&BusEvent::Missed { room: None });
        }
        let began = Instant::now();
        let (mut all, mut most) = (0, 0);
        while all < 5_000 {
            sleep(RECHECKS_EVERY).await;
            let now = checked();
            (all, most) = (all + now, most.max(now));
            assert!(began.elapsed() < Duration::from_secs(60), "{all} in time");
        }
        assert!(most < 5_000, "{most} at one moment");
        assert!(began.elapsed() >= RECHECKS_EVERY * (5_000 / RECHECKS_AT_ONCE - 1) as u32, "{:?}", began.elapsed());
        sleep(RECHECKS_EVERY * 10).await;
        assert_eq!(checked(), 0, "asked for once is checked once");
    }

    #[tokio::test]
    async fn sessions_are_told_to_move_bit_by_bit_and_early_enough() {
        let (table, admissions) = table(1_000);
        let told = || admissions.iter().filter(|admission| admission.wake().take().has(News::MOVE)).count();
        let closes_at = Instant::now() + Duration::from_secs(4);
        let telling = {
            let table = table.clone();
            TaskTracker::new().spawn(async move { table.tell_to_move(closes_at).await })
        };
        while !table.is_moving() {
            sleep(Duration::from_millis(1)).await;
        }
        let first = told();
        assert!(first < 500, "a few at once, not {first}");
        telling.await.expect("no panic");
        assert_eq!(first + told(), 1_000);
        assert!(table.closes_in() >= Duration::from_secs(1), "the last ones have time left");
    }

    #[tokio::test]
    async fn a_single_session_is_told_to_move_at_once() {
        let (table, admissions) = table(1);
        let closes_at = Instant::now() + Duration::from_secs(10);
        table.tell_to_move(closes_at).await;
        assert!(admissions[0].wake().take().has(News::MOVE) && table.closes_in() > Duration::from_secs(5));
    }
}
