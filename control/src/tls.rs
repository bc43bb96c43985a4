//! The certificate of an installation.
//!
//! In the dev profile control makes one itself: ECDSA P-256, [`LIFE_DAYS`] days (browsers take a certificate by its hash,
//! `serverCertificateHashes`, only up to 14), named localhost, the loopback addresses and the host. It is replaced before
//! it ends:
//!
//! ```text
//! made                               3 d left: the next one is made      1 d left: the next one is served
//!  |------------ served ----------------------|--- served, both hashes told ---|
//! ```
//!
//! so that a page that was told both hashes connects before and after the change. A certificate that lies in the folder
//! without our note beside it (`issued.json`) is the operator's: it is served and never touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::datadir::write_private;
use crate::{Error, ids};

/// Life of a certificate made here.
pub const LIFE_DAYS: i64 = 13;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// Backdating, for clients whose clock is behind.
const BACKDATE_MS: i64 = 3600 * 1000;
/// The next certificate is made when so much of the current one's life is left: pages reload more often than that.
const NEXT_LEFT_MS: i64 = 3 * DAY_MS;
/// The next certificate is served when so much of the current one's life is left.
const SWITCH_LEFT_MS: i64 = DAY_MS;

/// The note beside a certificate that was made here.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Issued {
    not_after_ms: i64,
    hosts: Vec<String>,
}

/// The folder with `cert.pem`, `key.pem` and, near a change, `next/`.
#[derive(Debug, Clone)]
pub struct Certificates {
    folder: PathBuf,
    hosts: Vec<String>,
}

impl Certificates {
    /// The certificates of `folder` (`DIR/tls`), for `host` besides the loopback names.
    pub fn new(folder: PathBuf, host: &str) -> Self {
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        if !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
        Self { folder, hosts }
    }

