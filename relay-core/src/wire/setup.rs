//! SETUP: the first message on each control stream (draft-18 §10.3).

use super::auth_token::AuthToken;
use super::cursor::copied;
use super::property::{Properties, Property, PropertyValue, RawValue, walk};
use crate::error::{Error, Malformed};
use crate::wire::SessionError;

const PATH: u64 = 0x01;
const AUTHORIZATION_TOKEN: u64 = 0x03;
const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
const AUTHORITY: u64 = 0x05;
const MOQT_IMPLEMENTATION: u64 = 0x07;

/// Setup Options. Unknown ones are ignored and not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// PATH: path and query of the URI. Client only, raw QUIC only.
    pub path: Option<String>,
    /// AUTHORITY of the URI. Client only, raw QUIC only.
    pub authority: Option<String>,
    /// AUTHORIZATION_TOKEN, in the order they came.
    pub auth_tokens: Vec<AuthToken>,
    /// MAX_AUTH_TOKEN_CACHE_SIZE in bytes; absent means 0: no aliases.
    pub max_auth_token_cache_size: Option<u64>,
    /// MOQT_IMPLEMENTATION: name and version of the sender's software; bytes that are no UTF-8 are replaced.
    pub implementation: Option<String>,
}

impl Setup {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut options = Vec::new();
        let mut text = |kind, value: &Option<String>| {
            if let Some(value) = value {
                options.push(Property { kind, value: PropertyValue::Bytes(copied(value.as_bytes())) });
            }
        };
        text(PATH, &self.path);
        text(AUTHORITY, &self.authority);
        text(MOQT_IMPLEMENTATION, &self.implementation);
        for token in &self.auth_tokens {
            let mut value = Vec::new();
            token.encode(&mut value);
            options.push(Property { kind: AUTHORIZATION_TOKEN, value: PropertyValue::Bytes(value.into()) });
        }
        if let Some(size) = self.max_auth_token_cache_size {
            options.push(Property { kind: MAX_AUTH_TOKEN_CACHE_SIZE, value: PropertyValue::Number(size) });
        }
        Properties::new(options)?.encode(out);
        Ok(())
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut setup = Self::default();
        let mut outcome = Ok(());
        walk(body, |kind, value| {
            if outcome.is_ok() {
                outcome = setup.read(kind, value);
            }
        })?;
        outcome.map(|()| setup)
    }

    fn read(&mut self, kind: u64, value: RawValue<'_>) -> Result<(), Malformed> {
        match (kind, value) {
            (PATH, RawValue::Bytes(bytes)) => {
                let malformed = Malformed { code: SessionError::MalformedPath, what: "PATH", reason: "no URI path" };
                once(&mut self.path, uri_path(bytes, malformed)?)
            }
            (AUTHORITY, RawValue::Bytes(bytes)) => {
                let code = SessionError::MalformedAuthority;
                let malformed = Malformed { code, what: "AUTHORITY", reason: "no URI authority" };
                once(&mut self.authority, uri_part(bytes, malformed)?)
            }
            (AUTHORIZATION_TOKEN, RawValue::Bytes(bytes)) => {
                self.auth_tokens.push(AuthToken::decode(bytes)?);
                Ok(())
            }
            (MAX_AUTH_TOKEN_CACHE_SIZE, RawValue::Number(size)) => once(&mut self.max_auth_token_cache_size, size),
            (MOQT_IMPLEMENTATION, RawValue::Bytes(bytes)) => {
                once(&mut self.implementation, String::from_utf8_lossy(bytes).into_owned())
            }
            _ => Ok(()),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    if slot.replace(value).is_some() {
        return Err(Malformed::violation("SETUP", "an option is repeated"));
    }
    Ok(())
}

/// `path-abempty [ "?" query ]` (the SETUP option PATH of MoQT-18; RFC 3986 §3.3 and §3.4).
fn uri_path(bytes: &[u8], malformed: Malformed) -> Result<String, Malformed> {
    let mut rest = bytes;
    let mut absolute = bytes.first().is_none_or(|first| matches!(first, b'/' | b'?'));
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        absolute &= match byte {
            b'%' => tail.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b'?' | b':' | b'@' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
    }
    if absolute { uri_part(bytes, malformed) } else { Err(malformed) }
}

/// RFC 3986 allows printable ASCII only; everything else has to be percent-encoded.
fn uri_part(bytes: &[u8], malformed: Malformed) -> Result<String, Malformed> {
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(malformed);
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_none_is_malformed_whoever_may_publish() {
        let read = |path: &[u8]| Setup::default().read(PATH, RawValue::Bytes(path)).map_err(|malformed| malformed.code);
        for good in ["", "/", "/playback/lv_1?tok=a.b-c_d", "/a%2Fb", "/x:@!$&'()*+,;=~/?a=b/c?d", "?q"] {
            assert_eq!(read(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["playback/lv_1", "/a b", "/a%2", "/a%zz", "/a#b", "/a\"b", "/a[b]", "/a\\b", "/\u{e9}"] {
            assert_eq!(read(bad.as_bytes()), Err(SessionError::MalformedPath), "{bad}");
        }
    }
}
