//! One transport stream: packets to tables and tracks, PES packets to access units.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use mpeg2ts_reader::packet::{Packet, Pid};
use mpeg2ts_reader::pes::{PesContents, PesHeader};
use mpeg2ts_reader::psi::pat::PAT_PID;
use streams_media::{AacConfig, AccessUnit, CodecConfig, MediaKind, RandomAccess};

use super::adts::{self, AacFrame, Read};
use super::clock::{ProgramClock, Times, us};
use super::framer::Framer;
use super::latm::Latm;
use super::pes::{Pes, PesReader, Progress};
use super::tables::{Stream, StreamKind, Table, TableReader};
use crate::annex_b::{AnnexB, Picture};
use crate::rtmp::Notice;
use crate::{IngestError, StreamMetadata};

/// A key frame of 8 MiB, as by RTMP.
const VIDEO_LEN_MAX: usize = 8 * 1024 * 1024;
/// Audio always has a length, of 16 bits.
const AUDIO_LEN_MAX: usize = 64 * 1024 + 6;
/// An ADTS frame has at most 8191 bytes, a LOAS element 8194.
const AUDIO_REST_LEN_MAX: usize = 8 * 1024 + 8;
/// Audio frames of one PES packet: encoders put some ten into one.
const FRAMES_MAX: usize = 256;
const US_PER_S: i64 = 1_000_000;

/// What a transport stream turned out to hold.
#[derive(Debug)]
pub enum TsEvent {
    /// Which kinds of media its program has.
    Metadata(StreamMetadata),
    /// One access unit in the sender's own time.
    Unit(AccessUnit),
    /// Something that the broadcaster should know.
    Notice(Notice),
}

/// What was not usable, since the stream's begin. Nothing of it ends a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TsCounters {
    /// Access units passed on.
    pub units: u64,
    /// Gaps in a used PID's continuity counter.
    pub gaps: u64,
    /// PES packets that a gap tore, or that were too long.
    pub damaged: u64,
    /// Packets that came twice.
    pub repeated: u64,
    /// Bytes that were no packet.
    pub skipped: u64,
    /// Pictures before the first parameter sets.
    pub without_config: u64,
    /// PES packets without a header, a slice or a frame that can be read.
    pub broken: u64,
    /// Packets of further video and audio streams.
    pub extra_track: u64,
    /// Changes of the program map.
    pub program_changes: u64,
}

struct VideoTrack {
    pid: Pid,
    pes: PesReader,
    annex_b: AnnexB,
    missing_told: bool,
    /// When the next picture is decoded if nothing says so, and how long one takes.
    next_ticks: Option<i64>,
    last_dts: Option<i64>,
}

enum AudioFraming {
    Adts,
    Latm(Latm),
}

struct AudioTrack {
    pid: Pid,
    pes: PesReader,
    framing: AudioFraming,
    config: Option<Arc<CodecConfig>>,
    /// A frame that goes on in the next PES packet.
    rest: BytesMut,
    next_us: Option<i64>,
}

/// Demultiplexes one transport stream.
pub struct TsDemuxer {
    framer: Framer,
    association: TableReader,
    map: Option<(Pid, TableReader)>,
    streams: Vec<Stream>,
    clock: ProgramClock,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    /// Further streams of a kind that is used, and whether that was told.
    extra: Vec<(Pid, MediaKind)>,
    extra_told: [bool; 2],
    events: VecDeque<TsEvent>,
    counters: TsCounters,
}

impl Default for TsDemuxer {
    fn default() -> Self {
        Self {
            framer: Framer::default(),
            association: TableReader::new(),
            map: None,
            streams: Vec::new(),
            clock: ProgramClock::default(),
            video: None,
            audio: None,
            extra: Vec::new(),
            extra_told: [false; 2],
            events: VecDeque::new(),
            counters: TsCounters::default(),
        }
    }
}

