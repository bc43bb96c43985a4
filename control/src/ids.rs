//! Identifiers, secrets and their hashes.

use aws_lc_rs::{digest, rand};
pub use streams_logs::{API_KEY_PREFIX, STREAM_KEY_PREFIX};

use crate::Error;

/// Bytes of randomness in a secret: 256 bits, so that a plain hash of it may be stored.
const SECRET_LEN: usize = 32;

/// `<prefix>_<ULID>`: sorts by time of creation.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", ulid::Ulid::generate())
}

/// Whether `id` is `<prefix>_` and a ULID: everything else can be answered "not found" without a look-up.
pub fn is_id(prefix: &str, id: &str) -> bool {
    id.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .is_some_and(|ulid| ulid.len() == 26 && ulid.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A fresh secret: the prefix and 52 lower-case letters and digits, which survive a URL, a shell and a double click.
pub fn new_secret(prefix: &str) -> Result<String, Error> {
    Ok(format!("{prefix}{}", base32(&random::<SECRET_LEN>()?)))
}

/// Random bytes of the system's generator.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::Crypto { action: "draw random bytes" })?;
    Ok(bytes)
}

/// SHA-256 as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 as bytes.
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(nibble.into(), 16))
        .collect()
}

/// Five bits a letter, in the alphabet a-z2-7.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut window, mut bits) = (0u32, 0u32);
    let letter = |five: u32| match five & 31 {
        five @ 0..26 => char::from(b'a' + five as u8),
        five => char::from(b'2' + (five - 26) as u8),
    };
    for byte in bytes {
        window = (window << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(window >> bits));
        }
    }
    if bits > 0 {
        text.push(letter(window << (5 - bits)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_prefix_and_ulid_and_sort_by_time() {
        let id = new_id("lv");
        assert!(is_id("lv", &id), "{id}");
        assert!(!is_id("as", &id));
        assert!(!is_id("lv", "lv_../../etc/passwd"));
    }

    #[test]
    fn secrets_differ_and_carry_256_bits() {
        let (a, b) = (new_secret(STREAM_KEY_PREFIX).unwrap(), new_secret(STREAM_KEY_PREFIX).unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), STREAM_KEY_PREFIX.len() + 52);
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
    }

    #[test]
    fn sha256_is_the_known_one() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
