//! Copying a database file while a node uses it, and putting a copy back.
//!
//! The copy is SQLite's own (`vacuum into`): one snapshot, whole by itself, without what was erased. It is written under another name and
//! gets its own only once it has been read back and is on the disk. The pepper is in neither.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::Connection;
use super::open::{
    MIGRATIONS, SqliteOptions, connect_options, lock, migrate_error, open_error, open_private, refuse_foreign,
    refuse_pending,
};
use crate::OpenError;
use crate::sql::error::{sqlite as code, sqlite_code};

/// What is in a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackedUp {
    /// Rooms, each with a gapless log up to its head.
    pub rooms: u64,
    /// Entries of all rooms, erased ones included.
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What became of a restore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// What was put back.
    pub contents: BackedUp,
    /// Where the database went that was there before.
    pub moved_aside: Option<PathBuf>,
    /// The peppers that the database has been used with: number and check value.
    pub pepper_checks: Vec<(u32, [u8; 32])>,
}

/// Why a backup was not made or not put back, in one line for an operator.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// One of the databases cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something is where the backup is to go.
    #[error("{} exists already; name another file", .0.display())]
    Exists(PathBuf),
    /// There is a database, and nobody said that it may be replaced.
    #[error("there is a database {} already; with --replace it is moved aside", .0.display())]
    InTheWay(PathBuf),
    /// A file cannot be written, moved or read.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// write, move or read.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// The database failed on the way.
    #[error("the copy was cut short: {0}")]
    CutShort(#[from] sqlx::Error),
}

/// Copies the database at `path`, which a node may be using, into the new file `to`, and reads the copy back.
///
/// # Errors
/// Why not; then there is no file `to`.
pub async fn back_up(path: &Path, to: &Path) -> Result<BackedUp, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let mut connection = open_beside(path).await?;
    let part = Part::new(to, ".part")?;
    let copied = copy(&mut connection, &part.path).await;
    let _ = connection.close().await;
    copied.map_err(|error| match sqlite_code(&error) {
        Some(code::FULL) => OpenError::Full { database: to.display().to_string() }.into(),
        _ => BackupError::CutShort(error),
    })?;
    let mut copy = open_copy(&part.path, to).await?;
    let contents = look_through(&mut copy, &part.path, to).await;
    let _ = copy.close().await;
    let contents = contents?;
    part.keep(to)?;
    Ok(contents)
}

/// Makes the backup at `from` the database at `path`, which no node may be using: brought up to this version's schema, with a new life of
/// every room's log, so that clients find out what is missing, and with nobody signed in, since who was signed out since would be signed
/// in again.
///
/// # Errors
/// Why not; then the database at `path` is as it was.
pub async fn restore(from: &Path, path: &Path, replaces: bool) -> Result<Restored, BackupError> {
    if !from.is_file() {
        return Err(OpenError::Missing { path: from.to_owned() }.into());
    }
    let _lock = lock(path)?;
    if path.exists() && !replaces {
        return Err(BackupError::InTheWay(path.to_owned()));
    }
    let part = Part::new(path, ".restoring")?;
    part.fill(from)?;
    let mut copy = open_copy(&part.path, from).await?;
    let prepared = prepare(&mut copy, from, &part.path).await;
    let _ = copy.close().await;
    let (contents, pepper_checks) = prepared?;
    // A write-ahead log of another database would be taken for this one's.
    let has_rest = ["", "-wal", "-shm"].iter().any(|ending| with_ending(path, ending).exists());
    let moved_aside = if has_rest { Some(move_aside(path)?) } else { None };
    part.keep(path)?;
    Ok(Restored { contents, moved_aside, pepper_checks })
}

type PepperChecks = Vec<(u32, [u8; 32])>;

/// Makes a copied backup the database of a new life.
async fn prepare(copy: &mut Connection, from: &Path, path: &Path) -> Result<(BackedUp, PepperChecks), BackupError> {
    // What is wrong is wrong with the backup, whose name the operator knows.
    refuse_foreign(from, copy).await?;
    // Of another program's file nothing has been read yet; of ours, damage is to be found before anything is written.
    look_through(copy, path, from).await?;
    MIGRATIONS.run(&mut *copy).await.map_err(|error| migrate_error(from, error))?;
    // One statement, so that all rooms begin a new life or none.
    sqlx::query("update room set history = randomblob(16)").execute(&mut *copy).await?;
    sqlx::query("delete from token").execute(&mut *copy).await?;
    let contents = look_through(copy, path, from).await?;
    let checks: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select number, check_value from pepper order by number").fetch_all(copy).await?;
    let check = |(number, value): (i64, Vec<u8>)| Some((u32::try_from(number).ok()?, value.try_into().ok()?));
    Ok((contents, checks.into_iter().filter_map(check).collect()))
}

