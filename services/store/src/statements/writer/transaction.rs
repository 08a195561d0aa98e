//! One transaction, from its locks to its commit, and again where the database asks for that.

use super::super::{Connection, dialect, locks};
use super::BoxFuture;
use crate::StoreError;
use crate::error::Failure;
use crate::sql::Scope;
use crate::sql::error::{is_conflict, is_lock_timeout, is_read_only};

/// How often a transaction is begun that lost against another one.
const ATTEMPTS_MAX: u32 = 5;

/// Runs `work` between begin and commit, or rollback, once what `scope` names is locked. Also returns whether the connection is out of
/// the transaction and may be used again.
pub(super) async fn run<T, E, F>(connection: &mut Connection, scope: Scope, work: &F) -> (Result<T, E>, bool)
where
    E: Failure,
    F: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T, E>>,
{
    for _ in 1..ATTEMPTS_MAX {
        let (result, is_usable) = attempt(connection, scope, work).await;
        match &result {
            Err(error) if is_usable && error.store_error().is_some_and(|error| is_worth_another(error, scope)) => {
                tracing::debug!("a transaction lost against another one and begins again");
            }
            _ => return (result, is_usable),
        }
    }
    attempt(connection, scope, work).await
}

/// Whether the transaction may succeed when it is begun again. A batch has others to see to while a room is locked.
fn is_worth_another(error: &StoreError, scope: Scope) -> bool {
    is_conflict(error) || (scope != Scope::Batch && is_lock_timeout(error))
}

/// Runs `work` once, which appends; in a transaction where that is the lock on everything, else what `work` begins of one it ends, unless it
/// fails. Also returns whether the connection may be used again.
pub(super) async fn append<T>(
    connection: &mut Connection,
    work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>>,
) -> (Result<T, StoreError>, bool) {
    limited(async {
        if !dialect::BEGIN_LOCKS_ALL {
            let result = work(connection).await;
            // Where there is nothing to roll back it shows whether the connection still leads anywhere.
            return rolled_back_unless_done(connection, result).await;
        }
        if let Err(error) = statement(connection, dialect::BEGIN).await {
            return (Err(error), false);
        }
        let result = work(connection).await;
        end(connection, result).await
    })
    .await
}

/// Runs the transaction once, as long as one may take. A connection that was left in the middle is of no use any more.
async fn attempt<T, E, F>(connection: &mut Connection, scope: Scope, work: &F) -> (Result<T, E>, bool)
where
    E: Failure,
    F: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T, E>>,
{
    limited(begin_to_end(connection, scope, work)).await
}

async fn limited<T, E: From<StoreError>>(attempt: impl Future<Output = (Result<T, E>, bool)>) -> (Result<T, E>, bool) {
    let Some(limit) = dialect::ATTEMPT_LIMIT else { return attempt.await };
    match tokio::time::timeout(limit, attempt).await {
        Ok(done) => done,
        Err(_) => (Err(StoreError::unavailable("the database did not answer in time").into()), false),
    }
}

/// Not sqlx's transaction: SQLite ends a transaction by itself after some errors, and a count that does not notice would go wrong.
async fn begin_to_end<T, E, F>(connection: &mut Connection, scope: Scope, work: &F) -> (Result<T, E>, bool)
where
    E: Failure,
    F: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T, E>>,
{
    if let Err(error) = statement(connection, dialect::BEGIN).await {
        return (Err(error.into()), false);
    }
    let result = lock_and_work(connection, scope, work).await;
    end(connection, result).await
}

/// Commits what was done, or rolls back.
async fn end<T, E: Failure>(connection: &mut Connection, result: Result<T, E>) -> (Result<T, E>, bool) {
    let result = match result {
        Ok(done) => statement(connection, "commit").await.map(|()| done).map_err(E::from),
        Err(error) => Err(error),
    };
    rolled_back_unless_done(connection, result).await
}

async fn rolled_back_unless_done<T, E: Failure>(
    connection: &mut Connection,
    result: Result<T, E>,
) -> (Result<T, E>, bool) {
    let Err(error) = &result else { return (result, true) };
    // A server that takes no writes has handed over to another one, which only a new connection finds.
    let is_of_use = !error.store_error().is_some_and(is_read_only);
    let is_usable = statement(connection, "rollback").await.is_ok() && is_of_use;
    (result, is_usable)
}

async fn lock_and_work<T, E, F>(connection: &mut Connection, scope: Scope, work: &F) -> Result<T, E>
where
    E: Failure,
    F: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T, E>>,
{
    if let Scope::Room(room) = scope {
        locks::room(connection, room).await?;
    }
    work(connection).await
}

/// Runs a statement without parameters or rows.
pub(super) async fn statement(connection: &mut Connection, statement: &'static str) -> Result<(), StoreError> {
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}
