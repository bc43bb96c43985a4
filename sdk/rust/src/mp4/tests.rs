//! Files out of real encoder output, judged by ffprobe and ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use streams_media::MediaKind;
use streams_media::fmp4::same_decoder;

use super::Mp4Writer;
use super::source::{Folder, Source, audio, decode_complaints, probe, video, video_of};

fn writer(video: &Source, audio: &Source) -> Mp4Writer {
    Mp4Writer::new(vec![(MediaKind::Video, video.init.clone()), (MediaKind::Audio, audio.init.clone())]).unwrap()
}

/// Pushes both tracks in the order an uneven network might bring them: all pictures of a second, then all sound of it.
fn push_unevenly(writer: &mut Mp4Writer, video: &Source, audio: &Source, out: &mut Vec<Bytes>) {
    let mut sound = audio.chunks.iter();
    let sound_a_second = audio.chunks.len().div_ceil(4);
    for pictures in video.chunks.chunks(25) {
        for picture in pictures {
            writer.push(MediaKind::Video, picture, out).unwrap();
        }
        for chunk in sound.by_ref().take(sound_a_second) {
            writer.push(MediaKind::Audio, chunk, out).unwrap();
        }
    }
    for chunk in sound {
        writer.push(MediaKind::Audio, chunk, out).unwrap();
    }
}

fn save(folder: &Folder, out: &[Bytes]) -> PathBuf {
    let path = folder.0.join("out.mp4");
    std::fs::write(&path, out.concat()).unwrap();
    path
}

fn start_times(path: &Path) -> (f64, f64) {
    let start = |stream| probe(path, stream, "stream=start_time")[0].parse::<f64>().unwrap();
    (start("v:0"), start("a:0"))
}

#[test]
fn two_tracks_become_one_file_that_decodes_without_a_complaint() {
    let folder = Folder::new("two-tracks");
    let (video, audio) = (video(&folder, 0), audio(&folder, 0));
    let mut writer = writer(&video, &audio);
    let mut out = Vec::new();
    push_unevenly(&mut writer, &video, &audio, &mut out);
    writer.finish(&mut out).unwrap();
    let path = save(&folder, &out);

    assert_eq!(decode_complaints(&path), "");
    assert_eq!(probe(&path, "v:0", "stream=codec_name,avg_frame_rate,nb_read_frames"), ["h264", "25/1", "100"]);
    assert_eq!(probe(&path, "a:0", "stream=codec_name,sample_rate")[..2], ["aac", "48000"]);
    assert_eq!(writer.dropped(), 0);
    assert_eq!(writer.duration().as_millis(), 4000);
}

#[test]
fn a_broadcast_that_began_long_ago_starts_at_zero_in_sync() {
    let folder = Folder::new("long-ago");
    // Beyond 32 bits in 90 kHz ticks (13 hours).
    let (video, audio) = (video(&folder, 60_000), audio(&folder, 60_000));
    let mut writer = writer(&video, &audio);
    let mut out = Vec::new();
    push_unevenly(&mut writer, &video, &audio, &mut out);
    writer.finish(&mut out).unwrap();
    let path = save(&folder, &out);

    assert_eq!(decode_complaints(&path), "");
    let (video_start, audio_start) = start_times(&path);
    assert!(video_start < 0.2 && audio_start < 0.2, "{video_start} {audio_start}");
}

#[test]
fn chunks_lie_in_the_order_of_their_times() {
    let folder = Folder::new("order");
    let (video, audio) = (video(&folder, 0), audio(&folder, 0));
    let mut writer = writer(&video, &audio);
    let mut out = Vec::new();
    push_unevenly(&mut writer, &video, &audio, &mut out);
    writer.finish(&mut out).unwrap();
    let path = save(&folder, &out);

    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=dts_time,pos", "-of", "csv=p=0", path.to_str().unwrap()])
        .output()
        .unwrap();
    let mut packets: Vec<(u64, f64)> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(',');
            let time = fields.next()?.parse().ok()?;
            Some((fields.next()?.parse().ok()?, time))
        })
        .collect();
    packets.sort_by_key(|&(position, _)| position);
    assert!(packets.len() > 250, "{}", packets.len());
    let latest_jump_back = packets.windows(2).map(|pair| pair[0].1 - pair[1].1).fold(0.0, f64::max);
    // A chunk of sound holds 200 ms, all behind its first packet's place.
    assert!(latest_jump_back < 0.3, "{latest_jump_back}");
}

