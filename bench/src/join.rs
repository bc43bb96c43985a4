//! From connecting to the first picture: viewers that join a running broadcast one after the other.
//!
//! ```text
//!   viewer   connect - SETUP - catalog - SUBSCRIBE + joining FETCH - first object whole | next viewer
//! ```
//!
//! The first object has to be the key frame of a group of the film: that is what a player can show at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streams_media::MediaKind;
use streams_media::fmp4::{Chunk, SampleDefaults};
use streams_sdk::{SessionUrl, ViewerEvent};
use tokio::time::{sleep, timeout};

use crate::error::BenchError;
use crate::film::{self, Film, Picture};
use crate::publisher::{Publisher, Speed};
use crate::report::{Report, Times};
use crate::stack::{Stack, StackArgs};
use crate::viewing::{Broadcast, Connected, Watching};

/// How long the broadcast runs before the first viewer: a group is whole, and the next has begun.
const ALONE: Duration = Duration::from_secs(5);
/// How long a viewer may wait for its first object.
const OBJECT_MAX: Duration = Duration::from_secs(20);

/// Measures the time from connecting to the first picture, viewer after viewer
#[derive(Debug, clap::Args)]
pub struct JoinArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// Joins
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    joins: u32,
    /// Pause before each, so that they fall on different places of a group
    #[arg(long, default_value_t = 70, value_name = "MS")]
    pause_ms: u64,
    /// H.264 in a container that ffmpeg reads, a key frame every 2 s [default: the sample film, encoded so]
    #[arg(long, value_name = "FILE")]
    film: Option<PathBuf>,
}

/// The parts of one join.
#[derive(Debug, Clone, Copy)]
struct Joined {
    connected: Duration,
    subscribed: Duration,
    first_object: Duration,
    /// The object is a key frame of the film, at the start of its group.
    right: bool,
}

/// Runs the measurement.
///
/// # Errors
/// Whatever keeps it from being made. A first object that is no key frame of the film is a failure in the report.
pub async fn run(args: &JoinArgs) -> Result<Report, BenchError> {
    let film = Arc::new(Film::read(&film::file(args.film.as_deref())?)?);
    let stack = Stack::open(&args.stack)?;
    let input = stack.live_input("bench-join")?;
    let measured = async {
        let publisher = Publisher::start(&input, Arc::clone(&film), Speed::Times(1.0)).await?;
        stack.engine().wait_on_air(&input.id).await?;
        sleep(ALONE).await;
        let url = SessionUrl::playback(&stack.moqt_url(&input)?)?;
        let broadcast = Broadcast { url, trust: stack.trust()? };
        let mut joined = Vec::new();
        for _ in 0..args.joins {
            sleep(Duration::from_millis(args.pause_ms)).await;
            joined.push(join(&broadcast, &film).await?);
        }
        publisher.finish()?;
        report(&stack, &joined)
    };
    let measured = measured.await;
    stack.tell_complaints(&measured);
    stack.delete(&input)?;
    measured
}

async fn join(broadcast: &Broadcast, film: &Film) -> Result<Joined, BenchError> {
    let began = Instant::now();
    let connecting = Connected::to(broadcast).await?;
    let connected = began.elapsed();
    // The socket lives as long as the viewer does.
    let Watching { mut viewer, tracks, client: _client } = connecting.watch(|kind| kind == MediaKind::Video).await?;
    let subscribed = began.elapsed();
    let first = async {
        loop {
            match viewer.next_event().await? {
                ViewerEvent::Object { track, location, payload, arrival, .. }
                    if tracks.iter().any(|(wanted, _)| *wanted == track) =>
                {
                    let picture = Chunk::parse(&payload, SampleDefaults::default());
                    let picture = picture.ok().map(|chunk| Picture::of(&chunk.payload()));
                    let is_key = film.frames.iter().any(|frame| frame.key && Some(frame.picture) == picture);
                    let first_object = arrival.saturating_duration_since(began);
                    let right = location.object == 0 && is_key;
                    return Ok(Joined { connected, subscribed, first_object, right });
                }
                ViewerEvent::Refused { .. } => return Err(BenchError::Protocol("a track was refused")),
                ViewerEvent::TrackEnded { .. } => return Err(BenchError::Protocol("a track ended")),
                _ => {}
            }
        }
    };
    let too_long = |_| BenchError::TooLong { what: "a viewer gets its first object", patience: OBJECT_MAX };
    timeout(OBJECT_MAX, first).await.map_err(too_long)?
}

fn report(stack: &Stack, joined: &[Joined]) -> Result<Report, BenchError> {
    let mut report = Report::new("join: from connecting to the first picture");
    report.row("shards", stack.engine().shards(), "shards", stack.engine().shards().to_string());
    let mut tell = |key, name, part: fn(&Joined) -> Duration| {
        let mut times = Times::new()?;
        joined.iter().for_each(|joined| times.record(part(joined)));
        report.row(key, times.json(), name, times.shown());
        Ok::<_, BenchError>(())
    };
    tell("connected", "connected", |joined| joined.connected)?;
    tell("subscribed", "catalog, subscribed", |joined| joined.subscribed)?;
    tell("join", "first object", |joined| joined.first_object)?;
    let wrong = joined.iter().filter(|joined| !joined.right).count();
    let shown = format!("{} of {} first objects are key frames of the film", joined.len() - wrong, joined.len());
    report.row("joins_wrong", wrong, "verified", shown);
    if wrong > 0 {
        report.failure(format!("{wrong} viewers did not begin with a key frame of the film"));
    }
    Ok(report)
}
