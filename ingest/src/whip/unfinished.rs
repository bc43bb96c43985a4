//! How much of a frame may come without its end: whoever puts packets together holds all of it.

use std::time::Instant;

use crate::IngestError;

/// The largest frame, by its packets. A key frame of 1080p at 20 Mbit/s has some 500 KiB.
const LEN_MAX: u64 = 16 << 20;
/// What a session receives that is no picture and no sound: checks of the path and reports.
const BESIDE_LEN_PER_S: u64 = 2_048;
/// What a packet has around a frame of sound: headers, extensions, a tag.
const AROUND_SOUND_LEN: u64 = 40;

/// Bytes since the last frame.
#[derive(Debug)]
pub(super) struct Unfinished {
    len: u64,
    at: Instant,
}

impl Unfinished {
    pub(super) fn new(now: Instant) -> Self {
        Self { len: 0, at: now }
    }

    /// A datagram came.
    ///
    /// # Errors
    /// [`IngestError::Webrtc`] when no frame has so many packets.
    pub(super) fn datagram(&mut self, now: Instant, len: usize) -> Result<(), IngestError> {
        let ms = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        let beside = ms.saturating_mul(BESIDE_LEN_PER_S) / 1_000;
        if beside > 0 {
            self.at = now;
            self.len = self.len.saturating_sub(beside);
        }
        self.len = self.len.saturating_add(len as u64);
        if self.len > LEN_MAX {
            return Err(IngestError::Webrtc { what: "16 MiB came without the end of a picture".into() });
        }
        Ok(())
    }

    /// A picture was whole.
    pub(super) fn picture(&mut self) {
        self.len = 0;
    }

    /// A frame of sound of this length was whole.
    pub(super) fn sound(&mut self, len: usize) {
        self.len = self.len.saturating_sub((len as u64).saturating_add(AROUND_SOUND_LEN));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Seconds of a session, 100 packets each, until it is ended; `each` is told of every packet.
    fn seconds(limit: u32, packet_len: usize, mut each: impl FnMut(u32, &mut Unfinished)) -> Option<u32> {
        let start = Instant::now();
        let mut unfinished = Unfinished::new(start);
        (0..limit * 100).find_map(|number| {
            let now = start + Duration::from_millis(10) * number;
            let ended = unfinished.datagram(now, packet_len).is_err();
            each(number, &mut unfinished);
            ended.then_some(number / 100)
        })
    }

    #[test]
    fn a_picture_that_never_ends_ends_the_session_and_an_ordinary_one_does_not() {
        // 1,200 bytes, 100 times a second: 120 kB/s.
        assert_eq!(seconds(1_000, 1_200, |_, _| {}), Some(142));
        assert_eq!(
            seconds(1_000, 1_200, |number, session| if number % 40 == 39 {
                session.picture()
            }),
            None
        );
        // Sound in between hides nothing.
        let ended = seconds(1_000, 1_200, |number, session| {
            if number % 2 == 1 {
                session.sound(80)
            }
        });
        assert!(ended.is_some_and(|second| second < 200), "{ended:?}");
    }

    #[test]
    fn sound_alone_and_silence_with_reports_go_on_for_days() {
        assert_eq!(seconds(100_000, 118, |_, session| session.sound(80)), None);
        assert_eq!(seconds(100_000, 20, |_, _| {}), None);
    }
}