    /// Makes what is missing and changes what is due. True when another certificate is served from now on.
    pub fn maintain(&self, now_ms: i64) -> Result<bool, Error> {
        let next = self.folder.join("next");
        let served = self.folder.join("cert.pem").exists() && self.folder.join("key.pem").exists();
        let note = read_note(&self.folder);
        let (left_ms, ours) = match &note {
            Some(issued) if issued.hosts == self.hosts => (issued.not_after_ms - now_ms, true),
            Some(_) => (0, true),
            None => (i64::MAX, !served),
        };
        if served && !ours {
            return Ok(false);
        }
        if served && left_ms > NEXT_LEFT_MS {
            return Ok(false);
        }
        if served && left_ms > SWITCH_LEFT_MS {
            if read_note(&next).is_none_or(|issued| issued.hosts != self.hosts) {
                self.issue(&next, now_ms)?;
            }
            return Ok(false);
        }
        let ready = read_note(&next)
            .is_some_and(|issued| issued.hosts == self.hosts && issued.not_after_ms - now_ms > SWITCH_LEFT_MS);
        if ready {
            for file in ["key.pem", "cert.pem", "issued.json"] {
                let to = self.folder.join(file);
                fs::rename(next.join(file), &to).map_err(Error::file("replace", &to))?;
            }
        } else {
            self.issue(&self.folder, now_ms)?;
        }
        match fs::remove_dir_all(&next) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &next)(error)),
            _ => Ok(true),
        }
    }

    /// Refuses to go on without an operator's certificate: in the production profile none is made.
    pub fn require(&self) -> Result<(), Error> {
        let path = self.folder.join("cert.pem");
        let missing = !path.exists() || !self.folder.join("key.pem").exists();
        let reason = "the production profile needs cert.pem and key.pem in this folder".to_owned();
        if missing { Err(Error::Tls { path, reason }) } else { Ok(()) }
    }

    fn issue(&self, folder: &Path, now_ms: i64) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        let not_before_ms = now_ms - BACKDATE_MS;
        let not_after_ms = not_before_ms + LIFE_DAYS * DAY_MS;
        let mut params = CertificateParams::new(self.hosts.clone())?;
        params.not_before = at(not_before_ms);
        params.not_after = at(not_after_ms);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Streams development certificate");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        write_private(&folder.join("key.pem"), key.serialize_pem().as_bytes())?;
        write_private(&folder.join("cert.pem"), certificate.pem().as_bytes())?;
        let note = serde_json::json!(Issued { not_after_ms, hosts: self.hosts.clone() });
        write_private(&folder.join("issued.json"), note.to_string().as_bytes())
    }

    /// Base64 SHA-256 of each certificate that a browser may meet: the served one, and the next.
    pub fn hashes(&self) -> Vec<String> {
        self.pinned().iter().map(|certificate| STANDARD.encode(ids::sha256(certificate))).collect()
    }

    /// The certificates a client of this machine may trust by identity: the served one, and the next.
    pub fn pinned(&self) -> Vec<CertificateDer<'static>> {
        [self.folder.clone(), self.folder.join("next")]
            .iter()
            .filter_map(|folder| CertificateDer::from_pem_file(folder.join("cert.pem")).ok())
            .collect()
    }

    /// The same as PEM.
    pub fn pinned_pem(&self) -> Vec<u8> {
        let files = [self.folder.join("cert.pem"), self.folder.join("next/cert.pem")];
        files.iter().filter_map(|file| fs::read(file).ok()).flatten().collect()
    }

    /// Whether a certificate was made here for `host`.
    pub fn issued_for(&self, host: &str) -> bool {
        read_note(&self.folder).is_some_and(|issued| issued.hosts.iter().any(|known| known == host))
    }

    /// The TLS side of control's own server.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, Error> {
        let path = self.folder.join("cert.pem");
        let refused = |reason: String| Error::Tls { path: path.clone(), reason };
        let chain: Vec<_> = CertificateDer::pem_file_iter(&path)
            .and_then(|chain| chain.collect())
            .map_err(|error| refused(error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_file(self.folder.join("key.pem")).map_err(|error| refused(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| refused(error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read_note(folder: &Path) -> Option<Issued> {
    serde_json::from_slice(&fs::read(folder.join("issued.json")).ok()?).ok()
}

fn at(unix_ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix_ms.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    const NOW_MS: i64 = 1_795_333_333_000;

    #[test]
    fn the_next_certificate_is_told_before_it_is_served() {
        let scratch = Scratch::new();
        let certificates = Certificates::new(scratch.path().to_owned(), "192.0.2.7");
        assert!(certificates.maintain(NOW_MS).unwrap());
        let first = certificates.hashes();
        assert_eq!(first.len(), 1);
        certificates.server_config().unwrap();

        assert!(!certificates.maintain(NOW_MS + 5 * DAY_MS).unwrap());
        assert_eq!(certificates.hashes(), first);

        assert!(!certificates.maintain(NOW_MS + 11 * DAY_MS).unwrap());
        let both = certificates.hashes();
        assert_eq!((both.len(), &both[0]), (2, &first[0]));

        assert!(certificates.maintain(NOW_MS + 12 * DAY_MS).unwrap());
        assert_eq!(certificates.hashes(), both[1..]);
        certificates.server_config().unwrap();
    }

    #[test]
    fn another_host_gets_another_certificate_and_an_old_one_is_replaced() {
        let scratch = Scratch::new();
        let loopback = Certificates::new(scratch.path().to_owned(), "127.0.0.1");
        assert!(loopback.maintain(NOW_MS).unwrap());
        assert!(!loopback.maintain(NOW_MS).unwrap());
        assert!(Certificates::new(scratch.path().to_owned(), "192.0.2.7").maintain(NOW_MS).unwrap());
        assert!(loopback.maintain(NOW_MS + 400 * DAY_MS).unwrap());
    }

    #[test]
    fn an_operators_certificate_is_served_and_never_touched() {
        let scratch = Scratch::new();
        let certificates = Certificates::new(scratch.path().to_owned(), "127.0.0.1");
        assert!(certificates.require().is_err());
        certificates.maintain(NOW_MS).unwrap();
        fs::remove_file(scratch.path().join("issued.json")).unwrap();
        let hashes = certificates.hashes();
        assert!(!certificates.maintain(NOW_MS + 400 * DAY_MS).unwrap());
        assert_eq!(certificates.hashes(), hashes);
        certificates.require().unwrap();
    }
}
