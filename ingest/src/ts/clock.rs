//! Times of 33 bits at 90 kHz, without their wrap.

use mpeg2ts_reader::pes::{PesParsedContents, PtsDts, Timestamp};

/// Bits of a time (§2.4.3.6).
const TIME_BITS: u32 = 33;

/// When a PES packet's first access unit is shown and decoded, in ticks of 90 kHz since some zero of the sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) pts: i64,
    pub(super) dts: i64,
}

/// The newest time of a program, which every stream's times are nearest to.
#[derive(Debug, Default)]
pub(super) struct ProgramClock {
    newest: Option<i64>,
}

impl ProgramClock {
    /// The times in a PES header; `None` when it has none, or broken ones.
    pub(super) fn times(&mut self, header: &PesParsedContents<'_>) -> Option<Times> {
        let (pts, dts) = match header.pts_dts().ok()? {
            PtsDts::PtsOnly(Ok(pts)) => (pts, pts),
            PtsDts::Both { pts: Ok(pts), dts: Ok(dts) } => (pts, dts),
            _ => return None,
        };
        let dts_ticks = nearest(self.newest, dts);
        self.newest = Some(dts_ticks);
        Some(Times { pts: nearest(Some(dts_ticks), pts), dts: dts_ticks })
    }
}

/// The time with these low 33 bits that is nearest to `to`: a wrap goes on, a jump back stays a jump back.
fn nearest(to: Option<i64>, time: Timestamp) -> i64 {
    let ticks = i64::try_from(time.value()).unwrap_or(0);
    let Some(to) = to else { return ticks };
    let unused = i64::BITS.saturating_sub(TIME_BITS);
    let step = (ticks.wrapping_sub(to) << unused) >> unused;
    to.saturating_add(step)
}

/// Ticks as microseconds, the nearest: so they become the same ticks again.
pub(super) fn us(ticks: i64) -> i64 {
    ticks.saturating_mul(100).saturating_add(4).div_euclid(9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_over_the_wrap_and_fall_back_over_it() {
        let last = (1i64 << TIME_BITS) - 10;
        assert_eq!(nearest(Some(last), Timestamp::from_u64(5)), last + 15);
        assert_eq!(nearest(Some(last + 15), Timestamp::from_u64((1 << 33) - 10)), last);
        let second_lap = 3 * (1i64 << TIME_BITS) + 7;
        assert_eq!(nearest(Some(second_lap), Timestamp::from_u64(97)), second_lap + 90);
        assert_eq!(us(90_000), 1_000_000);
    }
}
