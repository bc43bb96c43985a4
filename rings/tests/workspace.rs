//! Workspaces: made whole or not at all, joined after every check, never joined half.
#![cfg(not(loom))]

mod support;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use streams_rings::{Access, RingsError, Signal, Workspace, WorkspaceBuilder};
use support::Folder;

fn builder() -> WorkspaceBuilder {
    WorkspaceBuilder::new("test")
        .link("link", 64, 1 << 16, 1_000)
        .fseq("link")
        .cnc("owner")
        .table("table", 8, 100)
        .counters("counters", 5)
        .words("words", 3)
}

#[test]
fn every_object_is_found_by_whoever_joins() {
    let folder = Folder::new();
    let made = builder().build_id("build 7").create(folder.file("w")).expect("made");
    made.cnc("owner").expect("cnc").set_signal(Signal::Run);
    made.counters("counters").expect("counters").add(4, 9);
    made.table("table").expect("table").write(7, b"seven").expect("fits");
    made.link_writer("link").expect("writer").publish(1, 2, b"three");

    let joined = Workspace::join(folder.file("w"), Access::ReadOnly).expect("joined");
    assert_eq!((joined.kind(), joined.build_id(), joined.creator_pid()), ("test", "build 7", std::process::id()));
    assert_eq!(joined.objects().count(), 7);
    let cnc = joined.cnc("owner").expect("cnc");
    assert_eq!((cnc.signal(), cnc.pid(), cnc.heartbeat_ns()), (Signal::Run, std::process::id(), 0));
    let counters = joined.counters("counters").expect("counters");
    assert_eq!((counters.count(), counters.get(4), counters.get(5)), (5, 9, 0));
    let mut out = Vec::new();
    assert_eq!(joined.table("table").expect("table").read(7, &mut out), streams_rings::TableRead::Entry(1));
    assert_eq!(out, b"seven");
    assert_eq!(joined.link_reader("link").expect("reader").seq(), made.link_writer("link").expect("writer").seq());
}

#[test]
fn the_file_is_preallocated_and_readable_by_its_group_alone() {
    let folder = Folder::new();
    builder().create(folder.file("w")).expect("made");
    let file = fs::metadata(folder.file("w")).expect("is there");
    assert_eq!(file.permissions().mode() & 0o7777, 0o640);
    assert!(file.blocks() * 512 >= file.len(), "{} blocks for {} bytes", file.blocks(), file.len());
    let names: Vec<_> = fs::read_dir(folder.path()).expect("folder").map(|f| f.expect("entry").file_name()).collect();
    assert_eq!(names, ["w"], "no temporary file is left");
}

