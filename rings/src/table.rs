//! Entries that one process writes and others read, none waiting for the other.
//!
//! ```text
//! byte 0    header 128 B       magic, entries, entry_len_max
//! byte 128  version 128 B      grows after every write
//! byte 256  entries x u64      index words: entry version << 2 | present << 1 | live slot
//! then      entries x 2 slots  len u64 | entry_len_max bytes, rounded up to a word
//! ```
//!
//! A writer fills the slot that is not live, then stores the index word (release): a writer killed in the middle has changed
//! nothing that a reader looks at. A reader takes the index word, copies the live slot out, fences (acquire) and believes the
//! copy if the index word is still the same: the slot it copied is not written before the index word has moved on, and the
//! writer's fence between the two lets nobody see the one without the other.
//!
//! A process that takes a table over writes every entry again (and clears the rest): what its predecessor did not finish, or
//! finished without raising `version`, is then told.

use crate::RingsError;
use crate::payload;
use crate::region::{Region, WORD};
use crate::sync::{AtomicU64, Ordering, fence, load_acquire};

const MAGIC: u64 = u64::from_le_bytes(*b"STRMtabl");
const WORD_MAGIC: usize = 0;
const WORD_ENTRIES: usize = 1;
const WORD_ENTRY_LEN_MAX: usize = 2;
const WORD_VERSION: usize = 16;
const WORD_INDEX: usize = 32;

const SLOT_LIVE: u64 = 1;
const PRESENT: u64 = 2;
const VERSION_SHIFT: u32 = 2;

/// Largest table: keeps footprints far from overflow.
pub(crate) const ENTRIES_MAX: u64 = 1 << 24;
/// Largest entry: the same.
pub(crate) const ENTRY_LEN_MAX: u64 = 1 << 20;

/// How often a reader begins a copy anew. Each time stands for a write that was completed meanwhile, and tables are for
/// entries that change a few times a second at most: a reader that needs as many does not read what such a writer wrote.
const READ_ATTEMPTS_MAX: u32 = 64;

/// What a look at an entry gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRead {
    /// Its content was copied; this is its version.
    Entry(u64),
    /// Nothing is in it, or there is no such entry.
    Empty,
    /// It was written again and again meanwhile: whoever needs it looks again later, and goes on with what is known until
    /// then.
    Busy,
}

impl TableRead {
    /// The version, for those who need not tell an entry that is empty from one that is busy.
    pub fn version(self) -> Option<u64> {
        match self {
            Self::Entry(version) => Some(version),
            Self::Empty | Self::Busy => None,
        }
    }
}

/// A joined table. Clones are the same table; one of them, in one thread of one process, may write.
#[derive(Debug, Clone)]
pub struct Table {
    region: Region,
    entries: usize,
    entry_len_max: usize,
}

impl Table {
    /// Bytes of a table; arguments are within the limits above.
    pub(crate) const fn footprint(entries: u64, entry_len_max: u64) -> u64 {
        (WORD_INDEX as u64 + entries + entries * 2 * slot_words(entry_len_max)) * WORD as u64
    }

    pub(crate) fn init(region: &Region, entries: u64, entry_len_max: u64) {
        region.word(WORD_ENTRIES).store(entries, Ordering::Relaxed);
        region.word(WORD_ENTRY_LEN_MAX).store(entry_len_max, Ordering::Relaxed);
        region.word(WORD_MAGIC).store(MAGIC, Ordering::Release);
    }