impl TsDemuxer {
    /// Reads the next bytes of the stream, cut anywhere. Poll the events afterwards.
    ///
    /// # Errors
    /// [`IngestError`] for a program in a codec that is not supported, or parameter sets that cannot be used.
    pub fn push(&mut self, input: &[u8]) -> Result<(), IngestError> {
        let mut framer = mem::take(&mut self.framer);
        let read = framer.push(input, |packet| self.packet(packet));
        self.counters.skipped = framer.skipped();
        self.framer = framer;
        read
    }

    /// The stream is over: what is complete in all but its end is an access unit.
    ///
    /// # Errors
    /// As [`TsDemuxer::push`].
    pub fn finish(&mut self) -> Result<(), IngestError> {
        if let Some(whole) = self.video.as_mut().and_then(|video| video.pes.finish()) {
            self.video_pes(&whole)?;
        }
        if let Some(whole) = self.audio.as_mut().and_then(|audio| audio.pes.finish()) {
            self.audio_pes(&whole)?;
        }
        Ok(())
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<TsEvent> {
        self.events.pop_front()
    }

    /// What was read and what was left out so far.
    pub fn counters(&self) -> TsCounters {
        self.counters
    }

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), IngestError> {
        let pid = packet.pid();
        if pid == PAT_PID {
            if let Some(Table::Program(map)) = self.association.packet(packet)
                && self.map.as_ref().is_none_or(|(known, _)| *known != map)
            {
                self.map = Some((map, TableReader::new()));
            }
            return Ok(());
        }
        if let Some((_, reader)) = self.map.as_mut().filter(|(map, _)| *map == pid) {
            if let Some(Table::Streams(streams)) = reader.packet(packet) {
                return self.program(streams);
            }
            return Ok(());
        }
        if packet.transport_scrambling_control().is_scrambled() {
            return Ok(());
        }
        if let Some(video) = self.video.as_mut().filter(|video| video.pid == pid) {
            let progress = video.pes.packet(packet);
            self.count(&progress);
            return progress.whole.iter().chain(&progress.second).try_for_each(|whole| self.video_pes(whole));
        }
        if let Some(audio) = self.audio.as_mut().filter(|audio| audio.pid == pid) {
            let progress = audio.pes.packet(packet);
            if progress.damaged {
                // The frame that would have gone on is torn as well.
                audio.rest.clear();
            }
            self.count(&progress);
            return progress.whole.iter().chain(&progress.second).try_for_each(|whole| self.audio_pes(whole));
        }
        if let Some((_, kind)) = self.extra.iter().find(|(extra, _)| *extra == pid).copied() {
            self.extra_track(kind);
        }
        Ok(())
    }

    fn count(&mut self, progress: &Progress) {
        let counters = &mut self.counters;
        counters.gaps = counters.gaps.saturating_add(u64::from(progress.gap));
        counters.damaged = counters.damaged.saturating_add(u64::from(progress.damaged));
        counters.repeated = counters.repeated.saturating_add(u64::from(progress.repeated));
    }

    /// The program map: tracks of PIDs and kinds that stay go on.
    fn program(&mut self, streams: Vec<Stream>) -> Result<(), IngestError> {
        if streams == self.streams {
            return Ok(());
        }
        let video = streams.iter().find(|stream| stream.kind == StreamKind::H264).copied();
        let audio = streams.iter().find(|stream| is_audio(stream.kind)).copied();
        for stream in &streams {
            match stream.kind {
                StreamKind::OtherVideo(codec) if video.is_none() => {
                    return Err(IngestError::VideoCodec { codec: codec.into(), taken: "H.264" });
                }
                StreamKind::OtherAudio(codec) if audio.is_none() => {
                    return Err(IngestError::AudioCodec { codec: codec.into(), taken: "AAC" });
                }
                _ => {}
            }
        }
        self.extra = streams.iter().filter_map(|stream| extra(*stream, video, audio)).collect();
        let before = mem::replace(&mut self.streams, streams);
        let stays = |stream: &Stream| before.contains(stream);
        self.video = match (video, self.video.take()) {
            (Some(stream), Some(track)) if track.pid == stream.pid && stays(&stream) => Some(track),
            (Some(stream), _) => Some(VideoTrack::new(stream.pid)),
            (None, _) => None,
        };
        self.audio = match (audio, self.audio.take()) {
            (Some(stream), Some(track)) if track.pid == stream.pid && stays(&stream) => Some(track),
            (Some(stream), _) => Some(AudioTrack::new(stream)),
            (None, _) => None,
        };
        self.counters.program_changes = self.counters.program_changes.saturating_add(1);
        let metadata = StreamMetadata {
            has_video: Some(video.is_some()),
            has_audio: Some(audio.is_some()),
            ..StreamMetadata::default()
        };
        self.events.push_back(TsEvent::Metadata(metadata));
        Ok(())
    }

