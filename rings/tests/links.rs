//! Links as their users see them: whole messages in order, or a count of what was lost.
#![cfg(not(loom))]

mod support;

use streams_rings::{Full, Polled, Workspace, WorkspaceBuilder};
use support::{Folder, payload};

fn workspace(folder: &Folder, depth: usize, data_len: usize, frag_len_max: usize) -> Workspace {
    let builder = WorkspaceBuilder::new("test").link("l", depth, data_len, frag_len_max).fseq("a").fseq("b");
    builder.create(folder.file("w")).expect("made")
}

#[test]
fn messages_of_any_length_arrive_whole_and_in_order() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 64, 1 << 14, 100);
    let (mut writer, mut reader) = (workspace.link_writer("l").expect("w"), workspace.link_reader("l").expect("r"));
    let (mut out, max) = (Vec::new(), writer.message_len_max());
    for n in 0..2_000 {
        let (seq, message) = (writer.seq(), payload(n, max));
        writer.set_now_us(n as u32 + 5);
        let (head, tail) = message.split_at(message.len() / 3);
        writer.publish_parts(n, n as u32, &[head, &[], tail]);
        let polled = reader.poll(|_| true, &mut out);
        assert_eq!(polled, Polled::Message { sig: n, seq, tsorig_us: n as u32, tspub_us: n as u32 + 5 });
        assert_eq!(out, message);
        assert_eq!(reader.poll(|_| true, &mut out), Polled::Empty);
        assert_eq!(reader.seq(), writer.seq());
    }
}

#[test]
fn a_reader_starts_at_what_comes_next_even_inside_of_a_message() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 64, 1 << 14, 100);
    let mut writer = workspace.link_writer("l").expect("w");
    writer.publish(1, 0, &[1; 250]);
    let mut reader = workspace.link_reader("l").expect("r");
    let mut out = Vec::new();
    assert_eq!(reader.poll(|_| true, &mut out), Polled::Empty);
    writer.publish(2, 0, &[2; 250]);
    assert!(matches!(reader.poll(|_| true, &mut out), Polled::Message { sig: 2, .. }));
    assert_eq!(out, [2; 250]);
}

#[test]
fn unwanted_messages_are_passed_by_frag_by_frag() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 64, 1 << 14, 100);
    let (mut writer, mut reader) = (workspace.link_writer("l").expect("w"), workspace.link_reader("l").expect("r"));
    writer.publish(1, 0, &[1; 250]);
    writer.publish(2, 0, &[2; 50]);
    let (mut out, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        assert_eq!(
            reader.poll(
                |sig| {
                    asked.push(sig);
                    sig == 2
                },
                &mut out
            ),
            Polled::Skipped
        );
    }
    assert!(matches!(reader.poll(|sig| sig == 2, &mut out), Polled::Message { sig: 2, .. }));
    assert_eq!((asked, reader.stats().unwanted), (vec![1], 1));
}

#[test]
fn a_reader_overtaken_by_frags_jumps_to_the_newest_place_and_counts() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 8, 1 << 14, 100);
    let (mut writer, mut reader) = (workspace.link_writer("l").expect("w"), workspace.link_reader("l").expect("r"));
    for n in 0..9 {
        writer.publish(n, 0, b"x");
    }
    let mut out = Vec::new();
    assert_eq!(reader.poll(|_| true, &mut out), Polled::Overrun { lost: 9 });
    assert_eq!(reader.seq(), writer.seq());
    writer.publish(9, 0, b"y");
    assert!(matches!(reader.poll(|_| true, &mut out), Polled::Message { sig: 9, .. }));
    let stats = reader.stats();
    assert_eq!((stats.messages, stats.overruns, stats.lost_frags), (1, 1, 9));
}

#[test]
fn a_reader_overtaken_by_bytes_is_told_although_its_line_still_stands() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 1_024, 1_024, 512);
    let (mut writer, mut reader) = (workspace.link_writer("l").expect("w"), workspace.link_reader("l").expect("r"));
    for n in 0..3 {
        writer.publish(n, 0, &[n as u8; 500]);
    }
    assert_eq!(reader.poll(|_| true, &mut Vec::new()), Polled::Overrun { lost: 3 });
}

#[test]
fn a_message_over_the_limit_is_dropped_and_counted() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 8, 1 << 14, 100);
    let (mut writer, mut reader) = (workspace.link_writer("l").expect("w"), workspace.link_reader("l").expect("r"));
    let (max, seq) = (writer.message_len_max(), writer.seq());
    assert_eq!(max, 400);
    assert_eq!((writer.publish(1, 0, &[0; 401]), writer.refused()), (seq, 1));
    assert_eq!((writer.publish(1, 0, &[0; 400]), writer.refused()), (seq + 4, 1));
    let mut out = Vec::new();
    assert!(matches!(reader.poll(|_| true, &mut out), Polled::Message { .. }));
    assert_eq!(out.len(), 400);
}

