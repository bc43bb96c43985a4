//! Sealing of what the database must keep readable: AES-256-GCM with a key file that never enters the database.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::datadir::write_private;
use crate::{Error, ids};

const KEY_LEN: usize = 32;

/// Seals and opens small values. The nonce is random, 96 bits: far from a repeat at the few values a database holds.
pub struct Vault {
    key: LessSafeKey,
    path: PathBuf,
}

impl Vault {
    /// Reads the key file, or makes it (mode 0600) on first use.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let fresh = ids::random::<KEY_LEN>()?;
                write_private(path, &fresh)?;
                fresh.to_vec()
            }
            Err(source) => return Err(Error::File { action: "read", path: path.to_owned(), source }),
        };
        let unbound = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| Error::Sealed { path: path.to_owned() })?;
        Ok(Self { key: LessSafeKey::new(unbound), path: path.to_owned() })
    }

    /// Seals `plain`. `owner` (the row's id) is bound to it: a sealed value moved to another row does not open.
    pub fn seal(&self, owner: &str, plain: &[u8]) -> Result<String, Error> {
        let nonce = ids::random::<NONCE_LEN>()?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner.as_bytes()), &mut sealed)
            .map_err(|_| Error::Crypto { action: "seal a secret" })?;
        let mut out = nonce.to_vec();
        out.extend(sealed);
        Ok(STANDARD.encode(out))
    }

    /// Opens what [`Vault::seal`] made for the same owner.
    pub fn unseal(&self, owner: &str, sealed: &str) -> Result<Vec<u8>, Error> {
        let broken = || Error::Sealed { path: self.path.clone() };
        let bytes = STANDARD.decode(sealed).map_err(|_| broken())?;
        let (nonce, body) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(broken)?;
        let mut body = body.to_vec();
        let aad = Aad::from(owner.as_bytes());
        let plain =
            self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut body).map_err(|_| broken())?;
        Ok(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_value_opens_for_its_owner_and_its_key_file_alone() {
        let scratch = Scratch::new();
        let path = scratch.path().join("secret.key");
        let sealed = Vault::open(&path).unwrap().seal("key_1", b"private").unwrap();
        let again = Vault::open(&path).unwrap();
        assert_eq!(again.unseal("key_1", &sealed).unwrap(), b"private");
        assert!(again.unseal("key_2", &sealed).is_err());
        let other = Vault::open(&scratch.path().join("other.key")).unwrap();
        assert!(other.unseal("key_1", &sealed).is_err());
        assert!(again.unseal("key_1", "junk").is_err());
    }
}
