//! FLV tags to access units: H.264 and AAC by the legacy headers; H.264, H.265, AV1, VP9, AAC and Opus by the enhanced ones.

use std::io::Cursor;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rtmp_runtime::message::msg_type;
use scuffle_flv::audio::header::AudioTagHeader;
use scuffle_flv::audio::header::enhanced::{AudioPacketType, ExAudioTagHeaderContent};
use scuffle_flv::audio::header::legacy::SoundFormat;
use scuffle_flv::video::header::enhanced::{ExVideoTagHeader, ExVideoTagHeaderContent, VideoPacketType};
use scuffle_flv::video::header::legacy::{LegacyVideoTagHeader, LegacyVideoTagHeaderAvcPacket, VideoCodecId};
use scuffle_flv::video::header::{VideoFrameType, VideoTagHeader, VideoTagHeaderData};
use streams_media::{AccessUnit, Av1Config, CodecConfig, MediaKind, RandomAccess, Vp9Config};

use super::codecs::{AudioCodec, Configuration, VideoCodec};
use super::{Notice, metadata, names};
use crate::{IngestError, StreamMetadata};

const US_PER_MS: i64 = 1000;
/// Bytes of a tag's header, extensions included; without them it has at most 7.
const HEADER_LEN_MAX: usize = 256;
/// What encoders are told to send instead of a codec that is not taken.
const VIDEO_TAKEN: &str = "H.264, H.265, AV1 or VP9";
const AUDIO_TAKEN: &str = "AAC or Opus";
/// H.265 in a legacy header: not in Adobe's text, and what many encoders send.
const LEGACY_HEVC: VideoCodecId = VideoCodecId(12);

/// Tags that held nothing usable, since the connection's start. None of them ends the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RtmpCounters {
    /// Access units passed on.
    pub units: u64,
    /// Video or audio that came before its sequence header.
    pub without_config: u64,
    /// Video whose NAL unit lengths do not fit, or that holds no slice; audio that is empty.
    pub broken: u64,
    /// Tags of tracks beyond the first of their kind (Enhanced RTMP multitrack).
    pub extra_track: u64,
    /// Tags that carry no media: commands, ends of sequence, unknown packet and message types.
    pub ignored: u64,
}

/// What one tag turned out to be.
#[derive(Debug)]
pub enum Demuxed {
    Unit(AccessUnit),
    Metadata(StreamMetadata),
    Notice(Notice),
    Nothing,
}

/// What is known of one kind of media.
#[derive(Debug, Default)]
struct Track {
    config: Option<Arc<CodecConfig>>,
    /// It was told that the sequence header is missing.
    missing_told: bool,
    /// It was told that another track is left out.
    extra_told: bool,
}

/// Reads one connection's tags.
#[derive(Debug, Default)]
pub struct FlvDemuxer {
    video: Track,
    audio: Track,
    /// Came, and no key frame since.
    vp9_record: Option<Bytes>,
    /// Time of the newest audio or video, without RTMP's wrap after 2^32 ms (49.7 days).
    time_ms: Option<i64>,
    counters: RtmpCounters,
}

impl FlvDemuxer {
    pub fn counters(&self) -> RtmpCounters {
        self.counters
    }

    pub fn count_ignored(&mut self) {
        self.counters.ignored = self.counters.ignored.saturating_add(1);
    }

    /// Reads the body of an audio, video or data message.
    ///
    /// # Errors
    /// [`IngestError`] for a codec that is not supported, an unusable sequence header, or a tag that is no FLV.
    pub fn message(&mut self, kind: u8, timestamp: u32, body: Bytes) -> Result<Demuxed, IngestError> {
        if body.is_empty() {
            // Some encoders send empty tags as keep-alives.
            self.count_ignored();
            return Ok(Demuxed::Nothing);
        }
        let found = match kind {
            // Metadata is stamped as anybody likes, so that its time means nothing.
            msg_type::DATA_AMF0 => metadata::parse(&body).map(Demuxed::Metadata),
            msg_type::VIDEO => {
                let dts_us = self.unwrap_time(timestamp).saturating_mul(US_PER_MS);
                self.video(dts_us, body)?
            }
            msg_type::AUDIO => {
                let dts_us = self.unwrap_time(timestamp).saturating_mul(US_PER_MS);
                self.audio(dts_us, body)?
            }
            _ => None,
        };
        Ok(found.unwrap_or_else(|| {
            if kind == msg_type::DATA_AMF0 {
                self.count_ignored();
            }
            Demuxed::Nothing
        }))
    }

