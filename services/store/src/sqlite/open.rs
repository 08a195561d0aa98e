//! Opening a database file: lock, file, settings, migrations; and what to tell an operator when that fails.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio_util::task::TaskTracker;

use super::statements::Writer;
use super::{Connection, Pool, Sqlite};
use crate::sql::error::{sqlite as code, sqlite_code};
use crate::{Durability, OpenError, StoreError};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// "SNUG", written into the file's header by the first migration.
const APPLICATION_ID: i64 = 0x534e_5547;
/// How long a statement waits for a lock of a connection that is none of ours, such as a backup's.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// How long a reader waits for one of the readers' connections.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);
/// Pages in the write-ahead log at which a commit also moves them into the database, each once however often it is there: the more, the
/// fewer writes, but the longer that commit. 32 MiB, so that a disk of 3,000 writes a second is done in less than what a message may wait.
const CHECKPOINT_PAGES: u32 = 8192;
/// How long emptying the write-ahead log waits for readers; writers wait as long.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(500);
/// To this size the write-ahead log is cut back after it has been larger, bytes.
const WAL_BYTES_KEPT: u64 = 64 * 1024 * 1024;
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 256;

/// How to open a SQLite database.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The largest the database file may become, bytes; `None` (default): as large as the disk. The write-ahead log comes on top, some
    /// 32 MiB as a rule, more while a backup reads.
    pub bytes_max: Option<u64>,
    /// Connections that read. Default 4.
    pub readers: u32,
    /// Pages kept in memory by each connection that reads, bytes. Default 8 MiB.
    pub reader_cache_bytes: u64,
    /// The same of the connection that writes: all that a large batch changes in hundreds of rooms, or pages would be written to the disk
    /// twice. Default 32 MiB.
    pub writer_cache_bytes: u64,
    /// Bring the schema up to date; else a database that needs it is refused. Default true.
    pub migrate: bool,
    /// A commit is on the disk before it is acknowledged. Default true. Without it a power cut loses acknowledged messages, and the
    /// store says [`Durability::Weak`].
    pub durable: bool,
    /// Open it although a node may have it open, for an operator's question or a short change. Then nothing is created or migrated, and
    /// statements wait for the node's, as its wait for ours. Default false.
    pub beside: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            bytes_max: None,
            readers: 4,
            reader_cache_bytes: 8 * 1024 * 1024,
            writer_cache_bytes: 32 * 1024 * 1024,
            migrate: true,
            durable: true,
            beside: false,
        }
    }
}

/// Opens the writer's connections. Owns the lock that keeps other processes out until the last write is done.
pub(super) struct Opener {
    options: SqliteConnectOptions,
    /// `None`: another process may have it, and leaves the file in order when it ends.
    lock: Option<File>,
}

impl Opener {
    pub async fn connect(&self) -> Result<Connection, sqlx::Error> {
        self.options.connect().await
    }

    /// Closes the last connection, and leaves one file that is whole by itself.
    pub async fn finish(&self, mut connection: Connection) {
        if self.lock.is_none() {
            let _ = connection.close().await;
            return;
        }
        let checkpoint = sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut connection);
        if let Err(error) = checkpoint.await {
            tracing::warn!(%error, "the last checkpoint failed; the next start makes up for it");
        }
        let _ = connection.close().await;
    }

    /// Whether a connection still leads to the database: a file does not go away.
    pub async fn is_alive(_: &mut Connection) -> bool {
        true
    }

    /// Ends a connection that may be in the middle of something.
    pub async fn discard(connection: Connection) {
        let _ = connection.close().await;
    }
}

