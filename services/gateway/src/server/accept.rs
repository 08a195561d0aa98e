//! The accept loop: TCP, TLS if configured, HTTP/1.1 with a limit on how long headers may take.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

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
}

/// Accepts until stopped; a connection in the middle of a request finishes it.
pub async fn run(listener: TcpListener, connections: Connections) {
    loop {
        let accepted = tokio::select! {
            () = connections.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Small frames must not wait for each other.
                let _ = stream.set_nodelay(true);
                connections.tasks.spawn(serve(stream, peer, connections.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, connections: Connections) {
    match connections.tls.clone() {
        None => speak_http(stream, peer, connections).await,
        Some(tls) => match timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak_http(stream, peer, connections).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn speak_http<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    peer: SocketAddr,
    connections: Connections,
) {
    let Connections { router, stop, .. } = connections;
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
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
