//! Keys, resources and tokens of the simulated service.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use streams_relay_core::relay::{FullTrackName, Namespace};
use streams_relay_core::{Directory, Resource, SigningAlgorithm, SigningKey};

/// Unix time at which every simulation begins, s.
pub const START_S: u64 = 1_800_000_000;

struct Pair {
    private: EncodingKey,
    public_pem: String,
}

fn pair() -> Pair {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let private = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    Pair { private, public_pem: pair.public_key_pem() }
}

static KEY: LazyLock<Pair> = LazyLock::new(pair);
static STRANGER: LazyLock<Pair> = LazyLock::new(pair);

/// One org with two live inputs, and another with one; `pb_1` plays `lv_1`; the publish key of `lv_1` is `key_1`, and so on.
pub struct Tables {
    pub keys: HashMap<String, SigningKey>,
    pub resources: HashMap<String, Resource>,
    pub publish_keys: HashSet<(String, String)>,
}

impl Default for Tables {
    fn default() -> Self {
        let key = |org: &str, revoked| SigningKey {
            alg: SigningAlgorithm::EdDsa,
            org: org.to_owned(),
            public_key_pem: KEY.public_pem.clone(),
            revoked,
        };
        let resource = |canonical: &str, org: &str, enabled| Resource {
            canonical: canonical.to_owned(),
            org: org.to_owned(),
            enabled,
        };
        Self {
            keys: HashMap::from([
                ("ed".to_owned(), key("org_a", false)),
                ("revoked".to_owned(), key("org_a", true)),
                ("other_org".to_owned(), key("org_b", false)),
            ]),
            resources: HashMap::from([
                ("lv_1".to_owned(), resource("lv_1", "org_a", true)),
                ("pb_1".to_owned(), resource("lv_1", "org_a", true)),
                ("lv_2".to_owned(), resource("lv_2", "org_a", true)),
                ("lv_b".to_owned(), resource("lv_b", "org_b", true)),
                ("lv_off".to_owned(), resource("lv_off", "org_a", false)),
            ]),
            publish_keys: ["1", "2", "b"].map(|n| (format!("lv_{n}"), format!("key_{n}"))).into(),
        }
    }
}

impl Directory for Tables {
    fn signing_key(&self, kid: &str) -> Option<SigningKey> {
        self.keys.get(kid).cloned()
    }

    fn resource(&self, id: &str) -> Option<Resource> {
        self.resources.get(id).cloned()
    }

    fn publish_key_ok(&self, input_id: &str, key: &str, _unix_now_ms: u64) -> bool {
        self.publish_keys.contains(&(input_id.to_owned(), key.to_owned()))
    }
}

/// The claims of a good token for `id` that ends this many seconds after the start.
pub fn claims(id: &str, ttl_s: u64) -> Value {
    json!({"iss": "org_a", "sub": id, "aud": "playback", "iat": START_S, "exp": START_S + ttl_s})
}

/// A token with these claims, signed by the key of `kid`.
pub fn signed(kid: &str, claims: &Value) -> String {
    sign(&KEY, kid, claims)
}

/// The same with a signature of somebody else.
pub fn forged(kid: &str, claims: &Value) -> String {
    sign(&STRANGER, kid, claims)
}

fn sign(pair: &Pair, kid: &str, claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}).to_string());
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &pair.private, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

/// A good token for `id`.
pub fn token(id: &str, ttl_s: u64) -> String {
    signed("ed", &claims(id, ttl_s))
}

pub fn namespace(fields: &[&str]) -> Namespace {
    Namespace::new(fields).unwrap()
}

/// The namespace of `lv_1`.
pub fn live() -> Namespace {
    namespace(&["stream", "org_a", "lv_1"])
}

pub fn track(namespace: Namespace, name: &str) -> FullTrackName {
    FullTrackName::new(namespace, name).unwrap()
}
