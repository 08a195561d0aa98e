//! Where traces and metrics are sent: a collector that takes OTLP as protobuf over HTTP.
//!
//! One connection a batch, a limit on how long it may take, no second attempt: what a collector does not take is lost and counted.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use snug_metrics::Counters;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// From the first byte to the collector's answer.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Numbers.
    Metrics,
}

snug_metrics::label! {
    /// What became of a batch.
    pub enum Export("outcome") {
        /// The collector took the spans.
        TracesSent = "traces_sent",
        /// It did not.
        TracesLost = "traces_lost",
        /// The collector took the numbers.
        MetricsSent = "metrics_sent",
        /// It did not.
        MetricsLost = "metrics_lost",
    }
}

/// An address that is not a collector's.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// Not an http(s) address.
    #[error(
        "SNUG_OTLP_URL must be the address of a collector such as http://127.0.0.1:4318, without a user, a password or a query"
    )]
    Url,
    /// Nothing could be sent from where it was made.
    #[error("the collector's address was read outside of a runtime")]
    Runtime,
}

/// Why a batch is lost.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It cannot be reached.
    #[error("it cannot be reached: {0}")]
    Io(#[from] std::io::Error),
    /// It does not speak HTTP.
    #[error("it does not answer as it should: {0}")]
    Http(#[from] hyper::Error),
    /// It refuses.
    #[error("it answers {0}")]
    Refused(StatusCode),
    /// It is too slow.
    #[error("it does not answer in time")]
    TimedOut,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

#[derive(Debug)]
struct Shared {
    /// With the scheme and without a slash at its end.
    base: String,
    host: String,
    port: u16,
    https: bool,
    /// The library sends from a thread that is not of the runtime.
    runtime: Handle,
    answers: AtomicBool,
    exports: Counters<Export>,
}

/// A collector. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collector {
    shared: Arc<Shared>,
}

impl Collector {
    /// The collector at `url`, such as `http://127.0.0.1:4318`. Nothing is sent before there is something to send.
    ///
    /// # Errors
    /// The address is not one.
    pub fn at(url: &str) -> Result<Self, CollectorError> {
        let base = url.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_| CollectorError::Url)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(CollectorError::Url),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@') && uri.query().is_none());
        let authority = authority.ok_or(CollectorError::Url)?;
        let shared = Shared {
            base: base.to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            https,
            runtime: Handle::try_current().map_err(|_| CollectorError::Runtime)?,
            answers: AtomicBool::new(true),
            exports: Counters::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether it took the last batch; at first it is trusted to.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.shared.answers.load(Ordering::Relaxed)
    }

    /// Sends it a batch with nothing in it: whether it is one, and takes what is sent.
    ///
    /// # Errors
    /// It does not, within five seconds.
    pub async fn ask(&self) -> Result<(), SendError> {
        self.send(Signal::Metrics, Vec::new()).await
    }

    pub(super) fn exports(&self) -> &Counters<Export> {
        &self.shared.exports
    }

    /// Sends one batch. May be awaited on any thread.
    pub(super) async fn send(&self, signal: Signal, body: Vec<u8>) -> Result<(), SendError> {
        let this = self.clone();
        let posting = self.shared.runtime.spawn(async move { timeout(SEND_LIMIT, this.post(signal, body)).await });
        let outcome = match posting.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(SendError::TimedOut),
            Err(_) => Err(SendError::Stopping),
        };
        self.note(signal, &outcome);
        outcome
    }

    fn note(&self, signal: Signal, outcome: &Result<(), SendError>) {
        let export = match (signal, outcome.is_ok()) {
            (Signal::Traces, true) => Export::TracesSent,
            (Signal::Traces, false) => Export::TracesLost,
            (Signal::Metrics, true) => Export::MetricsSent,
            (Signal::Metrics, false) => Export::MetricsLost,
        };
        self.shared.exports.of(export).increment();
        let answered = self.shared.answers.swap(outcome.is_ok(), Ordering::Relaxed);
        match outcome {
            Err(error) if answered => {
                tracing::warn!(%error, "the collector takes no telemetry; the node goes on without");
            }
            Ok(()) if !answered => tracing::info!("the collector takes telemetry again"),
            _ => {}
        }
    }

    async fn post(&self, signal: Signal, body: Vec<u8>) -> Result<(), SendError> {
        let stream = TcpStream::connect((self.shared.host.as_str(), self.shared.port)).await?;
        if !self.shared.https {
            return self.request(stream, signal, body).await;
        }
        let name = ServerName::try_from(self.shared.host.clone()).map_err(std::io::Error::other)?;
        self.request(connector().connect(name, stream).await?, signal, body).await
    }

    async fn request(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        signal: Signal,
        body: Vec<u8>,
    ) -> Result<(), SendError> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let path = match signal {
            Signal::Traces => "/v1/traces",
            Signal::Metrics => "/v1/metrics",
        };
        let url: Uri = format!("{}{path}", self.shared.base).parse().map_err(std::io::Error::other)?;
        let request = Request::post(url.path())
            .header(header::HOST, url.authority().map_or("", |authority| authority.as_str()))
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            // Said also of nothing: some wait for more, else.
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::USER_AGENT, concat!("snug/", env!("CARGO_PKG_VERSION")))
            .body(Body::from(body))
            .map_err(std::io::Error::other)?;
        // Both halves in this task: it ends with the connection.
        let mut answer = pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = &mut answer => answer?,
            // A collector that closes after its answer ends the connection in the same moment; the answer is there all the same.
            ended = connection => {
                ended?;
                answer.await?
            }
        };
        if answer.status().is_success() { Ok(()) } else { Err(SendError::Refused(answer.status())) }
    }
}

fn connector() -> TlsConnector {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_an_address_without_a_secret_is_a_collectors() {
        for good in ["http://127.0.0.1:4318", "https://otlp.example/path/", "http://[::1]:4318"] {
            assert!(Collector::at(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:4318", "grpc://host:4317", "http://user:secret@host", "http://host/?token=secret"] {
            let refused = Collector::at(bad).expect_err(bad).to_string();
            assert!(refused.contains("SNUG_OTLP_URL") && !refused.contains("secret"), "{refused}");
        }
        let collector = Collector::at("http://[::1]:4318").expect("an address");
        assert_eq!((collector.shared.host.as_str(), collector.shared.port), ("::1", 4318));
    }
}
