//! FLV tags to access units: H.264 and AAC, by the legacy headers and by the enhanced ones that carry the same two codecs.

use std::io::Cursor;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use scuffle_flv::audio::header::AudioTagHeader;
use scuffle_flv::audio::header::enhanced::{AudioFourCc, AudioPacketType, ExAudioTagHeaderContent};
use scuffle_flv::audio::header::legacy::SoundFormat;
use scuffle_flv::tag::FlvTagType;
use scuffle_flv::video::header::enhanced::{ExVideoTagHeaderContent, VideoFourCc, VideoPacketType};
use scuffle_flv::video::header::legacy::{LegacyVideoTagHeader, LegacyVideoTagHeaderAvcPacket, VideoCodecId};
use scuffle_flv::video::header::{VideoTagHeader, VideoTagHeaderData};

use super::metadata;
use crate::{AacConfig, AccessUnit, AvcConfig, CodecConfig, IngestError, StreamMetadata};

/// Tag type, 24-bit size, 24+8-bit time, 24-bit stream id (FLV Annex E.4.1).
const TAG_HEADER_LEN: usize = 11;
/// `PreviousTagSize` behind every tag.
const TAG_TRAILER_LEN: usize = 4;
const US_PER_MS: i64 = 1000;

/// Tags that held nothing usable, since the connection's start. None of them ends the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RtmpCounters {
    /// Access units passed on.
    pub units: u64,
    /// Video or audio that came before its sequence header.
    pub without_config: u64,
    /// Video whose NAL unit lengths do not fit, or that holds no slice; audio that is empty.
    pub broken: u64,
    /// Tags that carry no media: commands, ends of sequence, unknown packet and message types.
    pub ignored: u64,
}

/// What one tag turned out to be.
#[derive(Debug)]
pub enum Demuxed {
    Unit(AccessUnit),
    Metadata(StreamMetadata),
    Nothing,
}

/// Reads one connection's tags.
#[derive(Debug, Default)]
pub struct FlvDemuxer {
    video: Option<Arc<CodecConfig>>,
    audio: Option<Arc<CodecConfig>>,
    /// Time of the newest tag, without RTMP's wrap after 2^32 ms (49.7 days).
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

