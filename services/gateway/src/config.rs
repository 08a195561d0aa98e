//! Settings: flags, environment variables and a file, read once. The only place that reads the environment.
//!
//! What is declared here is all three: the field's flag, its `SNUG_` variable, and the variable's name without `SNUG_`, in lower case, as
//! the file's key. A flag wins over a variable, a variable over the file, the file over the default.

mod address_range;
mod cli;
mod file;
mod identity;
mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::telemetry::{Collector, CollectorError};

pub use address_range::AddressRange;
pub use cli::{Backup, Check, Cli, Command, MigrateStore, Purge, Restore, Revoke, Rooms, Sessions, Whose};
pub use file::FileError;
pub use identity::Identity;
pub use source::{Effective, Origin, Parsed, ReadError, Setting, command, read};

/// Every setting, with its unit and default.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// TOML file with any of these settings, each named as its environment variable without SNUG_, in lower case, such as data_dir.
    /// Flags and environment variables win over it.
    #[arg(long, env = "SNUG_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on.
    #[arg(long, env = "SNUG_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder of the database and the pepper.
    #[arg(long, env = "SNUG_DATA_DIR", default_value = "snug-data")]
    pub data_dir: PathBuf,
    /// The address people open, such as https://chat.example. Without it only localhost is answered.
    #[arg(long, env = "SNUG_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Addresses (or ranges such as 10.0.0.0/8) of proxies whose X-Forwarded-For is believed, separated by commas.
    #[arg(long, env = "SNUG_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<AddressRange>,
    /// File with the numbered peppers. Default: `pepper` in the data folder, made on the first start.
    #[arg(long, env = "SNUG_PEPPER_FILE")]
    pub pepper_file: Option<PathBuf>,
    /// Certificate chain in PEM, for TLS on this node.
    #[arg(long, env = "SNUG_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Private key in PEM, for TLS on this node.
    #[arg(long, env = "SNUG_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// What to log: a level, or a filter such as info,snug_gateway=debug.
    #[arg(long, env = "SNUG_LOG", default_value = "info")]
    pub log: String,
    /// How to log.
    #[arg(long, env = "SNUG_LOG_FORMAT", default_value = "pretty")]
    pub log_format: LogFormat,
    /// Address of a Postgres database, such as postgres://user:password@host:5432/database?sslmode=verify-full. Default: SQLite in the
    /// data folder.
    #[arg(long, env = "SNUG_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<DatabaseUrl>,
    /// Start although the database's settings let acknowledged messages be lost.
    #[arg(long, env = "SNUG_ALLOW_WEAK_DURABILITY")]
    pub allow_weak_durability: bool,
    /// Address of the Redis (7 or later) that the nodes of a cluster share, such as redis://host:6379; also redis-cluster:// and
    /// redis-sentinel://, and each with rediss for TLS. Needs Postgres. Default: news go about within this node only.
    #[arg(long, env = "SNUG_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<RedisUrl>,
    /// What the names of all channels and keys in Redis begin with. Installations that share a Redis need different ones.
    #[arg(long, env = "SNUG_REDIS_PREFIX", default_value = "snug:")]
    pub redis_prefix: String,
    /// Whether a start brings the database's schema up to date, or refuses to run until `snug migrate` has.
    #[arg(long, env = "SNUG_MIGRATE", default_value = "auto")]
    pub migrate: Migrate,
    /// The most the database file may grow to, in bytes. Default: what the disk holds.
    #[arg(long, env = "SNUG_DATABASE_BYTES_MAX")]
    pub database_bytes_max: Option<u64>,
    /// How long an orderly stop goes on taking connections after it has said that it is not ready, so that a load balancer notices, in
    /// milliseconds. Default: 5000 in a cluster, 0 for a node that is alone. Not waited for when nobody is connected.
    #[arg(long, env = "SNUG_DRAIN_WAIT_MS")]
    pub drain_wait_ms: Option<u64>,
    /// How long an orderly stop then tells clients to move to another node before their sockets close, in milliseconds. Default: 10000 in
    /// a cluster, 0 for a node that is alone.
    #[arg(long, env = "SNUG_DRAIN_MOVE_MS")]
    pub drain_move_ms: Option<u64>,
    /// Metrics and traces.
    #[command(flatten)]
    pub watching: Watching,
    /// What a test breaks on purpose.
    #[cfg(all(feature = "sabotage", debug_assertions))]
    #[arg(long, hide = true)]
    pub sabotage: Option<crate::Sabotage>,
    /// Rates and quotas.
    #[command(flatten)]
    pub limits: Limits,
}

