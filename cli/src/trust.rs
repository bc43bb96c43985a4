//! Whom the command trusts: the certificates of the data directory by identity, else the system's authorities.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use streams_sdk::PinnedVerifier;

use crate::Error;

/// Where Debian and most others keep the authorities; `SSL_CERT_FILE` names another place.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// TLS that accepts `pinned` certificates, or any that the system's authorities vouch for.
pub fn client_config(pinned: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(PinnedVerifier::new(pinned, authorities(&provider), provider.clone()));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| streams_control::Error::Tls { path: PathBuf::from(AUTHORITIES), reason: error.to_string() })?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn authorities(provider: &Arc<CryptoProvider>) -> Option<Arc<dyn ServerCertVerifier>> {
    let file = std::env::var_os("SSL_CERT_FILE").map_or_else(|| PathBuf::from(AUTHORITIES), PathBuf::from);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(file).ok()?.flatten());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok()?;
    Some(verifier)
}
