//! `snug backup`, `snug restore` and `snug new-history`.

use anyhow::bail;
use snug_gateway::auth::Peppers;
use snug_gateway::config::{Backup, Restore, Settings};
use snug_gateway::server;
use snug_store::BackedUp;
use tokio_util::task::TaskTracker;

/// What holds of either.
const ABOUT_PEPPER: &str =
    "The pepper is not in it: keep a copy of the pepper file elsewhere, since without it no password works.";

fn told(contents: BackedUp) -> String {
    format!("{} rooms, {} entries, {} bytes", contents.rooms, contents.entries, contents.bytes)
}

/// Copies the database beside the node.
pub async fn back_up(backup: &Backup) -> anyhow::Result<()> {
    if backup.settings.database_url.is_some() {
        bail!(
            "SNUG_DATABASE_URL is set, and Postgres has tools of its own: pg_dump --format=custom --file={} \"$SNUG_DATABASE_URL\"; \
             deploy/README.md says how to put it back",
            backup.file.display()
        );
    }
    let contents = snug_store::back_up(&backup.settings.database_path(), &backup.file).await?;
    println!("{}: {}, each log without a hole. {ABOUT_PEPPER}", backup.file.display(), told(contents));
    Ok(())
}

/// Puts a backup in the place of the database.
pub async fn restore(restore: &Restore) -> anyhow::Result<()> {
    let settings = &restore.settings;
    if settings.database_url.is_some() {
        bail!(
            "SNUG_DATABASE_URL is set: put the database back with pg_restore, then run `snug new-history` before any node starts"
        );
    }
    server::make_data_dir(&settings.data_dir)?;
    let path = settings.database_path();
    let restored = snug_store::restore(&restore.file, &path, restore.replace).await?;
    println!("{}: {}.", path.display(), told(restored.contents));
    if let Some(aside) = restored.moved_aside {
        println!("The database that was there is now {}.", aside.display());
    }
    println!(
        "Every room begins a new history: clients that have seen more than the backup holds say so and offer to send it again."
    );
    if let Err(error) = Peppers::examine(&settings.pepper_path(), &restored.pepper_checks) {
        println!("Before a start: {error}");
    }
    Ok(())
}

/// Begins new histories in a database that was put back by other means.
pub async fn new_history(settings: &Settings) -> anyhow::Result<()> {
    let store = server::open_store_beside(settings, &TaskTracker::new()).await?;
    let begun = store.begin_new_lives().await;
    store.close().await;
    println!("{} rooms begin a new history, and everyone signs in again.", begun?);
    Ok(())
}
