//! TLS as a client: which server certificates are believed.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use streams_relay_core::wire::Draft;

use crate::{ClientError, Trust};

/// A TLS configuration that offers every draft we speak and believes what `trust` says.
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ClientError::failed(format!("TLS 1.3 cannot be set up: {error}")))?;
    let mut config = match trust {
        Trust::System => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
        Trust::CaPem(pem) => builder.with_root_certificates(roots(certificates(pem)?)?).with_no_client_auth(),
        Trust::PinnedCertPem(pem) => {
            let verifier = PinnedVerifier::new(certificates(pem)?, None, provider);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
        Trust::CertSha256(hash) => {
            let verifier = PinnedVerifier::of_sha256(*hash, provider);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
    };
    config.alpn_protocols = Draft::SUPPORTED.iter().map(|draft| draft.alpn().as_bytes().to_vec()).collect();
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(ClientError::usage("the certificate file holds no certificate in PEM")),
        Err(error) => Err(ClientError::usage(format!("the certificate file is no PEM: {error}"))),
    }
}

fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, ClientError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store
            .add(certificate)
            .map_err(|error| ClientError::usage(format!("not usable as a root certificate: {error}")))?;
    }
    Ok(store)
}

fn system_roots() -> Result<RootCertStore, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(ClientError::failed("the system has no root certificates; install them or name a certificate"));
    }
    Ok(store)
}

/// Believes the pinned certificates, and of all others those that another verifier believes, if there is one. Names, dates and
/// issuers of a pinned certificate do not count, for the pin is the identity; that the server holds the key is checked as always.
#[derive(Debug)]
pub struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    sha256: Option<[u8; 32]>,
    otherwise: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    /// Believes the certificate whose DER has this SHA-256.
    pub fn of_sha256(hash: [u8; 32], provider: Arc<CryptoProvider>) -> Self {
        Self { pinned: Vec::new(), sha256: Some(hash), otherwise: None, provider }
    }

    /// Believes `pinned`, and what `otherwise` believes.
    pub fn new(
        pinned: Vec<CertificateDer<'static>>,
        otherwise: Option<Arc<dyn ServerCertVerifier>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { pinned, sha256: None, otherwise, provider }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let has_hash = |hash: &[u8; 32]| digest(&SHA256, certificate).as_ref() == hash;
        if self.pinned.iter().any(|pinned| pinned == certificate) || self.sha256.as_ref().is_some_and(has_hash) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.otherwise {
            Some(otherwise) => otherwise.verify_server_cert(certificate, intermediates, name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