impl Sqlite {
    pub async fn open(path: &Path, options: SqliteOptions, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let lock = if options.beside { None } else { Some(lock(path)?) };
        if lock.is_some() {
            make_private(path).map_err(|source| not_writable(path, source))?;
        } else if !path.is_file() {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        let mut settings = connect_options(path, &options);
        let mut writer = settings.connect().await.map_err(|error| open_error(path, error))?;
        if let Some(bytes_max) = options.bytes_max {
            settings = limit_size(&mut writer, settings, bytes_max).await.map_err(|error| open_error(path, error))?;
        }
        refuse_foreign(path, &mut writer).await?;
        if !options.migrate || options.beside {
            refuse_pending(path, &mut writer).await?;
        }
        if !options.beside {
            MIGRATIONS.run(&mut writer).await.map_err(|error| migrate_error(path, error))?;
        }
        let durability = read_durability(&mut writer).await.map_err(|error| open_error(path, error))?;
        let readers = open_readers(&settings, &options).await.map_err(|error| open_error(path, error))?;
        let opener = Opener { options: settings, lock };
        let writer = Writer::start(vec![writer], opener, &readers, tasks);
        Ok(Self::new(readers, writer, durability, tasks))
    }
}

/// Moves all that was committed out of the write-ahead log into the database and empties the log, so that what was erased is in neither:
/// there its bytes are overwritten (`secure_delete`), and here they would stay until 8,192 pages have come together. Most is moved while
/// writers go on; for the rest they wait. A reader that is in the way, such as a backup, puts it off until the next time.
pub(super) async fn forget_erased(readers: &Pool) -> Result<(), StoreError> {
    let wait = |limit: Duration| sqlx::AssertSqlSafe(format!("pragma busy_timeout = {}", limit.as_millis()));
    let mut connection = readers.acquire().await?;
    sqlx::query("pragma wal_checkpoint(passive)").execute(&mut *connection).await?;
    sqlx::query(wait(CHECKPOINT_WAIT)).execute(&mut *connection).await?;
    let checkpoint = sqlx::query_scalar("pragma wal_checkpoint(truncate)").fetch_one(&mut *connection).await;
    sqlx::query(wait(BUSY_LIMIT)).execute(&mut *connection).await?;
    let is_busy: i64 = checkpoint?;
    if is_busy != 0 {
        tracing::debug!("the write-ahead log is being read and was not emptied; the next sweep tries again");
    }
    Ok(())
}

/// Opens a database to read all of it, while no node has it open. Its schema must be this version's.
pub(crate) async fn open_to_read(path: &Path) -> Result<(Connection, File), OpenError> {
    let lock = lock(path)?;
    let settings = connect_options(path, &SqliteOptions::default()).pragma("query_only", "on");
    let mut connection = settings.connect().await.map_err(|error| open_error(path, error))?;
    refuse_foreign(path, &mut connection).await?;
    refuse_pending(path, &mut connection).await?;
    Ok((connection, lock))
}

pub(super) fn connect_options(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    let synchronous = if options.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Off };
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(BUSY_LIMIT)
        .statement_cache_capacity(STATEMENTS_KEPT)
        // On macOS an fsync alone leaves the bytes in the drive's cache.
        .pragma("fullfsync", "on")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string())
        .pragma("cache_size", cache_size(options.writer_cache_bytes))
        .pragma("temp_store", "memory")
        // What is erased is overwritten, not only forgotten.
        .pragma("secure_delete", "on")
        // The texts of batches are long, and their parameters are no business of a log.
        .disable_statement_logging()
}

/// As SQLite is told: in kibibytes, by a sign.
fn cache_size(bytes: u64) -> String {
    format!("-{}", bytes / 1024)
}

/// Limits the file's size on this connection and on those that `settings` will open.
async fn limit_size(
    writer: &mut Connection,
    settings: SqliteConnectOptions,
    bytes_max: u64,
) -> Result<SqliteConnectOptions, sqlx::Error> {
    let page_bytes: i64 = sqlx::query_scalar("pragma page_size").fetch_one(&mut *writer).await?;
    let pages_max = (bytes_max / u64::try_from(page_bytes).unwrap_or(4096).max(1)).max(1);
    let limit = format!("pragma max_page_count = {pages_max}");
    sqlx::query(sqlx::AssertSqlSafe(limit)).fetch_all(writer).await?;
    Ok(settings.pragma("max_page_count", pages_max.to_string()))
}

