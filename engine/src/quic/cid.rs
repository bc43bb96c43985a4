//! Connection ids that name their shard and cannot be guessed.
//!
//! ```text
//! byte 0        1                 2 .. 9     10 .. 15
//!      eeerrrrr shard XOR mask    nonce      MAC over bytes 0..9
//!      |  5 b random
//!      3 b epoch of the keys
//! ```
//!
//! The mask is keyed by the nonce, so two ids of one viewer do not expose that they belong to the same shard; the MAC lets a
//! shard discard junk before it looks anything up, and tells a restarted engine that an unknown id was its own (it then
//! answers with a stateless reset). Both come from one AES-128 block a call: QUIC's header protection primitive is a keyed
//! pseudo-random function of 16 bytes to 5, and costs some 20 ns where a hash-based MAC costs 20 times that.

use quiche::ConnectionId;
use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::EngineError;

/// Length of every connection id that the engine issues, in bytes.
pub const CID_LEN: usize = 16;

const EPOCH_SHIFT: u32 = 5;
const MAC_OFFSET: usize = 10;

/// What each PRF call is for; the last byte of its input block, so that no two uses share a block.
#[derive(Clone, Copy)]
enum Domain {
    Mask = 1,
    MacHigh = 2,
    MacLow = 3,
}

/// Issues and checks connection ids of one engine, and derives their stateless reset tokens.
pub struct CidScheme {
    epoch: u8,
    prf: HeaderProtectionKey,
    reset: hmac::Key,
    random: SystemRandom,
}

impl CidScheme {
    /// `cid_key` and `reset_key` live in the data directory so that ids outlive the process; `epoch` is in 0..=7.
    pub fn new(cid_key: &[u8; 16], reset_key: &[u8; 32], epoch: u8) -> Result<Self, EngineError> {
        let prf =
            HeaderProtectionKey::new(&AES_128, cid_key).map_err(|_| EngineError::Keys("the connection id key"))?;
        Ok(Self {
            epoch: epoch & 7,
            prf,
            reset: hmac::Key::new(hmac::HMAC_SHA256, reset_key),
            random: SystemRandom::new(),
        })
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
        let mut block = [0u8; 16];
        block[..8].copy_from_slice(&id[2..MAC_OFFSET]);
        self.prf(block, Domain::Mask)[0]
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

    #[test]
    fn reset_tokens_survive_a_restart_with_the_same_keys() {
        let id = scheme().issue(0).expect("random");
        assert_eq!(scheme().reset_token(&id), scheme().reset_token(&id));
        assert_ne!(scheme().reset_token(&id), scheme().reset_token(&scheme().issue(0).expect("random")));
    }
}
