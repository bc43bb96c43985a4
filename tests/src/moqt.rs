//! A MoQT session over raw QUIC that may ask for anything: what `streams play` never does, a stranger's client may.

use std::time::Duration;

use streams_relay_core::client::{Client as Machine, ClientConfig, ClientEvent, RequestId};
use streams_relay_core::wire::{Location, RequestErrorCode, SessionError};
use streams_sdk::{Client, Session, SessionUrl, Trust};
use tokio::runtime::{Builder, Runtime};

use crate::Stack;

/// As for everything that a test waits for: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is late is waited for so long, so that what is missing then is missing. It is less than [`PATIENCE`], for one group may be
/// waited for in vain: a viewer who joins behind its last object is not told that this was the last one.
const GROUP_WAIT: Duration = Duration::from_secs(20);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request's OK, and the track's largest location if it told one.
    Accepted(Option<Location>),
    /// REQUEST_ERROR; the session goes on.
    Refused(RequestErrorCode, String),
    /// The relay closed the session.
    Closed(SessionError, String),
}

/// A session and what it was told. Dropping it closes the session.
pub struct Moqt {
    // Before the runtime: its close needs one that still runs.
    session: Session,
    client: Client,
    runtime: Runtime,
    /// All events so far.
    pub events: Vec<ClientEvent>,
}

impl Moqt {
    /// Connects to the stack's engine, whose certificate it pins, and shows `path` (with its query) in SETUP.
    pub fn connect(stack: &Stack, path: &str) -> Self {
        // The worker answers QUIC's packets while the test does something else.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let pinned = std::fs::read(stack.data.join("tls/cert.pem")).expect("the stack's certificate");
        let (host, port) = (stack.host.to_string(), stack.ports.quic);
        let authority = format!("{host}:{port}");
        let url = SessionUrl { host, port, authority, path: path.to_owned() };
        let (client, session) = runtime.block_on(async {
            let client = Client::new(&Trust::PinnedCertPem(pinned)).expect("a certificate");
            let config = ClientConfig { group_wait: GROUP_WAIT, ..ClientConfig::default() };
            let session = Session::connect(&client, &url, config).await;
            (client, session.expect("the engine answers"))
        });
        Self { session, client, runtime, events: Vec::new() }
    }

    /// Moves to another UDP port, as a device that changes its network.
    pub fn rebind(&self) {
        let _inside = self.runtime.enter();
        self.client.rebind().expect("a socket");
    }

    /// Makes a request; what becomes of it comes as events.
    pub fn send(&mut self, ask: impl FnOnce(&mut Machine) -> RequestId) -> RequestId {
        let _inside = self.runtime.enter();
        self.session.ask(ask)
    }

    /// Makes a request and waits for what becomes of it.
    pub fn ask(&mut self, ask: impl FnOnce(&mut Machine) -> RequestId) -> Answer {
        let wanted = self.send(ask);
        self.wait("a request is answered", |event| match event {
            ClientEvent::Accepted { request, largest, .. } if *request == wanted => Some(Answer::Accepted(*largest)),
            ClientEvent::Refused { request, code, reason } if *request == wanted => {
                Some(Answer::Refused(*code, reason.clone()))
            }
            ClientEvent::Closed { code, reason } => Some(Answer::Closed(SessionError::from_u64(*code), reason.clone())),
            _ => None,
        })
    }

    /// Waits for an event, also among those that came already; panics with `what` when it does not come.
    pub fn wait<T>(&mut self, what: &str, wanted: impl Fn(&ClientEvent) -> Option<T>) -> T {
        if let Some(found) = self.events.iter().find_map(&wanted) {
            return found;
        }
        let newest = |events: &[ClientEvent]| events.last().and_then(&wanted);
        self.read_until(what, newest)
    }

    /// Takes further events until all so far give what is wanted; panics with `what` when they do not in time.
    pub fn read_until<T>(&mut self, what: &str, wanted: impl Fn(&[ClientEvent]) -> Option<T>) -> T {
        let (session, events) = (&mut self.session, &mut self.events);
        let found = self.runtime.block_on(async {
            let search = async {
                loop {
                    events.push(session.next_event().await.unwrap_or_else(|error| panic!("{what}: {error}")));
                    if let Some(found) = wanted(events) {
                        return found;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, search).await
        });
        found.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}; {} events came", self.events.len()))
    }
}
