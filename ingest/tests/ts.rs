//! Transport streams of a real ffmpeg, whole and damaged, judged by ffprobe and by ffmpeg's decoders.

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use streams_ingest::{IngestError, Notice, SessionEvent, TsCounters, TsDemuxer, TsEvent};
use streams_media::{CodecConfig, MediaKind};
use support::{Broadcast, TestFile, film, make};

const PACKET_LEN: usize = 188;
/// What an SRT message holds.
const MESSAGE_LEN: usize = 7 * PACKET_LEN;

/// Everything a stream becomes.
struct Demuxed {
    events: Vec<SessionEvent>,
    counters: TsCounters,
    error: Option<IngestError>,
}

fn demux(bytes: &[u8], piece_len: usize) -> Demuxed {
    let mut demuxer = TsDemuxer::default();
    let (mut events, mut error) = (Vec::new(), None);
    for piece in bytes.chunks(piece_len) {
        error = error.or(demuxer.push(piece).err());
        events.extend(std::iter::from_fn(|| demuxer.poll_event()));
    }
    error = error.or(demuxer.finish().err());
    events.extend(std::iter::from_fn(|| demuxer.poll_event()));
    let events = events.into_iter().map(|event| match event {
        TsEvent::Metadata(metadata) => SessionEvent::Metadata(metadata),
        TsEvent::Unit(unit) => SessionEvent::Unit(unit),
        TsEvent::Notice(notice) => SessionEvent::Notice(notice),
    });
    Demuxed { events: events.collect(), counters: demuxer.counters(), error }
}

/// The sample film as a transport stream: `arguments` are ffmpeg's for the output.
fn stream(arguments: &[&str]) -> Vec<u8> {
    let film = film();
    let all = [&["-i", film.to_str().expect("a plain path")], arguments].concat();
    std::fs::read(&make("ts", &all).path).expect("it was made")
}

fn broadcast(bytes: &[u8]) -> Broadcast {
    let demuxed = demux(bytes, MESSAGE_LEN);
    assert!(demuxed.error.is_none(), "{:?}", demuxed.error);
    let mut broadcast = Broadcast::new();
    broadcast.take(demuxed.events);
    broadcast.finish();
    broadcast
}

fn times(file: &TestFile) -> Vec<i64> {
    file.probe("frame=pts").iter().filter_map(|pts| pts.parse().ok()).collect()
}

fn units(demuxed: &Demuxed, kind: MediaKind) -> Vec<(i64, i64, usize)> {
    let unit = |event: &SessionEvent| match event {
        SessionEvent::Unit(unit) if unit.kind() == kind => Some((unit.pts_us, unit.dts_us, unit.data.len())),
        _ => None,
    };
    demuxed.events.iter().filter_map(unit).collect()
}

#[test]
fn the_sample_film_comes_out_frame_for_frame() {
    let bytes = stream(&["-c", "copy"]);
    let broadcast = broadcast(&bytes);
    let video = broadcast.file("video/720p");
    video.decodes();
    assert_eq!(video.probe_one("stream=nb_read_frames"), "132");
    assert_eq!(video.probe_one("stream=width,height"), "1280,720");
    let audio = broadcast.file("audio");
    audio.decodes();
    assert_eq!(audio.probe_one("stream=nb_read_frames"), "249");
    assert_eq!(audio.probe_one("stream=sample_rate,channels"), "48000,6");
    let times = times(&audio);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1024), "the count of samples has no hole");
    let catalogs = broadcast.catalogs();
    let tracks: Vec<_> = catalogs[0].tracks.iter().map(|track| (track.name.as_str(), track.codec.as_str())).collect();
    assert_eq!(tracks, [("video/720p", "avc1.4D401F"), ("audio", "mp4a.40.2")]);
}

#[test]
fn it_does_not_matter_how_the_bytes_are_cut() {
    let bytes = stream(&["-c", "copy"]);
    let whole = demux(&bytes, MESSAGE_LEN);
    for piece_len in [1, 187, 188, 1000, 1 << 16] {
        let pieces = demux(&bytes, piece_len);
        for kind in [MediaKind::Video, MediaKind::Audio] {
            assert_eq!(units(&pieces, kind), units(&whole, kind), "pieces of {piece_len}");
        }
        assert_eq!(pieces.counters, whole.counters);
    }
    let TsCounters { units, gaps, damaged, skipped, broken, .. } = whole.counters;
    assert_eq!((units, gaps, damaged, skipped, broken), (132 + 249, 0, 0, 0, 0));
}

