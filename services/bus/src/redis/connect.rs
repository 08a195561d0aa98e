//! Connecting for the first time, and saying in one line what is wrong.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Config, TcpConfig, TlsConfig, TlsConnector, TlsHostMapping};
use fred::types::{Builder, InfoKind, RespVersion, Value};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::encoding::encode_probe;
use super::limits;
use super::link::{Link, fail_fast};
use super::publish::publish_as_several;
use super::receive::MESSAGES_QUEUED_MAX;
use super::side::Connected;
use crate::{LEASE, SharedBucket};

/// What an address may begin with.
const SCHEMES: [&str; 6] = ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel"];

/// For everything together.
const CONNECT_LIMIT: Duration = Duration::from_secs(12);
/// For one address to accept, TLS included, and for each answer while connecting.
const STEP_LIMIT: Duration = Duration::from_secs(3);
/// For a message to ourselves to come back.
const REHEARSAL_LIMIT: Duration = Duration::from_secs(2);
/// Unacknowledged by the other machine for so long, the system closes it.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(5);
/// The first version with sharded channels.
const VERSION_MIN: u64 = 7;
/// Between two rounds of subscribing everything again. In a cluster slots move without a word; elsewhere it is a precaution.
const ROUND_EVERY_CLUSTERED: Duration = Duration::from_secs(30);
const ROUND_EVERY: Duration = Duration::from_secs(300);

/// What can be set beside the address.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// What the names of channels and keys begin with; without braces. Installations that share a Redis need different ones. Default:
    /// `snug:`.
    pub prefix: String,
    /// Certificates in PEM that are trusted instead of the system's, for `rediss` addresses.
    pub trusted: Option<Vec<u8>>,
    /// How often everything is subscribed again on a connection that seems to work. Default: every 30 s in a cluster, where slots move
    /// without a word; else every 5 minutes.
    pub round_every: Option<Duration>,
    /// How long a node's entries in the roster stay without a renewal. Default: [`LEASE`](crate::LEASE).
    pub lease: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { prefix: "snug:".to_owned(), trusted: None, round_every: None, lease: LEASE }
    }
}

/// Why the backplane cannot be used; one line for an operator.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not one.
    #[error("the Redis address is not usable: {0}")]
    Address(String),
    /// Nobody answers there.
    #[error("Redis at {at} cannot be reached: {reason}")]
    Unreachable {
        /// Hosts and ports.
        at: String,
        /// What the system says.
        reason: String,
    },
    /// The user name or password is missing or wrong.
    #[error("Redis at {at} refuses the sign-in: {reason}")]
    SignIn {
        /// Hosts and ports.
        at: String,
        /// What Redis says.
        reason: String,
    },
    /// It lacks sharded channels.
    #[error("Redis at {at} is version {version}; version 7 or later is needed")]
    TooOld {
        /// Hosts and ports.
        at: String,
        /// What it says it is.
        version: String,
    },
    /// The user may not do what is needed, or Redis will not do it now.
    #[error("Redis at {at} does not do what is needed: {reason}")]
    Refused {
        /// Hosts and ports.
        at: String,
        /// What Redis says.
        reason: String,
    },
}

/// Both connections, and how more are made.
pub(super) struct Opened {
    pub(super) publishing: Builder,
    pub(super) subscribing: Builder,
    pub(super) publisher: Connected<Client>,
    pub(super) subscriber: Connected<SubscriberClient>,
    /// Between two rounds.
    pub(super) round_every: Duration,
    pub(super) is_clustered: bool,
}

