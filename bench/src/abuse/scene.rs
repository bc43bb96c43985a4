//! Who must not notice: viewers that stay, viewers that come, and one encoder that reconnects.
//!
//! ```text
//!   encoder   |-- 10 s --| |-- 10 s --| |-- 10 s --|      the connection breaks, the film begins anew
//!   viewers   ============================================  all of the time
//!   joiners   -  -  -  -  -  -  -  -  -  -  -  -  -  -      one a second, until the first picture
//! ```
//!
//! All of it runs on one thread on the load's core.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use streams_media::MediaKind;
use streams_media::fmp4::{Chunk, SampleDefaults};
use streams_sdk::ViewerEvent;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::ledger::Sight;
use crate::cores;
use crate::error::BenchError;
use crate::film::{Film, Picture};
use crate::publisher::{Publisher, Sent, Speed};
use crate::stack::Input;
use crate::viewing::{Broadcast, Connected, Watching};

/// How long the encoder keeps one connection.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// How long a broken encoder waits before it connects again, as encoders do.
const AGAIN: Duration = Duration::from_millis(200);
/// How often a new viewer comes.
const JOIN_INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take to its first picture: a group lasts two seconds, and the encoder may just be away.
const JOIN_MAX: Duration = Duration::from_secs(10);
/// Pause between two viewers at the start.
const START_PAUSE: Duration = Duration::from_millis(10);
/// Reasons that are kept.
const REASONS_MAX: usize = 3;

/// Attempts of one kind.
#[derive(Debug, Clone, Default)]
pub struct Tries {
    /// Those that succeeded.
    pub good: u64,
    /// Those that did not.
    pub failed: u64,
    /// Why the last ones failed, newest last.
    pub reasons: Vec<String>,
}

impl Tries {
    fn count<T>(&mut self, tried: &Result<T, BenchError>) {
        match tried {
            Ok(_) => self.good += 1,
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.reasons.retain(|kept| *kept != reason);
        self.reasons.push(reason);
        if self.reasons.len() > REASONS_MAX {
            self.reasons.remove(0);
        }
    }
}

/// What happened so far.
#[derive(Debug, Default)]
struct Seen {
    /// Connections of the encoder.
    connects: Tries,
    /// Viewers that came.
    joins: Tries,
    /// Sessions of viewers that ended.
    breaks: Tries,
    sent: Vec<Sent>,
    /// Frames that were sent up to here are among those above.
    told_until: Option<Instant>,
}

/// A scene that goes on until it is dropped.
pub struct Scene {
    seen: Arc<Mutex<Seen>>,
    viewers: Vec<Arc<Mutex<Vec<Sight>>>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), BenchError>>>,
}

