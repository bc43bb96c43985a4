//! WHIP (RFC 9725): encoders that negotiate WebRTC over HTTPS.
//!
//! ```text
//!   POST /whip/<input> --> any shard --> admit --> home shard (letter) --> session: place, offer -> answer, 201
//!   PATCH, DELETE <session> --> any shard --> the session's shard (letter)
//!   datagrams of the shard's own UDP port --> sessions: by user fragment (STUN), else by peer --> one session --> encoder
//! ```
//!
//! A session holds one of the unpublished places of [`Door`] until ICE and DTLS are through, and asks to publish then: an offer
//! whose sender never comes replaces nobody. Its URL and its user fragments begin with the number of its shard.

pub(crate) mod endpoint;
pub(crate) mod http;
mod letter;
mod live;
mod sessions;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ::http::StatusCode;
use ring::rand::{SecureRandom, SystemRandom};

pub use self::letter::{Ask, Letter};
use self::letter::{Content, Waiting};
use self::sessions::Sessions;
use super::admission::PlaceLimits;
use super::door::Door;
use super::http::Reply;
use crate::host::HostedSocket;
use crate::shard::{Shard, WhipAdmission};

/// How long another shard may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Bounds of WHIP at one shard.
#[derive(Clone, Debug)]
pub(crate) struct WhipSettings {
    /// Sessions at once.
    pub(crate) places: PlaceLimits,
    /// From the answer until ICE and DTLS are through.
    pub(crate) connect_timeout: Duration,
    /// Longest silence of a connected session.
    pub(crate) idle_timeout: Duration,
    /// What a NAT makes of this machine's address.
    pub(crate) public_address: Option<IpAddr>,
    /// ICE servers for clients, each a URL.
    pub(crate) ice_servers: Vec<String>,
}

/// WHIP at one shard.
#[derive(Clone)]
pub(crate) struct WhipEdge {
    shard: Rc<RefCell<Shard>>,
    settings: Rc<WhipSettings>,
    door: Rc<Door>,
    socket: Rc<HostedSocket>,
    sessions: Rc<RefCell<Sessions>>,
    waiting: Rc<Waiting>,
    changed: Rc<endpoint::Changed>,
}

impl WhipEdge {
    /// With no session. [`endpoint::run`] serves it.
    pub(crate) fn new(shard: &Rc<RefCell<Shard>>, settings: WhipSettings, socket: HostedSocket) -> Self {
        const WORDS: &str = "WebRTC sessions that had not connected were closed for newer ones: more offers come than \
                             [ingest] unpublished_max or unpublished_address_max allow";
        Self {
            shard: shard.clone(),
            door: Door::new(settings.places, WORDS),
            settings: Rc::new(settings),
            socket: Rc::new(socket),
            sessions: Rc::default(),
            waiting: Rc::default(),
            changed: Rc::default(),
        }
    }

    /// Handles what another shard wrote.
    pub(crate) fn letter(&self, letter: Letter) {
        match letter.content {
            Content::Answer(reply) => self.waiting.answer(letter.number, reply),
            Content::Ask(ask) => {
                let content = Content::Answer(self.carry_out(*ask));
                let mut shard = self.shard.borrow_mut();
                let from = shard.index();
                // Whoever asks gives up by itself when the box is full.
                shard.send_letter(letter.from, Letter { from, number: letter.number, content });
            }
        }
    }

    /// Has the shard of a session, or the home of an input, do what is asked.
    async fn ask(&self, to: usize, ask: Ask) -> Reply {
        if to == self.shard.borrow().index() {
            return self.carry_out(ask);
        }
        let (number, answer) = self.waiting.expect(Instant::now() + ANSWER_PATIENCE);
        let sent = {
            let mut shard = self.shard.borrow_mut();
            let from = shard.index();
            shard.send_letter(to, Letter { from, number, content: Content::Ask(Box::new(ask)) })
        };
        match if sent { answer.await } else { None } {
            Some(reply) => reply,
            None => unavailable("the shard of this session is busy; try again"),
        }
    }

    /// Does what is asked of a session of this shard.
    fn carry_out(&self, ask: Ask) -> Reply {
        let now = Instant::now();
        let reply = match ask {
            Ask::Offer(offer) => self.offer(now, offer),
            Ask::Patch { token, if_match, fragment } => self.patch(now, &token, if_match.as_deref(), &fragment),
            Ask::Delete { token } => self.delete(now, &token),
        };
        self.changed.tell();
        reply
    }

    /// Whether a key may publish here, and where.
    fn admit(&self, input: &str, key: &str, peer: &str) -> Result<usize, Reply> {
        let mut shard = self.shard.borrow_mut();
        match shard.admit_whip(input, key, peer) {
            WhipAdmission::Here => Ok(shard.index()),
            WhipAdmission::Elsewhere(home) => Ok(home),
            WhipAdmission::Unknown => Err(Reply::not_found(format!("there is no live input {input}"))),
            WhipAdmission::Unauthorized => Err(http::unauthorized("the stream key is not valid for this live input")),
            WhipAdmission::Disabled(reason) => Err(Reply::problem(StatusCode::FORBIDDEN, "disabled", reason)),
            WhipAdmission::OtherKind(reason) => Err(Reply::problem(StatusCode::CONFLICT, "other_kind", reason)),
            WhipAdmission::Draining => Err(unavailable("this server is about to stop; connect to another one")),
        }
    }
}

fn unavailable(detail: &str) -> Reply {
    Reply::problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).with(::http::header::RETRY_AFTER, "1")
}

/// So many random bytes in hexadecimal; empty when the system has none, and no session can be made then.
fn random_hex<const LEN: usize>() -> String {
    let mut bytes = [0; LEN];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => String::new(),
    }
}
