//! From an RTMP message to the whole object at a native viewer on another shard.
//!
//! ```text
//!   publisher thread -- RTMP --> shard h (home) -- media link --> shard v -- QUIC --> viewer task
//!        | Sent{dts, at}                                                                  | Received{group, object, arrival}
//!        '------------------------------- matching -----------------------------------------'
//! ```
//!
//! The clock starts just before the system call that hands the last byte of the message to the kernel, and stops when the
//! viewer has read the bytes that complete the object; both are this process's monotonic clock.

mod matching;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use streams_contract::Counter;
use streams_media::MediaKind;
use streams_media::fmp4::{Chunk, SampleDefaults};
use streams_sdk::{SessionUrl, ViewerEvent};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::matching::{Received, match_objects};
use crate::error::BenchError;
use crate::film::{self, Film, Picture};
use crate::publisher::{Publisher, Speed};
use crate::report::{Report, Times};
use crate::stack::{Stack, StackArgs};
use crate::viewing::{Broadcast, Connected, Watching};

/// Connections tried for each viewer that is wanted; each has an even chance of another shard when there are two.
const TRIES_PER_VIEWER: usize = 6;
/// How long objects may still be on their way after the last message.
const LAST_OBJECTS: Duration = Duration::from_secs(1);

/// Measures the time from an RTMP message to the object at viewers on another shard
#[derive(Debug, clap::Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// How long to measure, once all viewers watch
    #[arg(long, default_value_t = 20, value_name = "S")]
    seconds: u64,
    /// H.264 in a container that ffmpeg reads, a key frame every 2 s [default: the sample film, encoded so]
    #[arg(long, value_name = "FILE")]
    film: Option<PathBuf>,
    /// Viewers on another shard than the publisher's
    #[arg(long, default_value_t = 8, value_name = "N")]
    viewers: usize,
}

/// Viewers on another shard, and how they were found.
struct Found {
    home: usize,
    tries: usize,
    viewers: JoinSet<Result<Vec<Received>, BenchError>>,
    stop: watch::Sender<bool>,
}

/// Runs the measurement.
///
/// # Errors
/// Whatever keeps it from being made. Frames that cannot be matched are failures in the report.
pub async fn run(args: &LatencyArgs) -> Result<Report, BenchError> {
    let film = Arc::new(Film::read(&film::file(args.film.as_deref())?)?);
    let stack = Stack::open(&args.stack)?;
    let input = stack.live_input("bench-latency")?;
    let measured = async {
        let publisher = Publisher::start(&input, Arc::clone(&film), Speed::Times(1.0)).await?;
        let home = stack.engine().wait_on_air(&input.id).await?;
        let url = SessionUrl::playback(&stack.moqt_url(&input)?)?;
        let broadcast = Broadcast { url, trust: stack.trust()? };
        let found = find_viewers(&stack, &broadcast, home, args.viewers).await?;
        measure(args, &film, &stack, publisher, found).await
    };
    let measured = measured.await;
    stack.tell_complaints(&measured);
    stack.delete(&input)?;
    measured
}

/// Connects viewers one by one and keeps those that came to another shard than the publisher's.
async fn find_viewers(stack: &Stack, broadcast: &Broadcast, home: usize, wanted: usize) -> Result<Found, BenchError> {
    let mut found = Found { home, tries: 0, viewers: JoinSet::new(), stop: watch::Sender::new(false) };
    while found.viewers.len() < wanted && found.tries < wanted.saturating_mul(TRIES_PER_VIEWER) {
        found.tries += 1;
        let before = stack.engine().counter(Counter::ConnectionsAccepted)?;
        let connected = Connected::to(broadcast).await?;
        if stack.engine().wait_accepted(&before).await?.is_some_and(|shard| shard != home) {
            let watching = connected.watch(|kind| kind == MediaKind::Video).await?;
            found.viewers.spawn(receive(watching, found.stop.subscribe()));
        }
    }
    if found.viewers.is_empty() {
        return Err(BenchError::NoOtherShard { tries: found.tries, home, shards: stack.engine().shards() });
    }
    Ok(found)
}