/// What happened up to one moment.
#[derive(Debug, Clone)]
pub struct Moment {
    /// When.
    pub at: Instant,
    /// Connections of the encoder.
    pub connects: Tries,
    /// Viewers that came.
    pub joins: Tries,
    /// Sessions of viewers that ended.
    pub breaks: Tries,
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scene {
    /// Begins: the encoder first, then `viewers` viewers.
    ///
    /// # Errors
    /// [`BenchError::File`] when there is no thread to be had.
    pub fn start(broadcast: Broadcast, input: Input, film: Arc<Film>, viewers: usize) -> Result<Self, BenchError> {
        let seen = Arc::<Mutex<Seen>>::default();
        let viewers: Vec<Arc<Mutex<Vec<Sight>>>> = (0..viewers).map(|_| Arc::default()).collect();
        let (stop, stopped) = watch::channel(false);
        let (told, watching) = (seen.clone(), viewers.clone());
        let run = move || {
            cores::pin(cores::Pair::find()?.load)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(BenchError::file("start", "the asynchronous runtime".as_ref()))?;
            runtime.block_on(play(broadcast, input, film, told, watching, stopped));
            Ok(())
        };
        let thread = std::thread::Builder::new().name("scene".to_owned()).spawn(run);
        let thread = thread.map_err(BenchError::file("start", "a thread".as_ref()))?;
        Ok(Self { seen, viewers, stop, thread: Some(thread) })
    }

    /// What happened up to now.
    pub fn moment(&self) -> Moment {
        let seen = locked(&self.seen);
        let Seen { connects, joins, breaks, .. } = &*seen;
        Moment { at: Instant::now(), connects: connects.clone(), joins: joins.clone(), breaks: breaks.clone() }
    }

    /// Viewers that have got a picture.
    pub fn watching(&self) -> usize {
        self.viewers.iter().filter(|sights| !locked(sights).is_empty()).count()
    }

    /// Whether the encoder has told all frames that it sent up to `moment`.
    pub fn has_told(&self, moment: Instant) -> bool {
        locked(&self.seen).told_until.is_some_and(|until| until >= moment)
    }

    /// All frames sent and seen so far. Those of before `forget` are not kept any longer.
    pub fn take(&self, forget: Instant) -> (Vec<Sent>, Vec<Vec<Sight>>) {
        let sent = locked(&self.seen).sent.clone();
        locked(&self.seen).sent.retain(|sent| sent.at >= forget);
        let of = |sights: &Arc<Mutex<Vec<Sight>>>| {
            let mut sights = locked(sights);
            let all = sights.clone();
            sights.retain(|sight| sight.at >= forget);
            all
        };
        (sent, self.viewers.iter().map(of).collect())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn play(
    broadcast: Broadcast,
    input: Input,
    film: Arc<Film>,
    seen: Arc<Mutex<Seen>>,
    viewers: Vec<Arc<Mutex<Vec<Sight>>>>,
    mut stopped: watch::Receiver<bool>,
) {
    // Tasks end with the runtime.
    tokio::spawn(publish(input, film, seen.clone()));
    for sights in viewers {
        tokio::spawn(stay(broadcast.clone(), sights, seen.clone()));
        sleep(START_PAUSE).await;
    }
    tokio::spawn(come(broadcast, seen));
    // An error says that the owner is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The encoder: one connection after the other.
async fn publish(input: Input, film: Arc<Film>, seen: Arc<Mutex<Seen>>) {
    loop {
        let began = Instant::now();
        let started = Publisher::start(&input, Arc::clone(&film), Speed::Times(1.0)).await;
        locked(&seen).connects.count(&started);
        let Ok(publisher) = started else {
            locked(&seen).told_until = Some(Instant::now());
            sleep(AGAIN).await;
            continue;
        };
        let end = began + CONNECTION_TIME;
        while Instant::now() < end && !publisher.is_silent() {
            sleep(AGAIN).await;
        }
        publisher.stop_sending();
        while !publisher.is_silent() {
            sleep(AGAIN).await;
        }
        let finished = publisher.finish();
        let mut seen = locked(&seen);
        match finished {
            Ok(sent) => seen.sent.extend(sent),
            Err(error) => seen.connects.fail(format!("cut: {error}")),
        }
        seen.told_until = Some(Instant::now());
    }
}

/// A viewer that stays, and comes back when it must.
async fn stay(broadcast: Broadcast, sights: Arc<Mutex<Vec<Sight>>>, seen: Arc<Mutex<Seen>>) {
    loop {
        let mut keep = |sight| {
            locked(&sights).push(sight);
            true
        };
        let reason = match watch(&broadcast, &mut keep).await {
            Ok(()) => "it was ended".to_owned(),
            Err(error) => error.to_string(),
        };
        // One that has not begun to watch waits for the broadcast.
        if !locked(&sights).is_empty() {
            locked(&seen).breaks.fail(reason);
        }
        sleep(AGAIN).await;
    }
}

/// Viewers that come and leave with their first picture.
async fn come(broadcast: Broadcast, seen: Arc<Mutex<Seen>>) {
    loop {
        sleep(JOIN_INTERVAL).await;
        let (broadcast, seen) = (broadcast.clone(), seen.clone());
        tokio::spawn(async move {
            let joined = timeout(JOIN_MAX, watch(&broadcast, &mut |_| false)).await;
            let joined =
                joined.unwrap_or(Err(BenchError::TooLong { what: "a new viewer gets a picture", patience: JOIN_MAX }));
            locked(&seen).joins.count(&joined);
        });
    }
}

/// Watches until `on_sight` says that it is enough.
async fn watch(broadcast: &Broadcast, on_sight: &mut (dyn FnMut(Sight) -> bool + Send)) -> Result<(), BenchError> {
    let Watching { mut viewer, tracks, client: _client } = Connected::to(broadcast).await?.watch(|_| true).await?;
    loop {
        match viewer.next_event().await? {
            ViewerEvent::Object { track, payload, arrival, .. } => {
                let is_video = |(wanted, kind): &(_, MediaKind)| *wanted == track && *kind == MediaKind::Video;
                if !tracks.iter().any(is_video) {
                    continue;
                }
                let chunk = Chunk::parse(&payload, SampleDefaults::default());
                let picture = Picture::of(&chunk.map_or(payload, |chunk| chunk.payload()));
                if !on_sight(Sight { picture, at: arrival }) {
                    return Ok(());
                }
            }
            ViewerEvent::Refused { .. } => return Err(BenchError::Protocol("a track was refused")),
            ViewerEvent::TrackEnded { .. } => return Err(BenchError::Protocol("a track ended")),
            _ => {}
        }
    }
}