    /// Reads one tag with its header and trailer.
    ///
    /// # Errors
    /// [`IngestError`] for a codec that is not supported, an unusable sequence header, or a tag that is no FLV.
    pub fn tag(&mut self, mut tag: Bytes) -> Result<Demuxed, IngestError> {
        let Some([kind, _, _, _, t2, t1, t0, t3, ..]) = tag.first_chunk::<TAG_HEADER_LEN>().copied() else {
            self.count_ignored();
            return Ok(Demuxed::Nothing);
        };
        let time_ms = self.unwrap_time(u32::from_be_bytes([t3, t2, t1, t0]));
        tag.advance(TAG_HEADER_LEN);
        tag.truncate(tag.len().saturating_sub(TAG_TRAILER_LEN));
        if tag.is_empty() {
            // Some encoders send empty tags as keep-alives.
            self.count_ignored();
            return Ok(Demuxed::Nothing);
        }
        let dts_us = time_ms.saturating_mul(US_PER_MS);
        let unit = match FlvTagType::from(kind) {
            FlvTagType::Video => self.video(dts_us, tag)?,
            FlvTagType::Audio => self.audio(dts_us, tag)?,
            FlvTagType::ScriptData => {
                if let Some(metadata) = metadata::parse(&tag) {
                    return Ok(Demuxed::Metadata(metadata));
                }
                self.count_ignored();
                None
            }
            _ => {
                self.count_ignored();
                None
            }
        };
        Ok(unit.map_or(Demuxed::Nothing, Demuxed::Unit))
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

    fn video(&mut self, dts_us: i64, body: Bytes) -> Result<Option<AccessUnit>, IngestError> {
        let mut cursor = Cursor::new(body);
        let header = VideoTagHeader::demux(&mut cursor)?;
        match header.data {
            VideoTagHeaderData::Legacy(LegacyVideoTagHeader::AvcPacket(packet)) => match packet {
                LegacyVideoTagHeaderAvcPacket::SequenceHeader => self.video_config(remaining(cursor)),
                LegacyVideoTagHeaderAvcPacket::Nalu { composition_time_offset } => {
                    let pts_us = composition_pts(dts_us, composition_time_offset);
                    return Ok(self.video_unit(dts_us, pts_us, remaining(cursor)));
                }
                LegacyVideoTagHeaderAvcPacket::EndOfSequence | LegacyVideoTagHeaderAvcPacket::Unknown { .. } => {
                    self.count_ignored();
                    Ok(())
                }
            },
            VideoTagHeaderData::Legacy(LegacyVideoTagHeader::Other { video_codec_id }) => {
                Err(IngestError::VideoCodec { codec: legacy_video_name(video_codec_id) })
            }
            VideoTagHeaderData::Legacy(LegacyVideoTagHeader::VideoCommand(_)) => {
                self.count_ignored();
                Ok(())
            }
            VideoTagHeaderData::Enhanced(enhanced) => match (enhanced.content, enhanced.video_packet_type) {
                (ExVideoTagHeaderContent::NoMultiTrack(VideoFourCc::Avc), packet) => {
                    return self.enhanced_avc(dts_us, packet, cursor);
                }
                (ExVideoTagHeaderContent::VideoCommand(_), _) => {
                    self.count_ignored();
                    Ok(())
                }
                (content, _) => Err(IngestError::VideoCodec { codec: enhanced_video_name(&content) }),
            },
        }?;
        Ok(None)
    }

    fn enhanced_avc(
        &mut self,
        dts_us: i64,
        packet: VideoPacketType,
        cursor: Cursor<Bytes>,
    ) -> Result<Option<AccessUnit>, IngestError> {
        let mut body = remaining(cursor);
        match packet {
            VideoPacketType::SequenceStart => self.video_config(body).map(|()| None),
            VideoPacketType::CodedFrames => {
                // Enhanced RTMP: H.264 and HEVC carry a signed 24-bit composition time offset here, CodedFramesX none.
                let Some([o2, o1, o0]) = body.first_chunk::<3>().copied() else {
                    self.counters.broken = self.counters.broken.saturating_add(1);
                    return Ok(None);
                };
                body.advance(3);
                let pts_us = composition_pts(dts_us, u32::from_be_bytes([0, o2, o1, o0]));
                Ok(self.video_unit(dts_us, pts_us, body))
            }
            VideoPacketType::CodedFramesX => Ok(self.video_unit(dts_us, dts_us, body)),
            _ => {
                self.count_ignored();
                Ok(None)
            }
        }
    }

    fn video_config(&mut self, record: Bytes) -> Result<(), IngestError> {
        if let Some(CodecConfig::Avc(current)) = self.video.as_deref()
            && current.record() == &record
        {
            return Ok(());
        }
        self.video = Some(Arc::new(CodecConfig::Avc(AvcConfig::parse(record)?)));
        Ok(())
    }

    fn video_unit(&mut self, dts_us: i64, pts_us: i64, data: Bytes) -> Option<AccessUnit> {
        let Some(config) = &self.video else {
            self.counters.without_config = self.counters.without_config.saturating_add(1);
            return None;
        };
        let CodecConfig::Avc(avc) = config.as_ref() else { return None };
        let scan = avc.scan(&data);
        if !scan.whole || !(scan.idr || scan.slice) {
            self.counters.broken = self.counters.broken.saturating_add(1);
            return None;
        }
        self.counters.units = self.counters.units.saturating_add(1);
        Some(AccessUnit { pts_us, dts_us, key: scan.idr, data, config: Arc::clone(config) })
    }

    fn audio(&mut self, dts_us: i64, body: Bytes) -> Result<Option<AccessUnit>, IngestError> {
        let mut cursor = Cursor::new(body);
        let (packet, data) = match AudioTagHeader::demux(&mut cursor)? {
            AudioTagHeader::Legacy(header) if header.sound_format == SoundFormat::Aac => {
                let mut body = remaining(cursor);
                if body.is_empty() {
                    self.counters.broken = self.counters.broken.saturating_add(1);
                    return Ok(None);
                }
                // AACPacketType (Annex E.4.2.2) numbers the sequence header and raw frames as Enhanced RTMP does.
                (AudioPacketType::from(body.get_u8()), body)
            }
            AudioTagHeader::Legacy(header) => {
                return Err(IngestError::AudioCodec { codec: legacy_audio_name(header.sound_format) });
            }
            AudioTagHeader::Enhanced(header) => match header.content {
                ExAudioTagHeaderContent::NoMultiTrack(AudioFourCc::Aac) => {
                    (header.audio_packet_type, remaining(cursor))
                }
                content => return Err(IngestError::AudioCodec { codec: enhanced_audio_name(&content) }),
            },
        };
        match packet {
            AudioPacketType::SequenceStart => self.audio_config(data).map(|()| None),
            AudioPacketType::CodedFrames => Ok(self.audio_unit(dts_us, data)),
            _ => {
                self.count_ignored();
                Ok(None)
            }
        }
    }

    fn audio_config(&mut self, asc: Bytes) -> Result<(), IngestError> {
        if let Some(CodecConfig::Aac(current)) = self.audio.as_deref()
            && current.asc() == &asc
        {
            return Ok(());
        }
        self.audio = Some(Arc::new(CodecConfig::Aac(AacConfig::parse(asc)?)));
        Ok(())
    }

    fn audio_unit(&mut self, dts_us: i64, data: Bytes) -> Option<AccessUnit> {
        let Some(config) = &self.audio else {
            self.counters.without_config = self.counters.without_config.saturating_add(1);
            return None;
        };
        if data.is_empty() {
            self.counters.broken = self.counters.broken.saturating_add(1);
            return None;
        }
        self.counters.units = self.counters.units.saturating_add(1);
        Some(AccessUnit { pts_us: dts_us, dts_us, key: true, data, config: Arc::clone(config) })
    }
}

/// What the header's reader left, without a copy.
fn remaining(cursor: Cursor<Bytes>) -> Bytes {
    let read = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    let mut body = cursor.into_inner();
    body.split_off(read.min(body.len()))
}

/// FLV's composition time is a signed 24-bit number of milliseconds (Annex E.4.3.1).
fn composition_pts(dts_us: i64, offset: u32) -> i64 {
    let offset_ms = i64::from(((offset << 8) as i32) >> 8);
    dts_us.saturating_add(offset_ms.saturating_mul(US_PER_MS))
}

fn legacy_video_name(codec: VideoCodecId) -> String {
    match codec {
        VideoCodecId::SorensonH263 => "Sorenson H.263".to_owned(),
        VideoCodecId::ScreenVideo | VideoCodecId::ScreenVideoVersion2 => "Screen Video".to_owned(),
        VideoCodecId::On2VP6 | VideoCodecId::On2VP6WithAlphaChannel => "VP6".to_owned(),
        // Not in Adobe's text; a widespread private extension.
        VideoCodecId(12) => "HEVC (FLV codec id 12)".to_owned(),
        VideoCodecId(id) => format!("FLV codec id {id}"),
    }
}

fn enhanced_video_name(content: &ExVideoTagHeaderContent) -> String {
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

fn legacy_audio_name(format: SoundFormat) -> String {
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

fn enhanced_audio_name(content: &ExAudioTagHeaderContent) -> String {
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