    fn video_pes(&mut self, pes: &Pes) -> Result<(), IngestError> {
        let Some((times, payload)) = read_header(&pes.bytes, &mut self.clock) else { return self.broken() };
        let Some(track) = &mut self.video else { return Ok(()) };
        let pictures = track.annex_b.split(payload)?;
        if pictures.is_empty() {
            return self.broken();
        }
        let mut times = times;
        for picture in pictures {
            self.picture(times.take(), picture, pes.random_access);
        }
        Ok(())
    }

    /// `times` of the first picture of a PES packet; one without follows its predecessor.
    fn picture(&mut self, times: Option<Times>, picture: Picture, key_hint: bool) {
        let Some(track) = &mut self.video else { return };
        let Some(config) = picture.config else {
            self.counters.without_config = self.counters.without_config.saturating_add(1);
            let told = mem::replace(&mut track.missing_told, true);
            if !told {
                self.events.push_back(TsEvent::Notice(Notice::ConfigMissing(MediaKind::Video)));
            }
            return;
        };
        let CodecConfig::Avc(avc) = config.as_ref() else { return };
        let Some(times) = times.or_else(|| track.next_ticks.map(|ticks| Times { pts: ticks, dts: ticks })) else {
            self.counters.broken = self.counters.broken.saturating_add(1);
            return;
        };
        track.follow(times);
        let scan = avc.scan(&picture.data, key_hint);
        if !scan.whole || !(scan.idr || scan.slice) {
            self.counters.broken = self.counters.broken.saturating_add(1);
            return;
        }
        if mem::take(&mut track.missing_told) {
            self.events.push_back(TsEvent::Notice(Notice::ConfigCame(MediaKind::Video)));
        }
        self.counters.units = self.counters.units.saturating_add(1);
        let (pts_us, dts_us) = (us(times.pts), us(times.dts));
        let unit =
            AccessUnit { pts_us, dts_us, access: scan.access(), data: picture.data, config: Arc::clone(&config) };
        self.events.push_back(TsEvent::Unit(unit));
    }

    fn audio_pes(&mut self, pes: &Pes) -> Result<(), IngestError> {
        let Some((times, payload)) = read_header(&pes.bytes, &mut self.clock) else { return self.broken() };
        let Some(track) = &mut self.audio else { return Ok(()) };
        let began_before = track.rest.len();
        track.rest.extend_from_slice(payload);
        let mut bytes = mem::take(&mut track.rest).freeze();
        // The time is of the first frame that begins in this PES packet (§2.4.3.7).
        let mut time_us = times.map(|times| us(times.pts));
        let mut at = 0usize;
        for _ in 0..FRAMES_MAX {
            let read = match &mut track.framing {
                AudioFraming::Adts => adts::read(&bytes),
                AudioFraming::Latm(latm) => latm.read(&bytes),
            };
            let len = match read {
                Read::Part => break,
                Read::Skip(len) => len,
                Read::Frame(frame, len) => {
                    if at >= began_before
                        && let Some(time_us) = time_us.take()
                    {
                        track.next_us = Some(time_us);
                    }
                    if let Some(unit) = track.unit(frame)? {
                        self.counters.units = self.counters.units.saturating_add(1);
                        self.events.push_back(TsEvent::Unit(unit));
                    }
                    len
                }
            };
            at = at.saturating_add(len);
            bytes.advance(len.min(bytes.len()));
            if bytes.is_empty() {
                break;
            }
        }
        if bytes.len() <= AUDIO_REST_LEN_MAX {
            track.rest = BytesMut::from(bytes);
            return Ok(());
        }
        self.broken()
    }