    pub(crate) fn join(region: Region) -> Result<Table, &'static str> {
        let words = region.words();
        let header = [WORD_MAGIC, WORD_ENTRIES, WORD_ENTRY_LEN_MAX].map(|i| words.get(i).map(load_acquire));
        let [Some(magic), Some(entries), Some(entry_len_max)] = header else { return Err("too short for a header") };
        if magic != MAGIC {
            return Err("magic is wrong");
        }
        if !(1..=ENTRIES_MAX).contains(&entries) || !(1..=ENTRY_LEN_MAX).contains(&entry_len_max) {
            return Err("entries or entry_len_max is out of range");
        }
        if words.len() as u64 * 8 != Self::footprint(entries, entry_len_max) {
            return Err("size does not fit entries and entry_len_max");
        }
        Ok(Table { region, entries: entries as usize, entry_len_max: entry_len_max as usize })
    }

    /// Grows after every write of any entry: unchanged means nothing to read again.
    pub fn version(&self) -> u64 {
        load_acquire(self.region.word(WORD_VERSION))
    }

    /// How many entries there are, used or not.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Longest content of an entry, bytes.
    pub fn entry_len_max(&self) -> usize {
        self.entry_len_max
    }

    /// How often entry `i` was written or cleared; 0: never, or no such entry.
    pub fn entry_version(&self, i: usize) -> u64 {
        self.index_word(i).map_or(0, |word| load_acquire(word) >> VERSION_SHIFT)
    }

    /// Copies entry `i` into `out` (cleared first).
    ///
    /// Copies again when the writer has changed this entry meanwhile, and gives up after 64 times: the entry is then busy, and
    /// `out` empty. So a writer that runs wild costs its readers a bounded time.
    pub fn read(&self, i: usize, out: &mut Vec<u8>) -> TableRead {
        for _ in 0..READ_ATTEMPTS_MAX {
            match self.read_once(i, out) {
                Some(TableRead::Busy) => {}
                Some(done) => return done,
                None => return TableRead::Empty,
            }
        }
        out.clear();
        TableRead::Busy
    }

    fn read_once(&self, i: usize, out: &mut Vec<u8>) -> Option<TableRead> {
        let index = self.index_word(i)?;
        out.clear();
        let seen = load_acquire(index);
        if seen & PRESENT == 0 {
            return Some(TableRead::Empty);
        }
        let slot = self.slot(i, seen & SLOT_LIVE)?;
        let (len, content) = slot.split_first()?;
        // Whoever wrote the length, no more than the slot is copied.
        let len = usize::try_from(len.load(Ordering::Relaxed)).unwrap_or(usize::MAX).min(self.entry_len_max);
        payload::load(content.get(..len.div_ceil(WORD))?, len, out);
        fence(Ordering::Acquire);
        let same = index.load(Ordering::Relaxed) == seen;
        Some(if same { TableRead::Entry(seen >> VERSION_SHIFT) } else { TableRead::Busy })
    }

    /// Replaces entry `i`.
    ///
    /// # Errors
    /// `EntryTooLong`, `NoSuchEntry`, or `ReadOnly`; the entry is then unchanged.
    pub fn write(&mut self, i: usize, content: &[u8]) -> Result<(), RingsError> {
        if content.len() > self.entry_len_max {
            return Err(RingsError::EntryTooLong { len: content.len(), max: self.entry_len_max });
        }
        let seen = self.begin(i)?.load(Ordering::Relaxed);
        let spare = !seen & SLOT_LIVE;
        if let Some((len, words)) = self.slot(i, spare).and_then(<[_]>::split_first) {
            // A reader that still copies this slot (it was live two writes ago) and sees a word of the new content also sees
            // the index word that made the other slot live.
            fence(Ordering::Release);
            len.store(content.len() as u64, Ordering::Relaxed);
            payload::Source::new(&[content]).store(words, content.len());
        }
        self.finish(i, seen, PRESENT | spare)
    }

    /// Empties entry `i`.
    ///
    /// # Errors
    /// `NoSuchEntry` or `ReadOnly`.
    pub fn clear(&mut self, i: usize) -> Result<(), RingsError> {
        let seen = self.begin(i)?.load(Ordering::Relaxed);
        self.finish(i, seen, seen & SLOT_LIVE)
    }

    /// The first empty entry.
    pub fn find_free(&self) -> Option<usize> {
        (0..self.entries).find(|i| self.index_word(*i).is_some_and(|word| load_acquire(word) & PRESENT == 0))
    }

    fn begin(&self, i: usize) -> Result<&AtomicU64, RingsError> {
        if !self.region.writable() {
            return Err(RingsError::ReadOnly { name: "table".to_owned() });
        }
        self.index_word(i).ok_or(RingsError::NoSuchEntry { index: i, entries: self.entries })
    }

    fn finish(&self, i: usize, seen: u64, flags: u64) -> Result<(), RingsError> {
        let version = (seen >> VERSION_SHIFT).wrapping_add(1);
        self.begin(i)?.store(version << VERSION_SHIFT | flags, Ordering::Release);
        self.region.store(WORD_VERSION, self.version().wrapping_add(1), Ordering::Release);
        Ok(())
    }

    fn index_word(&self, i: usize) -> Option<&AtomicU64> {
        if i < self.entries { self.region.words().get(WORD_INDEX + i) } else { None }
    }

    fn slot(&self, i: usize, slot: u64) -> Option<&[AtomicU64]> {
        let len = slot_words(self.entry_len_max as u64) as usize;
        let start = WORD_INDEX + self.entries + (i * 2 + slot as usize) * len;
        self.region.words().get(start..start + len)
    }
}

