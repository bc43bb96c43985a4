//! AAC: the AudioSpecificConfig.

use bytes::Bytes;

use super::bits::BitReader;
use crate::MediaError;

const WHAT: &str = "AAC sequence header";
/// A program configuration with its comment has about 300 bytes.
const ASC_LEN_MAX: usize = 1024;
/// ISO/IEC 14496-3 table 1.18, by sampling frequency index; 13 and 14 are reserved, 15 is followed by the rate itself.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Written rates outside are no sound: no AAC level goes beyond 192 kHz.
const RATE_RANGE: std::ops::RangeInclusive<u32> = 1_000..=192_000;
/// Audio object types (table 1.17) that this module tells apart.
const OBJECT_TYPE_SBR: u32 = 5;
const OBJECT_TYPE_PS: u32 = 29;
/// AAC Main, LC, SSR and LTP: the types whose configuration is a plain GASpecificConfig.
const OBJECT_TYPES_CORE: std::ops::RangeInclusive<u32> = 1..=4;
/// `syncExtensionType` values (§1.6.2.1) that announce SBR and PS behind the core's configuration.
const SYNC_SBR: u32 = 0x2b7;
const SYNC_PS: u32 = 0x548;

/// An AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1), kept byte for byte, with what was read from it.
#[derive(Debug, Clone, PartialEq)]
pub struct AacConfig {
    asc: Bytes,
    codec: String,
    core_rate: u32,
    output_rate: u32,
    channels: u32,
    frame_len: u32,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig. Channels and rate come from here and never from FLV's flags.
    ///
    /// # Errors
    /// [`MediaError::Config`] when it is cut short or describes no channels or no rate; [`MediaError::AudioCodec`] for an
    /// object type other than AAC Main, LC, SSR or LTP with or without SBR and PS.
    pub fn parse(asc: Bytes) -> Result<Self, MediaError> {
        if asc.len() > ASC_LEN_MAX {
            return Err(MediaError::Config { what: WHAT, reason: "it is longer than 1 KiB" });
        }
        let mut bits = BitReader::new(&asc);
        let fields = Fields::read(&mut bits).ok_or(MediaError::Config { what: WHAT, reason: "it is cut short" })?;
        if !OBJECT_TYPES_CORE.contains(&fields.core_type) {
            return Err(MediaError::AudioCodec { codec: format!("AAC object type {}", fields.core_type) });
        }
        if !RATE_RANGE.contains(&fields.core_rate) || !RATE_RANGE.contains(&fields.output_rate) {
            return Err(MediaError::Config { what: WHAT, reason: "its sampling rate is out of range" });
        }
        if fields.channels == 0 {
            return Err(MediaError::Config { what: WHAT, reason: "it describes no channels" });
        }
        let (object_type, channels) = match fields.extension {
            // Parametric stereo makes two channels of one.
            Some(OBJECT_TYPE_PS) => (OBJECT_TYPE_PS, fields.channels.max(2)),
            Some(extension) => (extension, fields.channels),
            None => (fields.core_type, fields.channels),
        };
        Ok(Self {
            codec: format!("mp4a.40.{object_type}"),
            core_rate: fields.core_rate,
            output_rate: fields.output_rate,
            channels,
            frame_len: fields.frame_len,
            asc,
        })
    }

    /// The AudioSpecificConfig, byte for byte as it came.
    pub fn asc(&self) -> &Bytes {
        &self.asc
    }

    /// `mp4a.40.2`, or `.5` / `.29` with explicit SBR / PS.
    pub fn codec(&self) -> &str {
        &self.codec
    }

    /// Samples a second of the core coder: the track's timescale.
    pub fn core_rate(&self) -> u32 {
        self.core_rate
    }

    /// Samples a second that a decoder puts out: usually twice the core's with explicit SBR.
    pub fn output_rate(&self) -> u32 {
        self.output_rate
    }

    /// Channels that a decoder puts out.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// Core samples of one frame: 1024 or 960.
    pub fn frame_len(&self) -> u32 {
        self.frame_len
    }
}

struct Fields {
    core_type: u32,
    /// SBR or PS, when either is announced explicitly.
    extension: Option<u32>,
    core_rate: u32,
    output_rate: u32,
    channels: u32,
    frame_len: u32,
}

impl Fields {
    /// `None` when the bits run out.
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let first_type = object_type(bits)?;
        let core_rate = rate(bits)?;
        let channel_configuration = bits.read(4)?;
        let mut fields = Self {
            core_type: first_type,
            extension: None,
            core_rate,
            output_rate: core_rate,
            channels: 0,
            frame_len: 1024,
        };
        if first_type == OBJECT_TYPE_SBR || first_type == OBJECT_TYPE_PS {
            fields.extension = Some(first_type);
            fields.output_rate = rate(bits)?;
            fields.core_type = object_type(bits)?;
        }
        if !OBJECT_TYPES_CORE.contains(&fields.core_type) {
            return Some(fields);
        }
        // GASpecificConfig (§4.4.1).
        if bits.read(1)? == 1 {
            fields.frame_len = 960;
        }
        if bits.read(1)? == 1 {
            bits.read(14)?;
        }
        bits.read(1)?;
        fields.channels = match channel_configuration {
            0 => program_channels(bits)?,
            7 | 12 | 14 => 8,
            11 => 7,
            plain @ 1..=6 => plain,
            _ => 0,
        };
        if fields.extension.is_none() {
            // The extension stands behind everything older decoders read; running out of bits means there is none.
            fields.read_sync_extension(bits);
        }
        Some(fields)
    }

    fn read_sync_extension(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if bits.read(11)? != SYNC_SBR || object_type(bits)? != OBJECT_TYPE_SBR || bits.read(1)? == 0 {
            return None;
        }
        self.output_rate = rate(bits)?;
        self.extension = Some(OBJECT_TYPE_SBR);
        if bits.read(11)? == SYNC_PS && bits.read(1)? == 1 {
            self.extension = Some(OBJECT_TYPE_PS);
        }
        Some(())
    }
}

