//! Sessions with the server: opening one in bounded time, and what each is set to.
//!
//! Settings are statements and not parameters of the connection, which poolers in between refuse.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::{Connection, Pool};

/// How long opening a session may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a reader waits for one of the readers' connections, and for a new one if there are not enough.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection has to show that it still leads to the server.
const PING_LIMIT: Duration = Duration::from_secs(2);
/// A connection that was used this short a time ago need not show it.
const FRESH: Duration = Duration::from_secs(1);
/// How long a connection's orderly end may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Of every session. Times are those of the server, which ends what takes longer: a statement; the wait for a lock, which writers take up
/// again; a transaction whose client has fallen silent, whatever it holds.
///
/// All statements find their rows by keys, so plans are made once and for any number of rows: a plan made while a table was empty must
/// not read it whole later. Commits wait for the disk even where the server's default is not to; a server that is set to wait for
/// less or more of its standbys is left to it.
const EVERY: &str =
    "set statement_timeout = '5s'; set lock_timeout = '250ms'; set idle_in_transaction_session_timeout = '5s';
     set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off;
     select set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'
                       else current_setting('synchronous_commit') end, false)";
/// Of readers: a transaction is one snapshot.
const READING: &str = "set default_transaction_isolation = 'repeatable read'; set default_transaction_read_only = on";
/// Whether this server has stopped being the one that takes writes.
const IS_STANDBY: &str = "select pg_is_in_recovery()";

/// Opens a session, not yet set to anything, in at most `limit`.
pub(super) async fn connect(options: &PgConnectOptions, limit: Duration) -> Result<Connection, sqlx::Error> {
    within(limit.min(CONNECT_LIMIT), options.connect()).await
}

/// Opens a session that writes.
pub(super) async fn connect_writer(options: &PgConnectOptions) -> Result<Connection, sqlx::Error> {
    within(CONNECT_LIMIT, async {
        let mut connection = options.connect().await?;
        prepare(&mut connection).await?;
        Ok(connection)
    })
    .await
}

/// Readers, opened when they are needed.
pub(super) fn readers(options: PgConnectOptions, count: u32) -> Pool {
    PgPoolOptions::new()
        .max_connections(count.max(1))
        .acquire_timeout(ACQUIRE_LIMIT)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                prepare(connection).await?;
                sqlx::raw_sql(READING).execute(connection).await?;
                Ok(())
            })
        })
        .before_acquire(|connection, meta| {
            Box::pin(async move { Ok(meta.idle_for < FRESH || is_alive(connection).await) })
        })
        // Else one that was given up in the middle of a silence would be waited for as long as the silence lasts.
        .after_release(|connection, _| {
            Box::pin(async move {
                within(PING_LIMIT, connection.ping()).await?;
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Sets a session, and refuses one with a server that takes no writes: what it knows may be old.
pub(super) async fn prepare(connection: &mut Connection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(EVERY).execute(&mut *connection).await?;
    let row = sqlx::query(IS_STANDBY).persistent(false).fetch_one(connection).await?;
    if row.try_get(0)? {
        return Err(sqlx::Error::Protocol("the server is a standby and takes no writes".into()));
    }
    Ok(())
}

/// Whether a session still leads to the server.
pub(super) async fn is_alive(connection: &mut Connection) -> bool {
    within(PING_LIMIT, connection.ping()).await.is_ok()
}

/// Ends a session in order.
pub(super) async fn close(connection: Connection) {
    let _ = within(CLOSE_LIMIT, connection.close()).await;
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", limit.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
    })
}
