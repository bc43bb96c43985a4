//! What the two processes agree on: documents that neighbouring builds read, names that are found, a run folder that switches.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use streams_contract::{
    self as contract, CloseCause, Command, Counter, Event, HexBytes, Home, IngestKind, InputEntry, KeyAlgorithm,
    KeyHash, Passphrase, ResourceEntry, RuntimeEntry, RuntimeTrack, ShardsSizes, SigningKeyEntry, TrackEntry, Tunable,
    Tunables, names,
};
use streams_rings::{Access, Polled, Workspace};
use support::Folder;

const SMALL: ShardsSizes = ShardsSizes {
    rx_depth: 512,
    rx_len: 1 << 16,
    rx_frag_len_max: 2_048,
    media_depth: 512,
    media_len: 1 << 18,
    ask_len: 1 << 18,
    toss_len: 1 << 16,
};

#[test]
fn documents_come_back_as_they_were_written() {
    let input = InputEntry {
        id: "lv_1".into(),
        org: "org".into(),
        ingest: IngestKind::Rtmp,
        enabled: true,
        key_hashes: vec![KeyHash { sha256: "ab".repeat(32), expires_at_ms: Some(7) }, KeyHash::default()],
        reconnect_window_s: 30,
        srt_passphrase: Passphrase("ten letters".into()),
    };
    let encoded = contract::encode(&input).expect("encoded");
    assert_eq!(contract::decode::<InputEntry>(&encoded).expect("decoded"), input);

    let runtime = RuntimeEntry {
        input: "lv_1".into(),
        tracks: vec![RuntimeTrack { name: "video/720p".into(), framerate: Some(29.97), ..RuntimeTrack::default() }],
        ..RuntimeEntry::default()
    };
    let encoded = contract::encode(&runtime).expect("encoded");
    assert_eq!(contract::decode::<RuntimeEntry>(&encoded).expect("decoded"), runtime);

    let track = TrackEntry {
        namespace: vec![HexBytes(b"stream".to_vec()), HexBytes(vec![0, 0xff]), HexBytes(Vec::new())],
        name: None,
        shard: 1,
        epoch: 3,
    };
    let encoded = contract::encode(&track).expect("encoded");
    assert_eq!(contract::decode::<TrackEntry>(&encoded).expect("decoded"), track);
}

