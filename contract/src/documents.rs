//! Documents kept in tables.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{IngestKind, InputState, KeyAlgorithm, Protocol};

/// A live input, table `inputs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputEntry {
    /// `lv_…`
    pub id: String,
    /// Owning organisation.
    pub org: String,
    /// How encoders may push.
    pub ingest: IngestKind,
    /// A disabled input refuses every publisher.
    pub enabled: bool,
    /// Stream keys that are valid now; a rotated key stays here until its grace ends.
    pub key_hashes: Vec<KeyHash>,
    /// Seconds an input stays `reconnecting` after its encoder went away.
    pub reconnect_window_s: u32,
    /// What SRT encoders that encrypt do it with.
    pub srt_passphrase: Passphrase,
}

/// A passphrase of SRT, 10 to 79 characters; none when empty. It never appears in logs.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Passphrase(pub String);

impl Passphrase {
    /// The words, when there are any.
    pub fn get(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|words| !words.is_empty())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// One accepted stream key of an input; the key itself is never in shared memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyHash {
    /// SHA-256 of the stream key's bytes, 64 lower-case hex digits.
    pub sha256: String,
    /// Unix time in milliseconds from which the key is refused; `None`: no end.
    pub expires_at_ms: Option<u64>,
}

/// What a playback path may name, table `resources`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceEntry {
    /// `lv_…`, `as_…` or `pb_…`, as it appears in a URL.
    pub id: String,
    /// The `lv_…` or `as_…` behind it (equal to `id` unless it is a `pb_…`).
    pub canonical: String,
    /// Owning organisation.
    pub org: String,
    /// A disabled resource is answered like an unknown one.
    pub enabled: bool,
}

/// A key that playback tokens are checked with, table `signing_keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SigningKeyEntry {
    /// Key id in the token's header.
    pub kid: String,
    /// Owning organisation; equals the token's `iss`.
    pub org: String,
    /// A token naming another algorithm is refused.
    pub alg: KeyAlgorithm,
    /// Public half, SubjectPublicKeyInfo PEM.
    pub public_key_pem: String,
    /// A revoked key fails every token.
    pub revoked: bool,
}

/// A namespace announced on a shard, table `tracks.<i>` (single writer: that shard).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrackEntry {
    /// Fields of the namespace tuple, in order.
    pub namespace: Vec<HexBytes>,
    /// Track name; `None`: every track of the namespace.
    pub name: Option<HexBytes>,
    /// Home shard.
    pub shard: usize,
    /// Grows when the home changes.
    pub epoch: u64,
}

/// A running input as its home shard sees it, table `runtime.<i>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeEntry {
    /// `lv_…`
    pub input: String,
    /// What it is doing.
    pub state: InputState,
    /// How its encoder pushes.
    pub protocol: Protocol,
    /// Home shard.
    pub shard: usize,
    /// Unix time in milliseconds since which `state` holds.
    pub since_ms: u64,
    /// Tracks as in the catalog.
    pub tracks: Vec<RuntimeTrack>,
    /// Last refusal or fault, for people.
    pub last_error: Option<String>,
    /// What spoils the broadcast now, for people: no key frame, media without its sequence header, tracks left out.
    pub warnings: Vec<String>,
    /// How the packets of an encoder that pushes by datagrams come through; counted since it connected.
    pub link: Option<RuntimeLink>,
}

/// The way from an encoder to its input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeLink {
    /// Packets that came, repetitions included.
    pub packets: u64,
    /// Packets that were missing at first.
    pub lost: u64,
    /// Packets that the encoder sent again.
    pub retransmitted: u64,
    /// Missing packets that were given up: they came too late or never.
    pub dropped: u64,
    /// Pictures and sounds that were left out because a part of them was missing.
    pub damaged: u64,
    /// Newest round trip, in microseconds.
    pub rtt_us: Option<u64>,
    /// Time that packets wait for lost ones, as agreed with the encoder, in microseconds.
    pub latency_us: Option<u64>,
    /// The encoder encrypts.
    pub encrypted: bool,
}

/// A track of a running input. Fields that do not apply to its kind are absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeTrack {
    /// Track name, `video/720p` or `audio`.
    pub name: String,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Frames a second.
    pub framerate: Option<f64>,
    /// Hertz.
    pub sample_rate: Option<u32>,
    /// Audio channels.
    pub channels: Option<u32>,
    /// Bits a second.
    pub bitrate: Option<u64>,
}

/// Bytes that need not be text, as a string of hex digits in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HexBytes(pub Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len().saturating_mul(2));
        for byte in &self.0 {
            for nibble in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(u32::from(nibble), 16));
            }
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let digits = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect::<Option<Vec<u8>>>()
            .filter(|digits| digits.len().is_multiple_of(2))
            .ok_or_else(|| serde::de::Error::custom("an even number of hex digits is wanted"))?;
        let bytes = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit));
        Ok(HexBytes(bytes.collect()))
    }
}

/// A word of `homes`: which shard is home of the input with the same table index. The word 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// Home shard.
    pub shard: u16,
    /// Grows with every change, so that a compare-and-swap by a late shard fails. 48 bits.
    pub epoch: u64,
}

impl Home {
    /// The word that stands for this home: `epoch << 16 | (shard + 1)`.
    pub const fn to_word(self) -> u64 {
        (self.epoch << 16) | self.shard.saturating_add(1) as u64
    }

    /// The home a word stands for; `None` when nobody is home.
    pub const fn from_word(word: u64) -> Option<Home> {
        match (word & 0xffff) as u16 {
            0 => None,
            shard => Some(Home { shard: shard - 1, epoch: word >> 16 }),
        }
    }
}