#[test]
fn another_clock_after_a_reconnect_goes_on_where_the_file_ended() {
    let folder = Folder::new("reconnect");
    let (video_before, audio_before) = (video(&folder, 60_000), audio(&folder, 60_000));
    let (video_after, audio_after) = (video(&folder, 0), audio(&folder, 0));
    let mut writer = writer(&video_before, &audio_before);
    let mut out = Vec::new();
    push_unevenly(&mut writer, &video_before, &audio_before, &mut out);
    writer.discontinuity(&mut out).unwrap();
    push_unevenly(&mut writer, &video_after, &audio_after, &mut out);
    writer.finish(&mut out).unwrap();
    let path = save(&folder, &out);

    assert_eq!(decode_complaints(&path), "");
    assert_eq!(probe(&path, "v:0", "stream=nb_read_frames"), ["200"]);
    assert_eq!(writer.dropped(), 0);
    assert!((7900..8300).contains(&writer.duration().as_millis()), "{:?}", writer.duration());
}

#[test]
fn a_short_pause_of_the_same_clock_stays_a_pause() {
    let folder = Folder::new("pause");
    let (video_before, audio_before) = (video(&folder, 0), audio(&folder, 0));
    let (video_after, audio_after) = (video(&folder, 7), audio(&folder, 7));
    let mut writer = writer(&video_before, &audio_before);
    let mut out = Vec::new();
    push_unevenly(&mut writer, &video_before, &audio_before, &mut out);
    writer.discontinuity(&mut out).unwrap();
    push_unevenly(&mut writer, &video_after, &audio_after, &mut out);
    writer.finish(&mut out).unwrap();
    let path = save(&folder, &out);

    assert_eq!(decode_complaints(&path), "");
    assert_eq!(writer.dropped(), 0);
    assert!((10_900..11_200).contains(&writer.duration().as_millis()), "{:?}", writer.duration());
}

#[test]
fn what_was_written_already_is_left_out() {
    let folder = Folder::new("twice");
    let (video, audio) = (video(&folder, 0), audio(&folder, 0));
    let mut writer = writer(&video, &audio);
    let mut out = Vec::new();
    push_unevenly(&mut writer, &video, &audio, &mut out);
    writer.finish(&mut out).unwrap();
    let chunks = out.len();
    writer.push(MediaKind::Video, &video.chunks[50], &mut out).unwrap();
    writer.finish(&mut out).unwrap();
    assert_eq!((out.len(), writer.dropped()), (chunks, 1));
}

#[test]
fn a_track_alone_makes_a_file_too() {
    let folder = Folder::new("alone");
    let video = video(&folder, 0);
    let mut writer = Mp4Writer::new(vec![(MediaKind::Video, video.init.clone())]).unwrap();
    let mut out = Vec::new();
    for chunk in &video.chunks {
        writer.push(MediaKind::Video, chunk, &mut out).unwrap();
    }
    let path = save(&folder, &out);
    assert_eq!(decode_complaints(&path), "");
    assert_eq!(probe(&path, "v:0", "stream=nb_read_frames"), ["100"]);
}

#[test]
fn a_silent_track_does_not_hold_the_other_for_ever() {
    let folder = Folder::new("silent");
    let (video, audio) = (video(&folder, 0), audio(&folder, 0));
    let mut writer = writer(&video, &audio);
    let mut out = Vec::new();
    for chunk in &video.chunks {
        writer.push(MediaKind::Video, chunk, &mut out).unwrap();
    }
    assert!(out.len() > 40, "two of four seconds are written: {}", out.len());
}

#[test]
fn another_picture_size_is_another_decoder_set_up() {
    let folder = Folder::new("decoder");
    let (small, large) = (video(&folder, 0), video_of(&folder, "640x360", 1));
    assert!(same_decoder(&small.init, &small.init).unwrap());
    assert!(!same_decoder(&small.init, &large.init).unwrap());
    assert!(same_decoder(&small.init, &large.init.slice(..40)).is_err());
}

#[test]
fn damaged_media_is_an_error_and_brings_nothing_down() {
    let folder = Folder::new("damage");
    let (video, audio) = (video(&folder, 0), audio(&folder, 0));
    let chunk = &video.chunks[0];
    // Every byte of the moof, set to its extremes: an error or a chunk with odd times, never a panic.
    for at in 0..chunk.len().min(160) {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut damaged = chunk.to_vec();
            damaged[at] = value;
            let mut writer = writer(&video, &audio);
            let mut out = Vec::new();
            let _ = writer.push(MediaKind::Video, &damaged.into(), &mut out);
            let _ = writer.finish(&mut out);
        }
    }
    for len in 0..chunk.len().min(200) {
        let mut out = Vec::new();
        assert!(writer(&video, &audio).push(MediaKind::Video, &chunk.slice(..len), &mut out).is_err(), "{len}");
    }
    for len in 0..video.init.len() {
        assert!(Mp4Writer::new(vec![(MediaKind::Video, video.init.slice(..len))]).is_err(), "{len}");
    }
}
