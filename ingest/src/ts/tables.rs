//! PAT and PMT: which PID carries what.

use std::mem;

use mpeg2ts_reader::StreamType;
use mpeg2ts_reader::descriptor::CoreDescriptors;
use mpeg2ts_reader::packet::{Packet, Pid};
use mpeg2ts_reader::psi::pat::{PatSection, ProgramDescriptor};
use mpeg2ts_reader::psi::pmt::{PmtSection, StreamInfo};
use mpeg2ts_reader::psi::{
    BufferSectionSyntaxParser, CrcCheckWholeSectionSyntaxPayloadParser, CurrentNext, SectionCommonHeader,
    SectionPacketConsumer, SectionSyntaxSectionProcessor, TableSyntaxHeader, WholeSectionSyntaxPayloadParser,
};

/// Table ids (§2.4.4.4): of a program association and of a program map section.
const PROGRAM_ASSOCIATION: u8 = 0;
const PROGRAM_MAP: u8 = 2;
/// A section's CRC, behind its entries.
const CRC_LEN: usize = 4;
/// Streams of a program that are looked at. A section of 1 KiB holds 200.
const STREAMS_MAX: usize = 64;

/// The elementary stream types that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    H264,
    Adts,
    Latm,
    /// Video of a codec that is not carried on.
    OtherVideo(&'static str),
    /// Audio of such a codec.
    OtherAudio(&'static str),
    /// Subtitles, cue messages, data.
    Other,
}

/// One elementary stream of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) pid: Pid,
    pub(super) kind: StreamKind,
}

/// What a section said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Where the first program's map is.
    Program(Pid),
    /// The streams of that program.
    Streams(Vec<Stream>),
}

/// What sections say; it is not asked for more than once a packet.
type Found = Option<Table>;

struct Section;

impl WholeSectionSyntaxPayloadParser for Section {
    type Context = Found;

    fn section<'a>(
        &mut self,
        found: &mut Found,
        header: &SectionCommonHeader,
        syntax: &TableSyntaxHeader<'a>,
        data: &'a [u8],
    ) {
        let from = SectionCommonHeader::SIZE.saturating_add(TableSyntaxHeader::SIZE);
        let until = data.len().saturating_sub(CRC_LEN);
        let Some(body) = data.get(from..until).filter(|_| syntax.current_next_indicator() == CurrentNext::Current)
        else {
            return;
        };
        *found = match header.table_id {
            PROGRAM_ASSOCIATION => PatSection::new(body).programs().find_map(|program| match program {
                ProgramDescriptor::Program { pid, .. } => Some(Table::Program(pid)),
                ProgramDescriptor::Network { .. } => None,
            }),
            PROGRAM_MAP => PmtSection::from_bytes(body).ok().map(|map| {
                let stream = |info: StreamInfo<'_>| Stream { pid: info.elementary_pid(), kind: kind(&info) };
                Table::Streams(map.streams().take(STREAMS_MAX).map(stream).collect())
            }),
            _ => None,
        };
    }
}

type Sections = SectionPacketConsumer<
    SectionSyntaxSectionProcessor<BufferSectionSyntaxParser<CrcCheckWholeSectionSyntaxPayloadParser<Section>>>,
>;

/// Reads the sections of one PID.
pub(super) struct TableReader {
    sections: Sections,
}

impl TableReader {
    pub(super) fn new() -> Self {
        let whole = BufferSectionSyntaxParser::new(CrcCheckWholeSectionSyntaxPayloadParser::new(Section));
        Self { sections: SectionPacketConsumer::new(SectionSyntaxSectionProcessor::new(whole)) }
    }

    /// A section that is whole with this packet and whose CRC is right.
    pub(super) fn packet(&mut self, packet: &Packet<'_>) -> Option<Table> {
        let mut found = None;
        self.sections.consume(&mut found, packet);
        mem::take(&mut found)
    }
}

fn kind(stream: &StreamInfo<'_>) -> StreamKind {
    match stream.stream_type() {
        StreamType::H264 => StreamKind::H264,
        StreamType::ADTS => StreamKind::Adts,
        StreamType::LATM => StreamKind::Latm,
        StreamType::H265 => StreamKind::OtherVideo("HEVC (MPEG-TS stream type 0x24)"),
        StreamType::H262 | StreamType::ISO_11172_VIDEO => StreamKind::OtherVideo("MPEG-2 video"),
        StreamType::ISO_14496_2_VISUAL => StreamKind::OtherVideo("MPEG-4 part 2"),
        StreamType(0x33) => StreamKind::OtherVideo("VVC (MPEG-TS stream type 0x33)"),
        StreamType::ISO_11172_AUDIO | StreamType::ISO_138183_AUDIO => StreamKind::OtherAudio("MPEG audio (MP2, MP3)"),
        StreamType::ATSC_DOLBY_DIGITAL_AUDIO => StreamKind::OtherAudio("AC-3"),
        StreamType(0x87) => StreamKind::OtherAudio("E-AC-3"),
        StreamType::H222_0_PES_PRIVATE_DATA => private_kind(stream),
        _ => StreamKind::Other,
    }
}

/// Private data says by a registration what it is, AC-3 by a descriptor of DVB's (EN 300 468 §6.2, annex D).
fn private_kind(stream: &StreamInfo<'_>) -> StreamKind {
    for descriptor in stream.descriptors::<CoreDescriptors<'_>>().flatten() {
        match descriptor {
            CoreDescriptors::Registration(registration) => {
                let name = registration.format_identifier().0.0;
                match &name {
                    b"Opus" => return StreamKind::OtherAudio("Opus"),
                    b"AC-3" => return StreamKind::OtherAudio("AC-3"),
                    b"EAC3" => return StreamKind::OtherAudio("E-AC-3"),
                    b"HEVC" => return StreamKind::OtherVideo("HEVC (registered as private data)"),
                    b"AV01" => return StreamKind::OtherVideo("AV1"),
                    _ => {}
                }
            }
            CoreDescriptors::UserPrivate(private) if private.tag == 0x6a => return StreamKind::OtherAudio("AC-3"),
            CoreDescriptors::UserPrivate(private) if private.tag == 0x7a => return StreamKind::OtherAudio("E-AC-3"),
            _ => {}
        }
    }
    StreamKind::Other
}
