//! Watching one broadcast from beginning to end, over as many sessions as it takes.

mod align;
mod lane;
mod recording;
mod session;
mod tracks;

use std::time::{Duration, Instant};

use streams_media::MediaKind;
use streams_relay_core::wire::Location;
use tokio::time::sleep;

use crate::stopping::Stopping;
use crate::{Client, ClientError, ClientErrorKind, PlayEvent, PlayOptions, PlaySummary, SessionUrl};

use align::Lanes;
use lane::Unit;
use recording::Recording;
use session::SessionEnd;

/// The first attempt after a lost session follows at once, the next ones after twice as long each, up to the most: a restarted
/// server is found again within half a second of its return.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// A broadcast that has been gone for this long is not waited for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// No picture for longer than this is a stall.
const STALL: Duration = Duration::from_millis(500);
/// Pictures that come without a key frame for longer than this are told of.
const KEY_FRAME_PATIENCE: Duration = Duration::from_secs(1);
/// How long a closed session may take to tell the server.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// Watches a broadcast until it ends, `for_duration` has passed, `stop` is done, or it cannot go on.
///
/// `on_event` is called from the playing task, in order; it must not block.
///
/// # Errors
/// See [`ClientErrorKind`]; also when nothing could be played until the end, whatever ended it. What was written until then is a
/// whole file.
pub async fn play(options: PlayOptions, on_event: impl FnMut(PlayEvent)) -> Result<PlaySummary, ClientError> {
    let url = SessionUrl::playback(&options.url)?;
    let client = Client::new(&options.trust)?;
    let mut player = Player::new(options, on_event)?;
    let watched = player.run(&client, &url).await;
    let finished = match &mut player.recording {
        Some(recording) => recording.finish().await,
        None => Ok(()),
    };
    // The server also notices by itself that we are gone.
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, client.wait_idle()).await;
    watched.and(finished).and_then(|()| player.outcome())
}

/// Everything that outlives a session.
struct Player<F> {
    rendition: Option<String>,
    for_duration: Option<Duration>,
    stopping: Stopping,
    reconnect: bool,
    stats: bool,
    on_event: F,
    recording: Option<Recording>,
    lanes: Lanes,
    totals: PlaySummary,
    /// Something was played.
    played: bool,
    /// Missing a key frame was told of.
    starving_told: bool,
    called: Instant,
    first_media: Option<Instant>,
    /// The newest object of the track that stalls are measured by.
    last_media: Option<Instant>,
}

impl<F: FnMut(PlayEvent)> Player<F> {
    fn new(options: PlayOptions, on_event: F) -> Result<Self, ClientError> {
        Ok(Self {
            rendition: options.rendition,
            for_duration: options.for_duration,
            stopping: Stopping::new(options.stop),
            reconnect: options.reconnect,
            stats: options.stats,
            on_event,
            recording: options.output.map(Recording::new).transpose()?,
            lanes: Lanes::default(),
            totals: PlaySummary::default(),
            played: false,
            starving_told: false,
            called: Instant::now(),
            first_media: None,
            last_media: None,
        })
    }

    async fn run(&mut self, client: &Client, url: &SessionUrl) -> Result<(), ClientError> {
        let mut attempt = 0u32;
        loop {
            let objects_before = self.totals.objects;
            let error = match self.session(client, url).await {
                SessionEnd::Finished => return Ok(()),
                SessionEnd::Fatal(error) => return Err(error),
                SessionEnd::Lost(error) => error,
            };
            if self.totals.objects > objects_before {
                attempt = 0;
            }
            if !self.may_reconnect(&error) {
                return Err(error);
            }
            attempt = attempt.saturating_add(1);
            let after = backoff(attempt);
            (self.on_event)(PlayEvent::Reconnecting { attempt, after, reason: error.reason });
            tokio::select! {
                () = sleep(after) => {}
                () = self.stopping.wait() => {}
            }
            if self.is_over(Instant::now()) {
                return Ok(());
            }
            self.totals.reconnects = self.totals.reconnects.saturating_add(1);
            self.lanes.lose_all();
            if let Some(recording) = &mut self.recording {
                recording.discontinuity()?;
            }
        }
    }