async fn measure(
    args: &LatencyArgs,
    film: &Film,
    stack: &Stack,
    publisher: Publisher,
    found: Found,
) -> Result<Report, BenchError> {
    let Found { home, tries, mut viewers, stop } = found;
    let (count, from) = (viewers.len(), Instant::now());
    let silence = stack.engine().listen(Duration::from_secs(args.seconds)).await?;
    publisher.stop_sending();
    sleep(LAST_OBJECTS).await;
    stop.send_replace(true);
    let mut received = Vec::new();
    while let Some(ended) = viewers.join_next().await {
        received.push(ended.map_err(|_| BenchError::Died("viewer"))??);
    }
    let sent = publisher.finish()?;

    let (mut all, mut keys, mut others) = (Times::new()?, Times::new()?, Times::new()?);
    let (mut unmatched, mut missing, mut duplicates, mut idle) = (0, 0, 0, 0);
    for objects in &received {
        let matched = match_objects(film, &sent, objects);
        // Messages sent while viewers were still connecting are matched too, but not measured.
        let measured: Vec<_> = matched.times.iter().filter(|pair| pair.sent >= from).collect();
        for pair in &measured {
            all.record(pair.time);
            if pair.key { keys.record(pair.time) } else { others.record(pair.time) }
        }
        unmatched += matched.unmatched;
        missing += matched.missing;
        duplicates += matched.duplicates;
        idle += u64::from(measured.is_empty());
    }

    let mut report = Report::new("latency: RTMP message to object at a native viewer on another shard");
    report.row("shards", stack.engine().shards(), "shards", stack.engine().shards().to_string());
    report.row("home_shard", home, "publisher's shard", home.to_string());
    report.row("viewers", count, "viewers elsewhere", format!("{count} (of {tries} connected)"));
    report.row("seconds", args.seconds, "measured", format!("{} s, {} frames sent", args.seconds, sent.len()));
    report.row("latency", all.json(), "all frames", all.shown());
    report.row("latency_key_frames", keys.json(), "key frames", keys.shown());
    report.row("latency_other_frames", others.json(), "other frames", others.shown());
    let counts = json!({ "unmatched": unmatched, "missing": missing, "duplicates": duplicates });
    let shown = format!("{unmatched} unmatched, {missing} missing, {duplicates} twice");
    report.row("checks", counts, "objects", shown.clone());
    report.silence(silence);
    if unmatched + missing + duplicates > 0 {
        report.failure(format!("not every frame became one object at every viewer: {shown}"));
    }
    if idle > 0 {
        report.failure(format!("{idle} viewers got no whole group: measure longer than two groups"));
    }
    Ok(report)
}

/// Takes down what comes until told to stop.
async fn receive(watching: Watching, mut stop: watch::Receiver<bool>) -> Result<Vec<Received>, BenchError> {
    let Watching { mut viewer, tracks, client: _client } = watching;
    let mut received = Vec::new();
    loop {
        let event = tokio::select! {
            event = viewer.next_event() => event?,
            // An error says that nobody wants to know any more.
            _ = stop.wait_for(|stop| *stop) => return Ok(received),
        };
        match event {
            ViewerEvent::Object { track, location, payload, arrival, .. }
                if tracks.iter().any(|(wanted, _)| *wanted == track) =>
            {
                let chunk = Chunk::parse(&payload, SampleDefaults::default()).ok();
                received.push(Received {
                    group: location.group,
                    object: location.object,
                    tfdt: chunk.as_ref().map(|chunk| chunk.decode_time),
                    picture: Picture::of(&chunk.map_or(payload, |chunk| chunk.payload())),
                    arrival,
                });
            }
            ViewerEvent::Refused { .. } => return Err(BenchError::Protocol("the video track was refused")),
            ViewerEvent::TrackEnded { .. } => return Err(BenchError::Protocol("the video track ended")),
            _ => {}
        }
    }
}
