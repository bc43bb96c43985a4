//! First page of a workspace and the list of its objects.
//!
//! ```text
//! byte 0     header 4096 B
//!    0 magic | 8 layout_version u32, object_count u32 | 16 total_len | 24 created_unix_ns | 32 creator pid
//!    64 kind, 32 B | 96 build id, 32 B             (text, filled up with zero bytes)
//! byte 4096  object_count x 64 B
//!    0 kind u64 | 8 offset | 16 footprint | 24 0 | 32 name, 32 B
//! ```
//!
//! Offsets are from the file's beginning: no address of one process means anything in another.

use crate::region::Region;
use crate::sync::{Ordering, load_acquire};

/// Layout that this build writes. It also reads the one before, so that either side of a rolling upgrade may go first.
pub(crate) const LAYOUT_VERSION: u32 = 1;
/// Oldest layout that this build reads.
pub(crate) const LAYOUT_VERSION_OLDEST: u32 = LAYOUT_VERSION - 1;

/// Bytes of the header.
pub(crate) const HEADER_LEN: u64 = 4_096;
/// Bytes of a directory entry.
pub(crate) const ENTRY_LEN: u64 = 64;
/// Longest name, kind or build id, bytes.
pub(crate) const NAME_LEN_MAX: usize = NAME_WORDS * 8;
/// Most objects: three for each ordered pair of 100 threads, and room.
pub(crate) const OBJECTS_MAX: usize = 65_536;

const MAGIC: u64 = u64::from_le_bytes(*b"STRMwksp");
const WORD_MAGIC: usize = 0;
const WORD_VERSION_COUNT: usize = 1;
const WORD_TOTAL_LEN: usize = 2;
const WORD_CREATED: usize = 3;
const WORD_PID: usize = 4;
const WORD_KIND: usize = 8;
const WORD_BUILD_ID: usize = 12;
const NAME_WORDS: usize = 4;
const ENTRY_WORDS: usize = 8;
const ENTRY_NAME: usize = 4;

const _: () = assert!(ENTRY_LEN as usize == ENTRY_WORDS * 8 && ENTRY_NAME + NAME_WORDS == ENTRY_WORDS);
const _: () = assert!(WORD_BUILD_ID + NAME_WORDS <= HEADER_LEN as usize / 8 && WORD_KIND + NAME_WORDS <= WORD_BUILD_ID);

/// Kinds of objects; the number is the one in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum ObjectKind {
    /// Frag metadata of a link.
    Mcache = 1,
    /// Payload of a link.
    Dcache = 2,
    /// A consumer's position.
    Fseq = 3,
    /// Command and control.
    Cnc = 4,
    /// Two-slot table.
    Table = 5,
    /// Counters.
    Counters = 6,
    /// Compare-and-swap words.
    Words = 7,
}

impl ObjectKind {
    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            ObjectKind::Mcache => "mcache",
            ObjectKind::Dcache => "dcache",
            ObjectKind::Fseq => "fseq",
            ObjectKind::Cnc => "cnc",
            ObjectKind::Table => "table",
            ObjectKind::Counters => "counters",
            ObjectKind::Words => "words",
        }
    }

    fn from_word(word: u64) -> Option<ObjectKind> {
        use ObjectKind::*;
        [Mcache, Dcache, Fseq, Cnc, Table, Counters, Words].into_iter().find(|kind| *kind as u64 == word)
    }
}

/// What the header says.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) layout_version: u32,
    pub(crate) object_count: u32,
    pub(crate) total_len: u64,
    pub(crate) created_unix_ns: u64,
    pub(crate) pid: u32,
    pub(crate) kind: String,
    pub(crate) build_id: String,
}

/// Where an object lies.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) footprint: u64,
}

impl Header {
    pub(crate) fn write(&self, region: &Region) {
        write_name(region, WORD_KIND, &self.kind);
        write_name(region, WORD_BUILD_ID, &self.build_id);
        let version_count = u64::from(self.layout_version) | u64::from(self.object_count) << 32;
        region.word(WORD_VERSION_COUNT).store(version_count, Ordering::Relaxed);
        region.word(WORD_TOTAL_LEN).store(self.total_len, Ordering::Relaxed);
        region.word(WORD_CREATED).store(self.created_unix_ns, Ordering::Relaxed);
        region.word(WORD_PID).store(u64::from(self.pid), Ordering::Relaxed);
        region.word(WORD_MAGIC).store(MAGIC, Ordering::Release);
    }

    /// Reads the header of a mapping that is at least `HEADER_LEN` long; `None`: the magic is wrong.
    pub(crate) fn read(region: &Region) -> Option<Header> {
        if load_acquire(region.word(WORD_MAGIC)) != MAGIC {
            return None;
        }
        let version_count = load_acquire(region.word(WORD_VERSION_COUNT));
        Some(Header {
            layout_version: version_count as u32,
            object_count: (version_count >> 32) as u32,
            total_len: load_acquire(region.word(WORD_TOTAL_LEN)),
            created_unix_ns: load_acquire(region.word(WORD_CREATED)),
            pid: load_acquire(region.word(WORD_PID)) as u32,
            kind: read_name(region, WORD_KIND),
            build_id: read_name(region, WORD_BUILD_ID),
        })
    }
}

impl Entry {
    pub(crate) fn write(&self, region: &Region, index: usize) {
        let first = Self::first_word(index);
        region.word(first).store(self.kind as u64, Ordering::Relaxed);
        region.word(first + 1).store(self.offset, Ordering::Relaxed);
        region.word(first + 2).store(self.footprint, Ordering::Relaxed);
        write_name(region, first + ENTRY_NAME, &self.name);
    }

    /// Reads entry `index`, which lies inside the region; `None`: a kind that this build does not know, to be passed over.
    pub(crate) fn read(region: &Region, index: usize) -> Option<Entry> {
        let first = Self::first_word(index);
        Some(Entry {
            kind: ObjectKind::from_word(load_acquire(region.word(first)))?,
            offset: load_acquire(region.word(first + 1)),
            footprint: load_acquire(region.word(first + 2)),
            name: read_name(region, first + ENTRY_NAME),
        })
    }

    fn first_word(index: usize) -> usize {
        HEADER_LEN as usize / 8 + index * ENTRY_WORDS
    }
}

fn write_name(region: &Region, first: usize, name: &str) {
    let mut bytes = [0u8; NAME_LEN_MAX];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    for (i, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
        region.word(first + i).store(u64::from_le_bytes(*word), Ordering::Relaxed);
    }
}

fn read_name(region: &Region, first: usize) -> String {
    let bytes = (0..NAME_WORDS).flat_map(|i| load_acquire(region.word(first + i)).to_le_bytes());
    String::from_utf8_lossy(&bytes.take_while(|byte| *byte != 0).collect::<Vec<u8>>()).into_owned()
}
