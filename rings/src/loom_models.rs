//! Models of the protocols, run by loom over every interleaving and every value that the memory model allows, within a bound on
//! preemptions. Writers are made before their thread starts: loom looks for races with the last access to a word only, and the
//! loads by which a writer finds its position would hide the reader's. Rings are as small as their limits allow, so that a few messages go round them. `scripts/loom-rings` runs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use crate::dcache::Dcache;
use crate::fseq::Fseq;
use crate::link::{Link, LinkWriter};
use crate::link_reader::{LinkReader, Polled};
use crate::mcache::{FragMeta, Line, Mcache};
use crate::region::Region;
use crate::reliable::{ReliableReader, ReliableWriter};
use crate::table::{Table, TableRead};

/// Switches of thread where none was needed: the faults these protocols could have take one or two.
const PREEMPTIONS: usize = 3;

/// Runs a model. One that loom sees no races in explores nothing and proves nothing.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_branches = 10_000;
    let executions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&executions);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = executions.load(Ordering::Relaxed);
    assert!(executions > 100, "only {executions} executions");
}

fn link(depth: u64, data_len: u64) -> Link {
    let (mcache, dcache) = (Region::zeroed(Mcache::footprint(depth)), Region::zeroed(Dcache::footprint(data_len)));
    // Near the wrap-around, so that it is passed.
    Mcache::init(&mcache, depth, u64::MAX - 1);
    Dcache::init(&dcache, data_len, 64);
    Link::new(Mcache::join(mcache).expect("fresh"), Dcache::join(dcache).expect("fresh"))
}

fn content(n: u64, words: usize) -> Vec<u8> {
    n.to_le_bytes().repeat(words)
}

/// Takes what is there and checks that each message is whole and newer than the one before; gives messages and lost frags.
fn drain(reader: &mut LinkReader, words: usize, newest: &mut u64) -> (u64, u64) {
    let (mut out, mut got, mut lost) = (Vec::new(), 0, 0);
    loop {
        match reader.poll(|_| true, &mut out) {
            Polled::Empty => return (got, lost),
            Polled::Message { sig, tsorig_us, tspub_us, .. } => {
                assert_eq!((u64::from(tsorig_us), u64::from(tspub_us)), (sig, sig));
                assert_eq!(out, content(sig, words));
                assert!(sig > *newest);
                *newest = sig;
                got += 1;
            }
            Polled::Overrun { lost: frags } => lost += frags,
            Polled::Skipped => panic!("every message is wanted and has one frag"),
        }
    }
}

/// A writer laps a reader; whatever the reader accepts is whole, and all else is counted.
fn overtaken(depth: u64, data_len: u64, messages: u64, words: usize) {
    check(move || {
        let link = link(depth, data_len);
        let mut reader = LinkReader::new(link.clone(), link.mcache.position());
        let mut writer = LinkWriter::new(link);
        let writer = thread::spawn(move || {
            for n in 1..=messages {
                writer.publish(n, n as u32, &content(n, words));
            }
        });
        let mut newest = 0;
        let before = drain(&mut reader, words, &mut newest);
        writer.join().expect("writer");
        let after = drain(&mut reader, words, &mut newest);
        assert_eq!(before.0 + before.1 + after.0 + after.1, messages);
    });
}

#[test]
fn a_line_is_read_whole_or_not_at_all() {
    check(|| {
        let ring = link(2, 128).mcache;
        let meta = |n: u64| {
            let seq = ring.seq0().wrapping_add(n);
            FragMeta {
                seq,
                sig: n,
                chunk: n as u32,
                sz: n as u16,
                ctl: n as u16,
                tsorig_us: n as u32,
                tspub_us: n as u32,
            }
        };
        let (own, metas) = (ring.clone(), [0, 1, 2].map(meta));
        let writer = thread::spawn(move || metas.iter().for_each(|meta| own.publish(meta)));
        if let Line::Ready(read) = ring.read(ring.seq0()) {
            assert_eq!(read, meta(0));
        }
        writer.join().expect("writer");
        assert_eq!((ring.read(ring.seq0()), ring.read(meta(2).seq)), (Line::Overrun, Line::Ready(meta(2))));
    });
}

#[test]
fn a_frag_is_accepted_whole_or_not_at_all() {
    // The metadata ring comes round first.
    overtaken(2, 512, 3, 1);
}

#[test]
fn a_payload_is_protected_by_its_position_when_its_line_still_stands() {
    // The payload ring comes round first: reserved_pos alone protects.
    overtaken(8, 128, 3, 2);
}

#[test]
fn a_message_of_two_frags_is_delivered_whole_or_counted() {
    check(|| {
        let link = link(4, 256);
        let mut reader = LinkReader::new(link.clone(), link.mcache.position());
        let mut writer = LinkWriter::new(link);
        let writer = thread::spawn(move || {
            for n in 1..=2u64 {
                writer.publish(n, n as u32, &[n as u8; 65]);
            }
            writer.publish(3, 3, &[]);
        });
        let mut out = Vec::new();
        for _ in 0..2 {
            if let Polled::Message { sig, .. } = reader.poll(|_| true, &mut out) {
                assert_eq!(out, vec![sig as u8; if sig == 3 { 0 } else { 65 }]);
            }
        }
        writer.join().expect("writer");
    });
}

/// A writer that keeps to its credits, and a reader that misses nothing.
fn credited(depth: u64, data_len: u64) {
    const MESSAGES: u64 = 3;
    check(move || {
        let link = link(depth, data_len);
        let region = Region::zeroed(Fseq::FOOTPRINT);
        Fseq::init(&region);
        let fseq = Fseq::join(region).expect("fresh");
        let mut reader = ReliableReader::new(link.clone(), fseq.clone());
        let mut writer = ReliableWriter::new(link, &[fseq]);
        let writer = thread::spawn(move || {
            for n in 1..=MESSAGES {
                while writer.try_publish(n, 0, &content(n, 1)).is_err() {
                    thread::yield_now();
                }
            }
        });
        let (mut out, mut next) = (Vec::new(), 1);
        while next <= MESSAGES {
            match reader.poll(&mut out) {
                Polled::Message { sig, .. } => {
                    assert_eq!((sig, &out), (next, &content(next, 1)));
                    next += 1;
                }
                Polled::Empty => thread::yield_now(),
                other => panic!("{other:?} on a reliable link"),
            }
        }
        writer.join().expect("writer");
    });
}

#[test]
fn credits_of_frags_let_nothing_be_overwritten_and_everything_through() {
    credited(2, 512);
}

#[test]
fn credits_of_bytes_let_nothing_be_overwritten_and_everything_through() {
    credited(8, 128);
}

#[test]
fn a_table_entry_is_read_whole_while_it_is_rewritten() {
    check(|| {
        let region = Region::zeroed(Table::footprint(1, 16));
        Table::init(&region, 1, 16);
        let table = Table::join(region).expect("fresh");
        let mut own = table.clone();
        own.write(0, &content(1, 2)).expect("fits");
        let writer = thread::spawn(move || {
            for n in 2..=3u64 {
                own.write(0, &content(n, 2)).expect("fits");
            }
        });
        let mut out = Vec::new();
        let version = table.read(0, &mut out).version().expect("is never empty, and two writes do not keep a reader");
        assert_eq!(out, content(version, 2));
        writer.join().expect("writer");
        assert_eq!((table.read(0, &mut out), table.version()), (TableRead::Entry(3), 3));
        assert_eq!(out, content(3, 2));
    });
}
