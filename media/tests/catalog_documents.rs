//! The two catalog documents, as a player reads them.

use bytes::Bytes;
use serde_json::{Value, json};
use streams_media::catalog::{Catalog, CatalogTrack};
use streams_media::{MediaError, MediaKind};

fn video() -> CatalogTrack {
    CatalogTrack {
        name: "video/720p".to_owned(),
        kind: MediaKind::Video,
        codec: "avc1.42E01F".to_owned(),
        width: Some(1280),
        height: Some(720),
        framerate: Some(30.0),
        sample_rate: None,
        channels: None,
        bitrate: Some(2_500_000),
        timescale: Some(90_000),
        init: Some(Bytes::from_static(b"ftypmoov")),
        init_track: Some("video/720p.init".to_owned()),
        init_group: Some(1_795_333_333_000),
        alt_group: Some(1),
    }
}

fn audio() -> CatalogTrack {
    CatalogTrack {
        name: "audio".to_owned(),
        kind: MediaKind::Audio,
        codec: "mp4a.40.2".to_owned(),
        width: None,
        height: None,
        framerate: None,
        sample_rate: Some(48_000),
        channels: Some(6),
        bitrate: None,
        timescale: Some(48_000),
        init: Some(Bytes::from_static(b"sound")),
        init_track: Some("audio.init".to_owned()),
        init_group: Some(1_795_333_333_000),
        alt_group: None,
    }
}

fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn the_catalog_has_the_contract_s_names() {
    let catalog = Catalog::live(vec![video(), audio()]);
    assert_eq!(
        document(&catalog.to_json().expect("written")),
        json!({"version": 1, "live": true, "tracks": [
            {"name": "video/720p", "kind": "video", "codec": "avc1.42E01F", "width": 1280, "height": 720, "framerate": 30.0,
             "bitrate": 2_500_000, "timescale": 90_000, "init": "ZnR5cG1vb3Y=", "initTrack": "video/720p.init",
             "initGroup": 1_795_333_333_000u64, "altGroup": 1},
            {"name": "audio", "kind": "audio", "codec": "mp4a.40.2", "sampleRate": 48_000, "channels": 6,
             "timescale": 48_000, "init": "c291bmQ=", "initTrack": "audio.init", "initGroup": 1_795_333_333_000u64},
        ]})
    );
}

#[test]
fn a_catalog_reads_back_as_it_was_written() {
    let catalog = Catalog::live(vec![video(), audio()]);
    let read = Catalog::from_json(&catalog.to_json().expect("written")).expect("read");
    assert_eq!(read, catalog);
    assert_eq!(read.track("audio").expect("the track").init.as_deref(), Some(b"sound".as_slice()));
    assert!(read.track("video/1080p").is_none());
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_are_absent() {
    let text = br#"{"version":1,"live":false,"duration":5.28,"tracks":[{"name":"audio","kind":"audio","codec":"opus","lang":"en"}]}"#;
    let catalog = Catalog::from_json(text).expect("read");
    assert!(!catalog.live);
    assert_eq!(catalog.tracks[0].init, None);
    assert_eq!(catalog.tracks[0].sample_rate, None);
}

#[test]
fn unreadable_catalogs_are_refused_with_the_reason() {
    let refusal = |text: &[u8]| Catalog::from_json(text).expect_err("refused").to_string();
    assert_eq!(
        refusal(br#"{"version":2,"live":true,"tracks":[]}"#),
        "catalog version 2 is not supported; this side speaks version 1"
    );
    assert!(refusal(b"{").starts_with("catalog is malformed"));
    assert!(matches!(Catalog::from_json(&vec![b' '; 2_000_000]), Err(MediaError::CatalogLen { .. })));
    let error = refusal(
        br#"{"version":1,"live":true,"tracks":[{"name":"video/720p","kind":"video","codec":"avc1","init":"no base64!"}]}"#,
    );
    assert!(error.starts_with("init segment of track video/720p is malformed"), "{error}");
}

#[test]
fn the_msf_catalog_serves_players_of_either_draft() {
    let catalog = Catalog::live(vec![video(), audio()]);
    let msf = document(&catalog.to_msf_json(1_795_333_333_123).expect("written"));
    assert_eq!((&msf["version"], &msf["generatedAt"]), (&json!("draft-01"), &json!(1_795_333_333_123u64)));
    let [video, audio] = msf["tracks"].as_array().expect("tracks").as_slice() else { panic!("{msf}") };
    assert_eq!(
        (&video["packaging"], &video["role"], &video["isLive"]),
        (&json!("cmaf"), &json!("video"), &json!(true))
    );
    assert_eq!((&video["altGroup"], &video["width"], &video["height"]), (&json!(1), &json!(1280), &json!(720)));
    assert_eq!((&audio["samplerate"], &audio["channelConfig"]), (&json!(48_000), &json!("6")));
    assert_eq!(video["renderGroup"], audio["renderGroup"]);
    for track in [video, audio] {
        let entry =
            msf["initDataList"].as_array().expect("a list").iter().find(|entry| entry["id"] == track["initRef"]);
        let entry = entry.expect("the referenced init segment");
        assert_eq!((&entry["type"], &entry["data"]), (&json!("inline"), &track["initData"]));
    }
}

#[test]
fn a_track_without_an_init_segment_refers_to_none() {
    let mut track = video();
    track.init = None;
    let msf = document(&Catalog::live(vec![track]).to_msf_json(0).expect("written"));
    assert_eq!(msf["initDataList"], json!([]));
    assert!(msf["tracks"][0].get("initRef").is_none() && msf["tracks"][0].get("initData").is_none());
}