#[test]
fn a_full_file_system_is_an_error_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let mut huge = WorkspaceBuilder::new("huge");
    for i in 0..1_000 {
        huge = huge.dcache(&format!("d{i}"), 1 << 32, 1_000);
    }
    let error = huge.create(folder.file("w")).expect_err("4 TB of shared memory");
    assert!(matches!(error, RingsError::Io { action: "preallocate", .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
}

#[test]
fn a_new_workspace_of_the_same_name_leaves_the_old_one_to_those_who_have_it() {
    let folder = Folder::new();
    let old = builder().create(folder.file("w")).expect("made");
    old.counters("counters").expect("counters").set(0, 1);
    let new = builder().create(folder.file("w")).expect("made again");
    assert_eq!(old.counters("counters").expect("counters").get(0), 1);
    assert_eq!(new.counters("counters").expect("counters").get(0), 0);
}

#[test]
fn handles_outlive_the_workspace_and_its_file() {
    let folder = Folder::new();
    let workspace = builder().create(folder.file("w")).expect("made");
    let mut reader = workspace.link_reader("link").expect("reader");
    let mut writer = workspace.link_writer("link").expect("writer");
    drop(workspace);
    fs::remove_file(folder.file("w")).expect("removed");
    writer.publish(1, 2, b"still here");
    let mut out = Vec::new();
    reader.poll(|_| true, &mut out);
    assert_eq!(out, b"still here");
}

#[test]
fn a_read_only_join_gives_no_writers() {
    let folder = Folder::new();
    builder().create(folder.file("w")).expect("made");
    let joined = Workspace::join(folder.file("w"), Access::ReadOnly).expect("joined");
    assert!(matches!(joined.link_writer("link"), Err(RingsError::ReadOnly { .. })));
    assert!(matches!(joined.reliable_writer("link", &[]), Err(RingsError::ReadOnly { .. })));
    assert!(matches!(joined.words("words"), Err(RingsError::ReadOnly { .. })));
    let fseq = joined.fseq("link").expect("may be looked at");
    assert!(matches!(joined.reliable_reader("link", fseq), Err(RingsError::ReadOnly { .. })));
    let mut table = joined.table("table").expect("may be looked at");
    assert!(matches!(table.write(0, b""), Err(RingsError::ReadOnly { .. })));
    assert!(matches!(table.clear(0), Err(RingsError::ReadOnly { .. })));
}

#[test]
#[should_panic(expected = "Access::ReadOnly")]
fn a_write_through_a_read_only_handle_is_named_not_a_fault() {
    let folder = Folder::new();
    builder().create(folder.file("w")).expect("made");
    let joined = Workspace::join(folder.file("w"), Access::ReadOnly).expect("joined");
    joined.counters("counters").expect("may be looked at").add(0, 1);
}

#[test]
fn missing_objects_are_named() {
    let folder = Folder::new();
    let made = builder().create(folder.file("w")).expect("made");
    let error = made.cnc("nobody").expect_err("not there");
    assert_eq!(
        error.to_string(),
        "workspace test has no cnc named nobody; its owner was built with another set of objects"
    );
}

#[test]
fn arguments_out_of_range_are_refused_before_a_file_is_made() {
    let folder = Folder::new();
    let new = || WorkspaceBuilder::new("w");
    let wrong = [
        new().mcache("a", 1),
        new().mcache("a", 100),
        new().mcache("a", 131_072),
        new().dcache("a", 100, 10),
        new().dcache("a", 1 << 33, 10),
        new().dcache("a", 1 << 17, 65_536),
        new().dcache("a", 64, 64),
        new().table("a", 0, 10),
        new().table("a", 10, 0),
        new().table("a", 10, usize::MAX),
        new().counters("a", 0),
        new().words("a", usize::MAX),
        new().fseq(""),
        new().fseq("a name of more than 32 bytes here"),
        new().fseq("a").fseq("a"),
        WorkspaceBuilder::new(""),
    ];
    for builder in wrong {
        let told = format!("{builder:?}");
        let error = builder.create(folder.file("w")).expect_err(&told);
        assert!(matches!(error, RingsError::Limit { .. }), "{told}: {error}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
}

#[test]
fn files_that_are_no_workspace_are_refused() {
    let folder = Folder::new();
    let join = |name: &str| Workspace::join(folder.file(name), Access::ReadOnly).map(|_| ());
    assert!(matches!(join("absent"), Err(RingsError::Io { action: "open", .. })));
    fs::write(folder.file("short"), b"STRMwksp").expect("written");
    fs::write(folder.file("zero"), [0; 8_192]).expect("written");
    for name in ["short", "zero", ".", "/dev/null"] {
        assert!(matches!(join(name), Err(RingsError::NotAWorkspace { .. })), "{name}");
    }
}

#[test]
fn a_shortened_file_is_refused_instead_of_being_a_fault_later() {
    let folder = Folder::new();
    builder().create(folder.file("w")).expect("made");
    let file = fs::OpenOptions::new().write(true).open(folder.file("w")).expect("opened");
    file.set_len(8_192).expect("cut");
    assert!(matches!(
        Workspace::join(folder.file("w"), Access::ReadOnly),
        Err(RingsError::NotAWorkspace { reason: "file is shorter than its header says", .. })
    ));
}

#[test]
fn this_layout_and_the_one_before_are_read_and_no_other() {
    let folder = Folder::new();
    let newest = builder().create(folder.file("w")).expect("made").layout_version();
    let file = fs::OpenOptions::new().write(true).open(folder.file("w")).expect("opened");
    for (version, readable) in [(newest - 1, true), (newest, true), (newest + 1, false), (u32::MAX, false)] {
        file.write_all_at(&version.to_le_bytes(), 8).expect("patched");
        let joined = Workspace::join(folder.file("w"), Access::ReadOnly);
        match joined {
            Ok(joined) => assert!(readable && joined.layout_version() == version),
            Err(RingsError::LayoutVersion { found, .. }) => assert!(!readable && found == version),
            Err(other) => panic!("version {version}: {other}"),
        }
    }
}

#[test]
fn a_damaged_directory_never_leads_outside() {
    let folder = Folder::new();
    builder().create(folder.file("w")).expect("made");
    let whole = fs::read(folder.file("w")).expect("read");
    // Object count, then offset and footprint of the first object.
    for (at, value) in
        [(12usize, u64::MAX), (4_096 + 8, u64::MAX), (4_096 + 8, 0), (4_096 + 16, u64::MAX), (4_096 + 16, 1 << 40)]
    {
        let mut bytes = whole.clone();
        let len = if at == 12 { 4 } else { 8 };
        bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        fs::write(folder.file("bad"), bytes).expect("written");
        let joined = Workspace::join(folder.file("bad"), Access::ReadOnly);
        assert!(matches!(joined, Err(RingsError::NotAWorkspace { .. })), "{value:#x} at {at}");
    }
}
