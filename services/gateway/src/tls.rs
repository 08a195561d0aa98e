//! TLS on the node itself, by certificate and key files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Unreadable, or not PEM.
    #[error("{setting} ({path}) cannot be read as PEM: {reason}")]
    File {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The two do not fit.
    #[error("SNUG_TLS_CERT and SNUG_TLS_KEY do not work together: {0}")]
    Pair(String),
}

fn wrong(setting: &'static str, path: &Path, reason: &impl ToString) -> TlsError {
    TlsError::File { setting, path: path.to_owned(), reason: reason.to_string() }
}

/// The certificates of a file, the node's own first; at least that one.
///
/// # Errors
/// The file cannot be read, or there is none in it.
pub fn chain(cert: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| wrong("SNUG_TLS_CERT", cert, &error))?;
    if chain.is_empty() {
        return Err(wrong("SNUG_TLS_CERT", cert, &"there is no certificate in it"));
    }
    Ok(chain)
}

/// Reads certificate chain and key.
///
/// # Errors
/// Which file is wrong, and how.
pub fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain = chain(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("SNUG_TLS_KEY", key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| TlsError::Pair(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