#[test]
fn a_picture_does_not_wait_for_the_next_one() {
    let bytes = stream(&["-an", "-c", "copy"]);
    let mut demuxer = TsDemuxer::default();
    let (mut begun, mut out, mut late) = (0usize, 0usize, 0usize);
    for packet in bytes.chunks(PACKET_LEN) {
        // Video is the only stream, and only pictures begin anything on its PID.
        begun += usize::from(packet[1] & 0x5f == 0x41 && packet[2] == 0);
        demuxer.push(packet).unwrap();
        out += std::iter::from_fn(|| demuxer.poll_event()).filter(|event| matches!(event, TsEvent::Unit(_))).count();
        late = late.max(begun.saturating_sub(out));
        if begun > 20 && packet[1] & 0x40 != 0 && packet[2] == 0 && packet[1] & 0x1f == 1 {
            assert!(begun - out <= 2, "{begun} pictures begun, {out} out");
        }
    }
    assert_eq!(begun, 132);
    // Of the last picture nobody says that it is over, unless it was filled up.
    assert!(out >= 131, "{out}");
}

#[test]
fn b_frames_keep_their_order_and_rates_of_thirty_thousand_and_one_their_pace() {
    let bytes = stream(&[
        "-an",
        "-r",
        "30000/1001",
        "-vsync",
        "cfr",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-bf",
        "3",
        "-g",
        "60",
    ]);
    let broadcast = broadcast(&bytes);
    let video = broadcast.file("video/720p");
    video.decodes();
    let times = times(&video);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 3003), "{times:?}");
    assert!(times.len() > 155, "5.3 s: {}", times.len());
    assert!(video.probe("frame=pict_type").iter().any(|kind| kind == "B"));
    let groups: BTreeSet<u64> = broadcast.objects("video/720p").iter().map(|object| object.0).collect();
    assert_eq!(groups.len(), 3);
}

#[test]
fn audio_in_latm_is_the_same_audio() {
    let adts = demux(&stream(&["-vn", "-c:a", "aac", "-ac", "2", "-b:a", "96k"]), MESSAGE_LEN);
    let latm_bytes = stream(&["-vn", "-c:a", "aac", "-ac", "2", "-b:a", "96k", "-mpegts_flags", "latm"]);
    let latm = demux(&latm_bytes, MESSAGE_LEN);
    assert!(latm.error.is_none(), "{:?}", latm.error);
    let (adts, latm_units) = (units(&adts, MediaKind::Audio), units(&latm, MediaKind::Audio));
    assert_eq!(latm_units.len(), adts.len());
    for (latm, adts) in latm_units.iter().zip(&adts) {
        // The two are packed into PES packets differently, whose times are rounded.
        assert!(latm.2 == adts.2 && (latm.0 - adts.0).abs() <= 12, "{latm:?} {adts:?}");
    }
    assert!(adts.len() > 240);
    let audio = broadcast(&latm_bytes).file("audio");
    audio.decodes();
    assert_eq!(audio.probe_one("stream=sample_rate,channels"), "48000,2");
}

#[test]
fn times_go_on_over_the_wrap_after_26_hours() {
    // 2^33 ticks are 95,443.7 s.
    let bytes = stream(&["-c", "copy", "-output_ts_offset", "95440"]);
    let demuxed = demux(&bytes, MESSAGE_LEN);
    let video = units(&demuxed, MediaKind::Video);
    assert!(video.iter().any(|(_, dts_us, _)| *dts_us > 95_443_720_000), "the wrap is in it");
    let broadcast = broadcast(&bytes);
    for (track, count) in [("video/720p", 132), ("audio", 249)] {
        let times = times(&broadcast.file(track));
        assert_eq!(times.len(), count);
        let (first, last) = (times[0], times[count - 1]);
        assert!(last > first && last - first < 90_000 * 6, "{track}: {first} to {last}");
    }
}

#[test]
fn further_audio_tracks_are_told_of_and_left_out() {
    let bytes = stream(&["-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy"]);
    let demuxed = demux(&bytes, MESSAGE_LEN);
    let told = |event: &&SessionEvent| matches!(event, SessionEvent::Notice(Notice::ExtraTrack(MediaKind::Audio)));
    assert_eq!(demuxed.events.iter().filter(told).count(), 1);
    assert_eq!(units(&demuxed, MediaKind::Audio).len(), 249);
    assert!(demuxed.counters.extra_track > 0);
}

#[test]
fn other_codecs_are_refused_by_name() {
    let refusal = |arguments: &[&str]| demux(&stream(arguments), MESSAGE_LEN).error.expect("refused").to_string();
    let hevc = refusal(&["-t", "0.5", "-an", "-c:v", "libx265", "-preset", "ultrafast", "-s", "320x180"]);
    assert_eq!(hevc, "video codec HEVC (MPEG-TS stream type 0x24) is not supported; send H.264");
    let mp2 = refusal(&["-t", "0.5", "-c:v", "copy", "-c:a", "mp2", "-ac", "2"]);
    assert_eq!(mp2, "audio codec MPEG audio (MP2, MP3) is not supported; send AAC");
    let ac3 = refusal(&["-t", "0.5", "-c:v", "copy", "-c:a", "ac3"]);
    assert_eq!(ac3, "audio codec AC-3 is not supported; send AAC");
    let opus = refusal(&["-t", "0.5", "-vn", "-c:a", "libopus", "-ac", "2"]);
    assert_eq!(opus, "audio codec Opus is not supported; send AAC");
}

