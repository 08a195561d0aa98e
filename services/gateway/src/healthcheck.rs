//! `snug health`: asks the node that runs on this machine with the same settings whether it is ready.
//!
//! For container engines: the image holds one program, so that program must be able to ask. Orchestrators that speak HTTP ask `/readyz` themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::config::Settings;

/// For the whole question; the node itself gives its dependencies two seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// The report is some hundred bytes; of the numbers the first will do.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Why a node does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Nobody answers.
    #[error("no node answers at {address}: {source}")]
    Silent {
        /// Where it was asked.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// It answers that it is not ready, or nonsense.
    #[error("the node at {address} is not ready: {answer}")]
    NotReady {
        /// Where it was asked.
        address: SocketAddr,
        /// What it said.
        answer: String,
    },
}

/// Returns when the node that listens where `settings` say answers that it is ready.
///
/// # Errors
/// It is not, or does not answer within four seconds.
pub async fn ask(settings: &Settings) -> Result<(), HealthError> {
    let address = reachable(settings.listen);
    let silent = |source| HealthError::Silent { address, source };
    let question = async {
        let stream = TcpStream::connect(address).await?;
        if settings.tls_cert.is_none() {
            return question(stream, "/readyz").await;
        }
        let name = ServerName::IpAddress(address.ip().into());
        question(connector().connect(name, stream).await?, "/readyz").await
    };
    let answer = match timeout(ANSWER_LIMIT, question).await {
        Ok(answer) => answer.map_err(silent)?,
        Err(_) => return Err(silent(std::io::ErrorKind::TimedOut.into())),
    };
    if answer.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    Err(HealthError::NotReady { address, answer: body.trim().to_owned() })
}

/// Whether a node tells its numbers to whoever asks at this admin port.
pub(crate) async fn tells_metrics(admin: SocketAddr) -> bool {
    let question = async { question(TcpStream::connect(reachable(admin)).await?, "/metrics").await };
    matches!(timeout(ANSWER_LIMIT, question).await, Ok(Ok(answer)) if answer.contains("\nsnug_build_info{"))
}

/// A node that listens on every address is asked on loopback.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

async fn question(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> std::io::Result<String> {
    // HTTP/1.0: the answer is not in chunks, and the connection ends with it.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await {
        Err(error) if answer.is_empty() => Err(error),
        // A connection that was cut after the answer has answered.
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

fn connector() -> TlsConnector {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// The node's certificate is for the name that people type, not for loopback. Nothing secret is asked or said here.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_asked_on_loopback() {
        let asked = |listen: &str| reachable(listen.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(asked("[::]:8080"), "[::1]:8080");
        assert_eq!(asked("10.1.2.3:80"), "10.1.2.3:80");
    }
}
