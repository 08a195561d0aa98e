//! A real Postgres.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::server::{Kind, Server, Spec};

/// A Postgres server that keeps what it has acknowledged (`fsync` and `synchronous_commit` are on) and takes 300 connections.
pub struct Postgres {
    /// Of the database `postgres`.
    url: String,
    server: Option<Server>,
}

/// The Postgres that all tests of this process share, started on first use: the one at `SNUG_TEST_POSTGRES_URL`, if that is set (then
/// the user needs the right to create databases, which stay). Each test takes a [`Postgres::database`] of its own.
pub async fn postgres() -> &'static Postgres {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    SHARED
        .get_or_init(async || match std::env::var("SNUG_TEST_POSTGRES_URL") {
            Ok(url) => Postgres::elsewhere(url),
            Err(_) => Postgres::start().await,
        })
        .await
}

impl Postgres {
    pub(crate) fn elsewhere(url: String) -> Self {
        Self { url, server: None }
    }

    /// A Postgres of one's own.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A Postgres of one's own with these settings, as in `[("max_connections", "5")]`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let server = Server::start(spec(settings)).await;
        Self { url: url(server.port(), "postgres"), server: Some(server) }
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn database(&self) -> String {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        // Other processes may use the same server, and have used it before.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let name = format!("snug_test_{now}_{}_{number}", std::process::id());
        let mut connection = PgConnection::connect(&self.url).await.expect("Postgres answers");
        // The name is made of numbers.
        let create = AssertSqlSafe(format!("create database {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.expect("a database can be created");
        connection.close().await.expect("Postgres answers");
        self.url_of(&name)
    }

    /// The URL of the database `postgres`, for a user who may do everything.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the database `name`.
    pub(crate) fn url_of(&self, name: &str) -> String {
        let (before, parameters) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let server = before.rfind('/').map_or(before, |at| &before[..at]);
        let mark = if parameters.is_empty() { "" } else { "?" };
        format!("{server}/{name}{mark}{parameters}")
    }
}

impl Deref for Postgres {
    type Target = Server;

    /// # Panics
    /// When the server is not ours.
    fn deref(&self) -> &Server {
        self.server.as_ref().expect("the server at SNUG_TEST_POSTGRES_URL is not ours to control")
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Server {
        self.server.as_mut().expect("the server at SNUG_TEST_POSTGRES_URL is not ours to control")
    }
}

pub(crate) fn url(port: u16, database: &str) -> String {
    format!("postgres://snug@127.0.0.1:{port}/{database}")
}

pub(crate) fn spec(settings: &[(&str, &str)]) -> Spec {
    // Data files are synced by what is committed later; an empty database need not be. A container's clients come from outside it.
    let script = r#"
        if ! [ -s "$DATA/PG_VERSION" ]; then
            initdb -D "$DATA" -U snug -A trust -E UTF8 --locale=C --no-sync >/dev/null || exit
            echo "host all all all trust" >>"$DATA/pg_hba.conf"
        fi
        exec postgres -D "$DATA" -p "$PORT" -c listen_addresses="$BIND" -c unix_socket_directories="$DATA" "$@"
    "#;
    let mine = [("max_connections", "300"), ("shared_buffers", "64MB"), ("jit", "off"), ("timezone", "UTC")];
    let args = mine.iter().chain(settings).flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    // For psql.
    let env = vec![("PGUSER", "snug"), ("PGDATABASE", "postgres"), ("PGHOST", "127.0.0.1")];
    let env = env.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    Spec { kind: Kind::Postgres, script: script.to_owned(), args: args.collect(), env }
}