#[test]
fn a_lost_packet_costs_its_picture_and_nothing_else() {
    let bytes = stream(&["-c", "copy"]);
    let packets: Vec<&[u8]> = bytes.chunks(PACKET_LEN).collect();
    // In the middle of a picture, far behind the only key frame.
    let at = (packets.len() * 2 / 3..packets.len())
        .find(|at| packets[*at][1] & 0x40 == 0 && packets[*at][2] == 0)
        .expect("one");
    let lossy: Vec<u8> =
        packets.iter().enumerate().filter(|(index, _)| *index != at).flat_map(|(_, p)| p.to_vec()).collect();
    let demuxed = demux(&lossy, MESSAGE_LEN);
    assert!(demuxed.error.is_none());
    assert_eq!((demuxed.counters.gaps, demuxed.counters.damaged), (1, 1));
    assert_eq!(units(&demuxed, MediaKind::Video).len(), 131);
    assert_eq!(units(&demuxed, MediaKind::Audio).len(), 249);
}

#[test]
fn packets_that_come_twice_are_used_once() {
    let bytes = stream(&["-c", "copy"]);
    let twice: Vec<u8> = bytes.chunks(PACKET_LEN).flat_map(|packet| [packet, packet].concat()).collect();
    let (once, twice) = (demux(&bytes, MESSAGE_LEN), demux(&twice, MESSAGE_LEN));
    assert_eq!(units(&twice, MediaKind::Video), units(&once, MediaKind::Video));
    assert!(twice.counters.repeated > 100 && twice.counters.gaps == 0);
}

#[test]
fn another_program_map_and_another_picture_size_go_on_in_the_same_broadcast() {
    let first = stream(&["-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-ac", "2"]);
    let second = stream(&[
        "-t",
        "2",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-s",
        "640x360",
        "-an",
        "-mpegts_start_pid",
        "0x300",
        "-mpegts_pmt_start_pid",
        "0x200",
    ]);
    let bytes = [first, second].concat();
    let demuxed = demux(&bytes, MESSAGE_LEN);
    assert!(demuxed.error.is_none(), "{:?}", demuxed.error);
    assert_eq!(demuxed.counters.program_changes, 2);
    let mut sizes = Vec::new();
    for event in &demuxed.events {
        if let SessionEvent::Unit(unit) = event
            && let CodecConfig::Avc(avc) = unit.config.as_ref()
            && sizes.last() != Some(&(avc.picture().width, avc.picture().height))
        {
            sizes.push((avc.picture().width, avc.picture().height));
        }
    }
    assert_eq!(sizes, [(1280, 720), (640, 360)]);
    assert_eq!(units(&demuxed, MediaKind::Video).len(), 100);
}

#[test]
fn a_pes_packet_without_end_is_given_up_at_its_bound() {
    let film = stream(&["-an", "-c", "copy"]);
    let mut demuxer = TsDemuxer::default();
    demuxer.push(&film).unwrap();
    let mut endless = [0x55u8; PACKET_LEN];
    // One begin of a picture on its PID, then ever more of it, each packet full.
    for number in 0..60_000u32 {
        let start = if number == 0 { 0x41 } else { 0x01 };
        endless[..4].copy_from_slice(&[0x47, start, 0x00, 0x10 | (number % 16) as u8]);
        endless[4..14].copy_from_slice(&[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0, 0]);
        demuxer.push(&endless).unwrap();
    }
    assert_eq!(demuxer.counters().damaged, 1);
}

fn short_stream() -> &'static [u8] {
    static STREAM: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    STREAM.get_or_init(|| {
        stream(&[
            "-t",
            "1",
            "-s",
            "160x90",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "10",
            "-c:a",
            "aac",
            "-ac",
            "2",
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn flipped_bits_end_nothing_but_what_they_hit(flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..20)) {
        let mut bytes = short_stream().to_vec();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let demuxed = demux(&bytes, MESSAGE_LEN);
        // Only a codec that the tables name or a parameter set can end it, and both are hit seldom.
        if demuxed.error.is_none() {
            prop_assert!(demuxed.counters.units > 20, "{:?}", demuxed.counters);
        }
    }

    #[test]
    fn truncated_and_shuffled_pieces_panic_nowhere(cuts in prop::collection::vec((any::<prop::sample::Index>(), 1usize..400), 1..30)) {
        let bytes = short_stream();
        let pieces: Vec<u8> = cuts
            .iter()
            .flat_map(|(at, len)| {
                let from = at.index(bytes.len());
                bytes[from..(from + len * 7).min(bytes.len())].to_vec()
            })
            .collect();
        demux(&pieces, 911);
    }
}
