//! The viewers: each counts what it got of the window that is open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use streams_relay_core::client::{ClientEvent, Join, SubscribeRequest};
use streams_relay_core::wire::ObjectStatus;
use streams_sdk::{Client, Session};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Load;
use super::publisher::Stamp;
use crate::error::BenchError;

/// Pause between two viewers that join.
const JOIN_PAUSE: Duration = Duration::from_millis(10);
/// How long the last of them may take to get an object: groups begin every two seconds.
const JOIN_MAX: Duration = Duration::from_secs(20);
/// How long after a refusal a viewer asks again: a relay may learn of a namespace later than it accepts it.
const AGAIN: Duration = Duration::from_millis(200);
/// Times that a viewer asks.
const TRIES: u32 = 20;
/// Delivery times are kept from 1 µs up to this, with three digits.
const TIME_US_MAX: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// What all viewers got of the objects with a number from `first` to before `end`.
#[derive(Debug)]
pub struct Window {
    /// The first object that counts.
    pub first: u64,
    /// The first one that no longer counts.
    pub end: u64,
    /// Objects, viewer by viewer.
    pub received: Vec<u64>,
    /// Payload bytes of all.
    pub bytes: u64,
    /// Microseconds from sending to the whole object.
    pub times: Histogram<u64>,
}

/// What the viewers share.
#[derive(Debug, Default)]
struct Shared {
    window: Mutex<Option<Window>>,
    failures: Mutex<Vec<String>>,
}

/// Viewers that watch until this drops.
#[derive(Debug)]
pub struct Audience {
    load: Load,
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    watching: watch::Sender<usize>,
}

impl Audience {
    /// Nobody yet.
    pub fn new(load: Load) -> Self {
        Self { load, tasks: JoinSet::new(), shared: Arc::default(), watching: watch::Sender::new(0) }
    }

    /// Adds viewers until there are `count`, and waits until every one got an object. Says why when some did not.
    pub async fn grow(&mut self, count: usize) -> Option<String> {
        for index in self.tasks.len()..count {
            let (load, shared, watching) = (self.load.clone(), Arc::clone(&self.shared), self.watching.clone());
            self.tasks.spawn(async move {
                if let Err(error) = view(&load, index, &shared, &watching).await {
                    lock(&shared.failures).push(error.to_string());
                }
            });
            sleep(JOIN_PAUSE).await;
        }
        let mut watching = self.watching.subscribe();
        let all = timeout(JOIN_MAX, watching.wait_for(|watching| *watching >= count)).await;
        all.is_err().then(|| format!("{} of {count} viewers got an object", *self.watching.borrow()))
    }

    /// Begins to count, from the object `first` on.
    ///
    /// # Errors
    /// [`BenchError::Histogram`]: its bounds are none.
    pub fn open(&self, first: u64) -> Result<(), BenchError> {
        let times = Histogram::new_with_bounds(1, TIME_US_MAX, DIGITS)?;
        let received = vec![0; self.tasks.len()];
        *lock(&self.shared.window) = Some(Window { first, end: u64::MAX, received, bytes: 0, times });
        Ok(())
    }

    /// The object `end` and later ones no longer count; earlier ones still do.
    pub fn close(&self, end: u64) {
        if let Some(window) = lock(&self.shared.window).as_mut() {
            window.end = end;
        }
    }

    /// What was counted, for the last time.
    pub fn take(&self) -> Option<Window> {
        lock(&self.shared.window).take()
    }

    /// Why viewers that left did so.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.shared.failures).clone()
    }
}

async fn view(load: &Load, index: usize, shared: &Shared, watching: &watch::Sender<usize>) -> Result<(), BenchError> {
    // A socket of its own, as a viewer has: no receive buffer is shared, and none overflows for another's sake.
    let client = Client::new(&load.trust)?;
    let mut session = Session::connect(&client, &load.url, load.session()).await?;
    let request = || SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(load.track.clone()) };
    let mut subscription = session.ask(|machine| machine.subscribe(request()));
    let (mut tries, mut began) = (1, false);
    loop {
        match session.next_event().await? {
            ClientEvent::Object(of, object) if of == subscription && object.status == ObjectStatus::Normal => {
                let stamp = Stamp::read(&object.payload).ok_or(BenchError::Protocol("an object that nobody sent"))?;
                let age = stamp.age(session.arrival());
                count(shared, index, stamp, object.payload.len(), age);
                if !std::mem::replace(&mut began, true) {
                    watching.send_modify(|watching| *watching += 1);
                }
            }
            ClientEvent::Refused { request: of, .. } if of == subscription => {
                if tries == TRIES {
                    return Err(BenchError::Protocol("the relay refuses the subscription"));
                }
                tries += 1;
                sleep(AGAIN).await;
                subscription = session.ask(|machine| machine.subscribe(request()));
            }
            ClientEvent::Done { .. } => return Err(BenchError::Protocol("the relay ended the subscription")),
            ClientEvent::Closed { .. } => return Err(BenchError::Protocol("the relay closed a viewer's session")),
            _ => {}
        }
    }
}

fn count(shared: &Shared, index: usize, stamp: Stamp, len: usize, age: Duration) {
    let mut window = lock(&shared.window);
    let Some(window) = window.as_mut().filter(|window| (window.first..window.end).contains(&stamp.number)) else {
        return;
    };
    if let Some(received) = window.received.get_mut(index) {
        *received += 1;
    }
    window.bytes += len as u64;
    window.times.saturating_record(u64::try_from(age.as_micros()).unwrap_or(TIME_US_MAX).max(1));
}

/// A viewer that panicked leaves numbers that are whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