/// Connects both sides and does everything once that the backplane does: so a Redis that lacks something, or forbids it, is found now.
pub(super) async fn open(url: &str, options: &RedisOptions, link: &Link) -> Result<Opened, ConnectError> {
    let config = config(url, options)?;
    let at = config.server.hosts().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let is_clustered = config.server.is_clustered();
    let round_every = if is_clustered { ROUND_EVERY_CLUSTERED } else { ROUND_EVERY };
    let publishing = builder(config);
    let mut subscribing = publishing.clone();
    subscribing.with_performance_config(|performance| performance.broadcast_channel_capacity = MESSAGES_QUEUED_MAX);
    let attempt = async {
        let publisher = Connected::new(publishing.build()?).await?;
        check(&publisher.client).await?;
        let subscriber = Connected::new(subscribing.build_subscriber_client()?).await?;
        rehearse(link, &publisher.client, &subscriber.client).await?;
        Ok::<_, Failure>((publisher, subscriber))
    };
    match tokio::time::timeout(CONNECT_LIMIT, attempt).await {
        Ok(Ok((publisher, subscriber))) => {
            let round_every = options.round_every.unwrap_or(round_every);
            Ok(Opened { publishing, subscribing, publisher, subscriber, round_every, is_clustered })
        }
        Ok(Err(failure)) => Err(failure.at(at)),
        Err(_) => Err(ConnectError::Unreachable { at, reason: "no answer".to_owned() }),
    }
}

