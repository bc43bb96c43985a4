//! The task that serves all sessions of a shard: datagrams in, and time.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_lite::future;
use streams_logs::Seldom;
use tracing::warn;

use super::WhipEdge;

/// Longest datagram that is WebRTC's.
const DATAGRAM_LEN_MAX: usize = 2_048;
/// Datagrams in a row before others have their turn: some ten microseconds each, those that end a frame more.
const SLICE_DATAGRAMS: usize = 8;
/// Sessions are looked at so often, for one that was told to end from outside wakes nobody.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// While there is no session.
const IDLE_INTERVAL: Duration = Duration::from_secs(3_600);

/// Tells the task that HTTP has changed something.
#[derive(Default)]
pub(super) struct Changed {
    is: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Changed {
    pub(super) fn tell(&self) {
        self.is.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|context| {
            if self.is.take() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Serves the sessions until the shard ends.
pub(crate) async fn run(edge: WhipEdge) {
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    loop {
        if receive(&edge, &mut buffer) {
            future::yield_now().await;
        } else {
            let due = {
                let mut sessions = edge.sessions.borrow_mut();
                let now = Instant::now();
                let look = now + if sessions.is_empty() { IDLE_INTERVAL } else { LOOK_INTERVAL };
                sessions.due().map_or(look, |due| due.min(look))
            };
            future::or(edge.socket.readable(due), edge.changed.wait()).await;
        }
        edge.pass_time(Instant::now());
    }
}

/// Takes what is there, a slice at most. True when there may be more.
fn receive(edge: &WhipEdge, buffer: &mut [u8]) -> bool {
    static FAILED: Seldom = Seldom::new();
    let now = Instant::now();
    for _ in 0..SLICE_DATAGRAMS {
        match edge.socket.receive(buffer) {
            Ok(Some((len, from))) => edge.datagram(now, from, buffer.get(..len).unwrap_or_default()),
            Ok(None) => return false,
            Err(error) => {
                if let Some(left_out) = FAILED.pass(now) {
                    warn!(%error, left_out, "receiving WebRTC failed");
                }
                return false;
            }
        }
    }
    true
}
