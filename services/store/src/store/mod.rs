//! The handle callers hold. Each call goes to the backend's function of the same name; nothing is decided here.

mod administration;
mod log;
mod member;
mod moving;
mod operating;
mod room;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, RoomId, Seq};
use tokio_util::task::TaskTracker;

use crate::memory::{Gated, MemoryStore};
use crate::postgres::{Postgres, PostgresOptions};
use crate::sqlite::{Sqlite, SqliteOptions};
use crate::{BeforeBatch, Durability, OpenError, Quotas, StoreError, StoreMetrics, Swept, Token};

/// The database. Cheap to clone; all clones are one store.
///
/// Every call but [`Store::append`] may be dropped at any time; a write that was begun is then either done or not. None of them waits
/// for ever: a database that does not answer is `Unavailable`.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    quotas: Quotas,
    metrics: Arc<StoreMetrics>,
}

#[derive(Clone)]
enum Backend {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
    Memory(Gated),
}

/// Calls the same function of whichever backend it is, waits as long as a caller may, and counts.
macro_rules! on {
    ($store:expr, $backend:ident => $call:expr) => {{
        let began = std::time::Instant::now();
        let answer = match &$store.backend {
            crate::store::Backend::Sqlite($backend) => crate::sqlite::answered($call).await,
            crate::store::Backend::Postgres($backend) => crate::postgres::answered($call).await,
            crate::store::Backend::Memory($backend) => crate::store::through!($backend, $call),
        };
        $store.metrics.answered(began, &answer);
        answer
    }};
}
use on;

/// A call to the store in memory, through its caller's gate.
macro_rules! through {
    ($gated:ident, $call:expr) => {{
        $gated.arrive(stringify!($call)).await?;
        let answer = $call;
        $gated.leave(stringify!($call)).await?;
        answer
    }};
}
use through;

impl Store {
    /// Opens the SQLite database at `path`, creating the file (mode 0600 on Unix) and migrating it as needed. Only one process may have
    /// it open. The writer is a task of `tasks`; it ends with [`Store::close`], or when the last clone is dropped.
    ///
    /// # Errors
    /// Why not, in one line for an operator.
    pub async fn open_sqlite(path: &Path, options: SqliteOptions, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let sqlite = Sqlite::open(path, options, tasks).await?;
        let metrics = Arc::clone(sqlite.metrics());
        Ok(Self { backend: Backend::Sqlite(Arc::new(sqlite)), quotas: Quotas::default(), metrics })
    }

    /// Opens the Postgres database at `url` (`postgres://user:password@host:5432/database`, and libpq's `sslmode`, `sslrootcert` and so
    /// on), migrating it as needed. Any number of nodes may have it open. The writers are tasks of `tasks`; they end with
    /// [`Store::close`], or when the last clone is dropped.
    ///
    /// # Errors
    /// Why not, in one line for an operator, within 15 s; only migrations that are under way may take longer.
    pub async fn open_postgres(url: &str, options: PostgresOptions, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let postgres = Postgres::open(url, options, tasks).await?;
        let metrics = Arc::clone(postgres.metrics());
        Ok(Self { backend: Backend::Postgres(Arc::new(postgres)), quotas: Quotas::default(), metrics })
    }

    /// An empty store that lives as long as its clones do. For tests and simulation.
    #[must_use]
    pub fn memory() -> Self {
        MemoryStore::default().store()
    }

    pub(crate) fn over_memory(gated: Gated) -> Self {
        Self { backend: Backend::Memory(gated), quotas: Quotas::default(), metrics: Arc::default() }
    }

