//! One tenant that fills the table of tracks: many sessions with one stream key, and viewers with one token who ask for what is
//! not there.

use std::collections::VecDeque;
use std::time::Duration;

use streams_relay_core::client::{Client, ClientEvent, Join, RequestId, SubscribeRequest};
use streams_relay_core::wire::{FullTrackName, Namespace};

use super::quic::{Stranger, pause};
use super::target::{Abuse, Going, Target};
use crate::error::BenchError;
use crate::fanout::joining::client_config;

/// Sessions with the stream key, and with a token.
const PUBLISHERS: usize = 33;
const VIEWERS: usize = 36;
/// Requests that a session keeps open: what it may, and some to spare.
const REQUESTS: usize = 120;
/// Requests that a session makes before the others have theirs.
const BURST: usize = 16;
/// Fields that a publisher puts behind its namespace, so that each track is in one of its own.
const SUB_NAMESPACES: u64 = 1_000;
/// How long an asked relay may wait for a publisher of the track.
const RENDEZVOUS: Duration = Duration::from_secs(30);
/// Pause of a session that was closed before it is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// See the module.
pub struct TrackTable;

/// One session and what it has open.
struct Session {
    stranger: Stranger,
    /// The namespace that the relay offered.
    namespace: Option<Namespace>,
    open: VecDeque<RequestId>,
    publishes: bool,
}

impl Abuse for TrackTable {
    fn key(&self) -> &'static str {
        "track_table"
    }

    fn name(&self) -> &'static str {
        "a tenant filling tracks (10)"
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        let mut config = client_config()?;
        let (publish, play) = (target.publish_path(), target.playback.path.clone());
        let mut begin = |index: usize| {
            let publishes = index < PUBLISHERS;
            let path = if publishes { &publish } else { &play };
            let stranger = Stranger::new(index, target, Some(path), &mut config)?;
            Ok::<_, BenchError>(Session { stranger, namespace: None, open: VecDeque::new(), publishes })
        };
        let mut sessions = (0..PUBLISHERS + VIEWERS).map(&mut begin).collect::<Result<Vec<_>, _>>()?;
        let mut number = 0;
        while going.on() {
            let mut any = false;
            for (index, session) in sessions.iter_mut().enumerate() {
                if session.stranger.is_over() {
                    std::thread::sleep(AGAIN);
                    *session = begin(index)?;
                }
                any |= session.step(&mut number, going);
            }
            if !any {
                pause();
            }
        }
        Ok(())
    }
}

impl Session {
    fn step(&mut self, number: &mut u64, going: &Going) -> bool {
        let Self { stranger, namespace, open, publishes } = self;
        let any = stranger.step(&mut |client, event| match event {
            ClientEvent::NamespaceOffered(offered) => {
                namespace.get_or_insert(offered);
            }
            // The relay asks the publishers for what the viewers ask it.
            ClientEvent::SubscribeRequested { request, .. } => client.accept_subscribe(request, request.0, None),
            ClientEvent::Refused { request, .. } => open.retain(|kept| *kept != request),
            _ => {}
        });
        let Some(namespace) = namespace else { return any };
        for _ in 0..BURST {
            if open.len() >= REQUESTS {
                if !any {
                    return false;
                }
                // An answer came: the oldest makes room, its track stays as long as the relay keeps it.
                let oldest = open.pop_front();
                stranger.ask(|client| oldest.map(|request| client.cancel(request)));
            }
            *number += 1;
            let made = stranger.ask(|client| ask(client, namespace, *number, *publishes)).flatten();
            open.extend(made);
            going.did();
        }
        true
    }
}

/// A track that nobody else has.
fn ask(client: &mut Client, namespace: &Namespace, number: u64, publishes: bool) -> Option<RequestId> {
    let sub = Namespace::new([format!("sub{}", number % SUB_NAMESPACES)]).ok()?;
    let namespace = if publishes { namespace.join(&sub).ok()? } else { namespace.clone() };
    let track = FullTrackName::new(namespace, format!("t{number}")).ok()?;
    Some(match publishes {
        true => client.publish(track, number, None),
        false => client.subscribe(SubscribeRequest {
            join: Join::NextObject,
            rendezvous: RENDEZVOUS,
            ..SubscribeRequest::live(track)
        }),
    })
}
