//! `snug check`: whether a node could start with these settings, and what it would find. Nothing is created, migrated or noted, so it can
//! be asked beside a running node, and before the first one.

mod certificate;
mod watching;

use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::UnixTime;
use serde::Serialize;
use snug_bus::{RedisBackplane, RedisOptions};
use snug_store::{OpenError, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{PepperError, Peppers};
use crate::config::{Migrate, Settings};
use crate::healthcheck;
use crate::server::{StartError, listen, open_store_beside};

/// A distance between this machine's clock and the database's that is worth a word.
const SKEW_MS_MAX: u64 = 5_000;
/// Open files that a node needs besides its connections.
const FILES_BESIDES: u64 = 200;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// A node starts all the same.
    Warning,
    /// A node does not start, or nobody could use it.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is.
    pub state: State,
    /// In one line.
    pub said: String,
}

/// All that was looked at, in the order in which a start needs it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    fn note(&mut self, what: &'static str, state: State, said: impl Into<String>) {
        self.findings.push(Finding { what, state, said: said.into() });
    }

    /// How many things would keep a node from starting, or people from using it.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.findings.iter().filter(|finding| finding.state == State::Failed).count()
    }
}

/// Looks at everything.
pub async fn check(settings: &Settings) -> Report {
    let mut report = Report::default();
    if let Err(error) = settings.check() {
        report.note("settings", State::Failed, error.to_string());
        return report;
    }
    let identity = settings.identity(settings.listen);
    match &identity {
        Ok(identity) => report.note("settings", State::Ok, format!("people open {}", identity.url)),
        Err(error) => report.note("settings", State::Failed, error.to_string()),
    }
    if let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
        certificate::check(cert, key, identity.as_ref().ok(), UnixTime::now(), &mut report);
    }
    // Kept for a while: the admin port cannot be the same.
    let port = check_port(settings, &mut report).await;
    watching::check(settings, &mut report).await;
    drop(port);
    check_files(settings, &mut report);
    let tasks = TaskTracker::new();
    match open_store_beside(settings, &tasks).await {
        Ok(store) => {
            check_store(&store, settings, &mut report).await;
            store.close().await;
        }
        Err(error) => check_without_store(&error, settings, &mut report),
    }
    check_redis(settings, &mut report).await;
    report
}

/// Whether the port is free, or a node has it.
async fn check_port(settings: &Settings, report: &mut Report) -> Option<TcpListener> {
    let address = settings.listen;
    match listen(address, "SNUG_LISTEN") {
        Ok(port) => {
            report.note("port", State::Ok, format!("{address} is free"));
            return Some(port);
        }
        Err(_) if healthcheck::ask(settings).await.is_ok() => {
            report.note("port", State::Ok, format!("a node is ready at {address}"));
        }
        Err(error) => report.note("port", State::Failed, error.to_string()),
    }
    None
}

/// Whether the system allows as many open files as the settings allow connections.
fn check_files(settings: &Settings, report: &mut Report) {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let needed = settings.limits.connections_max as u64 + FILES_BESIDES;
        match limit {
            Some(limit) if limit < needed => report.note(
                "open files",
                State::Warning,
                format!(
                    "this process may open {limit}, but SNUG_CONNECTIONS_MAX needs {needed} (ulimit -n, LimitNOFILE)"
                ),
            ),
            _ => report.note(
                "open files",
                State::Ok,
                format!("enough for {} connections", settings.limits.connections_max),
            ),
        }
    }
    #[cfg(not(unix))]
    let _ = (settings, report);
}

async fn check_store(store: &Store, settings: &Settings, report: &mut Report) {
    let said = format!("{}, durability {}", store.kind(), store.durability().as_str());
    let is_weak = store.durability() == snug_store::Durability::Weak;
    match (is_weak, settings.allow_weak_durability) {
        (false, _) => report.note("database", State::Ok, said),
        (true, true) => report.note("database", State::Warning, format!("{said}: a crash may lose acknowledged messages")),
        (true, false) => report.note(
            "database",
            State::Failed,
            format!("{said}: a crash would lose acknowledged messages; change its settings, or accept it with SNUG_ALLOW_WEAK_DURABILITY"),
        ),
    }
    let own_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    match store.now_ms().await {
        Ok(now_ms) => {
            let skew_ms = now_ms.abs_diff(u64::try_from(own_ms).unwrap_or(u64::MAX));
            let state = if skew_ms > SKEW_MS_MAX { State::Warning } else { State::Ok };
            report.note("clock", state, format!("{skew_ms} ms from the database's"));
        }
        Err(error) => report.note("clock", State::Failed, error.to_string()),
    }
    match store.pepper_checks().await {
        Ok(checks) => check_pepper(&checks, store.is_shared(), settings, report),
        Err(error) => report.note("pepper", State::Failed, error.to_string()),
    }
}

/// What a start would make of a database that cannot be opened as it is.
fn check_without_store(error: &StartError, settings: &Settings, report: &mut Report) {
    match error {
        StartError::Store(OpenError::Missing { path }) => {
            match usable(&settings.data_dir) {
                Ok(()) => {
                    report.note("database", State::Ok, format!("{} is made at the first start", path.display()));
                }
                Err(error) => report.note("database", State::Failed, error),
            }
            check_pepper(&[], false, settings, report);
        }
        StartError::Store(OpenError::MigrationPending { .. }) if settings.migrate == Migrate::Auto => {
            report.note("database", State::Warning, "its schema is brought up to date at the next start");
        }
        error => report.note("database", State::Failed, error.to_string()),
    }
}

/// Whether a folder is there and takes files, or can be made.
fn usable(folder: &Path) -> Result<(), String> {
    let wrong = |reason: String| format!("the data folder {} cannot be used: {reason}", folder.display());
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(wrong(format!("{} is no folder", there.display())));
    }
    #[cfg(unix)]
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| wrong(std::io::Error::from(error).to_string()))?;
    Ok(())
}

fn check_pepper(checks: &[(u32, [u8; 32])], is_shared: bool, settings: &Settings, report: &mut Report) {
    let path = settings.pepper_path();
    if !path.exists() && checks.is_empty() {
        if is_shared {
            report.note("pepper", State::Failed, PepperError::NotMade { path }.to_string());
        } else {
            report.note("pepper", State::Ok, format!("{} is made at the first start", path.display()));
        }
        return;
    }
    match Peppers::examine(&path, checks) {
        Ok(peppers) => {
            report.note("pepper", State::Ok, format!("pepper {} of {} seals", peppers.newest(), path.display()));
        }
        Err(error) => report.note("pepper", State::Failed, error.to_string()),
    }
}

async fn check_redis(settings: &Settings, report: &mut Report) {
    let Some(url) = &settings.redis_url else {
        if settings.database_url.is_some() {
            report.note(
                "redis",
                State::Warning,
                "none: news from other nodes come seconds late, and presence is each node's own",
            );
        }
        return;
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let options = RedisOptions { prefix: settings.redis_prefix.clone(), ..RedisOptions::default() };
    match RedisBackplane::connect(url.as_str(), crate::server::random_node(), options, &tasks, stop.clone()).await {
        Ok(_) => report.note("redis", State::Ok, "a message to ourselves came back"),
        Err(error) => report.note("redis", State::Failed, error.to_string()),
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
