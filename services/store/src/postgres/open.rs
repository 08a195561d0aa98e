//! Opening a database: reaching it, checking that it can be used, migrations; and what to tell an operator when that fails.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnectOptions;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::statements::Writer;
use super::{Connection, Pool, Postgres, durability, schema, session};
use crate::sql::error::{postgres, postgres_code};
use crate::{Durability, OpenError, StoreError};

/// The oldest server that is known to do.
const OLDEST_SERVER: i64 = 14;
/// How long opening may take, but for migrations that are under way.
const OPEN_LIMIT: Duration = Duration::from_secs(14);
/// How long another node's migrations are waited for; what is left of `OPEN_LIMIT` if that is less.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(8);
/// How often a server is tried that says it is starting.
const STARTING_PERIOD: Duration = Duration::from_millis(250);

/// How to open a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Connections that read. Default 8.
    pub readers: u32,
    /// Connections that write; each commits for the rooms that fall to it. Default 4.
    pub writers: u32,
    /// Bring the schema up to date; else a database that needs it is refused. Default true.
    pub migrate: bool,
    /// Accept a server whose settings let acknowledged messages be lost. Default false.
    pub allow_weak: bool,
}

/// Nothing to do here: what was erased, the server overwrites when it vacuums, and its write-ahead log is its operator's.
pub(super) async fn forget_erased(_: &Pool) -> Result<(), StoreError> {
    Ok(())
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { readers: 8, writers: 4, migrate: true, allow_weak: false }
    }
}

/// Opens the writers' connections.
pub(super) struct Opener {
    options: PgConnectOptions,
}

impl Opener {
    pub async fn connect(&self) -> Result<Connection, sqlx::Error> {
        session::connect_writer(&self.options).await
    }

    /// Closes the last connection.
    pub async fn finish(&self, connection: Connection) {
        session::close(connection).await;
    }

    /// Whether a connection still leads to the server.
    pub async fn is_alive(connection: &mut Connection) -> bool {
        session::is_alive(connection).await
    }

    /// Ends a connection that may be in the middle of something, without a word that nobody may be there to hear.
    pub async fn discard(connection: Connection) {
        drop(connection);
    }
}

impl Postgres {
    pub async fn open(url: &str, options: PostgresOptions, tasks: &TaskTracker) -> Result<Self, OpenError> {
        let address = Address::parse(url)?;
        let place = address.place.as_str();
        let (mut first, durability) = open_first(&address, &options).await?;
        if schema::is_unfinished(&mut first).await.map_err(|error| refusal(place, error))? {
            return Err(OpenError::Unfinished { database: place.to_owned() });
        }
        session::close(first).await;
        let opener = Opener { options: address.options.clone() };
        let mut writers = Vec::new();
        for _ in 0..options.writers.max(1) {
            writers.push(opener.connect().await.map_err(|error| refusal(place, error))?);
        }
        let readers = session::readers(address.options, options.readers);
        let writer = Writer::start(writers, opener, &readers, tasks);
        Ok(Self::new(readers, writer, durability, tasks))
    }
}

/// Opens a database to fill it: checked and migrated as for a node, with its name for people.
pub(crate) async fn open_to_fill(url: &str, allow_weak: bool) -> Result<(Connection, String), OpenError> {
    let address = Address::parse(url)?;
    let options = PostgresOptions { allow_weak, ..PostgresOptions::default() };
    let (connection, _) = open_first(&address, &options).await?;
    Ok((connection, address.place))
}

/// Opens the first session with a database that can be used, and brings the schema up to date.
async fn open_first(address: &Address, options: &PostgresOptions) -> Result<(Connection, Durability), OpenError> {
    let place = address.place.as_str();
    let deadline = Instant::now() + OPEN_LIMIT;
    let mut first = reach(address, deadline).await?;
    refuse_server(&mut first, place).await?;
    session::prepare(&mut first).await.map_err(|error| refusal(place, error))?;
    let durability = read_durability(&mut first, place, options.allow_weak).await?;
    let patience = deadline.saturating_duration_since(Instant::now()).min(MIGRATION_PATIENCE);
    schema::bring_up(&mut first, place, options.migrate, patience).await?;
    Ok((first, durability))
}

