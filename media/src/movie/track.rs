//! One track of a file: its codec, its clock, its tables.

use std::sync::Arc;

use bytes::Bytes;
use mp4_atom::{Atom, Codec, Encode, Moov, Stbl, Trak, Trex};

use crate::{AacConfig, Av1Config, AvcConfig, CodecConfig, HevcConfig, MediaError, MediaKind, OpusConfig, Vp9Config};

/// Version and flags in front of a `vpcC`.
const FULL_BOX_LEN: usize = 4;
/// Length and type of a box.
const HEADER_LEN: usize = 8;

/// What a decoder needs, as far as the file says it.
#[derive(Debug)]
enum Configured {
    Whole(Arc<CodecConfig>),
    /// VP9: the picture's size comes with each key frame.
    Vp9 {
        record: Bytes,
        now: Option<Arc<CodecConfig>>,
    },
}

/// What a fragment leaves out, and where the next one goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FragmentDefaults {
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
    /// Decoding time behind the last sample, in ticks.
    pub(super) next_dts: u64,
}

/// One track that is read.
#[derive(Debug)]
pub(super) struct MovieTrack {
    pub(super) id: u32,
    pub(super) kind: MediaKind,
    pub(super) tables: Stbl,
    pub(super) fragments: FragmentDefaults,
    timescale: u32,
    /// Media time that is shown at zero, in ticks.
    shown_first: i64,
    /// How much later than zero the track begins, in microseconds.
    delay_us: i64,
    configured: Configured,
}

impl MovieTrack {
    /// Reads a `trak`; `None` for one that is neither picture nor sound.
    pub(super) fn read(moov: &Moov, trak: &Trak) -> Result<Option<Self>, MediaError> {
        let tables = trak.mdia.minf.stbl.clone();
        let Some(entry) = tables.stsd.codecs.first() else { return Ok(None) };
        let Some(configured) = configured(entry)? else { return Ok(None) };
        let kind = match &configured {
            Configured::Whole(config) => config.kind(),
            Configured::Vp9 { .. } => MediaKind::Video,
        };
        let id = trak.tkhd.track_id;
        let trex = moov.mvex.as_ref().and_then(|mvex| mvex.trex.iter().find(|trex| trex.track_id == id));
        let (shown_first, delay_us) = edited(trak, moov.mvhd.timescale);
        let timescale = trak.mdia.mdhd.timescale;
        if timescale == 0 {
            return Err(MediaError::Malformed("a track without a timescale"));
        }
        let fragments = trex.map(defaults).unwrap_or_default();
        Ok(Some(Self { id, kind, tables, fragments, timescale, shown_first, delay_us, configured }))
    }

    /// A media time as a player shows it, in microseconds.
    pub(super) fn shown_us(&self, ticks: i64) -> i64 {
        self.us(ticks.saturating_sub(self.shown_first)).saturating_add(self.delay_us)
    }

    /// Ticks in microseconds.
    pub(super) fn us(&self, ticks: i64) -> i64 {
        let us = i128::from(ticks) * 1_000_000 / i128::from(self.timescale);
        i64::try_from(us).unwrap_or(i64::MAX)
    }

    /// The configuration of a sample; `None` before the first key frame of VP9.
    pub(super) fn config(&mut self, sample: &[u8]) -> Option<Arc<CodecConfig>> {
        match &mut self.configured {
            Configured::Whole(config) => Some(Arc::clone(config)),
            Configured::Vp9 { record, now } => {
                let stands = now.as_deref().is_some_and(|now| match now {
                    CodecConfig::Vp9(vp9) => vp9.describes(sample),
                    _ => false,
                });
                if !stands && let Ok(fresh) = Vp9Config::parse(record.clone(), sample) {
                    *now = Some(Arc::new(CodecConfig::Vp9(fresh)));
                }
                now.clone()
            }
        }
    }
}

fn defaults(trex: &Trex) -> FragmentDefaults {
    FragmentDefaults {
        duration: trex.default_sample_duration,
        size: trex.default_sample_size,
        flags: trex.default_sample_flags,
        next_dts: 0,
    }
}

/// What the edit list shows at zero, in ticks of the track, and the pause in front of it, in microseconds.
fn edited(trak: &Trak, movie_timescale: u32) -> (i64, i64) {
    let entries = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()).map(|elst| elst.entries.as_slice());
    let mut delay = 0u64;
    for entry in entries.unwrap_or_default() {
        if let Some(time) = entry.media_time {
            let delay_us = u128::from(delay) * 1_000_000 / u128::from(movie_timescale.max(1));
            return (i64::try_from(time).unwrap_or(0), i64::try_from(delay_us).unwrap_or(0));
        }
        delay = delay.saturating_add(entry.segment_duration);
    }
    (0, 0)
}

/// A box's body, byte for byte as it is written.
fn body<T: Atom>(atom: &T) -> Result<Bytes, MediaError> {
    let mut bytes = Vec::new();
    atom.encode(&mut bytes)?;
    bytes.drain(..HEADER_LEN.min(bytes.len()));
    Ok(bytes.into())
}

/// `None` for a codec that is not taken.
fn configured(entry: &Codec) -> Result<Option<Configured>, MediaError> {
    let config = match entry {
        Codec::Avc1(avc) => CodecConfig::Avc(AvcConfig::parse(body(&avc.avcc)?)?),
        Codec::Hvc1(hevc) => CodecConfig::Hevc(HevcConfig::parse(body(&hevc.hvcc)?)?),
        Codec::Hev1(hevc) => CodecConfig::Hevc(HevcConfig::parse(body(&hevc.hvcc)?)?),
        Codec::Av01(av1) => CodecConfig::Av1(Av1Config::parse(body(&av1.av1c)?)?),
        Codec::Vp09(vp9) => {
            let mut record = body(&vp9.vpcc)?;
            let record = record.split_off(FULL_BOX_LEN.min(record.len()));
            return Ok(Some(Configured::Vp9 { record, now: None }));
        }
        Codec::Mp4a(aac) => {
            let specific = aac.esds.es_desc.dec_config.dec_specific.as_ref();
            let specific = specific.ok_or(MediaError::MissingBox("esds"))?;
            CodecConfig::Aac(AacConfig::parse(Bytes::copy_from_slice(&specific.raw))?)
        }
        Codec::Opus(opus) => CodecConfig::Opus(OpusConfig::from_box(&opus.dops)?),
        _ => return Ok(None),
    };
    Ok(Some(Configured::Whole(Arc::new(config))))
}
