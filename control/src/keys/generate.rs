//! Making and importing key pairs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Longest PEM that is looked at: an RSA key of 8192 bits takes 1.5 KB, and the table entry of a key holds 2 KiB.
const PEM_LEN_MAX: usize = 1600;
/// Letters a PEM line (RFC 7468 §2).
const PEM_LINE_LEN: usize = 64;

/// Signature algorithms a playback token may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Alg {
    /// Ed25519.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256, 2048 bits when made here.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Alg {
    /// The name in a token's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Alg::EdDsa => "EdDSA",
            Alg::Rs256 => "RS256",
        }
    }

    /// From that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Alg::EdDsa, Alg::Rs256].into_iter().find(|alg| alg.as_str() == name)
    }
}

/// A fresh key pair.
pub struct KeyPair {
    /// PKCS#8 (version 1, which every library reads) PEM.
    pub private_pem: String,
    /// SubjectPublicKeyInfo PEM.
    pub public_pem: String,
}

impl KeyPair {
    /// Makes one. RSA takes a few hundred milliseconds of CPU: call it where blocking is allowed.
    pub fn generate(alg: Alg) -> Result<Self, Error> {
        match alg {
            Alg::EdDsa => Self::ed25519(),
            Alg::Rs256 => Self::rsa(),
        }
        .map_err(|_| Error::Crypto { action: "make a key pair" })
    }

    fn ed25519() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let pair = Ed25519KeyPair::generate()?;
        let private = pair.to_pkcs8v1()?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        Ok(Self::from_der(private.as_ref(), public.as_ref()))
    }

    fn rsa() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let private: Pkcs8V1Der<'_> = pair.as_der()?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        Ok(Self::from_der(private.as_ref(), public.as_ref()))
    }

    fn from_der(private: &[u8], public: &[u8]) -> Self {
        Self { private_pem: pem("PRIVATE KEY", private), public_pem: pem("PUBLIC KEY", public) }
    }
}

/// Checks a public key that a customer hands in (SubjectPublicKeyInfo PEM: Ed25519, or RSA of 2048 to 8192 bits) and
/// answers it in its canonical spelling.
pub fn import_public_key(alg: Alg, text: &str) -> Result<String, Error> {
    let refused = |reason| Error::PublicKey { reason };
    if text.contains("PRIVATE KEY") {
        return Err(refused(
            "this is a private key; keep it, and send the PEM block \"PUBLIC KEY\" (openssl pkey -pubout)",
        ));
    }
    if text.len() > PEM_LEN_MAX {
        return Err(refused("it is longer than an RSA key of 8192 bits"));
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
        .map_err(|_| refused("it must be one PEM block \"PUBLIC KEY\" (openssl pkey -pubout)"))?;
    let algorithm: &'static dyn signature::VerificationAlgorithm = match alg {
        Alg::EdDsa => &signature::ED25519,
        Alg::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
    };
    // A key that does not parse, or is of another algorithm or size, cannot verify anything: the two failures look
    // alike from outside, so parsing is asked for by itself.
    signature::ParsedPublicKey::new(algorithm, &der[..]).map_err(|_| {
        refused(match alg {
            Alg::EdDsa => "it is not an Ed25519 key; for an RSA key say \"alg\": \"RS256\"",
            Alg::Rs256 => "it is not an RSA key of 2048 to 8192 bits; for an Ed25519 key say \"alg\": \"EdDSA\"",
        })
    })?;
    Ok(pem("PUBLIC KEY", &der))
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut body = String::new();
    for (i, letter) in STANDARD.encode(der).chars().enumerate() {
        if i % PEM_LINE_LEN == 0 {
            body.push('\n');
        }
        body.push(letter);
    }
    format!("-----BEGIN {label}-----{body}\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_half_imports_as_itself_and_only_under_its_own_algorithm() {
        for (alg, other) in [(Alg::EdDsa, Alg::Rs256), (Alg::Rs256, Alg::EdDsa)] {
            let pair = KeyPair::generate(alg).unwrap();
            assert_eq!(import_public_key(alg, &pair.public_pem).unwrap(), pair.public_pem);
            assert!(import_public_key(other, &pair.public_pem).is_err());
        }
    }

    #[test]
    fn private_keys_and_junk_are_refused_with_what_to_send() {
        let pair = KeyPair::generate(Alg::EdDsa).unwrap();
        let error = import_public_key(Alg::EdDsa, &pair.private_pem).unwrap_err().to_string();
        assert!(error.contains("private key"), "{error}");
        for junk in ["", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(import_public_key(Alg::EdDsa, junk).is_err());
        }
        assert!(import_public_key(Alg::EdDsa, &"A".repeat(PEM_LEN_MAX + 1)).is_err());
    }
}
