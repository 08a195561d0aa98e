//! The binary `snug`: reads the settings, runs a node until it is told to stop.

mod commands;

use std::process::ExitCode;

use snug_gateway::config::{self, Command, Migrate, Parsed};
use snug_gateway::{Server, Settings, healthcheck, server, telemetry};
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() -> ExitCode {
    let Parsed { cli, effective } = match config::read(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    let outcome = match cli.command {
        None => serve(cli.settings).await,
        Some(Command::Serve(settings)) => serve(*settings).await,
        Some(Command::Migrate(mut settings)) => {
            settings.migrate = Migrate::Auto;
            migrate(&settings).await
        }
        Some(Command::Health(settings)) => healthcheck::ask(&settings).await.map_err(Into::into),
        Some(Command::MigrateStore(settings)) => commands::migrate_store::run(&settings).await,
        Some(Command::MakePepper { file, add }) => commands::pepper::make(&file, add),
        Some(Command::Check(check)) => commands::check::run(&check).await,
        Some(Command::Backup(backup)) => commands::backup::back_up(&backup).await,
        Some(Command::Restore(restore)) => commands::backup::restore(&restore).await,
        Some(Command::NewHistory(settings)) => commands::backup::new_history(&settings).await,
        Some(Command::Rooms(rooms)) => commands::rooms::list(&rooms).await,
        Some(Command::Purge(purge)) => commands::rooms::purge(&purge).await,
        Some(Command::Sessions(sessions)) => commands::sessions::list(&sessions).await,
        Some(Command::Revoke(revoke)) => commands::sessions::revoke(&revoke).await,
        Some(Command::Config { json, .. }) => commands::settings::print(&effective, json),
        Some(Command::Completions { shell }) => commands::completions::print(shell),
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
