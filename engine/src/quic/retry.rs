//! Retry tokens (RFC 9000 §8.1.2): proof that a client receives at the address it writes from, kept by the client.
//!
//! ```text
//! byte 0      1 .. 8          9 .. 26   27     28 ..            then
//!      kind   issued, ms      address   n      original DCID    HMAC-SHA256 over all
//!             (Unix, little   (IP, port)       (n bytes)        before and the Retry's
//!             endian)                                           own id (32 bytes)
//! ```
//!
//! Nothing of it is secret: the original id stood in the clear in the first datagram. So it is signed and not sealed.
//!
//! A token holds for the IP address **and** the port (RFC 9000 §8.1.4 asks for both): a client answers a Retry at once from the
//! socket that got it, and a token that held for a whole address would let everybody behind one NAT use it. It also holds
//! only with the connection id that came in the same Retry, and that id leads to at most one connection at a time: a
//! token that is sent again makes no second one.

use std::net::SocketAddr;
use std::time::Duration;

use quiche::ConnectionId;
use ring::hmac;

use crate::address::{ADDRESS_LEN, encode};

/// A client answers within a round trip, which is seconds on the worst paths; a token is of no use for longer.
const LIFETIME: Duration = Duration::from_secs(10);
/// Tells these tokens from those of NEW_TOKEN frames (RFC 9000 §8.1.1), should there ever be any, and from later layouts.
const KIND_RETRY: u8 = 1;
const TAG_LEN: usize = 32;

/// What a token in an Initial says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// None of this engine's: as if there were no token (RFC 9000 §8.1.3).
    Foreign,
    /// Ours, but expired, or sent from elsewhere, or with another connection id than it was made for.
    Refused,
    /// The client is where it says; the destination id of its very first Initial.
    Valid(ConnectionId<'static>),
}

/// Makes and checks the tokens of one engine.
pub struct RetryTokens {
    key: hmac::Key,
}

impl RetryTokens {
    /// `key` lives in the data directory: a client that is sent to a restarted engine by its Retry is let in.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// A token for the client at `from` whose first Initial was addressed to `original`; the Retry carries `retry_id`.
    pub(super) fn mint(&self, unix_ms: u64, from: SocketAddr, original: &[u8], retry_id: &[u8]) -> Vec<u8> {
        let mut token = vec![KIND_RETRY];
        token.extend_from_slice(&unix_ms.to_le_bytes());
        token.extend_from_slice(&encode(from));
        // RFC 9000 §17.2: at most 20 bytes, which the caller has checked.
        token.push(original.len() as u8);
        token.extend_from_slice(original);
        let tag = hmac::sign(&self.key, &[&token[..], retry_id].concat());
        token.extend_from_slice(tag.as_ref());
        token
    }

    /// Checks what a client sent from `from` in an Initial that was addressed to `id`.
    pub(super) fn check(&self, unix_ms: u64, token: &[u8], from: SocketAddr, id: &[u8]) -> Checked {
        let Some(parts) = Parts::split(token) else { return Checked::Foreign };
        // Under another id the tag does not fit: such a client has mixed up two connections, or is no client.
        if hmac::verify(&self.key, &[parts.signed, id].concat(), parts.tag).is_err() {
            return Checked::Foreign;
        }
        let issued_ms = u64::from_le_bytes(*parts.issued_ms);
        let age = Duration::from_millis(unix_ms.saturating_sub(issued_ms));
        if age > LIFETIME || parts.address != &encode(from) {
            return Checked::Refused;
        }
        Checked::Valid(ConnectionId::from_vec(parts.original.to_vec()))
    }
}

struct Parts<'a> {
    signed: &'a [u8],
    issued_ms: &'a [u8; 8],
    address: &'a [u8; ADDRESS_LEN],
    original: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(token: &'a [u8]) -> Option<Self> {
        let (kind, rest) = token.split_first()?;
        let (issued_ms, rest) = rest.split_first_chunk()?;
        let (address, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first()?;
        let (original, tag) = rest.split_at_checked(usize::from(*len))?;
        let signed = token.get(..token.len().checked_sub(TAG_LEN)?)?;
        (*kind == KIND_RETRY && tag.len() == TAG_LEN).then_some(Self { signed, issued_ms, address, original, tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;
    const ORIGINAL: &[u8] = b"client's";
    const ID: &[u8] = &[3; 16];

    fn tokens() -> RetryTokens {
        RetryTokens::new(&[4; 32])
    }

    fn from() -> SocketAddr {
        "203.0.113.9:5000".parse().expect("an address")
    }

    #[test]
    fn a_token_is_good_for_its_address_its_id_and_ten_seconds() {
        let token = tokens().mint(NOW_MS, from(), ORIGINAL, ID);
        let valid = Checked::Valid(ConnectionId::from_vec(ORIGINAL.to_vec()));
        for age_ms in [0, 10_000] {
            assert_eq!(tokens().check(NOW_MS + age_ms, &token, from(), ID), valid);
        }
        assert_eq!(tokens().check(NOW_MS + 10_001, &token, from(), ID), Checked::Refused);
        for elsewhere in ["203.0.113.9:5001", "203.0.113.8:5000", "[2001:db8::1]:5000"] {
            let elsewhere = elsewhere.parse().expect("an address");
            assert_eq!(tokens().check(NOW_MS, &token, elsewhere, ID), Checked::Refused, "{elsewhere}");
        }
        assert_eq!(tokens().check(NOW_MS, &token, from(), &[4; 16]), Checked::Foreign);
    }

    #[test]
    fn a_changed_cut_or_foreign_token_is_none_of_ours() {
        let token = tokens().mint(NOW_MS, from(), ORIGINAL, ID);
        for byte in 0..token.len() {
            let mut changed = token.clone();
            changed[byte] ^= 0x10;
            assert_eq!(tokens().check(NOW_MS, &changed, from(), ID), Checked::Foreign, "byte {byte}");
            assert_eq!(tokens().check(NOW_MS, &token[..byte], from(), ID), Checked::Foreign, "cut at {byte}");
        }
        let longer = [&token[..], &[0]].concat();
        assert_eq!(tokens().check(NOW_MS, &longer, from(), ID), Checked::Foreign);
        let other = RetryTokens::new(&[5; 32]);
        assert_eq!(other.check(NOW_MS, &token, from(), ID), Checked::Foreign);
    }
}
