//! What a client is told once: where the servers are and how patient to be.

use std::sync::{Arc, Once};
use std::time::Duration;

use snug_protocol::limits::SILENCE_LIMIT;

use crate::error::ClientError;

/// Spans of time. Tests shorten them; programs leave them.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The longest first wait before a reconnect; each wait is drawn between half of it and all. Default 0.5 s.
    pub backoff_first: Duration,
    /// The longest wait before a reconnect; waits double up to it. Default 30 s.
    pub backoff_max: Duration,
    /// Hearing nothing for this long means that the connection is dead. Default 40 s.
    pub silence_limit: Duration,
    /// A connection that has not become a session by then is given up. Default 10 s.
    pub connect_limit: Duration,
    /// An HTTP call without an answer by then is given up. Default 15 s.
    pub http_limit: Duration,
    /// A sent envelope without an answer by then means: reconnect. Default 20 s.
    pub answer_limit: Duration,
    /// An entry that must exist (it was acknowledged, or a heartbeat's head tells of it) and does not come means: reconnect.
    /// An acknowledged one that does not come after that either is a violation (`dropped`). Default 10 s.
    pub arrival_limit: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            silence_limit: SILENCE_LIMIT,
            connect_limit: Duration::from_secs(10),
            http_limit: Duration::from_secs(15),
            answer_limit: Duration::from_secs(20),
            arrival_limit: Duration::from_secs(10),
        }
    }
}

/// How to reach the servers.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses of the nodes (`https://chat.example`), tried in turn: the next one after each failure.
    pub base_urls: Vec<String>,
    /// The origin that sign-ins and invite links name. Default: the address of the node that is asked.
    pub origin: Option<String>,
    /// Name and version of the program, for the server's counters.
    pub program: String,
    /// TLS settings, such as a private root certificate. Default: the public roots.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// After an absence with more entries than the server sends at once, up to so many are fetched page by page, so that none is missed;
    /// beyond it a hole is told and left. Default 10,000.
    pub catch_up_max: u64,
    /// Spans of time.
    pub timing: Timing,
}

impl ClientConfig {
    /// The defaults, with one node.
    #[must_use]
    pub fn new(base_url: impl Into<String>) -> Self {
        Self::with_nodes([base_url.into()])
    }

    /// The defaults, with several nodes of one service.
    #[must_use]
    pub fn with_nodes(base_urls: impl IntoIterator<Item = String>) -> Self {
        Self {
            base_urls: base_urls.into_iter().collect(),
            origin: None,
            program: concat!("snug-client/", env!("CARGO_PKG_VERSION")).into(),
            tls: None,
            catch_up_max: 10_000,
            timing: Timing::default(),
        }
    }
}

/// The origin of an address: scheme, host and port, without a trailing slash.
pub(crate) fn origin_of(address: &str) -> Result<String, ClientError> {
    let invalid = || ClientError::AddressInvalid(address.to_owned());
    let url = reqwest::Url::parse(address).map_err(|_| invalid())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid());
    }
    Ok(url.origin().ascii_serialization())
}

/// Makes ring the process's TLS provider, unless it has one.
pub(crate) fn install_tls_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that the program has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_cut_to_its_origin() {
        assert_eq!(origin_of("https://chat.example/").ok().as_deref(), Some("https://chat.example"));
        assert_eq!(origin_of("http://[::1]:8080").ok().as_deref(), Some("http://[::1]:8080"));
        assert!(origin_of("ftp://chat.example").is_err());
        assert!(origin_of("chat").is_err());
    }
}
