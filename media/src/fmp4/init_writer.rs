//! Init segments: `ftyp` and `moov` of one track.

use bytes::Bytes;
use mp4_atom::{
    Audio, Av01, Avc1, Codec, Dinf, Dref, Encode, Ftyp, Hdlr, Hvc1, Mdhd, Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Opus,
    Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Visual, Vmhd, Vp09, esds,
};

use super::sample::SampleFlags;
use super::{AUDIO_TRACK_ID, VIDEO_TIMESCALE, VIDEO_TRACK_ID};
use crate::{AacConfig, AudioFormat, CodecConfig, MediaError};

/// `mvhd` counts nothing in a fragmented file; milliseconds are customary.
const MOVIE_TIMESCALE: u32 = 1000;
/// MPEG-4 audio (ISO/IEC 14496-1 table 5) in an audio stream (table 6).
const OBJECT_TYPE_AAC: u8 = 0x40;
const STREAM_TYPE_AUDIO: u8 = 5;
/// ISO/IEC 14496-14: audio sample entries say 16 bits whatever the coder does.
const SAMPLE_SIZE_BITS: u16 = 16;

/// The init segment of a video track. H.264's and H.265's parameter sets stand in it and nowhere else (`avc1`, `hvc1`).
///
/// # Errors
/// [`MediaError::Write`] when a field does not fit its box, [`MediaError::Malformed`] for a configuration of audio.
pub fn write_video_init(config: &CodecConfig) -> Result<Bytes, MediaError> {
    let picture = config.picture().ok_or(MediaError::Malformed("a video track without a picture"))?;
    let side = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let (width, height) = (side(picture.width), side(picture.height));
    let visual = Visual { data_reference_index: 1, width, height, ..Visual::default() };
    let entry = match config {
        CodecConfig::Avc(avc) => Codec::Avc1(Avc1 { visual, avcc: avc.avcc().clone(), ..Avc1::default() }),
        CodecConfig::Hevc(hevc) => Codec::Hvc1(Hvc1 { visual, hvcc: hevc.hvcc().clone(), ..Hvc1::default() }),
        CodecConfig::Av1(av1) => Codec::Av01(Av01 { visual, av1c: av1.av1c().clone(), ..Av01::default() }),
        CodecConfig::Vp9(vp9) => Codec::Vp09(Vp09 { visual, vpcc: vp9.vpcc().clone(), ..Vp09::default() }),
        CodecConfig::Aac(_) | CodecConfig::Opus(_) => {
            return Err(MediaError::Malformed("a video track without a picture"));
        }
    };
    let track = TrackHead {
        tkhd: Tkhd {
            track_id: VIDEO_TRACK_ID,
            enabled: true,
            in_movie: true,
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        },
        timescale: VIDEO_TIMESCALE,
        hdlr: Hdlr { handler: b"vide".into(), name: "Video".to_owned() },
        sample_flags: SampleFlags::DELTA,
        entry,
    };
    track.write(Some(Vmhd::default()), None)
}

/// The init segment of an audio track; the sample entry's rate is the core's.
///
/// # Errors
/// [`MediaError::Write`] when a field does not fit its box; [`MediaError::Config`] for a configuration of pictures.
pub fn write_audio_init(config: &CodecConfig) -> Result<Bytes, MediaError> {
    const PICTURES: MediaError = MediaError::Config { what: "audio configuration", reason: "it is one of pictures" };
    let format = config.audio().ok_or(PICTURES)?;
    let entry = match config {
        CodecConfig::Aac(aac) => aac_entry(aac, audio(format)),
        CodecConfig::Opus(opus) => Codec::Opus(Opus { audio: audio(format), dops: opus.dops(), btrt: None }),
        _ => return Err(PICTURES),
    };
    let track = TrackHead {
        tkhd: Tkhd { track_id: AUDIO_TRACK_ID, enabled: true, in_movie: true, volume: 1.into(), ..Tkhd::default() },
        timescale: format.timescale,
        hdlr: Hdlr { handler: b"soun".into(), name: "Audio".to_owned() },
        sample_flags: SampleFlags::SYNC,
        entry,
    };
    track.write(None, Some(Smhd::default()))
}

fn audio(format: AudioFormat) -> Audio {
    Audio {
        data_reference_index: 1,
        channel_count: u16::try_from(format.channels).unwrap_or(u16::MAX),
        sample_size: SAMPLE_SIZE_BITS,
        // Rates above 65535 have no room here (ISO/IEC 14496-12 §12.2.3); decoders read their own configuration.
        sample_rate: u16::try_from(format.timescale).unwrap_or(0).into(),
    }
}

/// The AudioSpecificConfig goes in byte for byte.
fn aac_entry(aac: &AacConfig, audio: Audio) -> Codec {
    Codec::Mp4a(Mp4a {
        audio,
        esds: esds::Esds {
            es_desc: esds::EsDescriptor {
                es_id: 1,
                dec_config: esds::DecoderConfig {
                    object_type_indication: OBJECT_TYPE_AAC,
                    stream_type: STREAM_TYPE_AUDIO,
                    dec_specific: Some(esds::DecoderSpecific { raw: aac.asc().to_vec(), ..Default::default() }),
                    ..Default::default()
                },
                ..Default::default()
            },
        },
        btrt: None,
        taic: None,
    })
}

struct TrackHead {
    tkhd: Tkhd,
    timescale: u32,
    hdlr: Hdlr,
    /// Default for samples that say nothing themselves.
    sample_flags: SampleFlags,
    entry: Codec,
}

impl TrackHead {
    fn write(self, vmhd: Option<Vmhd>, smhd: Option<Smhd>) -> Result<Bytes, MediaError> {
        let track_id = self.tkhd.track_id;
        let ftyp = Ftyp {
            major_brand: b"iso6".into(),
            minor_version: 0,
            compatible_brands: vec![b"iso6".into(), b"cmfc".into(), b"mp41".into()],
        };
        let dref = Dref { entries: vec![Url::default().into()] };
        let stbl = Stbl { stsd: Stsd { codecs: vec![self.entry] }, stco: Some(Stco::default()), ..Stbl::default() };
        let moov = Moov {
            mvhd: Mvhd {
                timescale: MOVIE_TIMESCALE,
                rate: 1.into(),
                volume: 1.into(),
                next_track_id: track_id.saturating_add(1),
                ..Mvhd::default()
            },
            trak: vec![Trak {
                tkhd: self.tkhd,
                mdia: Mdia {
                    mdhd: Mdhd { timescale: self.timescale, language: "und".to_owned(), ..Mdhd::default() },
                    hdlr: self.hdlr,
                    minf: Minf { vmhd, smhd, dinf: Dinf { dref }, stbl, ..Minf::default() },
                },
                ..Trak::default()
            }],
            mvex: Some(Mvex {
                trex: vec![Trex {
                    track_id,
                    default_sample_description_index: 1,
                    default_sample_flags: self.sample_flags.0,
                    ..Trex::default()
                }],
                ..Mvex::default()
            }),
            ..Moov::default()
        };
        let mut segment = Vec::with_capacity(1024);
        ftyp.encode(&mut segment)?;
        moov.encode(&mut segment)?;
        Ok(Bytes::from(segment))
    }
}
