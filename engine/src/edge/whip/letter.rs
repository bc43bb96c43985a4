//! What shards ask of each other for WHIP: a request may come to any of them, a session is at one.
//!
//! No waker may cross threads, so an answer comes by the box of the shard that asked, and wakes its task there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use futures_lite::future;
use streams_ingest::IceFragment;

use super::super::http::Reply;
use crate::host::sleep_until;

/// One letter.
pub struct Letter {
    pub(super) from: usize,
    /// Of the request, counted by the shard that asked.
    pub(super) number: u64,
    pub(super) content: Content,
}

pub(super) enum Content {
    Ask(Box<Ask>),
    Answer(Reply),
}

/// An offer by somebody who may publish.
#[derive(Debug)]
pub struct Offered {
    pub(super) input: String,
    pub(super) key: String,
    pub(super) offer: String,
    pub(super) peer: SocketAddr,
    /// The address that the peer's HTTPS connection came to.
    pub(super) local: SocketAddr,
}

/// What is asked of a session's shard.
#[derive(Debug)]
pub enum Ask {
    /// A new session.
    Offer(Offered),
    /// More candidates, or another generation of ICE.
    Patch {
        /// Names the session.
        token: String,
        /// The field `If-Match`.
        if_match: Option<String>,
        /// What came.
        fragment: IceFragment,
    },
    /// The end of a session.
    Delete {
        /// Names the session.
        token: String,
    },
}

/// Requests of this shard that wait for others' answers.
#[derive(Default)]
pub(super) struct Waiting {
    slots: RefCell<(u64, HashMap<u64, Slot>)>,
}

#[derive(Default)]
struct Slot {
    reply: Option<Reply>,
    waker: Option<Waker>,
}

impl Waiting {
    /// A number for a letter, and the answer to it; `None` when there is none by `deadline`.
    pub(super) fn expect(self: &Rc<Self>, deadline: Instant) -> (u64, impl Future<Output = Option<Reply>> + use<>) {
        let number = {
            let mut slots = self.slots.borrow_mut();
            slots.0 = slots.0.wrapping_add(1);
            let number = slots.0;
            slots.1.insert(number, Slot::default());
            number
        };
        let slot = Expected { waiting: self.clone(), number };
        let answer = async move {
            let answered = poll_fn(|context| match slot.waiting.slots.borrow_mut().1.get_mut(&slot.number) {
                None => Poll::Ready(None),
                Some(Slot { reply: Some(reply), .. }) => Poll::Ready(Some(reply.clone())),
                Some(slot) => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            });
            let late = async {
                sleep_until(deadline).await;
                None
            };
            future::or(answered, late).await
        };
        (number, answer)
    }

    pub(super) fn answer(&self, number: u64, reply: Reply) {
        // Nobody waits any more when it is not there.
        if let Some(slot) = self.slots.borrow_mut().1.get_mut(&number) {
            slot.reply = Some(reply);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Forgets the request with its task.
struct Expected {
    waiting: Rc<Waiting>,
    number: u64,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.slots.borrow_mut().1.remove(&self.number);
    }
}