#[test]
fn a_reliable_link_is_full_in_frags_until_two_thirds_are_free() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 16, 1 << 14, 100);
    let fseq = workspace.fseq("a").expect("fseq");
    let mut writer = workspace.reliable_writer("l", std::slice::from_ref(&fseq)).expect("w");
    let first = writer.seq();
    for n in 0..16 {
        assert_eq!(writer.try_publish(n, 0, b""), Ok(first + n + 1));
    }
    assert_eq!(writer.try_publish(16, 0, b""), Err(Full::NoCredit));
    fseq.publish(first + 9);
    assert_eq!(writer.try_publish(16, 0, b""), Err(Full::NoCredit), "9 of 16 are free");
    fseq.publish(first + 10);
    for n in 16..26 {
        assert!(writer.try_publish(n, 0, b"").is_ok(), "message {n}");
    }
    assert_eq!(writer.try_publish(26, 0, b""), Err(Full::NoCredit));
}

#[test]
fn a_reliable_link_is_full_in_bytes_though_there_are_frags() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 1_024, 1_024, 512);
    let fseq = workspace.fseq("a").expect("fseq");
    let mut writer = workspace.reliable_writer("l", std::slice::from_ref(&fseq)).expect("w");
    let mut reader = workspace.reliable_reader("l", fseq).expect("r");
    for n in 0..2 {
        assert!(writer.try_publish(n, 0, &[n as u8; 500]).is_ok());
    }
    assert_eq!(writer.try_publish(2, 0, &[4; 500]), Err(Full::NoCredit));
    let mut out = Vec::new();
    for n in 0..2 {
        assert!(matches!(reader.poll(&mut out), Polled::Message { sig, .. } if sig == n));
        assert_eq!(out, [n as u8; 500]);
    }
    assert_eq!(reader.poll(&mut out), Polled::Empty);
    assert!(writer.try_publish(2, 0, &[4; 500]).is_ok());
    assert_eq!(writer.try_publish(3, 0, &[0; 513]), Err(Full::TooLong { len: 513, max: 512 }));
}

#[test]
fn the_slowest_of_several_consumers_decides() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 4, 1 << 14, 100);
    let [a, b] = ["a", "b"].map(|name| workspace.fseq(name).expect("fseq"));
    let mut writer = workspace.reliable_writer("l", &[a.clone(), b.clone()]).expect("w");
    let mut fast = workspace.reliable_reader("l", a).expect("r");
    let mut slow = workspace.reliable_reader("l", b).expect("r");
    let mut out = Vec::new();
    for n in 0..4 {
        assert!(writer.try_publish(n, 0, b"").is_ok());
    }
    while fast.poll(&mut out) != Polled::Empty {}
    assert_eq!(writer.try_publish(4, 0, b""), Err(Full::NoCredit));
    while slow.poll(&mut out) != Polled::Empty {}
    assert!(writer.try_publish(4, 0, b"").is_ok());
}

#[test]
fn a_consumer_may_leave_out_what_was_published_before_it_began() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 4, 1 << 14, 100);
    let fseq = workspace.fseq("a").expect("fseq");
    let mut writer = workspace.reliable_writer("l", std::slice::from_ref(&fseq)).expect("w");
    while writer.try_publish(0, 0, b"old").is_ok() {}
    let mut reader = workspace.reliable_reader("l", fseq).expect("r");
    reader.skip_backlog();
    let mut out = Vec::new();
    assert_eq!(reader.poll(&mut out), Polled::Empty);
    assert!(writer.try_publish(1, 0, b"new").is_ok(), "what was left out gives its room back");
    assert!(matches!(reader.poll(&mut out), Polled::Message { sig: 1, .. }));
    assert_eq!(out, b"new");
}

#[test]
fn a_consumer_known_to_be_away_can_be_written_over_and_counts_what_it_lost() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 4, 1 << 14, 100);
    let fseq = workspace.fseq("a").expect("fseq");
    let mut writer = workspace.reliable_writer("l", std::slice::from_ref(&fseq)).expect("w");
    let mut reader = workspace.reliable_reader("l", fseq).expect("r");
    while writer.try_publish(0, 0, b"").is_ok() {}
    writer.publish_over(1, 0, b"");
    assert_eq!(writer.try_publish(2, 0, b""), Err(Full::NoCredit));
    let mut out = Vec::new();
    assert_eq!(reader.poll(&mut out), Polled::Overrun { lost: 5 });
    assert!(writer.try_publish(2, 0, b"").is_ok());
    assert!(matches!(reader.poll(&mut out), Polled::Message { sig: 2, .. }));
}