/// Words of one slot: the length and the content.
const fn slot_words(entry_len_max: u64) -> u64 {
    1 + entry_len_max.div_ceil(WORD as u64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::scratch;

    fn table(entries: u64, entry_len_max: u64) -> Table {
        let region = scratch(Table::footprint(entries, entry_len_max));
        Table::init(&region, entries, entry_len_max);
        Table::join(region).expect("fresh table")
    }

    #[test]
    fn entries_are_read_as_written_with_growing_versions() {
        let (mut table, mut out) = (table(3, 20), Vec::new());
        assert_eq!((table.read(1, &mut out), table.version(), table.find_free()), (TableRead::Empty, 0, Some(0)));
        for (n, content) in [&b"first"[..], b"", b"twenty bytes exactly", b"x"].iter().enumerate() {
            table.write(1, content).expect("fits");
            assert_eq!(table.read(1, &mut out), TableRead::Entry(n as u64 + 1));
            assert_eq!(out, *content);
            assert_eq!((table.version(), table.entry_version(1)), (n as u64 + 1, n as u64 + 1));
        }
        table.clear(1).expect("is there");
        assert_eq!((table.read(1, &mut out), table.entry_version(1), out.len()), (TableRead::Empty, 5, 0));
    }

    #[test]
    fn free_entries_are_found_until_there_is_none() {
        let mut table = table(2, 8);
        table.write(0, b"a").expect("fits");
        assert_eq!(table.find_free(), Some(1));
        table.write(1, b"b").expect("fits");
        assert_eq!(table.find_free(), None);
        table.clear(0).expect("is there");
        assert_eq!(table.find_free(), Some(0));
    }

    #[test]
    fn limits_are_errors_that_change_nothing() {
        let mut table = table(2, 8);
        assert!(matches!(table.write(0, &[0; 9]), Err(RingsError::EntryTooLong { len: 9, max: 8 })));
        assert!(matches!(table.write(2, b""), Err(RingsError::NoSuchEntry { index: 2, entries: 2 })));
        assert!(matches!(table.clear(usize::MAX), Err(RingsError::NoSuchEntry { .. })));
        let none = table.read(usize::MAX, &mut Vec::new());
        assert_eq!((none, table.entry_version(9), table.version()), (TableRead::Empty, 0, 0));
    }

    #[test]
    fn a_writer_killed_in_the_spare_slot_leaves_the_entry_as_it_was() {
        let (mut table, mut out) = (table(1, 16), Vec::new());
        table.write(0, b"kept").expect("fits");
        let spare = table.slot(0, 0).expect("two slots");
        spare[0].store(u64::MAX, Ordering::Relaxed);
        spare[1].store(u64::MAX, Ordering::Relaxed);
        assert_eq!((table.read(0, &mut out), &out[..]), (TableRead::Entry(1), &b"kept"[..]));
        table.write(0, b"by the next writer").expect_err("17 bytes");
        table.write(0, b"the next writer").expect("fits");
        assert_eq!((table.read(0, &mut out), &out[..]), (TableRead::Entry(2), &b"the next writer"[..]));
    }

    #[test]
    fn a_length_beyond_the_slot_is_cut() {
        let (mut table, mut out) = (table(1, 16), Vec::new());
        table.write(0, b"x").expect("fits");
        table.slot(0, 1).expect("live slot")[0].store(u64::MAX, Ordering::Relaxed);
        assert_eq!((table.read(0, &mut out), out.len()), (TableRead::Entry(1), 16));
    }

    #[test]
    fn a_writer_that_never_rests_keeps_no_reader() {
        let mut writer = table(1, 1 << 16);
        let reader = writer.clone();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        writer.write(0, &[0; 1 << 16]).expect("fits");
        let thread = std::thread::spawn(move || {
            // One word a write against 64 KiB a copy: a copy is hardly ever whole.
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                writer
                    .finish(0, writer.index_word(0).expect("is there").load(Ordering::Relaxed), PRESENT | SLOT_LIVE)
                    .expect("writable");
            }
        });
        let mut out = Vec::new();
        while reader.read(0, &mut out) != TableRead::Busy {}
        assert_eq!(out.len(), 0);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        thread.join().expect("writer");
        assert!(matches!(reader.read(0, &mut out), TableRead::Entry(_)));
    }
}
