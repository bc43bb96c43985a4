//! Opus: what its decoder is told, and how long a packet plays.

use mp4_atom::Dops;

use crate::MediaError;

/// Samples a second of every Opus decoder's clock (RFC 6716 §2.1.1), whatever was encoded.
pub const OPUS_RATE: u32 = 48_000;
/// A packet holds no more sound than this: 120 ms (RFC 6716 §3.2.5).
const PACKET_SAMPLES_MAX: u32 = 5_760;
const WHAT: &str = "Opus header";
const MAGIC: &[u8; 8] = b"OpusHead";

/// What an `OpusHead` says (RFC 7845 §5.1), for one or two channels (mapping family 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpusConfig {
    channels: u8,
    pre_skip: u16,
    input_rate: u32,
    output_gain: i16,
}

impl OpusConfig {
    /// Of a sender that says no more than its channels (RFC 7587: RTP). Nothing is cut from the start then.
    pub fn plain(stereo: bool) -> Self {
        Self { channels: if stereo { 2 } else { 1 }, pre_skip: 0, input_rate: OPUS_RATE, output_gain: 0 }
    }

    /// Reads an `OpusHead`.
    ///
    /// # Errors
    /// [`MediaError::Config`] when it is cut short, or has more than two channels.
    pub fn parse(head: &[u8]) -> Result<Self, MediaError> {
        let refuse = |reason| MediaError::Config { what: WHAT, reason };
        let fields = head.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk::<11>());
        let [_, channels, p0, p1, r0, r1, r2, r3, g0, g1, family] =
            *fields.ok_or(refuse("it is no OpusHead or cut short"))?;
        if family != 0 || !(1..=2).contains(&channels) {
            return Err(refuse("it has more than two channels; send mono or stereo"));
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([p0, p1]),
            input_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            output_gain: i16::from_le_bytes([g0, g1]),
        })
    }

    /// What a file's `dOps` says.
    ///
    /// # Errors
    /// [`MediaError::Config`] for more than two channels.
    pub(crate) fn from_box(dops: &Dops) -> Result<Self, MediaError> {
        if dops.channel_mapping.is_some() || !(1..=2).contains(&dops.output_channel_count) {
            return Err(MediaError::Config {
                what: WHAT,
                reason: "it has more than two channels; send mono or stereo",
            });
        }
        Ok(Self {
            channels: dops.output_channel_count,
            pre_skip: dops.pre_skip,
            input_rate: dops.input_sample_rate,
            output_gain: dops.output_gain,
        })
    }

    /// RFC 6381 string.
    pub fn codec(&self) -> &'static str {
        "opus"
    }

    /// Channels of the decoder: 1 or 2.
    pub fn channels(&self) -> u32 {
        u32::from(self.channels)
    }

    /// The configuration as a box.
    pub(crate) fn dops(&self) -> Dops {
        Dops {
            output_channel_count: self.channels,
            pre_skip: self.pre_skip,
            input_sample_rate: self.input_rate,
            output_gain: self.output_gain,
            channel_mapping: None,
        }
    }
}

/// Samples at [`OPUS_RATE`] that a packet plays, from its first bytes (RFC 6716 §3.1); `None` when it is none.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let (toc, rest) = packet.split_first()?;
    let config = u32::from(toc >> 3);
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1_920, 2_880].get(config as usize % 4).copied()?,
        // Hybrid: 10, 20 ms.
        12..=15 => 480 << (config & 1),
        // CELT: 2.5, 5, 10, 20 ms.
        _ => 120u32 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    frames.checked_mul(frame).filter(|samples| (1..=PACKET_SAMPLES_MAX).contains(samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_how_long_it_plays() {
        // CELT 20 ms in one frame, SILK 60 ms, hybrid 10 ms twice, CELT 2.5 ms eight times.
        for (packet, samples) in [
            (&[0xfc, 0][..], Some(960)),
            (&[0x18, 0], Some(2_880)),
            (&[0x61, 0], Some(960)),
            (&[0x83, 8, 0], Some(960)),
            // Seven times 20 ms are more than a packet may hold; none is no sound.
            (&[0xfb, 7, 0], None),
            (&[0xfb, 0, 0], None),
            (&[0xfb], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), samples, "{packet:x?}");
        }
    }

    #[test]
    fn a_header_is_read_and_one_of_many_channels_is_refused_by_name() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
        let config = OpusConfig::parse(head).expect("a valid header");
        assert_eq!((config.channels(), config.pre_skip, config.input_rate), (2, 312, 48_000));
        let words = |head: &[u8]| OpusConfig::parse(head).expect_err("refused").to_string();
        assert!(words(b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01").contains("more than two channels"));
        assert!(words(b"OpusHea").contains("cut short"));
    }
}