    /// This store with other quotas. Clones made before keep theirs.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    /// Refuses new work (`Unavailable`), finishes what has been submitted, and closes the database. Calling it again is allowed.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
            Backend::Memory(memory) => memory.close(),
        }
    }

    /// From now on what is committed together gathers for so long, where messages follow each other closely; nothing is the usual.
    pub fn gather(&self, time: Duration) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.gather(time),
            Backend::Postgres(postgres) => postgres.gather(time),
            Backend::Memory(_) => {}
        }
    }

    /// For who leaves messages to `room` where they are until the commit begins that is to take them: resolves then, and that commit waits,
    /// some milliseconds at most, until what it resolves to is dropped. `None`: nothing that is worth waiting for.
    #[must_use]
    pub fn before_batch(&self, room: RoomId) -> Option<BeforeBatch> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.before_batch(room),
            Backend::Postgres(postgres) => postgres.before_batch(room),
            Backend::Memory(memory) => memory.before_batch(room),
        }
    }

    /// The log of `room` is said to reach `newest`, and to have these entries, one after the other, whoever has written them. Who tells of what
    /// other nodes write spares the next message there a look at the database. It is a hint: what is told late, twice, in part or not at all
    /// costs a look and nothing else, and what is told wrongly lets nobody write who may not.
    pub fn hear(&self, room: RoomId, newest: Seq, entries: &[EntryFrame]) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.hear(room, newest, entries),
            Backend::Postgres(postgres) => postgres.hear(room, newest, entries),
            Backend::Memory(_) => {}
        }
    }

    /// What it has counted.
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// How much work waits for a writer, messages and other writes.
    #[must_use]
    pub fn writes_waiting(&self) -> usize {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.writes_waiting(),
            Backend::Postgres(postgres) => postgres.writes_waiting(),
            Backend::Memory(_) => 0,
        }
    }

    /// What a commit survives, read back from the database's settings at opening.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.durability(),
            Backend::Postgres(postgres) => postgres.durability(),
            Backend::Memory(_) => Durability::Weak,
        }
    }

    /// `sqlite`, `postgres` or `memory`, as logs and metrics call it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.backend {
            Backend::Sqlite(_) => "sqlite",
            Backend::Postgres(_) => "postgres",
            Backend::Memory(_) => "memory",
        }
    }

    /// Whether other nodes may have the same database open.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(&self.backend, Backend::Postgres(_))
    }

    /// Whether the store answers and its writer is alive. A full disk is not an error here: reading goes on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn check(&self) -> Result<(), StoreError> {
        on!(self, backend => backend.check())
    }

    /// The database's time, Unix milliseconds.
    ///
    /// # Errors
    /// The store failed.
    pub async fn now_ms(&self) -> Result<u64, StoreError> {
        on!(self, backend => backend.now_ms())
    }

    /// The peppers this database has been used with: number and check value, by number.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pepper_checks(&self) -> Result<Vec<(u32, [u8; 32])>, StoreError> {
        on!(self, backend => backend.pepper_checks())
    }

    /// Notes that pepper `number` has this check value. A number that has one keeps it: who adds must read back, since another node may
    /// have been first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn add_pepper_check(&self, number: u32, check: [u8; 32]) -> Result<(), StoreError> {
        on!(self, backend => backend.add_pepper_check(number, check))
    }

    /// Notes an access token by its hash. It ends `idle` after its last use, and `absolute` from now at the latest.
    ///
    /// # Errors
    /// The store failed.
    pub async fn issue_token(
        &self,
        hash: [u8; 32],
        device: DeviceId,
        idle: Duration,
        absolute: Duration,
    ) -> Result<Token, StoreError> {
        on!(self, backend => backend.issue_token(hash, device, idle, absolute))
    }

    /// The token with this hash; `None` when unknown or expired. Counts as a use: its idle end moves, which is written at most once an
    /// hour and not waited for.
    ///
    /// # Errors
    /// The store failed. A use that could not be written is not an error.
    pub async fn token(&self, hash: [u8; 32]) -> Result<Option<Token>, StoreError> {
        on!(self, backend => backend.token(hash))
    }

    /// Removes a token and raises the access version of its device's rooms, so that every node looks again. Returns whose it was.
    ///
    /// # Errors
    /// The store failed.
    pub async fn revoke_token(&self, hash: [u8; 32]) -> Result<Option<DeviceId>, StoreError> {
        on!(self, backend => backend.revoke_token(hash))
    }

    /// Removes what has expired: tokens, invites, staged keys and mailboxes; makes tombstones of entries that are older than their room
    /// keeps them; and ends erasures that were cut short. All in batches between which others may write.
    ///
    /// # Errors
    /// The store failed; what was removed before stays removed.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.sweep(&self.quotas).await,
            Backend::Postgres(postgres) => postgres.sweep(&self.quotas).await,
            Backend::Memory(memory) => through!(memory, memory.sweep(&self.quotas)),
        }
    }
}
