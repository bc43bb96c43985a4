//! Many viewers in this process, each with its own socket.

use std::time::{Duration, Instant};

use streams_media::MediaKind;
use streams_sdk::ViewerEvent;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ledger::Ledger;
use crate::error::BenchError;
use crate::viewing::{Broadcast, Connected, Watching};

/// What one viewer tells at the end.
#[derive(Debug)]
pub struct Watched {
    /// From connecting to the first media object.
    pub join: Option<Duration>,
    /// From its last media object until it was told to stop.
    pub idle: Duration,
    /// The video track.
    pub video: Ledger,
    /// The audio track.
    pub audio: Ledger,
}

/// Viewers that watch until told to stop.
#[derive(Debug)]
pub struct Crowd {
    broadcast: Broadcast,
    tasks: JoinSet<Result<Watched, BenchError>>,
    stop: watch::Sender<bool>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(broadcast: Broadcast) -> Self {
        Self { broadcast, tasks: JoinSet::new(), stop: watch::Sender::new(false) }
    }

    /// Adds `count` viewers, one after the other over `over`.
    pub async fn join(&mut self, count: usize, over: Duration) {
        let pause = over.checked_div(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or_default();
        for _ in 0..count {
            self.tasks.spawn(watch_all(self.broadcast.clone(), self.stop.subscribe()));
            sleep(pause).await;
        }
    }

    /// Ends all viewers. What they got, and why those that failed did.
    pub async fn leave(mut self) -> (Vec<Watched>, Vec<BenchError>) {
        self.stop.send_replace(true);
        let (mut watched, mut failed) = (Vec::new(), Vec::new());
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(one)) => watched.push(one),
                Ok(Err(error)) => failed.push(error),
                Err(_) => failed.push(BenchError::Died("viewer")),
            }
        }
        (watched, failed)
    }
}

/// One viewer that watches all tracks for `time` after it has asked for them.
///
/// # Errors
/// [`BenchError::Viewer`] and the like when it could not.
pub async fn watch_for(broadcast: Broadcast, time: Duration) -> Result<Watched, BenchError> {
    let (stop, stopped) = watch::channel(false);
    let leave = async {
        sleep(time).await;
        stop.send_replace(true);
        std::future::pending().await
    };
    tokio::select! {
        watched = watch_all(broadcast, stopped) => watched,
        never = leave => never,
    }
}

async fn watch_all(broadcast: Broadcast, mut stop: watch::Receiver<bool>) -> Result<Watched, BenchError> {
    let began = Instant::now();
    let Watching { mut viewer, tracks, client: _client } = Connected::to(&broadcast).await?.watch(|_| true).await?;
    let mut last = began;
    let mut watched = Watched { join: None, idle: Duration::ZERO, video: Ledger::default(), audio: Ledger::default() };
    loop {
        let event = tokio::select! {
            event = viewer.next_event() => event?,
            // An error says that nobody wants to know any more.
            _ = stop.wait_for(|stop| *stop) => {
                watched.idle = last.elapsed();
                return Ok(watched);
            }
        };
        let kind_of = |track| tracks.iter().find(|(wanted, _)| *wanted == track).map(|(_, kind)| *kind);
        match event {
            ViewerEvent::Object { track, location, arrival, fetched, .. } => {
                let Some(kind) = kind_of(track) else { continue };
                last = arrival;
                watched.join.get_or_insert_with(|| arrival.saturating_duration_since(began));
                watched.ledger(kind).object(location.group, location.object, fetched);
            }
            ViewerEvent::GroupEnd { track, group, complete } => {
                if let Some(kind) = kind_of(track) {
                    watched.ledger(kind).group_end(group, complete);
                }
            }
            ViewerEvent::Refused { .. } => return Err(BenchError::Protocol("a track was refused")),
            ViewerEvent::TrackEnded { .. } => return Err(BenchError::Protocol("a track ended")),
            _ => {}
        }
    }
}

impl Watched {
    fn ledger(&mut self, kind: MediaKind) -> &mut Ledger {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        }
    }
}