/// `GetAudioObjectType()` (table 1.16).
fn object_type(bits: &mut BitReader<'_>) -> Option<u32> {
    match bits.read(5)? {
        31 => Some(32 + bits.read(6)?),
        plain => Some(plain),
    }
}

/// A sampling frequency by index, or written out; 0 for a reserved index.
fn rate(bits: &mut BitReader<'_>) -> Option<u32> {
    match bits.read(4)? {
        15 => bits.read(24),
        index => Some(RATES.get(index as usize).copied().unwrap_or(0)),
    }
}

/// Channels of a `program_config_element()` (§4.4.1.1), read to its end.
fn program_channels(bits: &mut BitReader<'_>) -> Option<u32> {
    bits.read(4 + 2 + 4)?;
    let [front, side, back] = [bits.read(4)?, bits.read(4)?, bits.read(4)?];
    let [lfe, associated_data, coupling] = [bits.read(2)?, bits.read(3)?, bits.read(4)?];
    for mixdown_len in [4, 4, 3] {
        if bits.read(1)? == 1 {
            bits.read(mixdown_len)?;
        }
    }
    let mut channels = lfe;
    for _ in 0..front + side + back {
        channels += 1 + bits.read(1)?;
        bits.read(4)?;
    }
    for _ in 0..lfe + associated_data {
        bits.read(4)?;
    }
    for _ in 0..coupling {
        bits.read(5)?;
    }
    bits.align();
    let comment_len = bits.read(8)?;
    for _ in 0..comment_len {
        bits.read(8)?;
    }
    Some(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(asc: &'static [u8]) -> AacConfig {
        AacConfig::parse(Bytes::from_static(asc)).expect("a valid AudioSpecificConfig")
    }

    #[test]
    fn low_complexity_stereo_with_an_absent_sbr_extension() {
        let aac = parse(&[0x12, 0x10, 0x56, 0xe5, 0x00]);
        assert_eq!((aac.codec(), aac.core_rate(), aac.output_rate(), aac.channels()), ("mp4a.40.2", 44_100, 44_100, 2));
        assert_eq!(aac.frame_len(), 1024);
    }

    #[test]
    fn explicit_sbr_doubles_the_output_rate_and_keeps_the_core_rate() {
        // Type 5, 24 kHz, stereo, extension rate 48 kHz, core type 2.
        let aac = parse(&[0x2b, 0x11, 0x88, 0x00]);
        assert_eq!((aac.codec(), aac.core_rate(), aac.output_rate(), aac.channels()), ("mp4a.40.5", 24_000, 48_000, 2));
    }

    #[test]
    fn backward_compatible_sbr_is_found_behind_the_core_configuration() {
        // Type 2, 24 kHz, stereo, then sync extension 0x2b7, type 5, present, 48 kHz.
        let aac = parse(&[0x13, 0x10, 0x56, 0xe5, 0x98]);
        assert_eq!((aac.codec(), aac.core_rate(), aac.output_rate()), ("mp4a.40.5", 24_000, 48_000));
    }

    #[test]
    fn parametric_stereo_turns_one_channel_into_two() {
        // Type 29, 22.05 kHz, mono, extension rate 44.1 kHz, core type 2.
        let aac = parse(&[0xeb, 0x8a, 0x08, 0x00]);
        assert_eq!(
            (aac.codec(), aac.core_rate(), aac.output_rate(), aac.channels()),
            ("mp4a.40.29", 22_050, 44_100, 2)
        );
    }

    #[test]
    fn a_program_config_element_gives_the_channels_when_the_configuration_is_zero() {
        // Type 2, 48 kHz, configuration 0; front: one single and one pair, back: one pair, one LFE.
        let mut bits = String::new();
        bits.push_str("00010 0011 0000 0 0 0");
        bits.push_str("0000 01 0011 0010 0000 0001 01 000 0000 0 0 0");
        bits.push_str("0 0000 1 0000 1 0001 0000");
        let digits: Vec<u8> = bits.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
        let mut asc: Vec<u8> = digits
            .chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |value, (index, bit)| value | (bit << (7 - index))))
            .collect();
        asc.push(0);
        let aac = AacConfig::parse(Bytes::from(asc)).expect("valid");
        assert_eq!((aac.channels(), aac.core_rate()), (6, 48_000));
    }

    #[test]
    fn unusable_configurations_are_refused_by_name() {
        let refusal = |asc: &'static [u8]| AacConfig::parse(Bytes::from_static(asc)).expect_err("refused").to_string();
        assert_eq!(refusal(&[]), "AAC sequence header is malformed: it is cut short");
        // Object type 42 (xHE-AAC).
        assert_eq!(refusal(&[0xf9, 0x46, 0x40, 0x00]), "audio codec AAC object type 42 is not supported; send AAC");
        // Reserved sampling frequency index 13.
        assert_eq!(refusal(&[0x16, 0x90]), "AAC sequence header is malformed: its sampling rate is out of range");
    }
}
