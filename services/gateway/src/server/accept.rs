//! The accept loop: TCP, TLS if configured, HTTP/1.1 with a limit on how long headers may take.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use snug_metrics::Decisions;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::config::{AddressRange, Limits};
use crate::limit::subject;
use crate::wire::{Connection, Stream, boxed, tcp};

/// From the first byte to the end of the headers. axum's own server sets none.
const HEADERS_LIMIT: Duration = Duration::from_secs(10);
/// For the TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// After a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection gets.
#[derive(Clone)]
pub struct Connections {
    /// Present when the node itself speaks TLS.
    pub tls: Option<TlsAcceptor>,
    /// The service.
    pub router: Router,
    /// Ends the accepting, and connections between two requests.
    pub stop: CancellationToken,
    /// Owns the connections' tasks.
    pub tasks: TaskTracker,
    /// How many there may be.
    pub places: Arc<Places>,
}

/// Where connections come from.
pub trait Listen: Send + 'static {
    /// The next connection, and whose it is. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Stream, SocketAddr)>> + Send;

    /// The address that people connect to.
    ///
    /// # Errors
    /// The system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Listen for TcpListener {
    async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Small frames must not wait for each other.
        let _ = stream.set_nodelay(true);
        Ok((tcp(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// Accepts until stopped; a connection in the middle of a request finishes it.
pub async fn run<L: Listen>(mut listener: L, connections: Connections) {
    loop {
        let accepted = tokio::select! {
            () = connections.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = connections.places.take(peer.ip()) else {
                    tracing::debug!("refused a connection: too many are open");
                    continue;
                };
                connections.tasks.spawn(serve(stream, peer, connections.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: Stream, peer: SocketAddr, connections: Connections, place: Place) {
    match connections.tls.clone() {
        None => speak_http(Connection::new(stream), peer, connections, place).await,
        Some(tls) => match timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak_http(Connection::new(boxed(stream)), peer, connections, place).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn speak_http(stream: Connection, peer: SocketAddr, connections: Connections, place: Place) {
    let Connections { router, stop, .. } = connections;
    let place = Arc::new(place);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        // Goes on with the socket, should this become one.
        request.extensions_mut().insert(Arc::clone(&place));
        router.clone().oneshot(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_LIMIT);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// How many connections are open, in all and by address.
pub struct Places {
    open: Mutex<HashMap<IpAddr, usize>>,
    all: Arc<Semaphore>,
    all_max: usize,
    per_address_max: usize,
    proxies: Arc<[AddressRange]>,
    decisions: Decisions,
}

/// One open connection; the place is free again when this is dropped.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
    _all: OwnedSemaphorePermit,
}

impl Places {
    /// With the configured limits. A trusted proxy's connections stand for many clients and only count in all.
    pub fn new(limits: &Limits, proxies: Arc<[AddressRange]>) -> Arc<Self> {
        Self::with(limits.connections_max, limits.connections_per_address, proxies)
    }

    pub(super) fn with(all_max: usize, per_address_max: usize, proxies: Arc<[AddressRange]>) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(all_max));
        let decisions = Decisions::default();
        Arc::new(Self { open: Mutex::default(), all, all_max, per_address_max, proxies, decisions })
    }

    /// How many connections are open.
    pub fn open_count(&self) -> usize {
        self.all_max.saturating_sub(self.all.available_permits())
    }

    /// How many may be.
    pub const fn count_max(&self) -> usize {
        self.all_max
    }

    /// How many connections were let in and how many were not.
    pub const fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        self.decisions.count(self.try_take(peer).ok_or(())).ok()
    }

    fn try_take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let peer = peer.to_canonical();
        let address = subject(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.per_address_max && !self.proxies.iter().any(|range| range.contains(peer)) {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place { places: Arc::clone(self), address, _all: all })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Cli;

    #[test]
    fn an_address_has_so_many_connections_and_gets_them_back() {
        let limits = Cli::parse_from(["snug", "--connections-per-address=2", "--connections-max=4"]).settings.limits;
        let places = Places::new(&limits, Arc::from(["10.0.0.0/8".parse().expect("a range")]));
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (first, second) = (places.take(address("1.1.1.1")), places.take(address("::ffff:1.1.1.1")));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(address("1.1.1.1")).is_none());
        let proxied: Vec<_> = (0..3).map(|_| places.take(address("10.0.0.1"))).collect();
        assert_eq!(proxied.iter().flatten().count(), 2, "a proxy is only limited by what there is in all");
        drop((first, proxied));
        assert!(places.take(address("1.1.1.1")).is_some());
        drop(second);
        assert!(places.open.lock().expect("no panic").is_empty());
    }
}
