//! Connection ids that name their shard and cannot be guessed.
//!
//! ```text
//! byte 0        1                 2 .. 9     10 .. 15
//!      eeerrrrr shard XOR mask    nonce      MAC over bytes 0..9
//!      |  5 b random
//!      3 b epoch of the keys
//! ```
//!
//! The mask is the low byte of SipHash-2-4 over the nonce, so two ids of one viewer do not expose that they belong to the same
//! shard. SipHash because the packet programs in the kernel find the shard by the same rule: they have no AES, but 64-bit
//! additions, rotations and exclusive ors. A program only steers by it; whether an id is genuine is for the shard to say.
//!
//! The MAC lets a shard discard junk before it looks anything up, and tells a restarted engine that an unknown id was its own
//! (it then answers with a stateless reset). It comes from two AES-128 blocks: QUIC's header protection primitive is a keyed
//! pseudo-random function of 16 bytes to 5, and costs some 20 ns where a hash-based MAC costs 20 times that.
//!
//! The mask's key is derived from the connection id key and is no secret of the same rank: who has it can tell the shard of an
//! id, and cannot make one. So a packet program may hold it in a map.

use quiche::ConnectionId;
use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::EngineError;

/// Length of every connection id that the engine issues, in bytes.
pub const CID_LEN: usize = 16;

const EPOCH_SHIFT: u32 = 5;
const NONCE_OFFSET: usize = 2;
const MAC_OFFSET: usize = 10;
/// Tells the mask's key from anything else that may ever be derived from the connection id key.
const MASK_LABEL: &[u8] = b"streams connection id shard mask";

/// What each PRF call is for; the last byte of its input block, so that no two uses share a block.
#[derive(Clone, Copy)]
enum Domain {
    MacHigh = 2,
    MacLow = 3,
}

/// Issues and checks connection ids of one engine, and derives their stateless reset tokens.
pub struct CidScheme {
    epoch: u8,
    prf: HeaderProtectionKey,
    mask_key: [u8; 16],
    reset: hmac::Key,
    random: SystemRandom,
}

