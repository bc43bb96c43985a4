//! What codecs are called in refusals.

use scuffle_flv::audio::header::enhanced::{AudioFourCc, ExAudioTagHeaderContent};
use scuffle_flv::audio::header::legacy::SoundFormat;
use scuffle_flv::video::header::enhanced::{ExVideoTagHeaderContent, VideoFourCc};
use scuffle_flv::video::header::legacy::VideoCodecId;

pub fn legacy_video(codec: VideoCodecId) -> String {
    match codec {
        VideoCodecId::SorensonH263 => "Sorenson H.263".to_owned(),
        VideoCodecId::ScreenVideo | VideoCodecId::ScreenVideoVersion2 => "Screen Video".to_owned(),
        VideoCodecId::On2VP6 | VideoCodecId::On2VP6WithAlphaChannel => "VP6".to_owned(),
        VideoCodecId(id) => format!("FLV codec id {id}"),
    }
}

pub fn enhanced_video(content: &ExVideoTagHeaderContent) -> String {
    let name = |four_cc: &VideoFourCc| match *four_cc {
        VideoFourCc::Hevc => "HEVC (hvc1)".to_owned(),
        VideoFourCc::Av1 => "AV1 (av01)".to_owned(),
        VideoFourCc::Vp9 => "VP9 (vp09)".to_owned(),
        VideoFourCc::Vp8 => "VP8 (vp08)".to_owned(),
        VideoFourCc::Avc => "H.264 (avc1)".to_owned(),
        VideoFourCc(other) => other.escape_ascii().to_string(),
    };
    match content {
        ExVideoTagHeaderContent::NoMultiTrack(four_cc) => name(four_cc),
        ExVideoTagHeaderContent::OneTrack(four_cc) | ExVideoTagHeaderContent::ManyTracks(four_cc) => {
            format!("{} as multitrack", name(four_cc))
        }
        _ => "multitrack".to_owned(),
    }
}

pub fn legacy_audio(format: SoundFormat) -> String {
    match format {
        SoundFormat::Mp3 | SoundFormat::Mp38Khz => "MP3".to_owned(),
        SoundFormat::LinearPcmPlatformEndian | SoundFormat::LinearPcmLittleEndian => "PCM".to_owned(),
        SoundFormat::Adpcm => "ADPCM".to_owned(),
        SoundFormat::Nellymoser | SoundFormat::Nellymoser8KhzMono | SoundFormat::Nellymoser16KhzMono => {
            "Nellymoser".to_owned()
        }
        SoundFormat::G711ALaw | SoundFormat::G711MuLaw => "G.711".to_owned(),
        SoundFormat::Speex => "Speex".to_owned(),
        SoundFormat(id) => format!("FLV sound format {id}"),
    }
}

pub fn enhanced_audio(content: &ExAudioTagHeaderContent) -> String {
    let name = |four_cc: &AudioFourCc| match *four_cc {
        AudioFourCc::Opus => "Opus (Opus)".to_owned(),
        AudioFourCc::Ac3 => "AC-3 (ac-3)".to_owned(),
        AudioFourCc::Eac3 => "E-AC-3 (ec-3)".to_owned(),
        AudioFourCc::Mp3 => "MP3 (.mp3)".to_owned(),
        AudioFourCc::Flac => "FLAC (fLaC)".to_owned(),
        AudioFourCc::Aac => "AAC (mp4a)".to_owned(),
        AudioFourCc(other) => other.escape_ascii().to_string(),
    };
    match content {
        ExAudioTagHeaderContent::NoMultiTrack(four_cc) => name(four_cc),
        ExAudioTagHeaderContent::OneTrack(four_cc) | ExAudioTagHeaderContent::ManyTracks(four_cc) => {
            format!("{} as multitrack", name(four_cc))
        }
        _ => "multitrack".to_owned(),
    }
}
