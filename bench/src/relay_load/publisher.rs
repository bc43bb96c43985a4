//! The one publisher: objects of equal size at even distances, each with its send time and number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use streams_relay_core::client::{ClientEvent, RequestId};
use streams_relay_core::wire::{FullTrackName, RequestErrorCode};
use streams_sdk::{Client, Session};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Load, STAMP_LEN};
use crate::error::BenchError;
use crate::group::header;

/// How long a relay may take to accept the namespace.
const ACCEPT_MAX: Duration = Duration::from_secs(10);
/// Length of a group: what encoders for low latency make.
const GROUP_SECONDS: u64 = 2;

/// When the clock of the send times began. Same for publisher and viewers, which are one process.
static EPOCH: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Time and number at the head of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of this process's clock.
    pub sent_ns: u64,
    /// Counts from 0 without gaps.
    pub number: u64,
}

impl Stamp {
    /// Reads the head of an object; `None` when it is none of ours.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (sent_ns, rest) = payload.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some(Self { sent_ns: u64::from_be_bytes(*sent_ns), number: u64::from_be_bytes(*number) })
    }

    fn write(self, payload: &mut [u8]) {
        let mut stamp = [0; STAMP_LEN];
        stamp[..8].copy_from_slice(&self.sent_ns.to_be_bytes());
        stamp[8..].copy_from_slice(&self.number.to_be_bytes());
        payload[..STAMP_LEN].copy_from_slice(&stamp);
    }

    /// From the send time to `arrival`.
    pub fn age(self, arrival: Instant) -> Duration {
        arrival.saturating_duration_since(*EPOCH + Duration::from_nanos(self.sent_ns))
    }
}

/// A publisher that runs until it is dropped.
#[derive(Debug)]
pub struct Publisher {
    published: Arc<AtomicU64>,
    task: JoinHandle<BenchError>,
}

impl Publisher {
    /// Connects and offers the track.
    ///
    /// # Errors
    /// [`BenchError`]: no session, or the relay does not want the namespace.
    pub async fn start(load: &Load) -> Result<Self, BenchError> {
        let client = Client::new(&load.trust)?;
        let mut session = Session::connect(&client, &load.url, load.session()).await?;
        let namespace = load.track.namespace.clone();
        let announced = session.ask(|machine| machine.announce(namespace));
        let mut feed = Feed::new(load);
        let accepted = async {
            loop {
                match session.next_event().await? {
                    ClientEvent::Accepted { request, .. } if request == announced => return Ok(()),
                    ClientEvent::Refused { request, .. } if request == announced => {
                        return Err(BenchError::Protocol("the relay refuses the publisher's namespace"));
                    }
                    event => feed.event(&mut session, event)?,
                }
            }
        };
        let too_long = |_| BenchError::TooLong { what: "the relay accepts a namespace", patience: ACCEPT_MAX };
        timeout(ACCEPT_MAX, accepted).await.map_err(too_long)??;
        let published = Arc::clone(&feed.published);
        let task = tokio::spawn(async move {
            let Err(error) = feed.run(session, client).await;
            error
        });
        Ok(Self { published, task })
    }

    /// Objects sent so far, which is the number of the next one.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Whether the session has ended.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A subscription of the relay.
#[derive(Debug)]
struct Follower {
    request: RequestId,
    alias: u64,
    /// The group whose stream is open.
    open: Option<u64>,
}

/// What is published, and to whom.
#[derive(Debug)]
struct Feed {
    track: FullTrackName,
    payload: Vec<u8>,
    period: Duration,
    objects_a_group: u64,
    followers: Vec<Follower>,
    published: Arc<AtomicU64>,
}

impl Feed {
    fn new(load: &Load) -> Self {
        Self {
            track: load.track.clone(),
            payload: vec![0x5A; load.object_len],
            period: Duration::from_secs(1) / load.fps,
            objects_a_group: u64::from(load.fps) * GROUP_SECONDS,
            followers: Vec::new(),
            published: Arc::default(),
        }
    }

    /// Publishes for as long as the session lasts. The client is its socket.
    async fn run(mut self, mut session: Session, _client: Client) -> Result<std::convert::Infallible, BenchError> {
        let mut ticks = interval(self.period);
        // Late objects follow at once: the bit rate is kept, and their lateness is the relay's or this machine's to explain.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                event = session.next_event() => self.event(&mut session, event?)?,
                _ = ticks.tick() => self.send(&mut session),
            }
        }
    }

    fn event(&mut self, session: &mut Session, event: ClientEvent) -> Result<(), BenchError> {
        match event {
            ClientEvent::SubscribeRequested { request, track, .. } if track == self.track => {
                let alias = request.0;
                session.ask(|machine| machine.accept_subscribe(request, alias, None));
                self.followers.push(Follower { request, alias, open: None });
            }
            ClientEvent::SubscribeRequested { request, .. } | ClientEvent::FetchRequested { request, .. } => {
                session
                    .ask(|machine| machine.reject(request, RequestErrorCode::DoesNotExist, "there is one live track"));
            }
            ClientEvent::Cancelled(request) => self.followers.retain(|follower| follower.request != request),
            ClientEvent::Closed { .. } => return Err(BenchError::Protocol("the relay closed the publisher's session")),
            _ => {}
        }
        Ok(())
    }

    /// Sends the next object to everybody who follows; who came within a group begins with the next.
    fn send(&mut self, session: &mut Session) {
        let number = self.published.load(Ordering::Relaxed);
        let (group, object) = (number / self.objects_a_group, number % self.objects_a_group);
        let sent_ns = u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Stamp { sent_ns, number }.write(&mut self.payload);
        let (followers, payload, last) = (&mut self.followers, &self.payload, object + 1 == self.objects_a_group);
        session.ask(|machine| {
            for follower in followers {
                if object == 0 {
                    machine.open_subgroup(follower.request, header(follower.alias, group));
                    follower.open = Some(group);
                }
                if follower.open == Some(group) {
                    machine.send_object(follower.alias, group, 0, object, &[], payload);
                    if last {
                        machine.end_subgroup(follower.alias, group, 0);
                    }
                }
            }
        });
        self.published.store(number + 1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_other_bytes_are_none() {
        let mut payload = vec![0; 40];
        let stamp = Stamp { sent_ns: 7_000_000, number: 9 };
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&payload[..15]), None);
        assert_eq!(stamp.age(*EPOCH + Duration::from_millis(9)), Duration::from_millis(2));
    }
}
