//! The binary `snug`: reads the settings, runs a node until it is told to stop.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use snug_gateway::auth::Peppers;
use snug_gateway::config::{Cli, Command, Migrate, MigrateStore};
use snug_gateway::{Server, Settings, healthcheck, server, telemetry};
use snug_store::{Progress, Stage, TransferOptions};
use tokio_util::task::TaskTracker;

/// How often a copy says how far it has come.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => serve(cli.settings).await,
        Some(Command::Serve(settings)) => serve(*settings).await,
        Some(Command::Migrate(mut settings)) => {
            settings.migrate = Migrate::Auto;
            migrate(&settings).await
        }
        Some(Command::Health(settings)) => healthcheck::ask(&settings).await.map_err(Into::into),
        Some(Command::MigrateStore(settings)) => migrate_store(&settings).await,
        Some(Command::MakePepper { file }) => make_pepper(&file),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snug: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let telemetry = telemetry::init(&settings)?;
    #[cfg(all(feature = "sabotage", debug_assertions))]
    settings.sabotage.into_iter().for_each(snug_gateway::Sabotage::commit);
    let data_dir = settings.data_dir.clone();
    let server = Server::start(settings).await?;
    let durability = server.durability().as_str();
    tracing::info!(url = server.url(), data_dir = %data_dir.display(), durability, version = env!("CARGO_PKG_VERSION"), "ready");
    // Before the line that scripts wait for: whoever has read it may stop the process at once.
    let signals = Signals::listen()?;
    // For people and scripts alike; logs go to standard error.
    println!("Snug is ready: {}", server.url());
    server.run(stopped(signals)).await;
    telemetry.end().await;
    Ok(())
}

async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let store = server::open_store(settings, &TaskTracker::new()).await?;
    store.close().await;
    println!("The database's schema is up to date.");
    Ok(())
}

/// Copies a store, saying how far it has come on standard error and what was compared on standard output.
async fn migrate_store(settings: &MigrateStore) -> anyhow::Result<()> {
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

fn make_pepper(file: &Path) -> anyhow::Result<()> {
    Peppers::make(file)?;
    println!(
        "{} is made. Give every node the same file, and keep a copy apart from the database's backups.",
        file.display()
    );
    Ok(())
}

/// Returns at the first SIGTERM or Ctrl-C; at the second the process ends at once.
async fn stopped(mut signals: Signals) {
    signals.next().await;
    // The process's own watchdog has no owner to wait for it: it only ever ends the process.
    #[expect(clippy::disallowed_methods, reason = "ends with the process")]
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(130);
    });
}

/// SIGTERM and Ctrl-C, heard from the moment that this is made.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
