//! Playback tokens: as they come, and with any claims behind a signature that holds.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};

use crate::directory::{Directory, Resource, SigningAlgorithm, SigningKey};
use crate::token::{LEEWAY_MS, LIFETIME_MS_MAX, VerifyingKeys, verify};

/// The time of the check, unix ms.
const NOW_MS: u64 = 1_800_000_000_000;
/// A key pair that everybody knows: the seed is 32 zeros (PKCS #8, RFC 8410).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PUBLIC_KEY_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAO2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=\n\
    -----END PUBLIC KEY-----\n";

/// One key of one org, and a live input with a playback id.
struct Table;

impl Directory for Table {
    fn signing_key(&self, kid: &str) -> Option<SigningKey> {
        let (alg, org, public_key_pem) = (SigningAlgorithm::EdDsa, "org_a".to_owned(), PUBLIC_KEY_PEM.to_owned());
        ["ed", "revoked"].contains(&kid).then(|| SigningKey { alg, org, public_key_pem, revoked: kid == "revoked" })
    }

    fn resource(&self, id: &str) -> Option<Resource> {
        let (canonical, org) = ("lv_1".to_owned(), "org_a".to_owned());
        ["lv_1", "pb_1"].contains(&id).then_some(Resource { canonical, org, enabled: true })
    }

    fn publish_key_ok(&self, _input_id: &str, _key: &str, _unix_now_ms: u64) -> bool {
        false
    }
}

thread_local! {
    static KEYS: RefCell<VerifyingKeys> = RefCell::default();
}

/// Checks the bytes as a token, and as the claims of a token that is signed well.
pub fn tokens(data: &[u8]) {
    check(&String::from_utf8_lossy(data));
    check(&signed(data));
}

/// Whatever a token that is accepted says, it is good now, for a day at most, and for what was asked.
fn check(token: &str) {
    for path_id in ["lv_1", "pb_1", "lv_2"] {
        let outcome = KEYS.with_borrow_mut(|keys| verify(token, path_id, &Table, keys, NOW_MS));
        let verified = match outcome {
            Ok(verified) => verified,
            Err(error) => {
                assert!(error.reason().starts_with("auth_failed: "));
                continue;
            }
        };
        assert_eq!((verified.org.as_str(), verified.canonical.as_str(), path_id == "lv_2"), ("org_a", "lv_1", false));
        let lifetime_ms = verified.exp_ms.checked_sub(verified.iat_ms);
        assert!(lifetime_ms.is_some_and(|lifetime_ms| lifetime_ms <= LIFETIME_MS_MAX));
        assert!(verified.exp_ms + LEEWAY_MS > NOW_MS && verified.iat_ms <= NOW_MS + LEEWAY_MS);
    }
}

fn signed(claims: &[u8]) -> String {
    let private = EncodingKey::from_ed_der(&[&PKCS8_HEAD[..], &[0; 32]].concat());
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"ed"}"#);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &private, Algorithm::EdDSA);
    format!("{message}.{}", signature.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::AuthError;
    use crate::token::Verified;

    /// What a token with these claims grants for `lv_1`.
    fn granted(claims: &str) -> Result<Verified, AuthError> {
        verify(&signed(claims.as_bytes()), "lv_1", &Table, &mut VerifyingKeys::default(), NOW_MS)
    }

    #[test]
    fn claims_are_reached_behind_the_signature() {
        let good = r#"{"iss":"org_a","sub":"pb_1","aud":"playback","iat":1.8e9,"exp":1800000600.5}"#;
        assert_eq!(granted(good).map(|verified| verified.exp_ms), Ok(NOW_MS + 600_500));
        tokens(good.as_bytes());
        tokens(signed(good.as_bytes()).as_bytes());
        tokens(b"\xff.\0.");
    }
}