/// Where metrics and traces go.
#[derive(Debug, Clone, Args)]
pub struct Watching {
    /// Address and port for metrics, as Prometheus reads them at /metrics; not for the public. Default: none.
    #[arg(long, env = "SNUG_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// Address of an OpenTelemetry collector that takes traces and metrics by OTLP over HTTP, such as http://127.0.0.1:4318. Default, and
    /// if empty: nothing is sent.
    #[arg(long, env = "SNUG_OTLP_URL", default_value = "", hide_default_value = true)]
    pub otlp_url: String,
    /// The share of messages and requests that are traced, 0 to 1. What another node has begun to trace is traced in any case.
    #[arg(long, env = "SNUG_TRACE_SHARE", default_value_t = 0.01, value_parser = share)]
    pub trace_share: f64,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text} is not between 0 and 1")) }
}

impl Watching {
    /// The collector, if there is one. To be called within a runtime.
    ///
    /// # Errors
    /// Its address is not one.
    pub fn collector(&self) -> Result<Option<Collector>, CollectorError> {
        if self.otlp_url.is_empty() { Ok(None) } else { Collector::at(&self.otlp_url).map(Some) }
    }
}

/// Rates and quotas that an operator may change.
#[derive(Debug, Clone, Args)]
pub struct Limits {
    /// HTTP requests a second from one address, after the burst.
    #[arg(long, env = "SNUG_HTTP_PER_SECOND", default_value_t = 50)]
    pub http_per_second: u32,
    /// HTTP requests at once from one address.
    #[arg(long, env = "SNUG_HTTP_BURST", default_value_t = 200)]
    pub http_burst: u32,
    /// Failed attempts a minute to join one room from one address, after the burst.
    #[arg(long, env = "SNUG_JOINS_PER_MINUTE", default_value_t = 5)]
    pub joins_per_minute: u32,
    /// Failed attempts at once to join one room from one address.
    #[arg(long, env = "SNUG_JOINS_BURST", default_value_t = 10)]
    pub joins_burst: u32,
    /// Failed attempts a minute to join any room from one address, and as many at once.
    #[arg(long, env = "SNUG_JOINS_PER_ADDRESS_PER_MINUTE", default_value_t = 20)]
    pub joins_per_address_per_minute: u32,
    /// Sign-ins a minute from one address, right ones included, and as many at once.
    #[arg(long, env = "SNUG_SIGN_INS_PER_MINUTE", default_value_t = 120)]
    pub sign_ins_per_minute: u32,
    /// Rooms and new passwords a minute that one address may make, and as many at once.
    #[arg(long, env = "SNUG_CREATES_PER_MINUTE", default_value_t = 10)]
    pub creates_per_minute: u32,
    /// Moves to another device a minute that one address may begin, and as many at once.
    #[arg(long, env = "SNUG_MOVES_PER_MINUTE", default_value_t = 10)]
    pub moves_per_minute: u32,
    /// Messages a second from one device, after the burst; administrative steps count too.
    #[arg(long, env = "SNUG_SENDS_PER_SECOND", default_value_t = 10)]
    pub sends_per_second: u32,
    /// Messages at once from one device.
    #[arg(long, env = "SNUG_SENDS_BURST", default_value_t = 20)]
    pub sends_burst: u32,
    /// Connections open at one time on this node, sockets included.
    #[arg(long, env = "SNUG_CONNECTIONS_MAX", default_value_t = 60_000)]
    pub connections_max: usize,
    /// Connections open at one time from one address, unless it is a trusted proxy's.
    #[arg(long, env = "SNUG_CONNECTIONS_PER_ADDRESS", default_value_t = 400)]
    pub connections_per_address: usize,
    /// Sockets open at one time on this node.
    #[arg(long, env = "SNUG_SOCKETS_MAX", default_value_t = 50_000)]
    pub sockets_max: usize,
    /// Sockets open at one time from one address.
    #[arg(long, env = "SNUG_SOCKETS_PER_ADDRESS", default_value_t = 200)]
    pub sockets_per_address: usize,
    /// Sockets open at one time of one device.
    #[arg(long, env = "SNUG_SOCKETS_PER_DEVICE", default_value_t = 20)]
    pub sockets_per_device: usize,
}