fn config(url: &str, options: &RedisOptions) -> Result<Config, ConnectError> {
    if options.prefix.contains(['{', '}']) {
        return Err(ConnectError::Address("the prefix of its names must not have braces".to_owned()));
    }
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
    if !SCHEMES.contains(&&*scheme) {
        return Err(ConnectError::Address(format!("it must begin with one of {}, then ://", SCHEMES.join(", "))));
    }
    if scheme.starts_with("rediss") {
        // fred asks for the process's, and panics when it has none. If there is one, it stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    // fred's errors name the part that is wrong and do not quote it.
    let mut config = Config::from_url(url).map_err(|error| ConnectError::Address(error.details().to_owned()))?;
    if let Some(pem) = &options.trusted {
        config.tls = config.tls.map(|_| trusting(pem)).transpose()?;
    }
    if config.server.is_clustered()
        && let Some(tls) = &mut config.tls
    {
        // A cluster may know its nodes by number; their certificates are for the name that we were given.
        tls.hostnames = TlsHostMapping::DefaultHost;
    }
    // Pings, and messages beside answers on one connection.
    config.version = RespVersion::RESP3;
    Ok(config)
}

fn trusting(pem: &[u8]) -> Result<TlsConfig, ConnectError> {
    let unusable = |what: &dyn std::fmt::Display| ConnectError::Address(format!("the certificates to trust: {what}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(config).into())
}

fn builder(config: Config) -> Builder {
    let mut builder = Builder::from_config(config);
    builder.with_connection_config(|connection| {
        connection.connection_timeout = STEP_LIMIT;
        connection.internal_command_timeout = STEP_LIMIT;
        connection.tcp =
            TcpConfig { nodelay: Some(true), user_timeout: Some(UNACKNOWLEDGED_LIMIT), ..TcpConfig::default() };
        connection.auto_client_setname = false;
        // Bounded by us. With fred's own bound, a full queue can swallow its note to reconnect.
        connection.max_command_buffer_len = 0;
    });
    // No policy: a client that has lost its connection ends, and a new one takes its place.
    builder
}

/// Checks what the server says about itself, if it may be asked.
async fn check(client: &Client) -> Result<(), Failure> {
    let Ok(info) = client.with_options(&fail_fast()).info::<String>(Some(InfoKind::Server)).await else {
        return Ok(());
    };
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(version) = field("redis_version:").filter(|version| is_too_old(version)) {
        return Err(Failure::TooOld(version.to_owned()));
    }
    if field("redis_mode:") == Some("cluster") && !client.is_clustered() {
        return Err(Failure::Cluster);
    }
    Ok(())
}

fn is_too_old(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse::<u64>().ok()).is_some_and(|major| major < VERSION_MIN)
}

/// Hears itself, and runs a script that writes.
async fn rehearse(link: &Link, publisher: &Client, subscriber: &SubscriberClient) -> Result<(), Failure> {
    let (mut messages, channel) = (subscriber.message_rx(), link.names.probe(link.node));
    let hearing = subscriber.with_options(&fail_fast());
    hearing.ssubscribe(channel.clone()).await?;
    hearing.ssubscribe(link.names.everyone()).await?;
    let probe = encode_probe(link.node, 0);
    let publishing = publisher.with_options(&fail_fast());
    let _heard_by: i64 = publishing.spublish(channel.clone(), Value::Bytes(probe.clone())).await?;
    if !publisher.is_clustered() {
        publish_as_several(publisher, channel.clone(), probe).await?;
    }
    let heard = async { while messages.recv().await.is_ok_and(|message| message.channel != channel) {} };
    if tokio::time::timeout(REHEARSAL_LIMIT, heard).await.is_err() {
        return Err(Failure::Deaf);
    }
    let bucket = SharedBucket { name: "rehearsal".to_owned(), burst: 1.0, per_second: 1_000.0 };
    let key = [link.names.buckets(&link.node.to_string())];
    let _wait_ms: u64 = link.try_run(publisher, &limits::CHARGE, &key, &limits::arguments(&[bucket])).await?;
    Ok(())
}

/// What went wrong, without the address.
enum Failure {
    Redis(Error),
    TooOld(String),
    Cluster,
    Deaf,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Redis(error)
    }
}

impl Failure {
    fn at(self, at: String) -> ConnectError {
        let error = match self {
            Self::TooOld(version) => return ConnectError::TooOld { at, version },
            Self::Deaf => {
                let reason = "a message published to ourselves did not arrive".to_owned();
                return ConnectError::Refused { at, reason };
            }
            Self::Cluster => {
                let reason = "it is a cluster; the address must begin with redis-cluster or rediss-cluster".to_owned();
                return ConnectError::Refused { at, reason };
            }
            Self::Redis(error) => error,
        };
        let details = error.details();
        let reason = system_message(details).unwrap_or(details).to_owned();
        match error.kind() {
            _ if details.starts_with("NOAUTH") => {
                let reason = "it wants a password, and the address has none".to_owned();
                ConnectError::SignIn { at, reason }
            }
            ErrorKind::Auth => ConnectError::SignIn { at, reason },
            _ if details.contains("unknown command") => ConnectError::TooOld { at, version: "6 or earlier".to_owned() },
            _ if details.contains("cluster support disabled") => {
                let reason = "it is not a cluster; the address must begin with redis or rediss".to_owned();
                ConnectError::Refused { at, reason }
            }
            ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Tls | ErrorKind::Sentinel | ErrorKind::Canceled => {
                ConnectError::Unreachable { at, reason }
            }
            _ => ConnectError::Refused { at, reason },
        }
    }
}

/// The readable part of an I/O error, which fred shows as Rust does.
fn system_message(details: &str) -> Option<&str> {
    let (_, message) = details.split_once("message: \"")?;
    message.split_once('"').map(|(message, _)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        config(url, &RedisOptions::default()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn addresses_of_every_kind_are_taken() {
        for url in [
            "redis://localhost",
            "redis://user:secret@localhost:6380/3",
            "rediss://localhost:6379",
            "redis-cluster://one:6379?node=two:6379",
            "rediss-cluster://one:6379",
            "redis-sentinel://one:26379/0?sentinelServiceName=snug&node=two:26379&sentinelPassword=other",
        ] {
            assert_eq!(refusal(url), "", "{url}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_without_the_password() {
        for url in [
            "localhost:6379",
            "http://user:hunter2@localhost",
            "redis://user:hunter2@",
            "redis://user:hunter2@localhost:port",
            "redis://user:hunter2@localhost/zero",
            "redis-sentinel://user:hunter2@localhost",
            "redis-cluster://user:hunter2@localhost?node=x",
        ] {
            let refusal = refusal(url);
            assert!(refusal.starts_with("the Redis address is not usable: "), "{url}: {refusal}");
            assert!(!refusal.contains("hunter2") && !refusal.contains('\n'), "{url}: {refusal}");
        }
    }

    #[test]
    fn versions_before_sharded_channels_are_too_old() {
        assert!(is_too_old("6.2.14") && is_too_old("5.0"));
        assert!(!is_too_old("7.0.15") && !is_too_old("8.2") && !is_too_old("unstable"));
    }

    #[test]
    fn an_input_or_output_error_is_shown_as_the_system_says_it() {
        let details = "Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }";
        let at = "localhost:1".to_owned();
        let error = Failure::Redis(Error::new(ErrorKind::IO, details)).at(at).to_string();
        assert_eq!(error, "Redis at localhost:1 cannot be reached: Connection refused");
    }
}
