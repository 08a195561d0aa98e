//! `snug migrate-store`.

use std::time::{Duration, Instant};

use snug_gateway::config::MigrateStore;
use snug_store::{Progress, Stage, TransferOptions};

/// How often a copy says how far it has come.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// Copies a store, saying how far it has come on standard error and what was compared on standard output.
pub async fn run(settings: &MigrateStore) -> anyhow::Result<()> {
    let options = TransferOptions { allow_weak: settings.allow_weak_durability, ..TransferOptions::default() };
    let mut told: Option<(Stage, String, Instant)> = None;
    let mut tell = |progress: Progress| {
        let is_done = progress.rows == progress.rows_total;
        let is_news = told.as_ref().is_none_or(|(stage, table, at)| {
            (*stage, table) != (progress.stage, &progress.table) || is_done || at.elapsed() >= PROGRESS_PERIOD
        });
        if is_news {
            let doing = match progress.stage {
                Stage::Copying => "copying",
                Stage::Comparing => "comparing",
            };
            eprintln!("{doing} {}: {} of {} rows", progress.table, progress.rows, progress.rows_total);
            told = Some((progress.stage, progress.table, Instant::now()));
        }
    };
    let transferred = snug_store::transfer(&settings.from, settings.to.as_str(), options, &mut tell).await?;
    for (table, rows, digest) in &transferred.tables {
        println!("{table}: {rows} rows, the same on both sides ({})", snug_protocol::encode_base64(digest));
    }
    println!("{} rooms, each with a gapless log up to its head.", transferred.rooms);
    if transferred.damaged > 0 {
        println!("{} entries were damaged in the source already and were copied as they are.", transferred.damaged);
    }
    println!(
        "Done. The pepper is not in the database: give every node the pepper file of the old one (SNUG_PEPPER_FILE), else no password works. \
         Do not start the old node again."
    );
    Ok(())
}