#[test]
fn messages_are_tagged_by_name() {
    let command = Command::DisconnectInput { input: "lv_1".into(), reason: "asked".into() };
    let text = r#"{"cmd":"DisconnectInput","input":"lv_1","reason":"asked"}"#;
    assert_eq!(contract::encode(&command).expect("encoded"), text.as_bytes());
    assert_eq!(contract::decode::<Command>(text.as_bytes()).expect("decoded"), command);
    let event = r#"{"event":"IngestRefused","input":null,"shard":1,"reason":"codec","peer":"[::1]:9","later":true}"#;
    let expected = Event::IngestRefused { input: None, shard: 1, reason: "codec".into(), peer: "[::1]:9".into() };
    assert_eq!(contract::decode::<Event>(event.as_bytes()).expect("decoded"), expected);
    assert!(contract::decode::<Command>(br#"{"cmd":"SomethingNew"}"#).is_err());
}

#[test]
fn fields_of_a_newer_build_are_ignored_and_those_of_an_older_one_filled_in() {
    let newer = br#"{"kid":"k","org":"o","alg":"EdDSA","public_key_pem":"p","revoked":true,"hardware":{"slot":1}}"#;
    let key: SigningKeyEntry = contract::decode(newer).expect("decoded");
    assert!(key.revoked && key.kid == "k" && key.alg == KeyAlgorithm::EdDsa);
    assert_eq!(contract::decode::<Tunables>(b"{}").expect("decoded"), Tunables::default());
    assert!(!contract::decode::<ResourceEntry>(br#"{"id":"pb_1"}"#).expect("decoded").enabled);
    assert!(contract::decode::<TrackEntry>(br#"{"namespace":["0"]}"#).is_err());
    assert!(contract::decode::<TrackEntry>(br#"{"namespace":["0g"]}"#).is_err());
}

#[test]
fn a_home_is_a_word_and_nobody_is_zero() {
    assert_eq!(Home::from_word(0), None);
    for home in [Home { shard: 0, epoch: 0 }, Home { shard: 65_534, epoch: (1 << 48) - 1 }, Home { shard: 3, epoch: 9 }]
    {
        assert_eq!(Home::from_word(home.to_word()), Some(home));
    }
}

#[test]
fn both_workspaces_hold_what_each_side_looks_for() {
    let folder = Folder::new();
    const SHARDS: usize = 3;
    let control = contract::control_workspace(SHARDS).create(folder.file("control.1")).expect("made");
    let shards = contract::shards_workspace(SHARDS, SMALL).create(folder.file("shards.1")).expect("made");
    let seen_by_engine = Workspace::join(folder.file("control.1"), Access::ReadOnly).expect("joined");
    let seen_by_control = Workspace::join(folder.file("shards.1"), Access::ReadOnly).expect("joined");
    for table in [names::INPUTS, names::RESOURCES, names::SIGNING_KEYS, names::TUNABLES] {
        seen_by_engine.table(table).expect(table);
    }
    assert_eq!(shards.words(names::HOMES).expect("homes").count(), control.table(names::INPUTS).expect("i").entries());
    for shard in 0..SHARDS {
        assert_eq!(seen_by_control.counters(&names::shard(shard)).expect("counters").count(), Counter::COUNT);
        seen_by_control.cnc(&names::shard(shard)).expect("cnc");
        seen_by_control.table(&names::runtime(shard)).expect("runtime");
        assert_eq!(seen_by_control.counters(&names::tunables(shard)).expect("tunables").count(), Tunable::COUNT);
        seen_by_control.fseq(&names::rx(shard)).expect("position of the receiver");
        shards.table(&names::tracks(shard)).expect("tracks");
        shards.link_writer(&names::rx(shard)).expect("rx");
        shards.link_writer(&names::media(shard)).expect("media");
        for other in (0..SHARDS).filter(|other| *other != shard) {
            seen_by_control.fseq(&names::media_reader(shard, other)).expect("position of the reader");
            let fseq = shards.fseq(&names::ask(shard, other)).expect("fseq");
            shards.reliable_writer(&names::ask(shard, other), &[fseq]).expect("ask");
            shards.link_writer(&names::toss(shard, other)).expect("toss");
        }
    }
}

#[test]
fn commands_and_events_cross_with_each_side_writing_its_own_workspace() {
    let folder = Folder::new();
    let control = contract::control_workspace(1).create(folder.file("control.1")).expect("made");
    let shards = contract::shards_workspace(1, SMALL).create(folder.file("shards.1")).expect("made");
    let control_seen = Workspace::join(folder.file("control.1"), Access::ReadOnly).expect("joined");
    let shards_seen = Workspace::join(folder.file("shards.1"), Access::ReadOnly).expect("joined");
    let (cmd, events) = (names::cmd(0), names::events(0));

    let credits = shards_seen.fseq(&cmd).expect("fseq");
    let mut commands = control.reliable_writer(&cmd, &[credits]).expect("writer");
    let mut inbox = control_seen.reliable_reader(&cmd, shards.fseq(&cmd).expect("fseq")).expect("reader");
    let mut told = shards.reliable_writer(&events, &[control_seen.fseq(&events).expect("fseq")]).expect("writer");
    let mut heard = shards_seen.reliable_reader(&events, control.fseq(&events).expect("fseq")).expect("reader");

    let mut out = Vec::new();
    // More than either link holds, so that the credits have to come back.
    for session in 0..3_000 {
        let command = Command::KickSession { session, org: Some("org_1".into()) };
        let encoded = contract::encode(&command).expect("encoded");
        commands.try_publish(contract::MESSAGE_SIG, 0, &encoded).expect("credit");
        assert!(matches!(inbox.poll(&mut out), Polled::Message { sig: contract::MESSAGE_SIG, .. }));
        assert_eq!(contract::decode::<Command>(&out).expect("decoded"), command);
        assert_eq!(inbox.poll(&mut out), Polled::Empty);
        let event = Event::SessionClosed { session, shard: 0, cause: CloseCause::Ended, reason: "kicked".into() };
        told.try_publish(contract::MESSAGE_SIG, 0, &contract::encode(&event).expect("encoded")).expect("credit");
        assert!(matches!(heard.poll(&mut out), Polled::Message { .. }));
        assert_eq!(contract::decode::<Event>(&out).expect("decoded"), event);
        assert_eq!(heard.poll(&mut out), Polled::Empty);
    }
}

#[test]
fn a_run_folder_is_named_by_the_data_directory_and_closed_to_others() {
    assert_eq!(contract::run_dir(&"0123456789abcdef".repeat(4)).to_str(), Some("/dev/shm/streams-0123456789abcdef"));
    let folder = Folder::new();
    let run = folder.file("run");
    contract::create_run_dir(&run, None).expect("made");
    contract::create_run_dir(&run, None).expect("is there");
    assert_eq!(fs::metadata(&run).expect("is there").permissions().mode() & 0o7777, 0o750);
    std::os::unix::fs::symlink(&run, folder.file("link")).expect("linked");
    contract::create_run_dir(&folder.file("link"), None).expect_err("a link leads anywhere");
}

#[test]
fn a_new_generation_takes_over_and_the_old_file_goes() {
    let folder = Folder::new();
    let (run, name) = (folder.path(), names::CONTROL);
    let mut joined = Vec::new();
    for expected in 1..=3 {
        let generation = contract::next_generation(run, name).expect("listed");
        assert_eq!(generation, expected);
        let builder = contract::control_workspace(1).build_id(&format!("build {generation}"));
        builder.create(contract::generation_path(run, name, generation)).expect("made");
        contract::switch_current(run, name, generation).expect("switched");
        let current = Workspace::join(contract::current_path(run, name), Access::ReadOnly).expect("joined");
        assert_eq!(current.build_id(), format!("build {generation}"));
        joined.push(current);
    }
    let mut files: Vec<_> = fs::read_dir(run).expect("listed").map(|f| f.expect("entry").file_name()).collect();
    files.sort();
    assert_eq!(files, ["control.3", "control.current"]);
    assert_eq!(joined[0].table(names::INPUTS).expect("still mapped").version(), 0);
}
