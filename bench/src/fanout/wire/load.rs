//! The load's one loop: publisher and viewers on one thread, woken by their sockets and by the clock.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::super::Stop;
use super::super::joining::Watch;
use super::super::receiver::Depth;
use super::audience::Audience;
use super::publishing::{Publishing, Shape};
use super::sockets::Buffers;
use crate::error::BenchError;

/// Handshakes at once: fewer than the engine answers with a Retry.
const JOINING_MAX: usize = 16;
/// How long the load waits for the next viewer to join.
const JOIN_MAX: Duration = Duration::from_secs(60);
/// Sockets that are served before the clock is looked at: some hundred µs of work.
const EVENTS: usize = 16;
/// What an event of the publisher's socket carries; those of viewers carry their places.
const PUBLISHER: u64 = u64::MAX;
/// How often a condition is looked at while nothing happens.
const LOOK: Duration = Duration::from_millis(20);

/// Where the broadcast is published and watched.
#[derive(Debug, Clone)]
pub struct Target {
    /// The engine.
    pub server: SocketAddr,
    /// Its host and port in URLs.
    pub authority: String,
    /// Path and query of the publisher's URL.
    pub publish: String,
    /// Path and query of the viewers' URL.
    pub playback: String,
}

/// Publisher and viewers.
pub struct Load {
    epoll: OwnedFd,
    events: Vec<Event>,
    buffers: Buffers,
    stop: Stop,
    /// The publisher.
    pub publishing: Publishing,
    /// The viewers.
    pub audience: Audience,
}

impl Load {
    /// Connects the publisher, then lets `viewers` join. Nothing is published yet.
    ///
    /// # Errors
    /// Whatever keeps somebody from joining.
    pub fn join(target: &Target, shape: Shape, viewers: usize, depth: Depth, stop: &Stop) -> Result<Self, BenchError> {
        let Target { server, authority, publish, playback } = target;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
        let publishing = Publishing::new(*server, authority, publish, shape)?;
        epoll::add(&epoll, publishing.socket(), EventData::new_u64(PUBLISHER), EventFlags::IN).map_err(failed)?;
        let audience = Audience::new(viewers, depth)?;
        let mut load = Self {
            epoll,
            events: Vec::with_capacity(EVENTS),
            buffers: Buffers::new(),
            stop: stop.clone(),
            publishing,
            audience,
        };
        load.run_until("the relay takes the publisher", |load| Ok(load.publishing.track().is_some()))?;
        let track = load.publishing.track().ok_or(BenchError::Protocol("the track has no name"))?;
        let watch = Watch { path: playback.clone(), authority: authority.clone(), track };
        for count in 0..viewers {
            let (index, socket) = load.audience.admit(*server, &watch)?;
            epoll::add(&load.epoll, socket.udp(), EventData::new_u64(index as u64), EventFlags::IN).map_err(failed)?;
            let joining_max = if count + 1 == viewers { 1 } else { JOINING_MAX };
            load.run_until("a viewer's subscription is accepted", |load| Ok(load.audience.counts().1 < joining_max))?;
        }
        load.run_until("the relay follows the track", |load| Ok(load.publishing.is_followed()))?;
        Ok(load)
    }

    /// Runs until a condition holds.
    fn run_until(
        &mut self,
        what: &'static str,
        mut holds: impl FnMut(&mut Self) -> Result<bool, BenchError>,
    ) -> Result<(), BenchError> {
        let deadline = Instant::now() + JOIN_MAX;
        while !holds(self)? {
            if Instant::now() > deadline {
                return Err(BenchError::TooLong { what, patience: JOIN_MAX });
            }
            self.turn(Instant::now() + LOOK)?;
        }
        Ok(())
    }

    /// Runs for a time.
    ///
    /// # Errors
    /// The end of a connection, and what no server sends.
    pub fn run(&mut self, time: Duration) -> Result<(), BenchError> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.turn(deadline)?;
        }
        Ok(())
    }

    /// Runs until tracked viewers have `objects` of the window, or for a time.
    ///
    /// # Errors
    /// As [`Load::run`].
    pub fn drain(&mut self, objects: u64, time: Duration) -> Result<(), BenchError> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline && self.audience.tally.objects < objects {
            self.turn(deadline.min(Instant::now() + LOOK))?;
        }
        Ok(())
    }

    /// Does what there is to do, and waits for more until `until` at most.
    fn turn(&mut self, until: Instant) -> Result<(), BenchError> {
        self.stop.check()?;
        self.publishing.publish();
        let waits = [self.publishing.flush(), self.audience.flush()];
        let left = until.saturating_duration_since(Instant::now());
        let wait = waits.into_iter().flatten().fold(left, Duration::min);
        let timeout = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
        let Self { events, buffers, publishing, audience, .. } = self;
        for event in events {
            match event.data.u64() {
                PUBLISHER => publishing.receive(buffers)?,
                index => {
                    audience.receive(usize::try_from(index).unwrap_or(usize::MAX), buffers, &publishing.broadcast)?
                }
            }
        }
        Ok(())
    }
}

fn failed(error: Errno) -> BenchError {
    BenchError::file("wait for", "the load's sockets".as_ref())(error.into())
}
