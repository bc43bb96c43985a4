//! The order and the times of chunks in the file.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use streams_media::fmp4::{Chunk, InitSegment, merge};
use streams_media::{MediaError, MediaKind};

/// How much media of one track waits for the other before it is written alone.
const INTERLEAVE_HOLD_MAX: Duration = Duration::from_secs(2);
/// A forward jump of the broadcast's clock up to this is a pause and stays in the file; a longer one is another clock.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Chunks of one track that may wait, whatever times they claim.
const QUEUE_LEN_MAX: usize = 4096;

/// A time as ticks of a timescale; compared exactly.
#[derive(Debug, Clone, Copy)]
struct Time {
    ticks: u64,
    timescale: u32,
}

impl Time {
    const ZERO: Self = Self { ticks: 0, timescale: 1 };

    fn is_before(self, other: Self) -> bool {
        u128::from(self.ticks) * u128::from(other.timescale) < u128::from(other.ticks) * u128::from(self.timescale)
    }

    fn max(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    fn min(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }

    /// This time in ticks of another timescale, rounded down.
    fn in_ticks(self, timescale: u32) -> i128 {
        i128::from(self.ticks) * i128::from(timescale) / i128::from(self.timescale.max(1))
    }

    fn duration(self) -> Duration {
        let micros = u128::from(self.ticks) * 1_000_000 / u128::from(self.timescale.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// One track of the file.
#[derive(Debug)]
struct Track {
    kind: MediaKind,
    init: InitSegment,
    queue: VecDeque<Chunk>,
    /// Added to the broadcast's times, ticks.
    offset: i128,
    /// When the last written sample decodes, and when it ends, in the file.
    written: Option<(u64, u64)>,
}

impl Track {
    fn time(&self, ticks: u64) -> Time {
        Time { ticks, timescale: self.init.timescale }
    }

    fn head(&self) -> Option<Time> {
        self.queue.front().map(|chunk| self.time(chunk.decode_time))
    }

    fn queued(&self) -> Duration {
        let (Some(first), Some(last)) = (self.queue.front(), self.queue.back()) else { return Duration::ZERO };
        self.time(last.end_time.saturating_sub(first.decode_time)).duration()
    }

    fn written_end(&self) -> Time {
        self.time(self.written.map_or(0, |(_, end)| end))
    }

    /// Where `ticks` of the broadcast lie in the file; `None` before its begin.
    fn shifted(&self, ticks: u64) -> Option<u64> {
        u64::try_from(i128::from(ticks) + self.offset).ok()
    }
}

/// Puts chunks into one file. Give it bytes in the order of each track, take bytes in the order of the file.
#[derive(Debug)]
pub(crate) struct Mp4Writer {
    tracks: Vec<Track>,
    sequence: u32,
    /// The times of the coming chunks are not placed yet.
    placing: bool,
    header_written: bool,
    dropped: u64,
}

impl Mp4Writer {
    /// A file with these tracks: kind and init segment.
    pub fn new(tracks: Vec<(MediaKind, Bytes)>) -> Result<Self, MediaError> {
        let tracks = tracks.into_iter().map(|(kind, segment)| {
            let init = InitSegment::parse(&segment)?;
            Ok(Track { kind, init, queue: VecDeque::new(), offset: 0, written: None })
        });
        let tracks = tracks.collect::<Result<_, MediaError>>()?;
        Ok(Self { tracks, sequence: 0, placing: true, header_written: false, dropped: 0 })
    }

    /// Chunks that were left out because their time was written already.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Length of the file so far, by its first track.
    pub fn duration(&self) -> Duration {
        self.tracks.first().map_or(Duration::ZERO, |track| track.written_end().duration())
    }

    /// The broadcast goes on after a gap, perhaps with another clock. What waits is written.
    pub fn discontinuity(&mut self, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        self.finish(out)?;
        self.placing = true;
        Ok(())
    }

    /// Adds an object's payload, the next of its track; appends what can be written now.
    pub fn push(&mut self, kind: MediaKind, payload: &Bytes, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        let Some(track) = self.tracks.iter_mut().find(|track| track.kind == kind) else { return Ok(()) };
        track.queue.push_back(Chunk::parse(payload, track.init.defaults)?);
        self.write_ready(out)
    }

    /// Writes everything that waits.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        if self.placing && self.tracks.iter().any(|track| !track.queue.is_empty()) {
            self.place();
        }
        while let Some(index) = self.next_track() {
            self.write_head(index, out)?;
        }
        Ok(())
    }

    fn write_ready(&mut self, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        loop {
            let complete = self.tracks.iter().all(|track| !track.queue.is_empty());
            let held_long = |track: &Track| track.queued() > INTERLEAVE_HOLD_MAX || track.queue.len() > QUEUE_LEN_MAX;
            if !complete && !self.tracks.iter().any(held_long) {
                return Ok(());
            }
            if self.placing {
                self.place();
            }
            let Some(index) = self.next_track() else { return Ok(()) };
            self.write_head(index, out)?;
        }
    }

    /// Decides where the waiting chunks begin in the file: at zero, where the broadcast's clock says, or, when that clock is
    /// not the one of before, right after what was written.
    fn place(&mut self) {
        self.placing = false;
        let Some(first) = self.tracks.iter().filter_map(Track::head).reduce(Time::min) else { return };
        let end = self.tracks.iter().map(Track::written_end).fold(Time::ZERO, Time::max);
        let goes_on = self.tracks.iter().all(|track| {
            let Some(head) = track.queue.front() else { return true };
            let Some((_, written_end)) = track.written else { return false };
            track.shifted(head.decode_time).is_some_and(|at| {
                let pause = track.time(at.saturating_sub(written_end)).duration();
                at >= written_end && pause <= PAUSE_MAX
            })
        });
        if goes_on {
            return;
        }
        for track in &mut self.tracks {
            let timescale = track.init.timescale;
            track.offset = end.in_ticks(timescale) - first.in_ticks(timescale);
        }
    }

    /// The track whose head comes first in the file.
    fn next_track(&self) -> Option<usize> {
        let heads = self.tracks.iter().enumerate().filter_map(|(index, track)| {
            let ticks = track.shifted(track.queue.front()?.decode_time).unwrap_or(0);
            Some((index, track.time(ticks)))
        });
        heads.reduce(|first, other| if other.1.is_before(first.1) { other } else { first }).map(|(index, _)| index)
    }

    fn write_head(&mut self, index: usize, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        if !self.header_written {
            let inits: Vec<&InitSegment> = self.tracks.iter().map(|track| &track.init).collect();
            out.push(merge(&inits)?);
            self.header_written = true;
        }
        let Some(track) = self.tracks.get_mut(index) else { return Ok(()) };
        let Some(chunk) = track.queue.pop_front() else { return Ok(()) };
        // Decode times in a file only ever rise.
        let begin = track.shifted(chunk.decode_time);
        let rises = |begin: u64| track.written.is_none_or(|(last, _)| begin > last);
        let Some(begin) = begin.filter(|&begin| rises(begin)) else {
            self.dropped = self.dropped.saturating_add(1);
            return Ok(());
        };
        let moved = |ticks: u64| begin.saturating_add(ticks.saturating_sub(chunk.decode_time));
        let track_id = u32::try_from(index.saturating_add(1)).map_err(|_| MediaError::Malformed("too many tracks"))?;
        out.push(chunk.rewrite(track_id, &mut self.sequence, moved)?);
        track.written = Some((moved(chunk.last_decode_time), moved(chunk.end_time)));
        Ok(())
    }
}