    fn broken(&mut self) -> Result<(), IngestError> {
        self.counters.broken = self.counters.broken.saturating_add(1);
        Ok(())
    }

    fn extra_track(&mut self, kind: MediaKind) {
        self.counters.extra_track = self.counters.extra_track.saturating_add(1);
        let [video, audio] = &mut self.extra_told;
        let told = match kind {
            MediaKind::Video => video,
            MediaKind::Audio => audio,
        };
        if !mem::replace(told, true) {
            self.events.push_back(TsEvent::Notice(Notice::ExtraTrack(kind)));
        }
    }
}

impl VideoTrack {
    fn new(pid: Pid) -> Self {
        Self {
            pid,
            pes: PesReader::new(VIDEO_LEN_MAX),
            annex_b: AnnexB::default(),
            missing_told: false,
            next_ticks: None,
            last_dts: None,
        }
    }

    /// Learns how far pictures are apart.
    fn follow(&mut self, times: Times) {
        let step = self.last_dts.map(|last| times.dts.saturating_sub(last)).filter(|step| *step > 0);
        self.last_dts = Some(times.dts);
        self.next_ticks = step.map(|step| times.dts.saturating_add(step));
    }
}

impl AudioTrack {
    fn new(stream: Stream) -> Self {
        let latm = stream.kind == StreamKind::Latm;
        Self {
            pid: stream.pid,
            pes: PesReader::new(AUDIO_LEN_MAX),
            framing: if latm { AudioFraming::Latm(Latm::default()) } else { AudioFraming::Adts },
            config: None,
            rest: BytesMut::new(),
            next_us: None,
        }
    }

    /// One frame at the next time; `None` while there is no time.
    fn unit(&mut self, frame: AacFrame) -> Result<Option<AccessUnit>, IngestError> {
        let known = matches!(self.config.as_deref(), Some(CodecConfig::Aac(aac)) if *aac.asc() == frame.asc);
        if !known {
            let aac = AacConfig::parse(Bytes::from(frame.asc))?;
            self.config = Some(Arc::new(CodecConfig::Aac(aac)));
        }
        let Some(config) = &self.config else { return Ok(None) };
        let CodecConfig::Aac(aac) = config.as_ref() else { return Ok(None) };
        let Some(pts_us) = self.next_us else { return Ok(None) };
        let rate = i64::from(aac.core_rate()).max(1);
        let frame_us = i64::from(aac.frame_len()).saturating_mul(US_PER_S) / rate;
        self.next_us = Some(pts_us.saturating_add(frame_us));
        let access = RandomAccess::Closed;
        Ok(Some(AccessUnit { pts_us, dts_us: pts_us, access, data: frame.data, config: Arc::clone(config) }))
    }
}

/// Times and payload of a whole PES packet; `None` without a header that can be read.
fn read_header<'a>(pes: &'a [u8], clock: &mut ProgramClock) -> Option<(Option<Times>, &'a [u8])> {
    match PesHeader::from_bytes(pes)?.contents() {
        PesContents::Parsed(Some(parsed)) => Some((clock.times(&parsed), parsed.payload())),
        PesContents::Parsed(None) | PesContents::Payload(_) => None,
    }
}

fn is_audio(kind: StreamKind) -> bool {
    matches!(kind, StreamKind::Adts | StreamKind::Latm)
}

/// A stream beyond the one that is used, if it is one of media.
fn extra(stream: Stream, video: Option<Stream>, audio: Option<Stream>) -> Option<(Pid, MediaKind)> {
    if Some(stream) == video || Some(stream) == audio {
        return None;
    }
    match stream.kind {
        StreamKind::H264 | StreamKind::OtherVideo(_) => Some((stream.pid, MediaKind::Video)),
        StreamKind::Adts | StreamKind::Latm | StreamKind::OtherAudio(_) => Some((stream.pid, MediaKind::Audio)),
        StreamKind::Other => None,
    }
}
