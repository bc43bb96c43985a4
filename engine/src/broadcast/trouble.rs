//! What a broadcaster should be told while media flows: faults that stop nobody's connection and spoil what viewers get.

use std::time::{Duration, Instant};

use streams_ingest::Notice;
use streams_media::MediaKind;
use tracing::{info, warn};

/// Encoders send their sequence headers first; without one for so long it will not come by itself.
const CONFIG_PATIENCE: Duration = Duration::from_secs(2);
/// The longest usual distance between key frames.
const START_PATIENCE_MS: u64 = 10_000;
/// The same trouble is logged once in so long: a GOP of twenty seconds would fill the log.
const LOG_PAUSE: Duration = Duration::from_secs(60);
/// A MoQT publisher sends its catalog first.
const CATALOG_PATIENCE: Duration = Duration::from_secs(3);
const MS_PER_S: u64 = 1000;

/// What a source shows of itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    /// Time without a picture that a viewer could start at.
    pub(super) without_start_ms: u64,
    /// A MoQT publisher has given no catalog for so long.
    pub(super) without_catalog: Option<Duration>,
}

/// Kinds of trouble, in the order they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NoVideoConfig,
    NoAudioConfig,
    NoStart,
    NoCatalog,
    ExtraVideo,
    ExtraAudio,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::NoVideoConfig, Self::NoAudioConfig, Self::NoStart, Self::NoCatalog, Self::ExtraVideo, Self::ExtraAudio];

    /// What is said.
    fn text(self, signs: Signs) -> String {
        match self {
            Self::NoVideoConfig => "video comes without its AVC sequence header and cannot be shown; \
                                    restart the encoder, or let it send the header again"
                .into(),
            Self::NoAudioConfig => "audio comes without its AAC sequence header and cannot be heard; \
                                    restart the encoder, or let it send the header again"
                .into(),
            Self::NoStart => {
                format!(
                    "no key frame for {} s: viewers cannot join; use a closed GOP",
                    signs.without_start_ms / MS_PER_S
                )
            }
            Self::NoCatalog => {
                "the MoQT publisher offers neither `.catalog` nor `catalog`: players cannot find its tracks".into()
            }
            Self::ExtraVideo => "more than one video track comes; only the first is used".into(),
            Self::ExtraAudio => "more than one audio track comes; only the first is used".into(),
        }
    }
}

/// The troubles of one encoder's connection.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Since when video and audio come without their sequence header.
    config_missing: [Option<Instant>; 2],
    extra_track: [bool; 2],
    /// Which kinds are shown, and when each was last logged.
    shown: [bool; Kind::ALL.len()],
    logged: [Option<Instant>; Kind::ALL.len()],
}

impl Trouble {
    /// The session found something.
    pub(super) fn notice(&mut self, now: Instant, notice: Notice) {
        let at = |kind| usize::from(kind == MediaKind::Audio);
        match notice {
            Notice::ConfigMissing(kind) => self.config_missing[at(kind)] = Some(now),
            Notice::ConfigCame(kind) => self.config_missing[at(kind)] = None,
            Notice::ExtraTrack(kind) => self.extra_track[at(kind)] = true,
        }
    }

