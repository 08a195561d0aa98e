//! Copying a whole installation from SQLite into an empty Postgres: `snug migrate-store`.
//!
//! Rows go as they are, in the order of their keys, a chunk a transaction; so ids, seqs, cursors, tokens and history ids stay, and a copy
//! that was cut short goes on after the last key that arrived. A mark in the target keeps nodes out until all rows of both sides have
//! been compared. The pepper is in neither database.

mod row;
mod source;
mod target;
mod verify;

use std::path::{Path, PathBuf};

use crate::OpenError;
use row::Table;
use source::Source;
use target::Target;

/// Rows of a chunk: some megabytes at most.
const CHUNK_ROWS: usize = 1000;

/// How to copy.
#[derive(Clone, Debug)]
pub struct TransferOptions {
    /// Accept a target whose settings let acknowledged messages be lost. Default false.
    pub allow_weak: bool,
    /// Rows of one transaction. Default 1000.
    pub chunk_rows: usize,
}

impl Default for TransferOptions {
    fn default() -> Self {
        Self { allow_weak: false, chunk_rows: CHUNK_ROWS }
    }
}

/// What a copy is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Rows are on their way.
    Copying,
    /// Rows of both sides are compared.
    Comparing,
}

/// How far a copy has come, said after each chunk.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// With which table.
    pub table: String,
    /// Rows of the table that are done, those of an earlier run included.
    pub rows: u64,
    /// Rows of the table.
    pub rows_total: u64,
}

/// What was compared and found to be the same.
#[derive(Clone, Debug)]
pub struct Transferred {
    /// Each table with its rows and the SHA-256 of them all.
    pub tables: Vec<(String, u64, [u8; 32])>,
    /// Rooms, each with a gapless log that ends at its head.
    pub rooms: u64,
    /// Entries whose envelope does not have the hash that stands beside it: they were damaged in the source, and were copied as they are.
    pub damaged: u64,
}

/// Why a copy was not made, in one line for an operator.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// There is no file.
    #[error("there is no database {}; --from is the data folder of a node, or the database file in it", path.display())]
    NoSource {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// One of the databases cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source has tables that the target does not, or the other way round.
    #[error("the source's schema is not this version's; start this version's `snug migrate` on it first")]
    SourceSchema,
    /// The target is somebody's.
    #[error("the database {database} is not empty (it has rows in {table}); give an empty one")]
    NotEmpty {
        /// The target.
        database: String,
        /// Where the first rows were found.
        table: String,
    },
    /// The target has a part of another copy.
    #[error(
        "the database {database} has part of a copy of another source, or of this one before it changed; empty it (drop and create it) and start again"
    )]
    OtherCopy {
        /// The target.
        database: String,
    },
    /// Another copy into the target is under way.
    #[error("another copy into the database {database} is under way")]
    Busy {
        /// The target.
        database: String,
    },
    /// A database failed on the way.
    #[error("the copy was cut short: {0}; run the same command again to go on")]
    CutShort(#[from] sqlx::Error),
    /// The two sides differ.
    #[error("the copy is not the same as the source: {reason}; empty the target (drop and create it) and start again")]
    Differs {
        /// Where.
        reason: String,
    },
}

/// Copies the SQLite database at `from`, a file or a data folder, into the Postgres database at `to`, and compares them. What is there of
/// an earlier run is kept. Returns what was compared; only then nodes can open the target.
///
/// # Errors
/// Why not; what has arrived stays for the next run. The source is never changed.
pub async fn transfer(
    from: &Path,
    to: &str,
    options: TransferOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Transferred, TransferError> {
    let path = if from.is_dir() { from.join("snug.db") } else { from.to_owned() };
    let mut source = Source::open(&path).await?;
    let mut target = Target::open(to, options.allow_weak).await?;
    let tables = target.tables().await?;
    source.check(&tables).await?;
    target.begin(&tables, source.fingerprint(&tables).await?).await?;
    let chunk_rows = options.chunk_rows.max(1);
    for table in &tables {
        copy(&mut source, &mut target, table, chunk_rows, progress).await?;
    }
    let transferred = verify::verify(&mut source, &mut target, &tables, chunk_rows, progress).await?;
    target.finish().await?;
    Ok(transferred)
}

/// Copies what has not arrived yet.
async fn copy(
    source: &mut Source,
    target: &mut Target,
    table: &Table,
    chunk_rows: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), TransferError> {
    let rows_total = source.count(table).await?;
    let (mut after, mut rows) = (target.last_key(table).await?, target.count(table).await?);
    loop {
        let chunk = source.rows(table, after.as_deref(), chunk_rows).await?;
        progress(Progress { stage: Stage::Copying, table: table.name.clone(), rows, rows_total });
        let Some(last) = chunk.last() else { return Ok(()) };
        after = Some(table.key_of(last));
        rows += chunk.len() as u64;
        target.insert(table, &chunk).await?;
    }
}
