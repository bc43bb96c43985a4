//! One `trun` (ISO/IEC 14496-12 §8.8.8): a row of samples, each described as far as the defaults do not.

use super::boxes::BoxAt;
use super::sample::{SampleDefaults, SampleFlags};
use crate::MediaError;

const DATA_OFFSET: u32 = 0x001;
const FIRST_FLAGS: u32 = 0x004;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
const COMPOSITION: u32 = 0x800;
const SAMPLE_FIELDS: [u32; 4] = [DURATION, SIZE, FLAGS, COMPOSITION];
/// Version and flags, and the number of samples.
const HEAD_LEN: usize = 8;

/// What a run says of one sample, defaults filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunEntry {
    pub duration: u32,
    pub size: u32,
    pub flags: SampleFlags,
    pub composition: i32,
}

/// The samples of a run, in order.
#[derive(Debug, Clone)]
pub(super) struct Run<'a> {
    /// Where the run's bytes begin, from the begin of the `moof`; `None`: behind those of the run before.
    pub data_offset: Option<i32>,
    flags: u32,
    version: u8,
    first_flags: Option<u32>,
    defaults: SampleDefaults,
    table: &'a [u8],
    left: u32,
}

impl<'a> Run<'a> {
    /// Reads the head of a `trun` of at most `count_max` samples. The table must fit its box, so that reading a sample cannot fail.
    pub(super) fn read(
        data: &'a [u8],
        trun: BoxAt,
        defaults: SampleDefaults,
        count_max: u32,
    ) -> Result<Self, MediaError> {
        const CUT: MediaError = MediaError::Malformed("a trun is cut off");
        let word = trun.u32(data, 0).ok_or(CUT)?;
        let left = trun.u32(data, 4).ok_or(CUT)?;
        let mut at = HEAD_LEN;
        let mut head = |flag: u32| -> Result<Option<u32>, MediaError> {
            if word & flag == 0 {
                return Ok(None);
            }
            let value = trun.u32(data, at).ok_or(CUT)?;
            at = at.saturating_add(4);
            Ok(Some(value))
        };
        let data_offset = head(DATA_OFFSET)?.map(u32::cast_signed);
        let first_flags = head(FIRST_FLAGS)?;
        let table = data.get(trun.body.saturating_add(at)..trun.end).ok_or(CUT)?;
        let run = Self { data_offset, flags: word, version: (word >> 24) as u8, first_flags, defaults, table, left };
        let count = usize::try_from(left).map_err(|_| CUT)?;
        if count.checked_mul(run.sample_len()).is_none_or(|len| len > table.len()) {
            return Err(CUT);
        }
        if left > count_max {
            return Err(MediaError::Malformed("more samples than any chunk has"));
        }
        Ok(run)
    }

    pub(super) fn sample_count(&self) -> u32 {
        self.left
    }

    /// Bytes that the run takes for each sample.
    fn sample_len(&self) -> usize {
        SAMPLE_FIELDS.iter().filter(|&&field| self.flags & field != 0).count().saturating_mul(4)
    }
}

impl Iterator for Run<'_> {
    type Item = RunEntry;

    fn next(&mut self) -> Option<RunEntry> {
        self.left = self.left.checked_sub(1)?;
        let (fields, rest) = self.table.split_at_checked(self.sample_len())?;
        self.table = rest;
        let mut words = fields.chunks_exact(4).map(|word| word.try_into().map_or(0, u32::from_be_bytes));
        let mut field = |flag: u32| if self.flags & flag == 0 { None } else { words.next() };
        let duration = field(DURATION).unwrap_or(self.defaults.duration);
        let size = field(SIZE).unwrap_or(self.defaults.size);
        let own_flags = field(FLAGS);
        let composition = field(COMPOSITION).unwrap_or(0);
        // The first sample's own field stands before all others.
        let flags = self.first_flags.take().or(own_flags).map_or(self.defaults.flags, SampleFlags);
        let composition = match self.version {
            0 => i32::try_from(composition).unwrap_or(i32::MAX),
            _ => composition.cast_signed(),
        };
        Some(RunEntry { duration, size, flags, composition })
    }
}
