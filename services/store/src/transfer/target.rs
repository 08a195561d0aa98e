//! The Postgres side.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::TransferError;
use super::row::{Cell, Kind, Row, Table};
use super::source::no_key;

/// Every table, those that others refer to first.
const TABLES: [&str; 13] = [
    "pepper",
    "device",
    "room",
    "room_grant",
    "member",
    "epoch",
    "epoch_staging",
    "device_erasure",
    "entry",
    "epoch_key",
    "move",
    "erasure",
    "token",
];
/// Held while a copy is under way. Any number that nobody else uses.
const COPY_LOCK: i64 = 0x736e_7567_0001;

pub(super) struct Target {
    connection: PgConnection,
    place: String,
}

impl Target {
    /// Opens the database, brings its schema up to date, and keeps other copies out.
    pub async fn open(url: &str, allow_weak: bool) -> Result<Self, TransferError> {
        let (mut connection, place) = crate::postgres::open_to_fill(url, allow_weak).await?;
        // A chunk may take its time, and the source may be slow meanwhile.
        let settings = "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0";
        sqlx::raw_sql(settings).execute(&mut connection).await?;
        let lock = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(COPY_LOCK);
        let is_ours: bool = lock.fetch_one(&mut connection).await?;
        if is_ours { Ok(Self { connection, place }) } else { Err(TransferError::Busy { database: place }) }
    }

    /// The tables with their columns.
    pub async fn tables(&mut self) -> Result<Vec<Table>, TransferError> {
        const SELECT: &str = "select attname::text as name, format_type(atttypid, null) as type,
                coalesce(array_position(key.columns, attnum), 32767)::bigint as place
             from pg_attribute
             left join lateral (select indkey::int2[] as columns from pg_index where indrelid = attrelid and indisprimary) key on true
             where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by place, attnum";
        let mut tables = Vec::new();
        for name in TABLES {
            let (mut columns, mut key_columns) = (Vec::new(), 0);
            for row in sqlx::query(SELECT).bind(name).fetch_all(&mut self.connection).await? {
                let kind = Kind::of(row.try_get("type")?).ok_or(TransferError::SourceSchema)?;
                columns.push((row.try_get("name")?, kind));
                key_columns += usize::from(row.try_get::<i64, _>("place")? < 32_767);
            }
            tables.push(Table { name: name.to_owned(), columns, key_columns });
        }
        Ok(tables)
    }

    /// Marks an empty target as one that is being filled from the source with this fingerprint, or finds that it is marked so.
    pub async fn begin(&mut self, tables: &[Table], fingerprint: [u8; 32]) -> Result<(), TransferError> {
        const MARK: &str = "create table unfinished_transfer (only_row boolean primary key default true check (only_row), source bytea not null)";
        if crate::postgres::is_unfinished(&mut self.connection).await? {
            let mark: Vec<u8> =
                sqlx::query_scalar("select source from unfinished_transfer").fetch_one(&mut self.connection).await?;
            let is_same = mark == fingerprint;
            return if is_same { Ok(()) } else { Err(TransferError::OtherCopy { database: self.place.clone() }) };
        }
        for table in tables {
            if self.last_key(table).await?.is_some() {
                return Err(TransferError::NotEmpty { database: self.place.clone(), table: table.name.clone() });
            }
        }
        let mut transaction = self.connection.begin().await?;
        sqlx::query(MARK).execute(&mut *transaction).await?;
        let mark = sqlx::query("insert into unfinished_transfer (source) values ($1)").bind(&fingerprint[..]);
        mark.execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    pub async fn count(&mut self, table: &Table) -> Result<u64, sqlx::Error> {
        let select = format!("select count(*) from {}", table.name);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut self.connection).await?;
        Ok(count.unsigned_abs())
    }

