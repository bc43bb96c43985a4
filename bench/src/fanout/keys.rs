//! QUIC packet protection of one direction with AES-128-GCM (RFC 9001), for receivers that need no QUIC library.

use ring::aead::quic::HeaderProtectionKey;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use ring::hkdf;

/// Bytes of header protection's sample, and where it begins behind the packet number's first byte (RFC 9001 §5.4.2).
const SAMPLE_LEN: usize = 16;
const SAMPLE_AT: usize = 4;
/// Longest packet number.
const NUMBER_LEN_MAX: usize = 4;
/// Longest header that is opened here: a long one with two ids of 20 bytes, a token length, a length.
const HEADER_LEN_MAX: usize = 64;
/// Bytes of the AEAD's tag.
const TAG_LEN: usize = 16;

/// Key, IV and header protection key of one direction.
pub struct Keys {
    packet: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

/// A packet's header with its protection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// First byte.
    pub first: u8,
    /// Packet number.
    pub number: u64,
    number_len: usize,
}

struct OutputLen(usize);

impl hkdf::KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label of TLS 1.3 without a context (RFC 8446 §7.1).
fn expand<const LEN: usize>(secret: &hkdf::Prk, label: &str) -> Option<[u8; LEN]> {
    let mut info = Vec::with_capacity(32);
    info.extend_from_slice(&u16::try_from(LEN).ok()?.to_be_bytes());
    info.push(u8::try_from(6 + label.len()).ok()?);
    info.extend_from_slice(b"tls13 ");
    info.extend_from_slice(label.as_bytes());
    info.push(0);
    let mut out = [0; LEN];
    secret.expand(&[info.as_slice()], OutputLen(LEN)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

impl Keys {
    /// The keys that belong to a traffic secret of a suite with SHA-256 (RFC 9001 §5.1). `None` for a secret of another length.
    pub fn from_secret(secret: &[u8]) -> Option<Self> {
        if secret.len() != 32 {
            return None;
        }
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
        let key: [u8; 16] = expand(&secret, "quic key")?;
        let header: [u8; 16] = expand(&secret, "quic hp")?;
        Some(Self {
            packet: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
            iv: expand(&secret, "quic iv")?,
            header: HeaderProtectionKey::new(&quic::AES_128, &header).ok()?,
        })
    }

    /// RFC 9001 §5.3: the packet number, padded to the IV's length, xor the IV.
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn mask(&self, packet: &[u8], number_at: usize) -> Option<[u8; 5]> {
        let at = number_at + SAMPLE_AT;
        self.header.new_mask(packet.get(at..at + SAMPLE_LEN)?).ok()
    }

    /// Reads first byte and packet number, whose field begins at `number_at`; `expected` is the number after the largest one seen.
    pub fn unprotect(&self, packet: &[u8], number_at: usize, expected: u64) -> Option<Header> {
        let [flags, mask @ ..] = self.mask(packet, number_at)?;
        let first = packet.first()?;
        let first = first ^ (flags & if first & 0x80 == 0 { 0x1f } else { 0x0f });
        let number_len = usize::from(first & 3) + 1;
        let field = packet.get(number_at..number_at + number_len)?;
        let truncated = field.iter().zip(mask).fold(0, |number, (byte, mask)| number << 8 | u64::from(byte ^ mask));
        Some(Header { first, number: decode_number(truncated, number_len, expected), number_len })
    }

    /// Decrypts a packet whose header was read. The payload lies in `scratch`.
    pub fn open<'s>(
        &self,
        packet: &[u8],
        number_at: usize,
        header: Header,
        scratch: &'s mut Vec<u8>,
    ) -> Option<&'s [u8]> {
        let header_len = number_at + header.number_len;
        let mut clear = [0; HEADER_LEN_MAX];
        let clear = clear.get_mut(..header_len)?;
        clear.copy_from_slice(packet.get(..header_len)?);
        *clear.first_mut()? = header.first;
        let number = header.number.to_be_bytes();
        clear.get_mut(number_at..)?.copy_from_slice(number.get(number.len() - header.number_len..)?);
        scratch.clear();
        scratch.extend_from_slice(packet.get(header_len..)?);
        let opened = self.packet.open_in_place(self.nonce(header.number), Aad::from(&*clear), scratch).ok()?;
        Some(opened)
    }

    /// Writes a packet with a short header, key phase 0 and a packet number of 4 bytes into `out`. The payload has to have a
    /// byte at least.
    pub fn seal(&self, id: &[u8], number: u64, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let number_at = 1 + id.len();
        let header_len = number_at + NUMBER_LEN_MAX;
        out.clear();
        out.push(0x40 | (NUMBER_LEN_MAX as u8 - 1));
        out.extend_from_slice(id);
        out.extend_from_slice(number.to_be_bytes().get(4..)?);
        out.extend_from_slice(payload);
        let (header, body) = out.split_at_mut(header_len);
        let tag = self.packet.seal_in_place_separate_tag(self.nonce(number), Aad::from(&*header), body).ok()?;
        debug_assert_eq!(tag.as_ref().len(), TAG_LEN);
        out.extend_from_slice(tag.as_ref());
        let [flags, mask @ ..] = self.mask(out, number_at)?;
        *out.first_mut()? ^= flags & 0x1f;
        out.iter_mut().skip(number_at).zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        Some(())
    }
}

