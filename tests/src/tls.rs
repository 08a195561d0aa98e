//! A certificate of its own for a node that speaks TLS itself.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

/// A certificate for this machine and its key, in files that go with it.
pub struct Certificate {
    folder: TempDir,
    /// The certificate, in PEM.
    pub pem: String,
}

impl Certificate {
    /// A new one, signed by itself.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let certificate = Self { folder, pem: made.cert.pem() };
        std::fs::write(certificate.path("cert.pem"), &certificate.pem).expect("a file");
        std::fs::write(certificate.path("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        certificate
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The flags of a node that has it.
    #[must_use]
    pub fn args(&self) -> [String; 2] {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        [format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())]
    }

    /// The settings of a client that trusts it and no other.
    #[must_use]
    pub fn trusted(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a certificate that can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions that the provider has");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
