//! The rows of the store. Times are Unix milliseconds.

/// A live input.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LiveInput {
    /// `lv_…`
    pub id: String,
    /// Owner.
    pub org: String,
    /// For people.
    pub name: String,
    /// `rtmp`, `srt`, `whip`, `fmp4` or `any`.
    pub ingest: String,
    /// Whether an encoder may publish.
    pub enabled: bool,
    /// Seconds that viewers are kept after the encoder is gone.
    pub reconnect_window_s: u32,
    /// The customer's own JSON object.
    pub meta: String,
    /// Passphrase of SRT, sealed.
    pub srt_passphrase_sealed: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
    /// Its stream keys, newest first.
    #[sqlx(skip)]
    pub keys: Vec<StreamKey>,
}

/// A stream key of an input.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StreamKey {
    /// SHA-256 of the key, hex.
    pub sha256: String,
    /// When it was made.
    pub created_at: i64,
    /// From when on it is refused; `None`: no end.
    pub expires_at: Option<i64>,
}

/// A setting of the shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunedRow {
    /// For one shard; `None`: for all.
    pub shard: Option<usize>,
    /// Name of the tunable.
    pub name: String,
    /// `None`: not set.
    pub value: Option<u64>,
}

/// A signing key of playback tokens.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SigningKey {
    /// `key_…`, the `kid` of tokens.
    pub id: String,
    /// Owner.
    pub org: String,
    /// `EdDSA` or `RS256`.
    pub alg: String,
    /// SubjectPublicKeyInfo PEM.
    pub public_key_pem: String,
    /// `customer` or `server`.
    pub custody: String,
    /// The private half of a server-held key, sealed.
    pub private_sealed: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// A key of the API.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ApiKey {
    /// `apikey_…`
    pub id: String,
    /// The organisation it acts for.
    pub org: String,
    /// SHA-256 of the secret, hex.
    pub sha256: String,
    /// Scopes, separated by spaces; `admin` is all of them.
    pub scopes: String,
    /// When it was made.
    pub created_at: i64,
}

/// What became of the first request with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// This is the first one: do it.
    First,
    /// The first one is still at work.
    AtWork,
    /// The key belongs to another request (other path or body).
    Other,
    /// It was answered.
    Answered(StoredAnswer),
}

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// Body, sealed: it may hold a secret that is told only once.
    pub body_sealed: String,
}
