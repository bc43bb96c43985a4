//! TLS of the edge: the certificate that QUIC serves, read again whenever that is.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::warn;

use crate::EngineError;
use crate::quic::TlsFiles;

/// HTTP/2 first: RFC 7301 lets the server choose.
pub(crate) const HTTP_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The configuration that new connections get.
pub(crate) struct EdgeTls {
    files: TlsFiles,
    alpn: &'static [&'static [u8]],
    config: RefCell<Arc<ServerConfig>>,
    /// Which reload it is of.
    reload: Cell<u64>,
}

impl EdgeTls {
    /// Reads the files. `alpn` names the protocols that are spoken inside, if they have names.
    ///
    /// # Errors
    /// [`EngineError::Tls`]: they cannot be read, or do not belong together.
    pub(crate) fn load(files: TlsFiles, alpn: &'static [&'static [u8]]) -> Result<Self, EngineError> {
        let config = RefCell::new(read(&files, alpn)?);
        Ok(Self { files, alpn, config, reload: Cell::new(0) })
    }

    /// For a new connection. `reload` is how often the shard was told to read the certificate again.
    pub(crate) fn config(&self, reload: u64) -> Arc<ServerConfig> {
        if self.reload.replace(reload) != reload {
            match read(&self.files, self.alpn) {
                Ok(config) => *self.config.borrow_mut() = config,
                Err(error) => warn!(%error, "the certificate was not reloaded for TLS over TCP; the old one stays"),
            }
        }
        self.config.borrow().clone()
    }

    /// The same for a stream.
    pub(crate) fn acceptor(&self, reload: u64) -> TlsAcceptor {
        TlsAcceptor::from(self.config(reload))
    }
}

fn read(files: &TlsFiles, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, EngineError> {
    let refuse = |path: &std::path::Path| {
        let path = path.to_owned();
        move |detail: String| EngineError::Tls { path: path.clone(), detail }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| refuse(&files.certificate)(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refuse(&files.key)(error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| refuse(&files.certificate)(error.to_string()))?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}
