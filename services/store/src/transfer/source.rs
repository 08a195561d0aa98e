//! Reading the SQLite side. Nothing is ever written to it.

use std::fs::File;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::TransferError;
use super::row::{Cell, Kind, Row, Table};

/// Tables too large to be read twice at leisure; of their rows a sum must do to notice a change.
const LARGE: [(&str, &str); 2] =
    [("entry", "coalesce(sum(length(envelope)), 0)"), ("epoch_key", "coalesce(sum(length(sealed)), 0)")];

pub(super) struct Source {
    connection: SqliteConnection,
    /// Keeps nodes out.
    _lock: File,
}

impl Source {
    pub async fn open(path: &Path) -> Result<Self, TransferError> {
        if !path.is_file() {
            return Err(TransferError::NoSource { path: path.to_owned() });
        }
        let (connection, lock) = crate::sqlite::open_to_read(path).await?;
        Ok(Self { connection, _lock: lock })
    }

    /// Refuses a source that does not have just these tables.
    pub async fn check(&mut self, tables: &[Table]) -> Result<(), TransferError> {
        const SELECT: &str = "select t.name || '.' || c.name from sqlite_schema t, pragma_table_info(t.name) c
             where t.type = 'table' and t.name not like '\\_sqlx%' escape '\\' and t.name not like 'sqlite%'";
        let mut theirs: Vec<String> = sqlx::query_scalar(SELECT).fetch_all(&mut self.connection).await?;
        let columns = |table: &Table| {
            let names = table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name));
            names.collect::<Vec<_>>()
        };
        let mut ours: Vec<String> = tables.iter().flat_map(columns).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        if ours == theirs { Ok(()) } else { Err(TransferError::SourceSchema) }
    }

    pub async fn count(&mut self, table: &Table) -> Result<u64, sqlx::Error> {
        let select = format!("select count(*) from {}", table.name);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut self.connection).await?;
        Ok(count.unsigned_abs())
    }

    /// The next rows after a key.
    pub async fn rows(&mut self, table: &Table, after: Option<&[Cell]>, limit: usize) -> Result<Vec<Row>, sqlx::Error> {
        let select = table.select(after.is_some());
        let mut query = sqlx::query(AssertSqlSafe(select));
        for cell in after.unwrap_or_default() {
            query = match cell {
                Cell::Bytes(bytes) => query.bind(bytes.clone()),
                Cell::Number(number) => query.bind(*number),
                Cell::Null | Cell::Text(_) | Cell::Flag(_) => return Err(no_key()),
            };
        }
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut self.connection).await?;
        rows.iter().map(|row| row_of(table, row)).collect()
    }

    /// What tells this database, as it is now, from others and from itself after a change.
    pub async fn fingerprint(&mut self, tables: &[Table]) -> Result<[u8; 32], sqlx::Error> {
        let mut digest = Sha256::new();
        for table in tables {
            digest.update(table.name.as_bytes());
            digest.update(self.count(table).await?.to_be_bytes());
            if let Some((_, sum)) = LARGE.iter().find(|(name, _)| *name == table.name) {
                let select = format!("select {sum} from {}", table.name);
                let sum: i64 = sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut self.connection).await?;
                digest.update(sum.to_be_bytes());
                continue;
            }
            let mut after = None;
            loop {
                let rows = self.rows(table, after.as_deref(), super::CHUNK_ROWS).await?;
                let Some(last) = rows.last() else { break };
                after = Some(table.key_of(last));
                rows.iter().flatten().for_each(|cell| cell.digest(&mut |bytes| digest.update(bytes)));
            }
        }
        Ok(digest.finalize().into())
    }
}

/// No table has such a key.
pub(super) fn no_key() -> sqlx::Error {
    sqlx::Error::Protocol("a key that is neither bytes nor a number".into())
}

fn row_of(table: &Table, row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let cell = |(at, (_, kind)): (usize, &(String, Kind))| {
        Ok(match kind {
            Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map_or(Cell::Null, Cell::Bytes),
            Kind::Number => row.try_get::<Option<i64>, _>(at)?.map_or(Cell::Null, Cell::Number),
            Kind::Text => row.try_get::<Option<String>, _>(at)?.map_or(Cell::Null, Cell::Text),
            Kind::Flag => row.try_get::<Option<i64>, _>(at)?.map_or(Cell::Null, |flag| Cell::Flag(flag != 0)),
        })
    };
    table.columns.iter().enumerate().map(cell).collect()
}