impl CidScheme {
    /// `cid_key` and `reset_key` live in the data directory so that ids outlive the process; `epoch` is in 0..=7.
    pub fn new(cid_key: &[u8; 16], reset_key: &[u8; 32], epoch: u8) -> Result<Self, EngineError> {
        let prf =
            HeaderProtectionKey::new(&AES_128, cid_key).map_err(|_| EngineError::Keys("the connection id key"))?;
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, cid_key), MASK_LABEL);
        let mask_key = *derived.as_ref().first_chunk::<16>().ok_or(EngineError::Keys("the shard mask key"))?;
        Ok(Self {
            epoch: epoch & 7,
            prf,
            mask_key,
            reset: hmac::Key::new(hmac::HMAC_SHA256, reset_key),
            random: SystemRandom::new(),
        })
    }

    /// The SipHash-2-4 key (k0 in the first 8 bytes, k1 in the last, little endian) by which a packet program finds the shard of
    /// an id: `shard = id[1] ^ (siphash(key, id[2..10]) & 0xff)`.
    pub fn mask_key(&self) -> [u8; 16] {
        self.mask_key
    }

    /// Epoch of the keys, 0..=7: the upper three bits of `id[0]`. A packet program leaves ids of another epoch where they arrive.
    pub fn epoch(&self) -> u8 {
        self.epoch
    }

    /// A fresh id of `shard`.
    pub fn issue(&self, shard: u8) -> Result<ConnectionId<'static>, EngineError> {
        let mut id = [0u8; CID_LEN];
        self.random.fill(&mut id[..MAC_OFFSET]).map_err(|_| EngineError::Keys("the system's random source"))?;
        id[0] = (id[0] & ((1 << EPOCH_SHIFT) - 1)) | (self.epoch << EPOCH_SHIFT);
        id[1] = shard ^ self.shard_mask(&id);
        let mac = self.mac(&id);
        id[MAC_OFFSET..].copy_from_slice(&mac);
        Ok(ConnectionId::from_vec(id.to_vec()))
    }

    /// The shard that issued `id`, or `None` when this engine did not issue it.
    pub fn shard_of(&self, id: &[u8]) -> Option<u8> {
        let id: &[u8; CID_LEN] = id.try_into().ok()?;
        if id[0] >> EPOCH_SHIFT != self.epoch || self.mac(id) != id[MAC_OFFSET..] {
            return None;
        }
        Some(id[1] ^ self.shard_mask(id))
    }

    /// The stateless reset token of `id` (RFC 9000 §10.3.2): a keyed function of the id, so nothing need be stored.
    pub fn reset_token(&self, id: &[u8]) -> u128 {
        let tag = hmac::sign(&self.reset, id);
        let mut token = [0u8; 16];
        token.copy_from_slice(&tag.as_ref()[..16]);
        u128::from_be_bytes(token)
    }

    fn shard_mask(&self, id: &[u8; CID_LEN]) -> u8 {
        let mut nonce = [0; MAC_OFFSET - NONCE_OFFSET];
        nonce.copy_from_slice(&id[NONCE_OFFSET..MAC_OFFSET]);
        streams_xdp_prog::cid_mask(&self.mask_key, &nonce)
    }

    fn mac(&self, id: &[u8; CID_LEN]) -> [u8; 6] {
        let mut block = [0u8; 16];
        block[..MAC_OFFSET].copy_from_slice(&id[..MAC_OFFSET]);
        let high = self.prf(block, Domain::MacHigh);
        let low = self.prf(block, Domain::MacLow);
        [high[0], high[1], high[2], high[3], high[4], low[0]]
    }

    fn prf(&self, mut block: [u8; 16], domain: Domain) -> [u8; 5] {
        block[15] = domain as u8;
        // The sample has exactly the length that AES-128 header protection asks for, so this cannot fail.
        self.prf.new_mask(&block).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme() -> CidScheme {
        CidScheme::new(&[7; 16], &[9; 32], 3).expect("keys have the right length")
    }

    #[test]
    fn an_issued_id_names_its_shard() {
        let scheme = scheme();
        for shard in 0..=255u8 {
            let id = scheme.issue(shard).expect("random");
            assert_eq!(scheme.shard_of(&id), Some(shard));
        }
    }

    #[test]
    fn a_changed_or_foreign_id_is_not_ours() {
        let scheme = scheme();
        let id = scheme.issue(1).expect("random");
        for byte in 0..CID_LEN {
            let mut changed = id.to_vec();
            changed[byte] ^= 1;
            assert_eq!(scheme.shard_of(&changed), None, "byte {byte}");
        }
        assert_eq!(scheme.shard_of(&id[..15]), None);
        assert_eq!(scheme.shard_of(&[0; 16]), None);
        let other = CidScheme::new(&[8; 16], &[9; 32], 3).expect("keys");
        assert_eq!(other.shard_of(&id), None);
    }

    #[test]
    fn the_shard_byte_is_masked() {
        let scheme = scheme();
        let distinct: std::collections::HashSet<u8> = (0..64).map(|_| scheme.issue(1).expect("random")[1]).collect();
        assert!(distinct.len() > 16, "one shard shows {} different bytes in 64 ids", distinct.len());
    }

    /// SipHash-2-4 written out as a packet program has to: one 8-byte word, then the length block.
    fn siphash_of_one_word(key: &[u8; 16], word: u64) -> u64 {
        let half = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().expect("8 bytes"));
        let (k0, k1) = (half(0), half(8));
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let round = |v: &mut [u64; 4]| {
            v[0] = v[0].wrapping_add(v[1]);
            v[1] = v[1].rotate_left(13) ^ v[0];
            v[0] = v[0].rotate_left(32);
            v[2] = v[2].wrapping_add(v[3]);
            v[3] = v[3].rotate_left(16) ^ v[2];
            v[0] = v[0].wrapping_add(v[3]);
            v[3] = v[3].rotate_left(21) ^ v[0];
            v[2] = v[2].wrapping_add(v[1]);
            v[1] = v[1].rotate_left(17) ^ v[2];
            v[2] = v[2].rotate_left(32);
        };
        for block in [word, 8 << 56] {
            v[3] ^= block;
            round(&mut v);
            round(&mut v);
            v[0] ^= block;
        }
        v[2] ^= 0xff;
        (0..4).for_each(|_| round(&mut v));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    #[test]
    fn a_packet_program_finds_the_shard_with_the_mask_key_alone() {
        // The reference vector of 8 bytes: key 00..0f, message 00..07.
        let key: [u8; 16] = std::array::from_fn(|index| index as u8);
        assert_eq!(siphash_of_one_word(&key, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
        let scheme = scheme();
        assert_eq!(scheme.epoch(), 3);
        for shard in 0..64 {
            let id = scheme.issue(shard).expect("random");
            let nonce = u64::from_le_bytes(id[NONCE_OFFSET..MAC_OFFSET].try_into().expect("8 bytes"));
            assert_eq!(id[1] ^ siphash_of_one_word(&scheme.mask_key(), nonce) as u8, shard);
            assert_eq!(id[0] >> EPOCH_SHIFT, 3);
        }
        let other = CidScheme::new(&[8; 16], &[9; 32], 3).expect("keys");
        assert_ne!(scheme.mask_key(), other.mask_key());
    }

    #[test]
    fn reset_tokens_survive_a_restart_with_the_same_keys() {
        let id = scheme().issue(0).expect("random");
        assert_eq!(scheme().reset_token(&id), scheme().reset_token(&id));
        assert_ne!(scheme().reset_token(&id), scheme().reset_token(&scheme().issue(0).expect("random")));
    }
}
