//! Encoders that send no IDR picture after the first: every group that claims to be a start is one, by ffmpeg's decoder.

mod support;

use std::process::Command;

use streams_ingest::Answer;
use streams_media::fmp4::SampleFlags;
use support::studio::flags;
use support::{Broadcast, TestFile, push};

const FRAMES: usize = 300;

/// Twelve seconds of moving pictures at 25 a second.
fn broadcast(x264_params: &str) -> Broadcast {
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "12", "-pix_fmt", "yuv420p"];
    let codec = ["-c:v", "libx264", "-preset", "veryfast", "-x264-params", x264_params];
    let push = push(&[&source[..], &codec].concat(), "live/KEY", Answer::Accept);
    assert!(push.succeeded && push.error.is_none(), "{} {:?}", push.said, push.error);
    let mut broadcast = Broadcast::new();
    broadcast.take(push.events);
    broadcast.finish();
    broadcast
}

/// Checksums of the pictures that ffmpeg shows, those with errors left out.
fn pictures(file: &TestFile) -> Vec<String> {
    let arguments = [
        "-nostdin",
        "-v",
        "fatal",
        "-flags",
        "-output_corrupt",
        "-i",
        file.as_str(),
        "-vsync",
        "0",
        "-f",
        "framemd5",
        "-",
    ];
    let output = Command::new("ffmpeg").args(arguments).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(',')?.1.trim().to_owned())).collect()
}

/// What somebody gets who starts at group `from`: leading pictures of that group left out.
fn joined(broadcast: &Broadcast, from: u64) -> TestFile {
    let mut bytes = broadcast.inits("video/180p").first().expect("an init segment").1.to_vec();
    for (group, _, chunk) in broadcast.objects("video/180p") {
        if group > from || group == from && flags(&chunk) != SampleFlags::LEADING {
            bytes.extend_from_slice(&chunk);
        }
    }
    TestFile::new("mp4", &bytes)
}

fn groups(broadcast: &Broadcast) -> Vec<u64> {
    let objects = broadcast.objects("video/180p");
    let mut groups: Vec<u64> = objects.iter().map(|object| object.0).collect();
    groups.dedup();
    for (group, object, chunk) in &objects {
        assert_eq!(*object == 0, flags(chunk) == SampleFlags::SYNC, "group {group}, object {object}");
    }
    groups
}

#[test]
fn every_group_of_an_open_gop_begins_with_a_clean_picture() {
    let broadcast = broadcast("open-gop=1:bframes=3:b-adapt=0:keyint=30:scenecut=0");
    let groups = groups(&broadcast);
    assert!((9..=11).contains(&groups.len()), "a group a key frame: {groups:?}");
    let all = pictures(&broadcast.file("video/180p"));
    assert_eq!(all.len(), FRAMES);
    let leading =
        broadcast.objects("video/180p").iter().filter(|object| flags(&object.2) == SampleFlags::LEADING).count();
    assert!(leading >= groups.len() - 1, "pictures in front of a key frame are marked: {leading}");
    for (number, group) in groups.iter().enumerate() {
        let shown = pictures(&joined(&broadcast, *group));
        assert!(all.ends_with(&shown), "group {number} of {groups:?} shows pictures that are not clean");
        let from = number * 30;
        assert!(shown.len() + from + 4 >= FRAMES, "group {number} shows {} pictures", shown.len());
    }
}

#[test]
fn a_group_begins_at_every_recovery_point_of_a_periodic_refresh() {
    let broadcast = broadcast("intra-refresh=1:keyint=30:bframes=0");
    let groups = groups(&broadcast);
    assert!(groups.len() >= 5, "{groups:?}");
    let all = pictures(&broadcast.file("video/180p"));
    for (number, group) in groups.iter().enumerate().take(groups.len() - 2) {
        let shown = pictures(&joined(&broadcast, *group));
        assert!(shown.len() > 30, "group {number} shows {} pictures", shown.len());
        assert!(all.ends_with(&shown), "group {number} of {groups:?} shows pictures that are not clean");
    }
}
