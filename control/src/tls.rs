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

use crate::datadir::{write_for_group, write_private};
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

/// What belongs to a certificate, in the order in which it is written and moved.
const FILES: [&str; 3] = ["key.pem", "cert.pem", "issued.json"];

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
            self.issue_unless_ready(&next, now_ms)?;
            return Ok(false);
        }
        self.issue_unless_ready(&next, now_ms)?;
        // The note goes last: a change that is cut off before it is begun again. Only where none was served it goes first,
        // for a pair without a note passes for the operator's.
        let mut files = FILES;
        if !served {
            files.rotate_right(1);
        }
        for file in files {
            let to = self.folder.join(file);
            fs::rename(next.join(file), &to).map_err(Error::file("replace", &to))?;
        }
        // Left over it would be an empty folder, which the next certificate takes.
        let _ = fs::remove_dir(&next);
        Ok(true)
    }

    /// Makes the next certificate unless it is there, whole (a change that was cut off took some of its files) and good for
    /// longer than the one that it follows.
    fn issue_unless_ready(&self, next: &Path, now_ms: i64) -> Result<(), Error> {
        let whole = FILES.iter().all(|file| next.join(file).exists());
        let good = |issued: Issued| issued.hosts == self.hosts && issued.not_after_ms - now_ms > SWITCH_LEFT_MS;
        if whole && read_note(next).is_some_and(good) {
            return Ok(());
        }
        self.issue(next, now_ms)
    }

    /// [`Certificates::maintain`] for as long as the process runs: a failure (a full disk, say) is a warning and tried again
    /// at the next call while the certificate that is served has some of its life left.
    pub fn look_after(&self, now_ms: i64) -> Result<bool, Error> {
        let served = read_note(&self.folder);
        match self.maintain(now_ms) {
            Err(error) if served.is_some_and(|issued| issued.hosts == self.hosts && issued.not_after_ms > now_ms) => {
                tracing::warn!(%error, "the certificate cannot be replaced yet; the one that is served is valid");
                Ok(false)
            }
            done => done,
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
        // The note of an earlier one must not vouch for files of two certificates.
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", folder)(error))?,
            _ => {}
        }
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
        write_for_group(&folder.join("key.pem"), key.serialize_pem().as_bytes())?;
        write_for_group(&folder.join("cert.pem"), certificate.pem().as_bytes())?;
        let note = serde_json::json!(Issued { not_after_ms, hosts: self.hosts.clone() });
        write_private(&folder.join("issued.json"), note.to_string().as_bytes())
    }

    /// Base64 SHA-256 of each certificate that a browser may meet: the served one, and the next.
    pub fn hashes(&self) -> Vec<String> {
        self.pinned().iter().map(|certificate| STANDARD.encode(ids::sha256(certificate))).collect()
    }

    /// The same in hex, as a person hands them on.
    pub fn hashes_hex(&self) -> Vec<String> {
        self.pinned().iter().map(|certificate| ids::sha256_hex(certificate)).collect()
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

    #[test]
    fn a_change_that_was_cut_off_between_two_files_is_made_again() {
        for moved in 1..FILES.len() {
            let scratch = Scratch::new();
            let certificates = Certificates::new(scratch.path().to_owned(), "127.0.0.1");
            certificates.maintain(NOW_MS).unwrap();
            certificates.maintain(NOW_MS + 11 * DAY_MS).unwrap();
            for file in &FILES[..moved] {
                fs::rename(scratch.path().join("next").join(file), scratch.path().join(file)).unwrap();
            }
            assert!(certificates.maintain(NOW_MS + 12 * DAY_MS).unwrap(), "{moved} files were moved");
            certificates.server_config().unwrap();
            assert_eq!(
                read_note(scratch.path()).unwrap().not_after_ms,
                NOW_MS + (12 + LIFE_DAYS) * DAY_MS - BACKDATE_MS
            );
        }
    }

    #[test]
    fn a_first_certificate_that_was_cut_off_is_still_ours() {
        let scratch = Scratch::new();
        let certificates = Certificates::new(scratch.path().to_owned(), "127.0.0.1");
        certificates.maintain(NOW_MS).unwrap();
        fs::remove_file(scratch.path().join("cert.pem")).unwrap();
        assert!(certificates.maintain(NOW_MS).unwrap());
        assert!(read_note(scratch.path()).is_some());
        certificates.server_config().unwrap();
    }

    #[test]
    fn a_certificate_that_cannot_be_replaced_is_served_while_it_is_valid() {
        let scratch = Scratch::new();
        let certificates = Certificates::new(scratch.path().to_owned(), "127.0.0.1");
        certificates.maintain(NOW_MS).unwrap();
        // A file where the folder of the next one belongs: nothing can be written there.
        fs::write(scratch.path().join("next"), "").unwrap();
        assert!(certificates.maintain(NOW_MS + 11 * DAY_MS).is_err());
        assert!(!certificates.look_after(NOW_MS + 11 * DAY_MS).unwrap());
        assert!(certificates.look_after(NOW_MS + 14 * DAY_MS).is_err(), "it has expired");
        fs::remove_file(scratch.path().join("next")).unwrap();
        assert!(!certificates.look_after(NOW_MS + 11 * DAY_MS).unwrap());
        assert_eq!(certificates.hashes().len(), 2);
    }
}