/// Opens the first session. A server that is starting is waited for.
async fn reach(address: &Address, deadline: Instant) -> Result<Connection, OpenError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match session::connect(&address.options, left).await {
            Ok(connection) => return Ok(connection),
            Err(error) if postgres_code(&error) == Some(postgres::STARTING) && left > STARTING_PERIOD => {
                tokio::time::sleep(STARTING_PERIOD).await;
            }
            Err(error) => return Err(refusal(&address.place, error)),
        }
    }
}

/// Refuses a server that is too old or takes no writes.
async fn refuse_server(connection: &mut Connection, place: &str) -> Result<(), OpenError> {
    const SELECT: &str = "select current_setting('server_version') as version,
            current_setting('server_version_num')::bigint as number,
            current_setting('transaction_read_only') as read_only";
    let read = async {
        let row = sqlx::query(SELECT).persistent(false).fetch_one(connection).await?;
        Ok::<_, sqlx::Error>((
            row.try_get::<String, _>("version")?,
            row.try_get::<i64, _>("number")?,
            row.try_get::<String, _>("read_only")?,
        ))
    };
    let (version, number, read_only) = read.await.map_err(|error| refusal(place, error))?;
    judge_server(place, &version, number, &read_only)
}

fn judge_server(place: &str, version: &str, number: i64, read_only: &str) -> Result<(), OpenError> {
    let database = place.to_owned();
    if number / 10_000 < OLDEST_SERVER {
        return Err(OpenError::TooOld { database, version: version.to_owned(), oldest: OLDEST_SERVER });
    }
    if read_only == "on" {
        return Err(OpenError::ReadOnly { database });
    }
    Ok(())
}

async fn read_durability(connection: &mut Connection, place: &str, allow_weak: bool) -> Result<Durability, OpenError> {
    let settings = durability::read(connection).await.map_err(|error| refusal(place, error))?;
    let (durability, setting) = settings.durability();
    if durability == Durability::Weak && !allow_weak {
        return Err(OpenError::Weak { database: place.to_owned(), setting });
    }
    Ok(durability)
}

/// What an error while opening means to an operator.
pub(super) fn refusal(place: &str, error: sqlx::Error) -> OpenError {
    let database = place.to_owned();
    let reason = one_line(&error);
    match postgres_code(&error) {
        Some(postgres::WRONG_PASSWORD | postgres::NOT_AUTHORISED) => OpenError::AccessRefused { database, reason },
        Some(postgres::NO_SUCH_DATABASE) => OpenError::NoSuchDatabase { database },
        Some(postgres::NO_RIGHT | postgres::NO_SUCH_SCHEMA) => OpenError::NoRight { database, reason },
        Some(postgres::DISK_FULL) => OpenError::Full { database },
        Some(postgres::STARTING | postgres::TOO_MANY_CONNECTIONS) => OpenError::Unreachable { database, reason },
        Some(_) => OpenError::Other { database, source: Arc::new(error) },
        None => match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::Configuration(_) => {
                OpenError::Unreachable { database, reason }
            }
            error => OpenError::Other { database, source: Arc::new(error) },
        },
    }
}

/// The text of an error, as one line.
fn one_line(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_or_takes_no_writes_is_refused() {
        judge_server("chat", "14.0", 140_000, "off").expect("it is just new enough");
        judge_server("chat", "18.1", 180_001, "off").expect("later ones do too");
        let old = judge_server("chat", "13.20", 130_020, "off").expect_err("it is too old").to_string();
        assert!(old.contains("13.20") && old.contains("14"), "{old}");
        let standby = judge_server("chat", "15.1", 150_001, "on").expect_err("it is a standby").to_string();
        assert!(standby.contains("no writes"), "{standby}");
    }
}