    /// A broadcast that was there is waited for; one that never was is an error at once.
    fn may_reconnect(&self, error: &ClientError) -> bool {
        let recent = self.last_media.is_some_and(|last| last.elapsed() < GIVE_UP_AFTER);
        let lasting = matches!(error.kind, ClientErrorKind::Auth | ClientErrorKind::Usage);
        self.reconnect && recent && !lasting
    }

    fn deadline(&self) -> Option<Instant> {
        self.first_media?.checked_add(self.for_duration?)
    }

    /// Whether all was watched that was asked for.
    fn is_over(&self, now: Instant) -> bool {
        self.stopping.is_stopped() || self.deadline().is_some_and(|deadline| now >= deadline)
    }

    /// Counts an object that arrived for `kind`.
    fn count(&mut self, kind: MediaKind, payload_len: usize, arrival: Instant) {
        self.totals.objects = self.totals.objects.saturating_add(1);
        self.totals.payload_bytes = self.totals.payload_bytes.saturating_add(payload_len as u64);
        if self.first_media.is_none() {
            self.first_media = Some(arrival);
            let join_time = arrival.saturating_duration_since(self.called);
            self.totals.join_time = Some(join_time);
            (self.on_event)(PlayEvent::Started { join_time });
        }
        if self.lanes.kind(0) == Some(kind) {
            let gap = self.last_media.map(|last| arrival.saturating_duration_since(last));
            if gap.is_some_and(|gap| gap > STALL) {
                self.totals.stalls = self.totals.stalls.saturating_add(1);
            }
            self.last_media = Some(arrival);
        }
    }

    /// Plays every object whose turn it is.
    async fn advance(&mut self, now: Instant) -> Result<(), ClientError> {
        while let Some((index, Unit { location: Location { group, object }, payload, .. })) = self.lanes.pop(now) {
            self.played = true;
            if index == 0 && object == 0 {
                tracing::debug!(group, "group begins");
                self.totals.groups = self.totals.groups.saturating_add(1);
            }
            if let (Some(recording), Some(kind)) = (&mut self.recording, self.lanes.kind(index))
                && recording.push(kind, group, &payload).await?
            {
                (self.on_event)(PlayEvent::NextPart(recording.part()));
            }
        }
        self.tell_starving(now);
        match &mut self.recording {
            Some(recording) => recording.write().await,
            None => Ok(()),
        }
    }

    /// Once each time that pictures come and none can be played.
    fn tell_starving(&mut self, now: Instant) {
        let Some(since) = self.lanes.starving_since() else {
            self.starving_told = false;
            return;
        };
        let waited = now.saturating_duration_since(since);
        if waited >= KEY_FRAME_PATIENCE && !std::mem::replace(&mut self.starving_told, true) {
            (self.on_event)(PlayEvent::NoKeyFrame { waited });
        }
    }

    /// The summary of a playing that ended in good order; an error when there is nothing to sum up.
    fn outcome(&self) -> Result<PlaySummary, ClientError> {
        if self.played {
            return Ok(self.summary());
        }
        Err(ClientError::failed(match self.lanes.starving_since() {
            Some(since) => format!(
                "nothing was played: no key frame for {:.0} s, so viewers cannot join; the broadcaster should use a closed GOP, \
                 with a key frame every few seconds",
                since.elapsed().as_secs_f64()
            ),
            None if self.stopping.is_stopped() => "nothing was played: it was stopped before any media came".to_owned(),
            None => "nothing was played: the broadcast ended before any media came".to_owned(),
        }))
    }

    fn summary(&self) -> PlaySummary {
        let (holes, missing) = self.lanes.missing();
        let left_out = self.recording.as_ref().map_or(0, Recording::dropped);
        PlaySummary {
            watched: self.first_media.map(|first| first.elapsed()).unwrap_or_default(),
            media_duration: self.recording.as_ref().map(Recording::duration).unwrap_or_default(),
            written_bytes: self.recording.as_ref().map_or(0, Recording::written_bytes),
            parts: self.recording.as_ref().map_or(0, Recording::part),
            holes,
            missing,
            dropped_objects: self.lanes.dropped().saturating_add(left_out),
            ..self.totals.clone()
        }
    }
}

/// How long to wait before this attempt.
pub(crate) fn backoff(attempt: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(8)).min(BACKOFF_MAX)
}
