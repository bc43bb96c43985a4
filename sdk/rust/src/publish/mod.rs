//! Publishing one input, over as many sessions as it takes.
//!
//! ```text
//!   file or pipe --source--> access units --Normaliser, Packager--> outputs --outbox--> session
//! ```
//!
//! Packaging is the same as an engine does for an encoder: groups begin at key frames, group ids are times, chunks hold one
//! picture. So what a viewer gets does not depend on which way it came.

mod options;
mod outbox;
mod session;
mod source;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streams_ingest::{Normaliser, NormaliserConfig, Packager, PackagerConfig, StreamMetadata};
use streams_media::AccessUnit;
use tokio::sync::mpsc;
use tokio::time::sleep;

pub use options::{PublishEvent, PublishInput, PublishOptions, PublishSummary};

use crate::play::backoff;
use crate::stopping::Stopping;
use crate::{Client, ClientError, ClientErrorKind, SessionUrl};
use outbox::Outbox;
use session::SessionEnd;
use source::Fed;

/// A server that has been gone for this long is not waited for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// How long a closed session may take to tell the server.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// A file is read faster than it plays, so no lead over the clock is implausible.
const LEAD_US_MAX: i64 = i64::MAX / 4;

/// Publishes the input to its end, or until `stop` is done, or until it cannot go on.
///
/// `on_event` is called from the publishing task, in order; it must not block.
///
/// # Errors
/// See [`ClientErrorKind`]; also when nothing could be published.
pub async fn publish(
    options: PublishOptions,
    on_event: impl FnMut(PublishEvent),
) -> Result<PublishSummary, ClientError> {
    let url = SessionUrl::publish(&options.url)?;
    let client = Client::new(&options.trust)?;
    let mut publisher = Publisher::new(options, on_event)?;
    let published = publisher.run(&client, &url).await;
    // The server also notices by itself that we are gone.
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, client.wait_idle()).await;
    published.and_then(|()| publisher.outcome())
}

/// Everything that outlives a session.
struct Publisher<F> {
    on_event: F,
    feed: Feed,
    realtime: bool,
    reconnect: bool,
    stats: bool,
    stopping: Stopping,
    normaliser: Normaliser,
    packager: Packager,
    outbox: Outbox,
    /// When the media's zero was.
    began: Option<Instant>,
    media_us: i64,
    /// When a session stood last.
    last_seen: Option<Instant>,
    reconnects: u64,
}

/// What is read.
struct Feed {
    source: mpsc::Receiver<Result<Fed, ClientError>>,
    /// The unit that comes next.
    next: Option<AccessUnit>,
    ended: bool,
    /// Whether there are pictures and sound, until that was told.
    kinds: Option<(bool, bool)>,
}

impl Feed {
    /// Waits for the unit that comes next, or for the input's end; safe to drop and call again.
    async fn read_next(&mut self) -> Result<(), ClientError> {
        while self.next.is_none() && !self.ended {
            match self.source.recv().await.transpose()? {
                Some(Fed::Unit(unit)) => self.next = Some(unit),
                Some(Fed::Kinds { video, audio }) => self.kinds = Some((video, audio)),
                None => self.ended = true,
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ended && self.next.is_none()
    }
}

impl<F: FnMut(PublishEvent)> Publisher<F> {
    fn new(options: PublishOptions, on_event: F) -> Result<Self, ClientError> {
        let source = source::read(options.input, options.looped)
            .map_err(|error| ClientError::failed(format!("the input's thread cannot start: {error}")))?;
        Ok(Self {
            on_event,
            feed: Feed { source, next: None, ended: false, kinds: None },
            realtime: options.realtime,
            reconnect: options.reconnect,
            stats: options.stats,
            stopping: Stopping::new(options.stop),
            normaliser: Normaliser::new(NormaliserConfig { lead_us_max: LEAD_US_MAX, ..NormaliserConfig::default() }),
            packager: Packager::new(PackagerConfig::default()),
            outbox: Outbox::default(),
            began: None,
            media_us: 0,
            last_seen: None,
            reconnects: 0,
        })
    }

    async fn run(&mut self, client: &Client, url: &SessionUrl) -> Result<(), ClientError> {
        // An input that cannot be read is told before anybody is asked to watch it.
        self.feed.read_next().await?;
        let mut attempt = 0u32;
        loop {
            let seen_before = self.last_seen;
            let error = match self.session(client, url).await {
                SessionEnd::Finished => return Ok(()),
                SessionEnd::Fatal(error) => return Err(error),
                SessionEnd::Lost(error) => error,
            };
            if self.last_seen > seen_before {
                attempt = 0;
            }
            if !self.may_reconnect(&error) {
                return Err(error);
            }
            attempt = attempt.saturating_add(1);
            let after = backoff(attempt);
            (self.on_event)(PublishEvent::Reconnecting { attempt, after, reason: error.reason });
            tokio::select! {
                () = sleep(after) => {}
                () = self.stopping.wait() => return Ok(()),
            }
            self.reconnects = self.reconnects.saturating_add(1);
        }
    }

    /// A server that was there is waited for; one that never was is an error at once.
    fn may_reconnect(&self, error: &ClientError) -> bool {
        let recent = self.last_seen.is_some_and(|last| last.elapsed() < GIVE_UP_AFTER);
        let lasting = matches!(error.kind, ClientErrorKind::Auth | ClientErrorKind::Usage);
        self.reconnect && recent && !lasting
    }

    /// When the unit that comes next is to be sent; `None` is at once.
    fn due(&mut self) -> Option<Instant> {
        let unit = self.feed.next.as_ref().filter(|_| self.realtime)?;
        let began = *self.began.get_or_insert_with(Instant::now);
        Some(began + Duration::from_micros(u64::try_from(unit.dts_us).unwrap_or(0)))
    }

    /// Packages the unit that comes next.
    fn package(&mut self) {
        let Some(unit) = self.feed.next.take() else { return };
        if let Some((video, audio)) = self.feed.kinds.take() {
            let (has_video, has_audio) = (Some(video), Some(audio));
            self.packager.metadata(&StreamMetadata { has_video, has_audio, ..StreamMetadata::default() });
        }
        self.began.get_or_insert_with(Instant::now);
        self.media_us = self.media_us.max(unit.dts_us);
        let now_ms = unix_ms();
        if let Ok(unit) = self.normaliser.push(now_ms, unit) {
            self.packager.push(now_ms, unit);
        }
        self.collect();
    }

    /// The input is over: what the packager still holds goes out.
    fn package_rest(&mut self) {
        self.packager.finish();
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.packager.poll_output() {
            self.outbox.push(output);
        }
    }

    /// The summary of what was published; an error when that is nothing.
    fn outcome(&self) -> Result<PublishSummary, ClientError> {
        if self.outbox.sent.objects > 0 || self.stopping.is_stopped() {
            return Ok(self.summary());
        }
        Err(ClientError::failed(
            "nothing was published: the input has no picture or sound that begins with a key frame",
        ))
    }

    fn summary(&self) -> PublishSummary {
        let sent = self.outbox.sent;
        PublishSummary {
            published: self.began.map(|began| began.elapsed()).unwrap_or_default(),
            media_duration: Duration::from_micros(u64::try_from(self.media_us).unwrap_or(0)),
            objects: sent.objects,
            payload_bytes: sent.payload_len,
            groups: sent.groups,
            dropped_groups: sent.dropped_groups,
            reconnects: self.reconnects,
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