/// RFC 9000 §A.3.
fn decode_number(truncated: u64, len: usize, expected: u64) -> u64 {
    let window = 1u64 << (8 * len);
    let candidate = expected & !(window - 1) | truncated;
    if candidate + window / 2 <= expected && candidate < (1 << 62) - window {
        return candidate + window;
    }
    if candidate > expected + window / 2 && candidate >= window {
        return candidate - window;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// RFC 9001 §A.1.
    const CLIENT_SECRET: &str = "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea";
    const SERVER_SECRET: &str = "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b";

    #[test]
    fn keys_are_those_of_the_standard() {
        for (secret, key, iv, header) in [
            (
                CLIENT_SECRET,
                "1f369613dd76d5467730efcbe3b1a22d",
                "fa044b2f42a3fd3b46fb255c",
                "9f50449e04a0e810283a1e9933adedd2",
            ),
            (
                SERVER_SECRET,
                "cf3a5331653c364c88f0f379b6067e37",
                "0ac1493ca1905853b0bba03e",
                "c206b8d9b9f0f37644430b490eeaa314",
            ),
        ] {
            let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &bytes(secret));
            assert_eq!(expand::<16>(&secret, "quic key").unwrap().to_vec(), bytes(key));
            assert_eq!(expand::<12>(&secret, "quic iv").unwrap().to_vec(), bytes(iv));
            assert_eq!(expand::<16>(&secret, "quic hp").unwrap().to_vec(), bytes(header));
        }
    }

    /// RFC 9001 §A.2: sample and mask of the client's Initial.
    #[test]
    fn the_mask_is_that_of_the_standard() {
        let keys = Keys::from_secret(&bytes(CLIENT_SECRET)).unwrap();
        let mut packet = vec![0; SAMPLE_AT];
        packet.extend_from_slice(&bytes("d1b1c98dd7689fb8ec11d242b123dc9b"));
        assert_eq!(keys.mask(&packet, 0).unwrap().to_vec(), bytes("437b9aec36"));
    }

    /// RFC 9001 §A.3: the server's Initial, whole.
    #[test]
    fn a_packet_of_the_standard_opens_and_a_changed_one_does_not() {
        let keys = Keys::from_secret(&bytes(SERVER_SECRET)).unwrap();
        let mut packet = bytes(
            "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3
             8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
             022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
        );
        let header = keys.unprotect(&packet, 18, 0).unwrap();
        assert_eq!((header.first, header.number), (0xc1, 1));
        let mut scratch = Vec::new();
        let payload = keys.open(&packet, 18, header, &mut scratch).unwrap();
        assert_eq!(payload[..10], bytes("02000000000600405a02")[..]);
        *packet.last_mut().unwrap() ^= 1;
        assert!(keys.open(&packet, 18, header, &mut scratch).is_none());
        assert!(keys.unprotect(&packet[..30], 18, 0).is_none());
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let keys = Keys::from_secret(&bytes(CLIENT_SECRET)).unwrap();
        let (mut packet, mut scratch) = (Vec::new(), Vec::new());
        keys.seal(&[9; 16], 1 << 20, b"five!", &mut packet).unwrap();
        assert_eq!(packet.len(), 1 + 16 + 4 + 5 + TAG_LEN);
        let header = keys.unprotect(&packet, 17, 1 << 20).unwrap();
        assert_eq!((header.first, header.number), (0x43, 1 << 20));
        assert_eq!(keys.open(&packet, 17, header, &mut scratch).unwrap(), b"five!");
    }

    /// RFC 9000 §A.3's own example, and wraps in both directions.
    #[test]
    fn truncated_numbers_are_completed() {
        assert_eq!(decode_number(0x9b32, 2, 0xa82f_30eb), 0xa82f_9b32);
        assert_eq!(decode_number(0x01, 1, 0xff), 0x101);
        assert_eq!(decode_number(0xfe, 1, 0x101), 0xfe);
        assert_eq!(decode_number(0x00, 1, 0), 0);
    }
}