    fn unwrap_time(&mut self, timestamp: u32) -> i64 {
        let time_ms = match self.time_ms {
            // The nearest time with these low 32 bits: a wrap goes on, a jump back stays a jump back.
            Some(last) => last.saturating_add(i64::from(timestamp.wrapping_sub(last as u32) as i32)),
            None => i64::from(timestamp),
        };
        self.time_ms = Some(time_ms);
        time_ms
    }

    fn video(&mut self, dts_us: i64, mut body: Bytes) -> Result<Option<Demuxed>, IngestError> {
        let mut cursor = Cursor::new(header_of(&body));
        let header = VideoTagHeader::demux(&mut cursor)?;
        let key_hint = header.frame_type == VideoFrameType::KeyFrame;
        let data = body.split_off(header_len(&cursor, &body));
        match header.data {
            VideoTagHeaderData::Legacy(LegacyVideoTagHeader::AvcPacket(packet)) => match packet {
                LegacyVideoTagHeaderAvcPacket::SequenceHeader => self.video_config(VideoCodec::Avc, data),
                LegacyVideoTagHeaderAvcPacket::Nalu { composition_time_offset } => {
                    Ok(self.video_unit(dts_us, composition_pts(dts_us, composition_time_offset), key_hint, data))
                }
                LegacyVideoTagHeaderAvcPacket::EndOfSequence | LegacyVideoTagHeaderAvcPacket::Unknown { .. } => {
                    Ok(self.ignore())
                }
            },
            VideoTagHeaderData::Legacy(LegacyVideoTagHeader::Other { video_codec_id: LEGACY_HEVC }) => {
                self.legacy_hevc(dts_us, key_hint, data)
            }
            VideoTagHeaderData::Legacy(LegacyVideoTagHeader::Other { video_codec_id }) => {
                Err(IngestError::VideoCodec { codec: names::legacy_video(video_codec_id), taken: VIDEO_TAKEN })
            }
            VideoTagHeaderData::Legacy(LegacyVideoTagHeader::VideoCommand(_))
            | VideoTagHeaderData::Enhanced(ExVideoTagHeader {
                content: ExVideoTagHeaderContent::VideoCommand(_),
                ..
            }) => Ok(self.ignore()),
            VideoTagHeaderData::Enhanced(enhanced) => {
                let (four_cc, data) = match &enhanced.content {
                    ExVideoTagHeaderContent::NoMultiTrack(four_cc) => (Some(four_cc), Some(data)),
                    ExVideoTagHeaderContent::OneTrack(four_cc) => (Some(four_cc), main_track(data, false)),
                    ExVideoTagHeaderContent::ManyTracks(four_cc) => (Some(four_cc), main_track(data, true)),
                    _ => (None, None),
                };
                let (Some(data), Some(four_cc)) = (data, four_cc) else {
                    return Ok(self.extra_track(MediaKind::Video));
                };
                let codec = VideoCodec::of(*four_cc).ok_or_else(|| IngestError::VideoCodec {
                    codec: names::enhanced_video(&enhanced.content),
                    taken: VIDEO_TAKEN,
                })?;
                self.enhanced_video(dts_us, codec, enhanced.video_packet_type, key_hint, data)
            }
        }
    }

    /// H.265 under the header that H.264 has.
    fn legacy_hevc(&mut self, dts_us: i64, key_hint: bool, mut body: Bytes) -> Result<Option<Demuxed>, IngestError> {
        let Some([packet, o2, o1, o0]) = body.first_chunk::<4>().copied() else { return Ok(self.broken()) };
        body.advance(4);
        match packet {
            0 => self.video_config(VideoCodec::Hevc, body),
            1 => {
                let pts_us = composition_pts(dts_us, u32::from_be_bytes([0, o2, o1, o0]));
                Ok(self.video_unit(dts_us, pts_us, key_hint, body))
            }
            _ => Ok(self.ignore()),
        }
    }

