//! Words that programs decide by. Each is a closed list to whoever matches on it, and open on the wire: a word of a newer or an
//! older build is kept as it was written, shown as it was written, and equal to nothing that this build knows.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A word that this build does not know; empty: nothing was said.
            Unknown(String),
        }

        impl $name {
            /// Every word that this build knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word on the wire, and for people.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Unknown(word) => word,
                }
            }

            /// Whether anything was said.
            pub fn is_said(&self) -> bool {
                !self.as_str().is_empty()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Unknown(String::new())
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(<Cow<'de, str>>::deserialize(deserializer)?.as_ref()))
            }
        }
    )+};
}

words! {
    /// What a live input is doing.
    InputState {
        /// Nothing can be watched.
        Idle = "idle",
        /// Its catalog is out and media comes.
        Active = "active",
        /// Its encoder is away; viewers are kept.
        Reconnecting = "reconnecting",
    }

    /// How encoders may push to an input.
    IngestKind {
        /// RTMP.
        Rtmp = "rtmp",
        /// SRT.
        Srt = "srt",
        /// WebRTC by WHIP.
        Whip = "whip",
        /// CMAF over MoQT.
        Fmp4 = "fmp4",
        /// Whatever the engine takes.
        Any = "any",
    }

    /// How an encoder does push.
    Protocol {
        /// RTMP.
        Rtmp = "rtmp",
        /// SRT.
        Srt = "srt",
        /// WebRTC by WHIP.
        Whip = "whip",
        /// MoQT.
        Moqt = "moqt",
    }

    /// What a session's path lets it do.
    SessionKind {
        /// Watch one resource.
        Playback = "playback",
        /// Publish one input.
        Publish = "publish",
        /// Anything: open mode.
        Open = "open",
    }

    /// Why a session ended, as its close code says.
    CloseCause {
        /// The peer closed it, or its connection was lost.
        PeerLeft = "peer_left",
        /// This side ended it on purpose: an operator, or a drain.
        Ended = "ended",
        /// Its token or key is not valid, or no more.
        Unauthorized = "unauthorized",
        /// Its token has expired: a fresh one helps.
        TokenExpired = "token_expired",
        /// It names nothing that is here.
        NotFound = "not_found",
        /// It did not do in time what the draft wants.
        TooSlow = "too_slow",
        /// It broke a rule of the protocol.
        Violation = "violation",
        /// A fault or a bound of this side.
        Internal = "internal",
    }

    /// Algorithm of a key that signs playback tokens (JWA's names).
    KeyAlgorithm {
        /// Ed25519.
        EdDsa = "EdDSA",
        /// RSA with SHA-256.
        Rs256 = "RS256",
    }
}

impl IngestKind {
    /// Whether an input made for this kind takes an encoder that pushes by `protocol`. A kind that this build does not know takes
    /// none: nobody can say what it was meant to keep out.
    pub fn takes(&self, protocol: &Protocol) -> bool {
        match self {
            Self::Any => true,
            Self::Rtmp => *protocol == Protocol::Rtmp,
            Self::Srt => *protocol == Protocol::Srt,
            Self::Whip => *protocol == Protocol::Whip,
            Self::Fmp4 => *protocol == Protocol::Moqt,
            Self::Unknown(_) => false,
        }
    }
}

impl CloseCause {
    /// Whether the session's token or key was the matter.
    pub fn is_auth(&self) -> bool {
        matches!(self, Self::Unauthorized | Self::TokenExpired)
    }
}
