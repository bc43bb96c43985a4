//! One session of a publisher: namespace, tracks, objects.

use std::future::pending;
use std::time::{Duration, Instant};

use streams_relay_core::client::{ClientConfig, ClientEvent};
use streams_relay_core::wire::{Namespace, SessionError};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::Publisher;
use crate::error::{request_refused, session_closed};
use crate::{Client, ClientError, PublishEvent, Session, SessionUrl};

/// How long a session may take from the handshake until the server has taken the first track.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to acknowledge the last objects.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that may wait for the link before more are read of an input that is not sent in real time.
const READ_AHEAD_LEN_MAX: usize = 1 << 20;
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// How often a crowded link is looked at again.
const CROWDED_RETRY: Duration = Duration::from_millis(5);

/// How a session ends.
pub(super) enum SessionEnd {
    /// Everything was published.
    Finished,
    /// Another session may go on.
    Lost(ClientError),
    /// No session can.
    Fatal(ClientError),
}

/// What belongs to one session only.
struct Link {
    session: Session,
    namespace: Option<Namespace>,
    /// A track was taken.
    live: bool,
    deadline: Instant,
}

impl<F: FnMut(PublishEvent)> Publisher<F> {
    pub(super) async fn session(&mut self, client: &Client, url: &SessionUrl) -> SessionEnd {
        let began = Instant::now();
        let session = tokio::select! {
            connected = Session::connect(client, url, ClientConfig::default()) => match connected {
                Ok(session) => session,
                Err(error) => return SessionEnd::Lost(error),
            },
            () = self.stopping.wait() => return SessionEnd::Finished,
        };
        (self.on_event)(PublishEvent::Connected { took: began.elapsed() });
        let mut link = Link { session, namespace: None, live: false, deadline: Instant::now() + START_TIMEOUT };
        match self.publish_all(&mut link).await {
            Ok(()) => SessionEnd::Finished,
            Err(end) => end,
        }
    }

    async fn publish_all(&mut self, link: &mut Link) -> Result<(), SessionEnd> {
        let mut second = interval_at(TokioInstant::now() + STATS_INTERVAL, STATS_INTERVAL);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.flush(link)?;
            if self.stopping.is_stopped() || self.feed.is_over() {
                return self.finish(link).await;
            }
            let crowded = !self.realtime && link.session.ask(|client| client.backlog_len()) > READ_AHEAD_LEN_MAX;
            let may_read = link.namespace.is_some() && self.outbox.is_empty() && !crowded;
            let wake = if crowded { Some(Instant::now() + CROWDED_RETRY) } else { self.due() };
            let deadline = (!link.live).then_some(link.deadline);
            let is_due = may_read && self.feed.next.is_some() && wake.is_none_or(|due| due <= Instant::now());
            let (has_next, until) = (self.feed.next.is_some(), [wake.filter(|_| may_read || crowded), deadline]);
            tokio::select! {
                biased;
                event = link.session.next_event() => self.handle(link, event.map_err(SessionEnd::Lost)?)?,
                () = self.stopping.wait() => {}
                () = std::future::ready(()), if is_due => self.package(),
                read = self.feed.read_next(), if may_read && !has_next => read.map_err(SessionEnd::Fatal)?,
                () = until_first(until) => {}
                _ = second.tick(), if self.stats => {
                    let summary = self.summary();
                    (self.on_event)(PublishEvent::Stats(summary));
                }
            }
            if !link.live && Instant::now() >= link.deadline {
                return Err(SessionEnd::Lost(not_started(link)));
            }
        }
    }

    fn flush(&mut self, link: &mut Link) -> Result<(), SessionEnd> {
        let Some(namespace) = &link.namespace else { return Ok(()) };
        if self.outbox.is_empty() {
            return Ok(());
        }
        link.session.ask(|client| self.outbox.flush(client, namespace)).map_err(SessionEnd::Fatal)
    }

    fn handle(&mut self, link: &mut Link, event: ClientEvent) -> Result<(), SessionEnd> {
        match event {
            ClientEvent::NamespaceOffered(namespace) if link.namespace.is_none() => {
                link.session.ask(|client| self.outbox.begin(client, &namespace)).map_err(SessionEnd::Fatal)?;
                link.namespace = Some(namespace);
            }
            ClientEvent::Accepted { request, .. } => {
                link.session.ask(|client| self.outbox.accepted(client, request));
                self.last_seen = Some(Instant::now());
                if !std::mem::replace(&mut link.live, true) {
                    (self.on_event)(PublishEvent::Live);
                }
            }
            ClientEvent::Refused { code, reason, .. } => {
                return Err(SessionEnd::Lost(request_refused("a track of the broadcast", code, &reason)));
            }
            ClientEvent::Closed { code, reason } => {
                return Err(SessionEnd::Lost(session_closed(SessionError::from_u64(code), reason)));
            }
            ClientEvent::GoingAway { .. } => {
                return Err(SessionEnd::Lost(ClientError::failed("the server is about to leave")));
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends what is left, says that it is over, and waits until the server has it.
    async fn finish(&mut self, link: &mut Link) -> Result<(), SessionEnd> {
        self.package_rest();
        let drained = async {
            loop {
                self.flush(link)?;
                if self.outbox.is_empty() && link.session.ask(|client| client.backlog_len()) == 0 {
                    break;
                }
                tokio::select! {
                    event = link.session.next_event() => self.handle(link, event.map_err(SessionEnd::Lost)?)?,
                    () = tokio::time::sleep(CROWDED_RETRY) => {}
                }
            }
            link.session.ask(|client| self.outbox.finish(client));
            link.session.drained().await;
            Ok(())
        };
        match timeout(DRAIN_TIMEOUT, drained).await {
            Ok(drained) => drained,
            Err(_) => Err(SessionEnd::Fatal(ClientError::failed(
                "the end of the broadcast could not be sent in time: the link is too slow",
            ))),
        }
    }
}

async fn until_first(times: [Option<Instant>; 2]) {
    match times.into_iter().flatten().min() {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}

fn not_started(link: &Link) -> ClientError {
    let seconds = START_TIMEOUT.as_secs();
    match link.namespace {
        None => ClientError::not_found(format!("the server offers no input there within {seconds} s: check the URL")),
        Some(_) => ClientError::failed(format!("the server took no track within {seconds} s")),
    }
}
