//! `onMetaData`: what the encoder says of its stream.

use broadcast_common::Parse as _;
use rtmp_runtime::amf0::Amf0Value;

use crate::StreamMetadata;

const ENCODER_LEN_MAX: usize = 128;
/// Hints beyond these are nonsense: 16384 pixels a side, 480 frames a second, 1 Gbit/s.
const SIDE_MAX: f64 = 16_384.0;
const FRAMERATE_MAX: f64 = 480.0;
const KILOBITS_MAX: f64 = 1_000_000.0;

/// Reads the payload of a data message; `None` when it is no `onMetaData`. Nesting is bounded by the AMF0 reader.
pub fn parse(payload: &[u8]) -> Option<StreamMetadata> {
    let (mut name, mut rest) = split_string(payload)?;
    if name == b"@setDataFrame" {
        (name, rest) = split_string(rest)?;
    }
    if name != b"onMetaData" {
        return None;
    }
    let fields = match Amf0Value::parse(rest).ok()? {
        Amf0Value::Object(fields) | Amf0Value::EcmaArray(fields) => fields,
        _ => return None,
    };
    let find = |name: &str| fields.iter().find_map(|(field, value)| (field == name).then_some(value));
    let number = |name: &str, max: f64| match find(name) {
        Some(Amf0Value::Number(value)) if *value >= 1.0 && *value <= max => Some(*value),
        _ => None,
    };
    let names = |codec: &str| match find(codec) {
        Some(Amf0Value::Number(id)) => Some(*id >= 0.0),
        Some(Amf0Value::String(id)) => Some(!id.is_empty()),
        _ => None,
    };
    let says = |flag: &str| match find(flag) {
        Some(Amf0Value::Boolean(has)) => Some(*has),
        _ => None,
    };
    let (mut has_video, mut has_audio) =
        (names("videocodecid").or(says("hasVideo")), names("audiocodecid").or(says("hasAudio")));
    if has_video.is_some() || has_audio.is_some() {
        // Encoders name the codec of what they send and leave out the rest.
        has_video = has_video.or(Some(false));
        has_audio = has_audio.or(Some(false));
    }
    let bits = |kilobits: f64| (kilobits * 1000.0) as u64;
    Some(StreamMetadata {
        has_video,
        has_audio,
        width: number("width", SIDE_MAX).map(|width| width as u32),
        height: number("height", SIDE_MAX).map(|height| height as u32),
        framerate: number("framerate", FRAMERATE_MAX).or_else(|| number("videoframerate", FRAMERATE_MAX)),
        video_bitrate: number("videodatarate", KILOBITS_MAX).map(bits),
        audio_bitrate: number("audiodatarate", KILOBITS_MAX).map(bits),
        encoder: match find("encoder") {
            Some(Amf0Value::String(name)) => Some(name.chars().take(ENCODER_LEN_MAX).collect()),
            _ => None,
        },
    })
}

/// A leading AMF0 string (marker 2, 16-bit length) and what follows it.
fn split_string(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([2, high, low], rest) = payload.split_first_chunk::<3>()? else { return None };
    rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
}
