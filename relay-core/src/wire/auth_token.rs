//! The Token structure of AUTHORIZATION_TOKEN (draft-18 §10.2.2).

use bytes::{BufMut, Bytes};

use super::cursor::{Cursor, complete, copied};
use super::vi64;
use crate::error::{DecodeError, Malformed};

/// Token Type 0: not in the registry, agreed out of band. Our playback tokens (JWT) use it.
pub const TOKEN_TYPE_OUT_OF_BAND: u64 = 0;

/// A token, or a reference to one that the same sender registered in this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthToken {
    /// Forget the registered token.
    Delete {
        /// Its alias.
        alias: u64,
    },
    /// Use this token, and keep it under an alias.
    Register {
        /// The new alias.
        alias: u64,
        /// What kind of token it is.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
    /// Use the token registered under this alias.
    UseAlias {
        /// Its alias.
        alias: u64,
    },
    /// Use this token once.
    UseValue {
        /// What kind of token it is.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
}

impl AuthToken {
    /// A playback token (JWT) to be used as it is.
    pub fn playback(jwt: &str) -> Self {
        Self::UseValue { token_type: TOKEN_TYPE_OUT_OF_BAND, value: copied(jwt.as_bytes()) }
    }

    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Delete { alias } => {
                vi64::encode(0, out);
                vi64::encode(*alias, out);
            }
            Self::Register { alias, token_type, value } => {
                vi64::encode(1, out);
                vi64::encode(*alias, out);
                vi64::encode(*token_type, out);
                out.put_slice(value);
            }
            Self::UseAlias { alias } => {
                vi64::encode(2, out);
                vi64::encode(*alias, out);
            }
            Self::UseValue { token_type, value } => {
                vi64::encode(3, out);
                vi64::encode(*token_type, out);
                out.put_slice(value);
            }
        }
    }

    /// Reads the structure that fills `data`.
    // MoQT-18 §10.2.2: "If the Token structure cannot be decoded, the receiver MUST close the Session with
    // KEY_VALUE_FORMATTING_ERROR."
    pub(crate) fn decode(data: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed::key_value("AUTHORIZATION_TOKEN", "shorter than its fields");
        complete(Self::fields(data), SHORT)
    }

    fn fields(data: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        let token = match cursor.vi64()? {
            0 => Self::Delete { alias: cursor.vi64()? },
            1 => Self::Register { alias: cursor.vi64()?, token_type: cursor.vi64()?, value: copied(cursor.rest()) },
            2 => Self::UseAlias { alias: cursor.vi64()? },
            3 => Self::UseValue { token_type: cursor.vi64()?, value: copied(cursor.rest()) },
            _ => return Err(Malformed::key_value("AUTHORIZATION_TOKEN", "alias type above 3").into()),
        };
        if !cursor.is_empty() {
            return Err(Malformed::key_value("AUTHORIZATION_TOKEN", "bytes after its fields").into());
        }
        Ok(token)
    }
}
