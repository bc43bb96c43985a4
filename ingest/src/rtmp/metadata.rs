//! `onMetaData`: what the encoder says of its stream.

use super::amf::{AmfReader, AmfValue};
use crate::StreamMetadata;

/// Values looked at, nested ones counted: encoders send about twenty; an index of a file's key frames is passed over so far.
const VALUES_MAX: usize = 8192;
const ENCODER_LEN_MAX: usize = 128;
/// Hints beyond these are nonsense: 16384 pixels a side, 480 frames a second, 1 Gbit/s.
const SIDE_MAX: f64 = 16_384.0;
const FRAMERATE_MAX: f64 = 480.0;
const KILOBITS_MAX: f64 = 1_000_000.0;

/// Reads the payload of a data message; `None` when it is no `onMetaData`. Fields behind what cannot be read are not there.
pub fn parse(payload: &[u8]) -> Option<StreamMetadata> {
    let mut reader = AmfReader::new(payload, VALUES_MAX);
    let mut name = reader.value()?;
    if name == AmfValue::Text(b"@setDataFrame") {
        name = reader.value()?;
    }
    if name != AmfValue::Text(b"onMetaData") || reader.value()? != AmfValue::Fields {
        return None;
    }
    let mut said = Said::default();
    while let Some(Some(name)) = reader.field() {
        let Some(value) = reader.value() else { break };
        said.field(name, value);
        if reader.skip(value).is_none() {
            break;
        }
    }
    Some(said.hints())
}

/// The fields that mean something, as they were sent.
#[derive(Default)]
struct Said {
    hints: StreamMetadata,
    video_codec: Option<bool>,
    audio_codec: Option<bool>,
    has_video: Option<bool>,
    has_audio: Option<bool>,
    video_framerate: Option<f64>,
}

impl Said {
    fn field(&mut self, name: &[u8], value: AmfValue<'_>) {
        let number = |max: f64| match value {
            AmfValue::Number(number) if (1.0..=max).contains(&number) => Some(number),
            _ => None,
        };
        let codec = || match value {
            AmfValue::Number(id) => Some(id >= 0.0),
            AmfValue::Text(id) => Some(!id.is_empty()),
            _ => None,
        };
        let flag = || match value {
            AmfValue::Boolean(has) => Some(has),
            _ => None,
        };
        let bits = || number(KILOBITS_MAX).map(|kilobits| (kilobits * 1000.0) as u64);
        let hints = &mut self.hints;
        match name {
            b"width" => hints.width = number(SIDE_MAX).map(|width| width as u32),
            b"height" => hints.height = number(SIDE_MAX).map(|height| height as u32),
            b"framerate" => hints.framerate = number(FRAMERATE_MAX),
            b"videoframerate" => self.video_framerate = number(FRAMERATE_MAX),
            b"videodatarate" => hints.video_bitrate = bits(),
            b"audiodatarate" => hints.audio_bitrate = bits(),
            b"videocodecid" => self.video_codec = codec(),
            b"audiocodecid" => self.audio_codec = codec(),
            b"hasVideo" => self.has_video = flag(),
            b"hasAudio" => self.has_audio = flag(),
            b"encoder" => {
                if let AmfValue::Text(name) = value {
                    let name = name.get(..ENCODER_LEN_MAX.saturating_mul(4)).unwrap_or(name);
                    let name = String::from_utf8_lossy(name);
                    hints.encoder = Some(name.chars().take(ENCODER_LEN_MAX).collect());
                }
            }
            _ => {}
        }
    }

    fn hints(self) -> StreamMetadata {
        let (mut has_video, mut has_audio) = (self.video_codec.or(self.has_video), self.audio_codec.or(self.has_audio));
        if has_video.is_some() || has_audio.is_some() {
            // Encoders name the codec of what they send and leave out the rest.
            has_video = has_video.or(Some(false));
            has_audio = has_audio.or(Some(false));
        }
        let framerate = self.hints.framerate.or(self.video_framerate);
        StreamMetadata { has_video, has_audio, framerate, ..self.hints }
    }
}