    fn enhanced_video(
        &mut self,
        dts_us: i64,
        codec: VideoCodec,
        packet: VideoPacketType,
        key_hint: bool,
        mut body: Bytes,
    ) -> Result<Option<Demuxed>, IngestError> {
        match packet {
            VideoPacketType::SequenceStart => self.video_config(codec, body),
            VideoPacketType::CodedFrames if codec.has_composition_time() => {
                // Enhanced RTMP: a signed 24-bit composition time offset, which CodedFramesX leaves out.
                let Some([o2, o1, o0]) = body.first_chunk::<3>().copied() else { return Ok(self.broken()) };
                body.advance(3);
                let pts_us = composition_pts(dts_us, u32::from_be_bytes([0, o2, o1, o0]));
                Ok(self.video_unit(dts_us, pts_us, key_hint, body))
            }
            VideoPacketType::CodedFrames | VideoPacketType::CodedFramesX => {
                Ok(self.video_unit(dts_us, dts_us, key_hint, body))
            }
            _ => Ok(self.ignore()),
        }
    }

    fn video_config(&mut self, codec: VideoCodec, record: Bytes) -> Result<Option<Demuxed>, IngestError> {
        self.vp9_record = None;
        if self.video.knows(codec, &record) {
            return Ok(None);
        }
        match codec.configuration(record) {
            Configuration::Whole(config) => Ok(self.video.configure(config?)),
            // How large the picture is comes with the first key frame.
            Configuration::Vp9(record) => {
                self.vp9_record = Some(record);
                Ok(self.video.config_came(MediaKind::Video))
            }
        }
    }

    /// VP9 says the size of its picture in key frames alone, and changes it there.
    fn configure_vp9(&mut self, frame: &[u8]) {
        let record = match (&self.vp9_record, self.video.config.as_deref()) {
            (Some(record), _) => record,
            (None, Some(CodecConfig::Vp9(vp9))) if !vp9.describes(frame) => vp9.record(),
            _ => return,
        };
        // Frames up to the first key frame say nothing of it and are left out.
        if let Ok(config) = Vp9Config::parse(record.clone(), frame) {
            self.vp9_record = None;
            self.video.config = Some(Arc::new(CodecConfig::Vp9(config)));
        }
    }

    fn video_unit(&mut self, dts_us: i64, pts_us: i64, key_hint: bool, mut data: Bytes) -> Option<Demuxed> {
        self.configure_vp9(&data);
        if self.vp9_record.is_some() {
            return self.broken();
        }
        let Some(config) = &self.video.config else { return self.without_config(MediaKind::Video) };
        if matches!(config.as_ref(), CodecConfig::Av1(_)) {
            data = Av1Config::without_delimiter(data);
        }
        let Some(access) = config.access(&data, key_hint) else { return self.broken() };
        self.counters.units = self.counters.units.saturating_add(1);
        Some(Demuxed::Unit(AccessUnit { pts_us, dts_us, access, data, config: Arc::clone(config) }))
    }

    fn audio(&mut self, dts_us: i64, mut body: Bytes) -> Result<Option<Demuxed>, IngestError> {
        let mut cursor = Cursor::new(header_of(&body));
        let header = AudioTagHeader::demux(&mut cursor)?;
        let mut data = body.split_off(header_len(&cursor, &body));
        let (codec, packet, data) = match header {
            AudioTagHeader::Legacy(header) if header.sound_format == SoundFormat::Aac => {
                if data.is_empty() {
                    return Ok(self.broken());
                }
                // AACPacketType (Annex E.4.2.2) numbers the sequence header and raw frames as Enhanced RTMP does.
                (AudioCodec::Aac, AudioPacketType::from(data.get_u8()), data)
            }
            AudioTagHeader::Legacy(header) => {
                return Err(IngestError::AudioCodec {
                    codec: names::legacy_audio(header.sound_format),
                    taken: AUDIO_TAKEN,
                });
            }
            AudioTagHeader::Enhanced(header) => {
                let (four_cc, data) = match &header.content {
                    ExAudioTagHeaderContent::NoMultiTrack(four_cc) => (Some(four_cc), Some(data)),
                    ExAudioTagHeaderContent::OneTrack(four_cc) => (Some(four_cc), main_track(data, false)),
                    ExAudioTagHeaderContent::ManyTracks(four_cc) => (Some(four_cc), main_track(data, true)),
                    _ => (None, None),
                };
                let (Some(four_cc), Some(data)) = (four_cc, data) else {
                    return Ok(self.extra_track(MediaKind::Audio));
                };
                let codec = AudioCodec::of(*four_cc).ok_or_else(|| IngestError::AudioCodec {
                    codec: names::enhanced_audio(&header.content),
                    taken: AUDIO_TAKEN,
                })?;
                (codec, header.audio_packet_type, data)
            }
        };
        match packet {
            AudioPacketType::SequenceStart => self.audio_config(codec, data),
            AudioPacketType::CodedFrames => Ok(self.audio_unit(dts_us, data)),
            _ => Ok(self.ignore()),
        }
    }