#[test]
fn a_position_left_from_an_earlier_link_begins_at_the_beginning() {
    let folder = Folder::new();
    let positions = WorkspaceBuilder::new("mine").fseq("a").create(folder.file("mine")).expect("made");
    let fseq = positions.fseq("a").expect("fseq");
    for generation in 0..3 {
        let workspace = workspace(&folder, 4, 1 << 14, 100);
        let mut writer = workspace.reliable_writer("l", std::slice::from_ref(&fseq)).expect("w");
        for n in 0..4 {
            assert!(writer.try_publish(n, 0, b"").is_ok(), "generation {generation}: {n}");
        }
        assert_eq!(writer.try_publish(4, 0, b""), Err(Full::NoCredit));
        let mut reader = workspace.reliable_reader("l", fseq.clone()).expect("r");
        let mut out = Vec::new();
        for n in 0..3 {
            assert!(matches!(reader.poll(&mut out), Polled::Message { sig, .. } if sig == n));
        }
    }
}

#[test]
fn threads_on_a_link_see_every_message_or_count_it() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 64, 1 << 13, 200);
    let mut writer = workspace.link_writer("l").expect("w");
    let first = writer.seq();
    let max = writer.message_len_max();
    let readers: Vec<_> = (0..2).map(|_| workspace.link_reader("l").expect("r")).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        let seen: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                scope.spawn(move || {
                    let (mut out, mut newest) = (Vec::new(), None);
                    loop {
                        let ended = done.load(std::sync::atomic::Ordering::Acquire);
                        match reader.poll(|_| true, &mut out) {
                            Polled::Message { sig, .. } => {
                                assert_eq!(out, payload(sig, max), "message {sig}");
                                assert!(newest < Some(sig), "{newest:?} before {sig}");
                                newest = Some(sig);
                            }
                            Polled::Empty if ended => return reader,
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        for n in 0..50_000 {
            writer.publish(n, 0, &payload(n, max));
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        for reader in seen {
            let reader = reader.join().expect("reader");
            assert_eq!(reader.seq(), writer.seq());
            let stats = reader.stats();
            assert_eq!(stats.malformed_frags, 0);
            assert!(stats.messages + stats.lost_frags >= 1 && writer.seq() > first);
        }
    });
}

#[test]
fn threads_on_a_reliable_link_lose_nothing() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 16, 1 << 12, 200);
    let fseq = workspace.fseq("a").expect("fseq");
    let mut writer = workspace.reliable_writer("l", std::slice::from_ref(&fseq)).expect("w");
    let mut reader = workspace.reliable_reader("l", fseq).expect("r");
    let max = writer.message_len_max();
    const MESSAGES: u64 = 20_000;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut out, mut next) = (Vec::new(), 0);
            while next < MESSAGES {
                match reader.poll(&mut out) {
                    Polled::Message { sig, .. } => {
                        assert_eq!(sig, next);
                        assert_eq!(out, payload(sig, max));
                        next += 1;
                    }
                    Polled::Empty => std::thread::yield_now(),
                    other => panic!("{other:?} after {next} messages"),
                }
            }
        });
        for n in 0..MESSAGES {
            while writer.try_publish(n, 0, &payload(n, max)) == Err(Full::NoCredit) {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn a_table_read_while_it_is_rewritten_gives_whole_entries() {
    let folder = Folder::new();
    let workspace = WorkspaceBuilder::new("test").table("t", 4, 300).create(folder.file("w")).expect("made");
    let (mut own, table) = (workspace.table("t").expect("t"), workspace.table("t").expect("t"));
    let write = |table: &mut streams_rings::Table, n: u64| table.write(2, &payload(n, 300)).expect("fits");
    write(&mut own, 1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || (2..20_000).for_each(|n| write(&mut own, n)));
        let (mut out, mut newest) = (Vec::new(), 0);
        while !writer.is_finished() {
            let version = table.read(2, &mut out).version().expect("is never empty");
            assert_eq!(out, payload(version, 300), "version {version}");
            assert!(version >= newest);
            newest = version;
        }
    });
}

#[test]
fn a_monitor_sees_how_far_writer_and_reader_are() {
    let folder = Folder::new();
    let workspace = workspace(&folder, 64, 1 << 14, 100);
    let seen = Workspace::join(folder.file("w"), streams_rings::Access::ReadOnly).expect("joined");
    let (view, position) = (seen.link_view("l").expect("view"), seen.fseq("a").expect("fseq"));
    assert_eq!((view.depth(), view.data_len(), view.seq() - view.seq0(), view.newest_chunk()), (64, 1 << 14, 0, None));
    let (mut writer, mut reader) = (workspace.link_writer("l").expect("w"), workspace.link_reader("l").expect("r"));
    let told = workspace.fseq("a").expect("fseq");
    writer.publish(1, 0, &[1; 64]);
    let first = view.newest_chunk().expect("published");
    (0..9).for_each(|_| assert!(writer.publish(1, 0, &[1; 64]) > 0));
    assert_eq!((view.seq() - view.seq0(), view.newest_chunk()), (10, Some(first + 9)));
    let mut out = Vec::new();
    (0..4).for_each(|_| assert!(matches!(reader.poll(|_| true, &mut out), Polled::Message { .. })));
    told.publish(reader.seq());
    told.tell_lost(7);
    assert_eq!((view.seq() - position.get(), position.lost()), (6, 7));
}
