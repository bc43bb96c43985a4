//! Minting of playback tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::Alg;
use crate::{Error, ids};

/// Shortest life of a token, in seconds.
pub const TTL_MIN_S: u64 = 30;
/// Longest life of a token, in seconds.
pub const TTL_MAX_S: u64 = 86_400;

/// The claims of a playback token. `exp - iat` is at most [`TTL_MAX_S`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Organisation of the key and of the resource.
    pub iss: String,
    /// `lv_…`, `as_…` or `pb_…`, as in the path.
    pub sub: String,
    /// Always "playback".
    pub aud: String,
    /// Unix seconds.
    pub iat: u64,
    /// Unix seconds.
    pub nbf: u64,
    /// Unix seconds.
    pub exp: u64,
    /// Makes each token another one.
    pub jti: String,
}

impl Claims {
    /// A token for `resource` that lives `ttl_s` seconds, clamped to [`TTL_MIN_S`] and [`TTL_MAX_S`].
    pub fn playback(org: &str, resource: &str, now_s: u64, ttl_s: u64) -> Self {
        Self {
            iss: org.to_owned(),
            sub: resource.to_owned(),
            aud: "playback".to_owned(),
            iat: now_s,
            nbf: now_s,
            exp: now_s.saturating_add(ttl_s.clamp(TTL_MIN_S, TTL_MAX_S)),
            jti: ids::new_id("tok"),
        }
    }
}

/// Signs `claims` with the private key `kid` (PKCS#8 PEM).
pub fn mint(kid: &str, alg: Alg, private_pem: &[u8], claims: &Claims) -> Result<String, Error> {
    let (algorithm, key) = match alg {
        Alg::EdDsa => (Algorithm::EdDSA, EncodingKey::from_ed_pem(private_pem)?),
        Alg::Rs256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(private_pem)?),
    };
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    Ok(jsonwebtoken::encode(&header, claims, &key)?)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

    use super::*;
    use crate::keys::KeyPair;

    #[test]
    fn a_minted_token_verifies_with_the_public_half() {
        for alg in [Alg::EdDsa, Alg::Rs256] {
            let pair = KeyPair::generate(alg).unwrap();
            let now_s = crate::clock::unix_ms() as u64 / 1000;
            let claims = Claims::playback("org_1", "lv_1", now_s, 60);
            let token = mint("key_1", alg, pair.private_pem.as_bytes(), &claims).unwrap();
            let header = decode_header(&token).unwrap();
            assert_eq!(
                (header.kid.as_deref(), format!("{:?}", header.alg).to_uppercase()),
                (Some("key_1"), alg.as_str().to_uppercase())
            );
            let key = match alg {
                Alg::EdDsa => DecodingKey::from_ed_pem(pair.public_pem.as_bytes()),
                Alg::Rs256 => DecodingKey::from_rsa_pem(pair.public_pem.as_bytes()),
            };
            let mut validation = Validation::new(header.alg);
            validation.set_audience(&["playback"]);
            assert_eq!(decode::<Claims>(&token, &key.unwrap(), &validation).unwrap().claims, claims);
        }
    }

    #[test]
    fn the_life_of_a_token_is_clamped() {
        let life = |ttl_s| {
            let claims = Claims::playback("org_1", "lv_1", 1000, ttl_s);
            claims.exp - claims.iat
        };
        assert_eq!((life(0), life(3600), life(u64::MAX)), (30, 3600, 86_400));
    }
}
