//! Opening the database beside the nodes that use it, for an operator's command.

use snug_store::{PostgresOptions, SqliteOptions, Store};
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::config::Settings;

/// Opens the database of the nodes that have these settings, also while they run. Nothing is created or migrated.
///
/// # Errors
/// The database cannot be used, or needs `snug migrate` first.
pub async fn open_store_beside(settings: &Settings, tasks: &TaskTracker) -> Result<Store, StartError> {
    settings.check()?;
    if let Some(url) = &settings.database_url {
        // What is asked and changed here is little; the server's connections are for the nodes.
        let options = PostgresOptions { readers: 1, writers: 1, migrate: false, allow_weak: true };
        return Ok(Store::open_postgres(url.as_str(), options, tasks).await?);
    }
    let options = SqliteOptions { readers: 1, beside: true, ..SqliteOptions::default() };
    Ok(Store::open_sqlite(&settings.database_path(), options, tasks).await?)
}