/// A connection to a database that a node may be using. Changes nothing.
async fn open_beside(path: &Path) -> Result<Connection, OpenError> {
    if !path.is_file() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let settings = connect_options(path, &SqliteOptions::default());
    let mut connection = settings.connect().await.map_err(|error| open_error(path, error))?;
    refuse_foreign(path, &mut connection).await?;
    refuse_pending(path, &mut connection).await?;
    Ok(connection)
}

/// A connection to a copy, which nobody else has: whole by itself, so without a write-ahead log. Errors name `shown`.
async fn open_copy(path: &Path, shown: &Path) -> Result<Connection, OpenError> {
    let settings = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Delete)
        .foreign_keys(true)
        .pragma("fullfsync", "on")
        .pragma("secure_delete", "on")
        .disable_statement_logging();
    settings.connect().await.map_err(|error| open_error(shown, error))
}

async fn copy(connection: &mut Connection, to: &Path) -> Result<(), sqlx::Error> {
    let to = to.to_str().ok_or_else(|| sqlx::Error::Protocol("the file's name is not text".into()))?;
    let copy = format!("vacuum into '{}'", to.replace('\'', "''"));
    sqlx::query(AssertSqlSafe(copy)).execute(connection).await.map(|_| ())
}

/// Reads a database from end to end: its pages, what refers to what, and every room's log up to its head. Errors name `shown`.
async fn look_through(connection: &mut Connection, path: &Path, shown: &Path) -> Result<BackedUp, BackupError> {
    const BROKEN: &str = "select count(*) from room
         where head <> (select count(*) from entry where entry.room = room.room)
            or head <> coalesce((select max(seq) from entry where entry.room = room.room), 0)";
    let damaged = |reason: String| BackupError::Damaged { path: shown.to_owned(), reason };
    let failed = |error: sqlx::Error| damaged(error.to_string());
    let found: Vec<String> =
        sqlx::query_scalar("pragma integrity_check(1)").fetch_all(&mut *connection).await.map_err(failed)?;
    if found != ["ok"] {
        return Err(damaged(found.concat().replace('\n', " ")));
    }
    let orphans = sqlx::query("pragma foreign_key_check").fetch_all(&mut *connection).await.map_err(failed)?;
    if !orphans.is_empty() {
        return Err(damaged(format!("{} rows refer to what is not there", orphans.len())));
    }
    let mut count = async |sql: &'static str| {
        let counted: Result<i64, _> = sqlx::query_scalar(sql).fetch_one(&mut *connection).await;
        counted.map(i64::unsigned_abs).map_err(failed)
    };
    let broken = count(BROKEN).await?;
    if broken > 0 {
        return Err(damaged(format!("the logs of {broken} rooms have holes or do not end at the room's head")));
    }
    let bytes = std::fs::metadata(path).map_err(|source| file_error("read", path, source))?.len();
    let (rooms, entries) =
        (count("select count(*) from room").await?, count("select coalesce(sum(head), 0) from room").await?);
    Ok(BackedUp { rooms, entries, bytes })
}

/// Moves a database out of the way, with what belongs to it.
fn move_aside(path: &Path) -> Result<PathBuf, BackupError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let aside = with_ending(path, &format!(".replaced-{}", now.as_secs()));
    // The log first: a database without its log is older, a log without its database is nothing.
    for ending in ["-wal", "-shm", ""] {
        let (old, new) = (with_ending(path, ending), with_ending(&aside, ending));
        if old.exists() {
            std::fs::rename(&old, &new).map_err(|source| file_error("move", &old, source))?;
        }
    }
    Ok(aside)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> BackupError {
    BackupError::File { doing, path: path.to_owned(), source }
}

/// A file on its way, for its owner alone; removed when it is dropped.
struct Part {
    path: PathBuf,
}

impl Part {
    /// An empty file beside `path`. What an earlier attempt left there is removed.
    fn new(path: &Path, ending: &str) -> Result<Self, BackupError> {
        let part = Self { path: with_ending(path, ending) };
        let _ = std::fs::remove_file(&part.path);
        open_private(&part.path).map_err(|source| file_error("write", &part.path, source))?;
        Ok(part)
    }

    /// Copies a file's bytes into it, but not who may read it.
    fn fill(&self, from: &Path) -> Result<(), BackupError> {
        let mut source = File::open(from).map_err(|source| file_error("read", from, source))?;
        let target = File::options().write(true).truncate(true).open(&self.path);
        let copied = target.and_then(|mut target| io::copy(&mut source, &mut target));
        copied.map(|_| ()).map_err(|source| file_error("write", &self.path, source))
    }

    /// Gives it its name, once it is on the disk.
    fn keep(self, path: &Path) -> Result<(), BackupError> {
        let failed = |source| file_error("write", path, source);
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(failed)?;
        std::fs::rename(&self.path, path).map_err(failed)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        #[cfg(unix)]
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After it has got its name there is none.
        for ending in ["", "-journal"] {
            let _ = std::fs::remove_file(with_ending(&self.path, ending));
        }
    }
}