    /// What is to be said now, each in a line. Whatever begins or ends is logged for `input`.
    pub(super) fn warnings(&mut self, now: Instant, input: &str, signs: Signs) -> Vec<String> {
        let mut lines = Vec::new();
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let holds = self.holds(kind, now, signs);
            if holds {
                lines.push(kind.text(signs));
            }
            if std::mem::replace(&mut self.shown[at], holds) == holds {
                continue;
            }
            let quiet = self.logged[at].is_some_and(|logged| now.duration_since(logged) < LOG_PAUSE);
            if holds && !quiet {
                self.logged[at] = Some(now);
                warn!(input, "{}", kind.text(signs));
            } else if !holds && kind == Kind::NoStart && !quiet {
                info!(input, "key frames come again: viewers can join");
            }
        }
        lines
    }

    /// The line that stays in the input's status as its last error: media that cannot be used at all.
    pub(super) fn error(&self, now: Instant) -> Option<String> {
        let unusable = [Kind::NoVideoConfig, Kind::NoAudioConfig, Kind::ExtraVideo, Kind::ExtraAudio];
        unusable
            .into_iter()
            .find(|kind| self.holds(*kind, now, Signs::default()))
            .map(|kind| kind.text(Signs::default()))
    }

    fn holds(&self, kind: Kind, now: Instant, signs: Signs) -> bool {
        let missing = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) >= CONFIG_PATIENCE);
        let ([video, audio], [extra_video, extra_audio]) = (self.config_missing, self.extra_track);
        match kind {
            Kind::NoVideoConfig => missing(video),
            Kind::NoAudioConfig => missing(audio),
            Kind::NoStart => signs.without_start_ms >= START_PATIENCE_MS,
            Kind::NoCatalog => signs.without_catalog.is_some_and(|since| since >= CATALOG_PATIENCE),
            Kind::ExtraVideo => extra_video,
            Kind::ExtraAudio => extra_audio,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_start(without_start_ms: u64) -> Signs {
        Signs { without_start_ms, ..Signs::default() }
    }

    #[test]
    fn a_missing_sequence_header_is_told_after_two_seconds_and_no_longer_once_it_came() {
        let (mut trouble, began) = (Trouble::default(), Instant::now());
        trouble.notice(began, Notice::ConfigMissing(MediaKind::Audio));
        let at = |ms| began + Duration::from_millis(ms);
        assert!(trouble.warnings(at(1999), "lv_1", without_start(0)).is_empty() && trouble.error(at(1999)).is_none());
        let told = trouble.warnings(at(2000), "lv_1", without_start(0));
        assert!(told.len() == 1 && told[0].starts_with("audio comes without its AAC sequence header"), "{told:?}");
        assert_eq!(trouble.error(at(2000)).as_ref(), told.first());
        trouble.notice(at(2500), Notice::ConfigCame(MediaKind::Audio));
        assert!(trouble.warnings(at(2500), "lv_1", without_start(0)).is_empty());
    }

    #[test]
    fn a_broadcast_without_key_frames_is_told_from_ten_seconds_on_with_the_time_so_far() {
        let (mut trouble, now) = (Trouble::default(), Instant::now());
        assert!(trouble.warnings(now, "lv_1", without_start(9_999)).is_empty());
        for (ms, seconds) in [(10_000, 10), (12_040, 12), (61_999, 61)] {
            let wanted = format!("no key frame for {seconds} s: viewers cannot join; use a closed GOP");
            assert_eq!(trouble.warnings(now, "lv_1", without_start(ms)), [wanted]);
        }
        assert!(trouble.warnings(now, "lv_1", without_start(0)).is_empty(), "cleared by a key frame");
    }

    #[test]
    fn a_second_sound_track_is_told_at_once_and_several_troubles_together() {
        let (mut trouble, now) = (Trouble::default(), Instant::now());
        trouble.notice(now, Notice::ExtraTrack(MediaKind::Audio));
        let told = trouble.warnings(now, "lv_1", without_start(20_000));
        assert_eq!(
            told,
            [
                "no key frame for 20 s: viewers cannot join; use a closed GOP",
                "more than one audio track comes; only the first is used",
            ]
        );
    }

    #[test]
    fn a_publisher_without_a_catalog_is_told_after_three_seconds() {
        let (mut trouble, now) = (Trouble::default(), Instant::now());
        let signs = |ms| Signs { without_catalog: Some(Duration::from_millis(ms)), ..Signs::default() };
        assert!(trouble.warnings(now, "lv_1", signs(2_999)).is_empty());
        let told = trouble.warnings(now, "lv_1", signs(3_000));
        assert!(told.len() == 1 && told[0].contains("`.catalog`"), "{told:?}");
        assert!(trouble.warnings(now, "lv_1", Signs::default()).is_empty(), "it came");
    }
}
