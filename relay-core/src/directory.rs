//! What a shard knows about keys and resources, as an interface: the engine answers from its tables, tests from maps.

/// How a playback token may be signed. The algorithm belongs to the key, never to the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
}

impl SigningAlgorithm {
    /// The algorithm of a JOSE `alg` name; `None` for anything but `EdDSA` and `RS256`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "EdDSA" => Some(Self::EdDsa),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }

    /// The JOSE `alg` name.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

/// The public half of a key that signs playback tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The only algorithm this key verifies.
    pub alg: SigningAlgorithm,
    /// The org that owns the key.
    pub org: String,
    /// SubjectPublicKeyInfo in PEM.
    pub public_key_pem: String,
    /// A revoked key verifies nothing.
    pub revoked: bool,
}

/// Something that can be watched: a live input, an asset or a playback id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The id its media is published under (`lv_…` or `as_…`); a playback id resolves to it.
    pub canonical: String,
    /// The org that owns it.
    pub org: String,
    /// False while an operator keeps it off.
    pub enabled: bool,
}

/// The shard's view of keys and resources. Answers are owned copies, for the source may change under the caller.
pub trait Directory {
    /// The signing key called `kid`, revoked ones too.
    fn signing_key(&self, kid: &str) -> Option<SigningKey>;
    /// The resource with this id (`lv_…`, `as_…` or `pb_…`), disabled ones too.
    fn resource(&self, id: &str) -> Option<Resource>;
    /// Whether `key` may publish into `input_id` at `unix_now_ms`.
    fn publish_key_ok(&self, input_id: &str, key: &str, unix_now_ms: u64) -> bool;
}