    /// The greatest key that is there.
    pub async fn last_key(&mut self, table: &Table) -> Result<Option<Vec<Cell>>, sqlx::Error> {
        let descending: Vec<String> =
            table.columns[..table.key_columns].iter().map(|(name, _)| format!("{name} desc")).collect();
        let select =
            format!("select {} from {} order by {} limit 1", table.key_names(), table.name, descending.join(", "));
        let found = sqlx::query(AssertSqlSafe(select)).fetch_optional(&mut self.connection).await?;
        found.map(|row| cells(&table.columns[..table.key_columns], &row)).transpose()
    }

    /// Adds rows in a transaction of their own.
    pub async fn insert(&mut self, table: &Table, rows: &[Row]) -> Result<(), sqlx::Error> {
        let arrays: Vec<String> =
            (1..).zip(&table.columns).map(|(at, (_, kind))| format!("${at}::{}", kind.array())).collect();
        let names = table.column_names();
        let insert = format!(
            "insert into {} ({names}) select {names} from unnest({}) as list ({names})",
            table.name,
            arrays.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for (at, (_, kind)) in table.columns.iter().enumerate() {
            let column = rows.iter().map(|row| &row[at]);
            query = match kind {
                Kind::Bytes => query.bind(column.map(bytes).collect::<Vec<_>>()),
                Kind::Number => query.bind(column.map(number).collect::<Vec<_>>()),
                Kind::Text => query.bind(column.map(text).collect::<Vec<_>>()),
                Kind::Flag => query.bind(column.map(flag).collect::<Vec<_>>()),
            };
        }
        query.execute(&mut self.connection).await?;
        Ok(())
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
        rows.iter().map(|row| cells(&table.columns, row)).collect()
    }

    /// How many rooms there are, and how many of them whose log has a hole or does not end at the room's head.
    pub async fn rooms(&mut self) -> Result<(u64, u64), sqlx::Error> {
        const SELECT: &str = "select count(*) as rooms,
                count(*) filter (where coalesce(entries, 0) <> head or coalesce(first, 1) <> 1 or coalesce(last, 0) <> head) as broken
             from room left join (select room, count(*) as entries, min(seq) as first, max(seq) as last from entry group by room) log
             on log.room = room.room";
        let row = sqlx::query(SELECT).fetch_one(&mut self.connection).await?;
        Ok((row.try_get::<i64, _>("rooms")?.unsigned_abs(), row.try_get::<i64, _>("broken")?.unsigned_abs()))
    }

    /// Takes the mark away: nodes may come.
    pub async fn finish(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("drop table unfinished_transfer").execute(&mut self.connection).await?;
        // So that the first plans are made for these rows and not for empty tables.
        sqlx::raw_sql("analyze").execute(&mut self.connection).await?;
        self.connection.close().await
    }
}

fn bytes(cell: &Cell) -> Option<&[u8]> {
    if let Cell::Bytes(bytes) = cell { Some(bytes) } else { None }
}

fn number(cell: &Cell) -> Option<i64> {
    if let Cell::Number(number) = cell { Some(*number) } else { None }
}

fn text(cell: &Cell) -> Option<&str> {
    if let Cell::Text(text) = cell { Some(text) } else { None }
}

fn flag(cell: &Cell) -> Option<bool> {
    if let Cell::Flag(flag) = cell { Some(*flag) } else { None }
}

fn cells(columns: &[(String, Kind)], row: &PgRow) -> Result<Row, sqlx::Error> {
    let cell = |(at, (_, kind)): (usize, &(String, Kind))| {
        Ok(match kind {
            Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map_or(Cell::Null, Cell::Bytes),
            Kind::Number => row.try_get::<Option<i64>, _>(at)?.map_or(Cell::Null, Cell::Number),
            Kind::Text => row.try_get::<Option<String>, _>(at)?.map_or(Cell::Null, Cell::Text),
            Kind::Flag => row.try_get::<Option<bool>, _>(at)?.map_or(Cell::Null, Cell::Flag),
        })
    };
    columns.iter().enumerate().map(cell).collect()
}
