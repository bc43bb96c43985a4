//! What a frag costs: published alone, and carried to another core on a reliable link.
//!
//! `cargo bench -p streams-rings`. Each figure is the median of several rounds with the least and the greatest beside it.
//! The threads are pinned to the first two cores they may use; on a machine with one core the two-core figures say nothing.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use streams_rings::{Full, LinkReader, LinkWriter, Polled, Workspace, WorkspaceBuilder};

/// Deep enough that the cores do not wait for each other on every frag, small enough to stay in the second-level cache.
const DEPTH: usize = 4_096;
/// One received datagram in one frag.
const FRAG_LEN_MAX: usize = 2_048;
const DATA_LEN: usize = 8 << 20;
/// Many short rounds: the median is then one in which nobody else had the core.
const ROUNDS: usize = 51;
const FRAGS_SMALL: u64 = 500_000;
const FRAGS_LARGE: u64 = 100_000;
/// Pauses of a reader that finds nothing: like a shard it turns to something else for a moment, instead of pulling every line
/// out of the writer's cache while it is being written.
const EMPTY_SPINS: u32 = 32;

fn main() {
    // `cargo bench` says so; a test run of all targets only wants to know that this builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let cores = cores();
    let (first, second) = (cores.first().copied(), cores.get(1).or(cores.first()).copied());
    let (Some(writer_core), Some(reader_core)) = (first, second) else {
        eprintln!("no core to run on");
        return;
    };
    println!("depth {DEPTH}, {ROUNDS} rounds, writer on core {writer_core}, reader on core {reader_core}");
    println!("{:<52} {:>8} {:>8} {:>8}  ns a frag", "", "median", "min", "max");
    pin(writer_core);
    for len in [0usize, 64, 1_200] {
        report(&format!("publish, {len} B"), || publish(len, frags(len)));
    }
    for len in [0usize, 64, 1_200] {
        report(&format!("reliable link to another core, {len} B"), || reliable(len, frags(len), reader_core));
    }
    for len in [0usize, 1_200] {
        let what = format!("writer that does not wait, reader behind it, {len} B");
        report(&what, || unthrottled(len, frags(len), reader_core));
    }
}

fn frags(len: usize) -> u64 {
    if len > 64 { FRAGS_LARGE } else { FRAGS_SMALL }
}

/// Keeps a flag that both threads look at out of the cache lines of the writer's own fields.
#[repr(align(128))]
struct Apart(AtomicBool);

fn report(what: &str, mut round: impl FnMut() -> f64) {
    let mut figures: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    figures.sort_by(f64::total_cmp);
    let (min, median, max) = (figures[0], figures[ROUNDS / 2], figures[ROUNDS - 1]);
    println!("{what:<52} {median:>8.2} {min:>8.2} {max:>8.2}");
}

fn workspace() -> Workspace {
    let path = format!("/dev/shm/rings-bench.{}", std::process::id());
    let builder = WorkspaceBuilder::new("bench").link("link", DEPTH, DATA_LEN, FRAG_LEN_MAX).fseq("link");
    let workspace = builder.create(&path).expect("bench workspace");
    std::fs::remove_file(&path).expect("bench workspace");
    workspace
}

fn ns_each(start: Instant, frags: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / frags as f64
}

fn publish(len: usize, frags: u64) -> f64 {
    let (mut writer, payload) = (workspace().link_writer("link").expect("writer"), black_box(vec![0x5a; len]));
    let start = Instant::now();
    for sig in 0..frags {
        writer.publish(sig, 0, &payload);
    }
    ns_each(start, frags)
}

fn reliable(len: usize, frags: u64, reader_core: usize) -> f64 {
    let workspace = workspace();
    let fseq = workspace.fseq("link").expect("fseq");
    let mut writer = workspace.reliable_writer("link", std::slice::from_ref(&fseq)).expect("writer");
    let mut reader = workspace.reliable_reader("link", fseq).expect("reader");
    let ready = &Apart(AtomicBool::new(false)).0;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(reader_core);
            let (mut out, mut next) = (Vec::new(), 0);
            ready.store(true, Ordering::Release);
            while next < frags {
                match reader.poll(&mut out) {
                    Polled::Message { sig, .. } => {
                        assert_eq!((sig, out.len()), (next, len));
                        next += 1;
                    }
                    Polled::Empty => (0..EMPTY_SPINS).for_each(|_| std::hint::spin_loop()),
                    other => panic!("{other:?} on a reliable link"),
                }
            }
        });
        while !ready.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        let payload = vec![0x5a; len];
        let start = Instant::now();
        for sig in 0..frags {
            while writer.try_publish(sig, 0, &payload) == Err(Full::NoCredit) {
                std::hint::spin_loop();
            }
        }
        ns_each(start, frags)
    })
}

fn unthrottled(len: usize, frags: u64, reader_core: usize) -> f64 {
    let workspace = workspace();
    let mut writer: LinkWriter = workspace.link_writer("link").expect("writer");
    let mut reader: LinkReader = workspace.link_reader("link").expect("reader");
    let first = writer.seq();
    let done = &Apart(AtomicBool::new(false)).0;
    std::thread::scope(|scope| {
        let seen = scope.spawn(move || {
            pin(reader_core);
            let mut out = Vec::new();
            while !done.load(Ordering::Acquire) {
                black_box(reader.poll(|_| true, &mut out));
            }
            while reader.poll(|_| true, &mut out) != Polled::Empty {}
            (reader.stats(), reader.seq())
        });
        let payload = vec![0x5a; len];
        let start = Instant::now();
        for sig in 0..frags {
            writer.publish(sig, 0, &payload);
        }
        let figure = ns_each(start, frags);
        done.store(true, Ordering::Release);
        let (stats, seq) = seen.join().expect("reader");
        assert_eq!(seq, first + frags);
        assert_eq!(stats.messages + stats.lost_frags, frags, "every frag is delivered or counted as lost");
        figure
    })
}

/// Cores this process may run on.
fn cores() -> Vec<usize> {
    // SAFETY: cpu_set_t is a plain bit set; all zero is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writing of the size given; 0 is the calling thread.
    let answer = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    assert_eq!(answer, 0, "sched_getaffinity: {}", std::io::Error::last_os_error());
    let size = usize::try_from(libc::CPU_SETSIZE).expect("constant");
    // SAFETY: every index is below CPU_SETSIZE.
    (0..size).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

fn pin(core: usize) {
    // SAFETY: as in `cores`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` came from `cores`, so it is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is valid for reading of the size given; 0 is the calling thread.
    let answer = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    assert_eq!(answer, 0, "sched_setaffinity: {}", std::io::Error::last_os_error());
}