/// An address with a password in it, so that it is not shown.
macro_rules! secret_url {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(String);

        impl $name {
            /// The address, password included.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(url: String) -> Self {
                Self(url)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret_url!(
    /// The address of a Postgres database. It has a password in it, so it is not shown.
    DatabaseUrl
);
secret_url!(
    /// The address of a Redis. It has a password in it, so it is not shown.
    RedisUrl
);

/// What a start does about a schema of an older version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Migrate {
    /// Brings it up to date.
    Auto,
    /// Refuses to start.
    Off,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// How an orderly stop takes leave of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// From being not ready to accepting no more.
    pub wait: Duration,
    /// From telling clients to move to closing their sockets; zero: they are not told.
    pub move_within: Duration,
}

/// A setting that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not an http(s) address without a path.
    #[error("SNUG_PUBLIC_URL is {0}, but must be an address such as https://chat.example, without a path")]
    PublicUrl(String),
    /// Neither Postgres nor unset.
    #[error(
        "SNUG_DATABASE_URL must begin with postgres://; for SQLite unset it, and name the folder of the database with SNUG_DATA_DIR"
    )]
    DatabaseUrl,
    /// Postgres without a file of peppers.
    #[error(
        "with SNUG_DATABASE_URL set, SNUG_PEPPER_FILE must name the file of peppers that every node has; make it once with `snug make-pepper <file>`"
    )]
    PepperFile,
    /// Several nodes on one SQLite file.
    #[error(
        "SNUG_REDIS_URL is set, but the database is SQLite, a file that only one node can use; set SNUG_DATABASE_URL to a Postgres that all nodes share, or unset SNUG_REDIS_URL"
    )]
    RedisWithSqlite,
    /// A certificate without its key, or the other way round.
    #[error("{set} is set, but {missing} is not; TLS on this node needs certificate and key (--tls-cert, --tls-key)")]
    HalfTls {
        /// The variable that is set.
        set: &'static str,
        /// The variable that is not.
        missing: &'static str,
    },
}

impl Settings {
    /// Refuses what this version cannot do, rather than ignore it.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(url) = &self.database_url {
            if !["postgres://", "postgresql://"].iter().any(|scheme| url.as_str().starts_with(scheme)) {
                return Err(ConfigError::DatabaseUrl);
            }
            if self.pepper_file.is_none() {
                return Err(ConfigError::PepperFile);
            }
        }
        if self.redis_url.is_some() && self.database_url.is_none() {
            return Err(ConfigError::RedisWithSqlite);
        }
        let (cert, key) = ("SNUG_TLS_CERT", "SNUG_TLS_KEY");
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Err(ConfigError::HalfTls { set: cert, missing: key }),
            (None, Some(_)) => Err(ConfigError::HalfTls { set: key, missing: cert }),
            _ => Ok(()),
        }
    }

    /// Where the database is when it is SQLite.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        self.data_dir.join("snug.db")
    }

    /// Where the peppers are.
    #[must_use]
    pub fn pepper_path(&self) -> PathBuf {
        self.pepper_file.clone().unwrap_or_else(|| self.data_dir.join("pepper"))
    }

    /// How an orderly stop takes leave of its clients.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        // Where there is no other node there is nobody to tell and nowhere to go.
        let (wait_ms, move_ms) = if self.database_url.is_some() { (5_000, 10_000) } else { (0, 0) };
        Farewell {
            wait: Duration::from_millis(self.drain_wait_ms.unwrap_or(wait_ms)),
            move_within: Duration::from_millis(self.drain_move_ms.unwrap_or(move_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn settings(args: &[&str]) -> Settings {
        Cli::parse_from(["snug"].iter().chain(args)).settings
    }

    #[test]
    fn postgres_needs_a_file_of_peppers_and_other_databases_are_refused() {
        let check = |args: &[&str]| settings(args).check().err().map(|error| error.to_string());
        let (url, pepper) = ("--database-url=postgresql://snug:secret@db/snug", "--pepper-file=/etc/snug/pepper");
        assert!(check(&[url]).is_some_and(|error| error.contains("snug make-pepper")));
        assert_eq!(check(&[url, pepper]), None);
        let refused = check(&["--database-url=mysql://snug:secret@db/snug", pepper]).expect("it is refused");
        assert!(refused.contains("postgres://") && !refused.contains("secret"), "{refused}");
        assert!(!format!("{:?}", settings(&[url, pepper])).contains("secret"));
    }

    #[test]
    fn a_node_that_is_alone_closes_at_once_and_one_of_several_lets_its_clients_move() {
        let alone = settings(&[]).farewell();
        assert_eq!((alone.wait, alone.move_within), (Duration::ZERO, Duration::ZERO));
        let one_of_several = settings(&["--database-url=postgres://host/db"]).farewell();
        assert!(!one_of_several.wait.is_zero() && !one_of_several.move_within.is_zero());
        let told =
            settings(&["--database-url=postgres://host/db", "--drain-wait-ms=0", "--drain-move-ms=7"]).farewell();
        assert_eq!((told.wait, told.move_within), (Duration::ZERO, Duration::from_millis(7)));
    }

    #[test]
    fn redis_on_a_file_that_only_one_node_can_use_is_refused() {
        let refused = settings(&["--redis-url=redis://localhost"]).check().expect_err("SQLite").to_string();
        assert!(refused.contains("SNUG_DATABASE_URL") && refused.contains("SNUG_REDIS_URL"), "{refused}");
    }

    #[test]
    fn a_certificate_without_its_key_is_refused_whichever_is_missing() {
        for (flag, missing) in [("--tls-cert=/cert.pem", "SNUG_TLS_KEY"), ("--tls-key=/key.pem", "SNUG_TLS_CERT")] {
            let refused = settings(&[flag]).check().expect_err("one is missing").to_string();
            assert!(refused.contains(missing), "{refused}");
        }
    }
}
