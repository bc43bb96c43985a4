//! One packet written by hand: the server Initial that refuses a client, without a connection behind it.
//!
//! quiche could only send it from a connection, with a TLS state made for that alone, which is what an Initial without a good
//! token must not cost; and it sends none when it could not take the very first packet. The keys of Initial packets follow from the client's connection id (RFC 9001 §5.2).

use quiche::Header;
use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use web_transport_proto::VarInt;

/// RFC 9001 §5.2, for QUIC version 1.
const INITIAL_SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f,
    0x0a,
];
/// RFC 9000 §20.1.
pub(super) const INVALID_TOKEN: u64 = 0x0b;
/// RFC 9000 §19.19: CONNECTION_CLOSE of the transport.
const CLOSE: u8 = 0x1c;
const TAG_LEN: usize = 16;
/// Four bytes, so that the sample for header protection begins right behind it.
const PACKET_NUMBER: [u8; 4] = [0; 4];
const SAMPLE_LEN: usize = 16;

/// Writes the packet that answers the Initial with this header by CONNECTION_CLOSE into `out`; gives its length, `None` when it does
/// not fit. `code` is an error of the transport (RFC 9000 §20.1), TLS alerts included. It is no more than a tenth of what it answers.
pub(super) fn refuse(header: &Header<'_>, code: u64, reason: &str, out: &mut [u8]) -> Option<usize> {
    let keys = Keys::of_server(&header.dcid)?;
    let mut close = vec![CLOSE];
    VarInt::from_u64(code).ok()?.encode(&mut close);
    // The type of the frame that caused it is not named.
    close.push(0);
    VarInt::from_u32(u32::try_from(reason.len()).ok()?).encode(&mut close);
    close.extend_from_slice(reason.as_bytes());

    let mut packet = Vec::with_capacity(160);
    // Long header, fixed bit, type Initial, four bytes of packet number.
    packet.push(0xc3);
    packet.extend_from_slice(&header.version.to_be_bytes());
    for id in [&header.scid, &header.dcid] {
        packet.push(u8::try_from(id.len()).ok()?);
        packet.extend_from_slice(id);
    }
    // A server's Initial has no token.
    packet.push(0);
    let len = PACKET_NUMBER.len() + close.len() + TAG_LEN;
    VarInt::from_u32(u32::try_from(len).ok()?).encode(&mut packet);
    let number_at = packet.len();
    packet.extend_from_slice(&PACKET_NUMBER);
    keys.seal(&packet, &mut close)?;
    packet.extend_from_slice(&close);
    keys.protect(&mut packet, number_at)?;
    out.get_mut(..packet.len())?.copy_from_slice(&packet);
    Some(packet.len())
}

/// What a server protects its Initial packets with.
struct Keys {
    seal: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

impl Keys {
    /// `client_id` is the destination id of the Initial that is answered.
    fn of_server(client_id: &[u8]) -> Option<Self> {
        let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, &INITIAL_SALT).extract(client_id);
        let secret: [u8; 32] = expand(&initial, b"server in")?;
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
        let key: [u8; 16] = expand(&secret, b"quic key")?;
        let header: [u8; 16] = expand(&secret, b"quic hp")?;
        Some(Self {
            seal: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
            iv: expand(&secret, b"quic iv")?,
            header: HeaderProtectionKey::new(&AES_128, &header).ok()?,
        })
    }

    /// RFC 9001 §5.3. The packet number is zero, so the nonce is the IV.
    fn seal(&self, header: &[u8], payload: &mut Vec<u8>) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(self.iv);
        self.seal.seal_in_place_append_tag(nonce, Aad::from(header), payload).ok()
    }

    /// RFC 9001 §5.4.
    fn protect(&self, packet: &mut [u8], number_at: usize) -> Option<()> {
        let sample_at = number_at + PACKET_NUMBER.len();
        let mask = self.header.new_mask(packet.get(sample_at..sample_at + SAMPLE_LEN)?).ok()?;
        let [first, number_mask @ ..] = mask;
        *packet.first_mut()? ^= first & 0x0f;
        for (byte, mask) in packet.get_mut(number_at..sample_at)?.iter_mut().zip(number_mask) {
            *byte ^= mask;
        }
        Some(())
    }
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446 §7.1) with an empty context.
pub(super) fn expand<const LEN: usize>(secret: &hkdf::Prk, label: &[u8]) -> Option<[u8; LEN]> {
    let len = u16::try_from(LEN).ok()?.to_be_bytes();
    let label_len = [u8::try_from(label.len()).ok()?.checked_add(6)?];
    let info = [&len[..], &label_len, b"tls13 ", label, &[0]];
    let mut out = [0; LEN];
    secret.expand(&info, Len(LEN)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_rfc() {
        // RFC 9001 §A.1.
        let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, &INITIAL_SALT)
            .extract(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]);
        let secret: [u8; 32] = expand(&initial, b"server in").expect("a secret");
        assert_eq!(secret[..4], [0x3c, 0x19, 0x98, 0x28]);
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
        let key: [u8; 16] = expand(&secret, b"quic key").expect("a key");
        assert_eq!(key[..4], [0xcf, 0x3a, 0x53, 0x31]);
        let iv: [u8; 12] = expand(&secret, b"quic iv").expect("an IV");
        assert_eq!(iv[..4], [0x0a, 0xc1, 0x49, 0x3c]);
    }
}