    fn audio_config(&mut self, codec: AudioCodec, header: Bytes) -> Result<Option<Demuxed>, IngestError> {
        let config = codec.configuration(header)?;
        // Encoders repeat it; units of one configuration share it.
        if self.audio.config.as_deref() == Some(&config) {
            return Ok(None);
        }
        Ok(self.audio.configure(config))
    }

    fn audio_unit(&mut self, dts_us: i64, data: Bytes) -> Option<Demuxed> {
        let Some(config) = &self.audio.config else { return self.without_config(MediaKind::Audio) };
        if data.is_empty() {
            return self.broken();
        }
        self.counters.units = self.counters.units.saturating_add(1);
        let (pts_us, access) = (dts_us, RandomAccess::Closed);
        Some(Demuxed::Unit(AccessUnit { pts_us, dts_us, access, data, config: Arc::clone(config) }))
    }

    fn broken(&mut self) -> Option<Demuxed> {
        self.counters.broken = self.counters.broken.saturating_add(1);
        None
    }

    fn ignore(&mut self) -> Option<Demuxed> {
        self.count_ignored();
        None
    }

    fn without_config(&mut self, kind: MediaKind) -> Option<Demuxed> {
        self.counters.without_config = self.counters.without_config.saturating_add(1);
        let told = std::mem::replace(&mut self.track_mut(kind).missing_told, true);
        (!told).then_some(Demuxed::Notice(Notice::ConfigMissing(kind)))
    }

    fn extra_track(&mut self, kind: MediaKind) -> Option<Demuxed> {
        self.counters.extra_track = self.counters.extra_track.saturating_add(1);
        let told = std::mem::replace(&mut self.track_mut(kind).extra_told, true);
        (!told).then_some(Demuxed::Notice(Notice::ExtraTrack(kind)))
    }

    fn track_mut(&mut self, kind: MediaKind) -> &mut Track {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        }
    }
}

impl Track {
    /// The configuration in force came from this very record.
    fn knows(&self, codec: VideoCodec, record: &Bytes) -> bool {
        self.config
            .as_deref()
            .is_some_and(|now| VideoCodec::used_by(now) == Some(codec) && now.record() == Some(record))
    }

    fn configure(&mut self, config: CodecConfig) -> Option<Demuxed> {
        let kind = config.kind();
        self.config = Some(Arc::new(config));
        self.config_came(kind)
    }

    /// Tells so, when it was told to be missing.
    fn config_came(&mut self, kind: MediaKind) -> Option<Demuxed> {
        std::mem::take(&mut self.missing_told).then_some(Demuxed::Notice(Notice::ConfigCame(kind)))
    }
}

/// The part of a tag's body that its header may take: its extensions would otherwise be as many as fit the body.
fn header_of(body: &Bytes) -> Bytes {
    body.slice(..body.len().min(HEADER_LEN_MAX))
}

/// How much of `body` the header's reader took.
fn header_len(cursor: &Cursor<Bytes>, body: &Bytes) -> usize {
    usize::try_from(cursor.position()).unwrap_or(usize::MAX).min(body.len())
}

/// Data of track 0 in a multitrack body (Enhanced RTMP v2): a track id and its data, or many with their sizes.
fn main_track(mut body: Bytes, sized: bool) -> Option<Bytes> {
    for _ in 0..=u8::MAX {
        let (id, rest) = body.split_first()?;
        if !sized {
            return (*id == 0).then(|| body.slice(1..));
        }
        let [s2, s1, s0] = *rest.first_chunk()?;
        let (from, size) = (4, usize::try_from(u32::from_be_bytes([0, s2, s1, s0])).ok()?);
        let until = size.checked_add(from).filter(|until| *until <= body.len())?;
        if *id == 0 {
            return Some(body.slice(from..until));
        }
        body.advance(until);
    }
    None
}

/// FLV's composition time is a signed 24-bit number of milliseconds (Annex E.4.3.1).
fn composition_pts(dts_us: i64, offset: u32) -> i64 {
    let offset_ms = i64::from(((offset << 8) as i32) >> 8);
    dts_us.saturating_add(offset_ms.saturating_mul(US_PER_MS))
}
