//! Reading by several statements that see one moment.

use super::writer::BoxFuture;
use super::{Connection, Database, answered};
use crate::StoreError;

impl Database {
    /// Runs `read` in a transaction, which sees one moment. Cancel-safe.
    ///
    /// As a task of its own once it has a connection, since whoever gives up waiting must not cut it short: the driver (sqlx 0.9.0) forgets
    /// a transaction whose `begin` it could not await. Its connection would stay in that transaction, and all who read by it later would
    /// see the past.
    pub(super) async fn in_snapshot<T: Send + 'static>(
        &self,
        read: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        use sqlx::Connection as _;
        let mut connection = self.readers.acquire().await?;
        let reading = self.tasks.spawn(async move {
            let answer = answered(async {
                let mut snapshot = connection.begin().await?;
                let answer = read(&mut snapshot).await?;
                snapshot.rollback().await?;
                Ok(answer)
            });
            let answer: Result<T, StoreError> = answer.await;
            if answer.is_err() {
                // Wherever it was left.
                connection.close_on_drop();
            }
            answer
        });
        reading.await.map_err(|_| StoreError::closed())?
    }
}