async fn open_readers(settings: &SqliteConnectOptions, options: &SqliteOptions) -> Result<Pool, sqlx::Error> {
    let cache_size = cache_size(options.reader_cache_bytes);
    let settings = settings.clone().pragma("query_only", "on").pragma("cache_size", cache_size);
    SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(ACQUIRE_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(settings)
        .await
}

/// What the settings that are really in force are good for.
async fn read_durability(connection: &mut Connection) -> Result<Durability, sqlx::Error> {
    let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *connection).await?;
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(connection).await?;
    let keeps_journal = !matches!(journal.as_str(), "off" | "memory");
    Ok(if keeps_journal && synchronous >= 2 { Durability::Local } else { Durability::Weak })
}

/// Takes the lock that keeps other processes out. On a file of its own: closing any handle of the database file would drop the locks
/// that SQLite holds on it.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let file = open_private(&lock_path).map_err(|source| not_writable(path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(not_writable(path, source)),
    }
}

pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Creates the file if it is not there, for nobody else to read. SQLite gives its other files the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    let file = open_private(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    drop(file);
    Ok(())
}

/// Refuses a database that another program made, before anything is written into it.
pub(super) async fn refuse_foreign(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let failed = |error| open_error(path, error);
    let application: i64 =
        sqlx::query_scalar("pragma application_id").fetch_one(&mut *connection).await.map_err(failed)?;
    let tables: i64 = sqlx::query_scalar(
        "select count(*) from sqlite_schema where name <> '_sqlx_migrations'
                                            and name not like 'sqlite\\_%' escape '\\'",
    )
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(OpenError::OtherSchema { database: shown(path), reason: "it belongs to another program".into() });
    }
    Ok(())
}

/// Refuses a schema that is not this version's.
pub(super) async fn refuse_pending(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let failed = |error| open_error(path, error);
    const KNOWN: &str = "select count(*) from sqlite_schema where name = '_sqlx_migrations'";
    let is_known: bool = sqlx::query_scalar(KNOWN).fetch_one(&mut *connection).await.map_err(failed)?;
    let newest: Option<i64> = if is_known {
        let newest = sqlx::query_scalar("select max(version) from _sqlx_migrations where success");
        newest.fetch_one(connection).await.map_err(failed)?
    } else {
        None
    };
    let known = MIGRATIONS.iter().map(|migration| migration.version).max();
    if newest < known {
        return Err(OpenError::MigrationPending { database: shown(path) });
    }
    if let Some(version) = newest.filter(|newest| Some(*newest) > known) {
        return Err(OpenError::Newer { database: shown(path), version });
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn not_writable(path: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { database: shown(path) },
        _ => OpenError::NotWritable { path: path.to_owned(), source },
    }
}

pub(super) fn migrate_error(path: &Path, error: MigrateError) -> OpenError {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(version) if version > newest => {
            OpenError::Newer { database: shown(path), version }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => open_error(path, error),
        error => OpenError::OtherSchema { database: shown(path), reason: error.to_string() },
    }
}

pub(super) fn open_error(path: &Path, error: sqlx::Error) -> OpenError {
    let path = path.to_owned();
    match sqlite_code(&error) {
        Some(code::FULL) => OpenError::Full { database: shown(&path) },
        Some(code::BUSY | code::LOCKED) => OpenError::Locked { path },
        Some(code::CORRUPT | code::NOTADB) => OpenError::NotADatabase { path, reason: error.to_string() },
        Some(code::READONLY | code::CANTOPEN) => {
            OpenError::NotWritable { path, source: io::Error::other(error.to_string()) }
        }
        _ => OpenError::Other { database: shown(&path), source: Arc::new(error) },
    }
}
