//! A small server for tests: a real relay on real QUIC, which publishes a looped film in `lv_1` of `org_a`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use streams_media::catalog::{CATALOG_TRACK, Catalog};
use streams_media::fmp4::{Chunk, InitSegment, SampleDefaults};
use streams_relay_core::relay::{Relay, RelayConfig, SessionConfig, SessionId, TrackConfig, TrackId, Transport};
use streams_relay_core::wire::{Draft, FullTrackName, Namespace, PublishDoneCode};
use streams_relay_core::{Directory, Resource, SigningAlgorithm, SigningKey};
use tokio::task::JoinHandle;

use crate::mp4::source::Source;
use crate::viewer::io::{Input, Streams};

/// Frames a second of the film.
pub(crate) const FRAME_RATE: u64 = 25;
/// Frames a group.
const GROUP_LEN: u64 = 50;
/// How often a session looks for something to send.
const PUMP_INTERVAL: Duration = Duration::from_millis(5);

/// What outlives a restart of the server: its certificate, its signing key and the film.
pub(crate) struct Service {
    pub certificate_pem: String,
    private_key: Vec<u8>,
    certificate: rustls::pki_types::CertificateDer<'static>,
    tokens: EncodingKey,
    tokens_public_pem: String,
    video: Source,
    audio: Source,
    /// The number of the first object that there is of a video group: the head of a longer group may be gone.
    pub first_object: u64,
}

impl Service {
    pub fn new(video: Source, audio: Source) -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tokens = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self {
            certificate_pem: signed.cert.pem(),
            private_key: signed.signing_key.serialize_der(),
            certificate: signed.cert.der().clone(),
            tokens: EncodingKey::from_ed_pem(tokens.serialize_pem().as_bytes()).unwrap(),
            tokens_public_pem: tokens.public_key_pem(),
            video,
            audio,
            first_object: 0,
        }
    }

    /// A URL of `lv_1` on this server, with a token that ends `ttl_s` from now.
    pub fn url(&self, address: SocketAddr, ttl_s: i64) -> String {
        let now = unix_now().as_secs();
        let claims = json!({
            "iss": "org_a", "sub": "lv_1", "aud": "playback",
            "iat": now - 100, "exp": now.saturating_add_signed(ttl_s),
        });
        let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims, &self.tokens).unwrap();
        format!("moqt://{address}/playback/lv_1?tok={token}")
    }
}

impl Directory for Service {
    fn signing_key(&self, kid: &str) -> Option<SigningKey> {
        let (org, public_key_pem) = ("org_a".to_owned(), self.tokens_public_pem.clone());
        (kid == "k").then_some(SigningKey { alg: SigningAlgorithm::EdDsa, org, public_key_pem, revoked: false })
    }

    fn resource(&self, id: &str) -> Option<Resource> {
        let (canonical, org) = ("lv_1".to_owned(), "org_a".to_owned());
        (id == "lv_1").then_some(Resource { canonical, org, enabled: true })
    }

    fn publish_key_ok(&self, _input_id: &str, _key: &str, _unix_now_ms: u64) -> bool {
        false
    }
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn unix_now_ms() -> u64 {
    unix_now().as_millis() as u64
}

/// A running server.
pub(crate) struct Server {
    pub address: SocketAddr,
    endpoint: Endpoint,
    tasks: Vec<JoinHandle<()>>,
    relay: Arc<Mutex<Relay>>,
    tracks: Vec<TrackId>,
}

impl Server {
    /// Serves on `address`; port 0 takes any.
    pub fn start(service: &Arc<Service>, address: SocketAddr) -> Self {
        let key = PrivateKeyDer::try_from(service.private_key.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![service.certificate.clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"moqt-18".to_vec()];
        let tls = QuicServerConfig::try_from(tls).unwrap();
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        Arc::get_mut(&mut config.transport).unwrap().max_idle_timeout(Some(Duration::from_secs(5).try_into().unwrap()));
        let endpoint = Endpoint::server(config, address).unwrap();
        let relay = Arc::new(Mutex::new(Relay::new(RelayConfig::default())));
        let (tracks, publishing) = publish(service, &relay);
        let accepting = tokio::spawn(accept(endpoint.clone(), Arc::clone(service), Arc::clone(&relay)));
        let address = endpoint.local_addr().unwrap();
        Self { address, endpoint, tasks: vec![publishing, accepting], relay, tracks }
    }

    /// The broadcast ends in an orderly way.
    pub fn end_broadcast(&mut self) {
        self.tasks.remove(0).abort();
        let mut relay = self.relay.lock().unwrap();
        for track in &self.tracks {
            relay.track_end(Instant::now(), *track, PublishDoneCode::TrackEnded);
        }
    }

    /// Stops, and returns when the address is free.
    pub async fn stop(self) {
        let Self { address, endpoint, tasks, .. } = self;
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        endpoint.close(0u32.into(), b"stopped");
        endpoint.wait_idle().await;
        drop(endpoint);
        // The endpoint's own task lets the socket go a moment later.
        while std::net::UdpSocket::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Opens the tracks and publishes the film in real time, over and over.
fn publish(service: &Arc<Service>, relay: &Arc<Mutex<Relay>>) -> (Vec<TrackId>, JoinHandle<()>) {
    let namespace = Namespace::new(["stream", "org_a", "lv_1"]).unwrap();
    let now = Instant::now();
    let mut locked = relay.lock().unwrap();
    locked.set_time(unix_now_ms());
    locked.namespace_up(now, namespace.clone());
    let mut open = |name: &str, pinned| {
        let name = FullTrackName::new(namespace.clone(), name).unwrap();
        locked.track_open(now, name, TrackConfig { publisher_priority: 128, pinned })
    };
    let (catalog, video, audio) = (open(CATALOG_TRACK, true), open("video/180p", false), open("audio", false));
    locked.object(now, catalog, unix_now_ms(), 0, catalog_of(service), true);
    drop(locked);
    let film = Film { service: Arc::clone(service), relay: Arc::clone(relay), video, audio };
    (vec![catalog, video, audio], tokio::spawn(film.run()))
}

fn catalog_of(service: &Service) -> Bytes {
    let document = json!({"version": 1, "live": true, "tracks": [
        {"name": "video/180p", "kind": "video", "codec": "avc1.42E01E", "height": 180},
        {"name": "audio", "kind": "audio", "codec": "mp4a.40.2"},
    ]});
    let mut catalog = Catalog::from_json(document.to_string().as_bytes()).unwrap();
    catalog.tracks[0].init = Some(service.video.init.clone());
    catalog.tracks[1].init = Some(service.audio.init.clone());
    catalog.to_json().unwrap()
}

struct Film {
    service: Arc<Service>,
    relay: Arc<Mutex<Relay>>,
    video: TrackId,
    audio: TrackId,
}

impl Film {
    async fn run(self) {
        let (video, audio) = (&self.service.video, &self.service.audio);
        let timescale = |source: &Source| u64::from(InitSegment::parse(&source.init).unwrap().timescale);
        let (video_scale, audio_scale) = (timescale(video), timescale(audio));
        let film_s = video.chunks.len() as u64 / FRAME_RATE;
        let mut frames = tokio::time::interval(Duration::from_millis(1000 / FRAME_RATE));
        let (mut group, mut object, mut sound, mut sounds) = (0, 0, 0, 0);
        // The film's frames and sounds, each with its time moved on by the rounds before.
        for frame in 0u64.. {
            frames.tick().await;
            let (round, at) = (frame / video.chunks.len() as u64, frame % video.chunks.len() as u64);
            let now = Instant::now();
            let mut relay = self.relay.lock().unwrap();
            if at % GROUP_LEN == 0 {
                if group > 0 {
                    relay.group_end(now, self.video, group);
                    relay.group_end(now, self.audio, group);
                }
                (group, object, sounds) = (unix_now_ms(), self.service.first_object, 0);
            }
            let picture = moved(&video.chunks[at as usize], round * film_s * video_scale);
            relay.object(now, self.video, group, object, picture, false);
            object += 1;
            let all = audio.chunks.len() as u64;
            while (sound % all) * video.chunks.len() as u64 <= at * all && sound / all <= round {
                let chunk = moved(&audio.chunks[(sound % all) as usize], (sound / all) * film_s * audio_scale);
                relay.object(now, self.audio, group, sounds, chunk, false);
                (sound, sounds) = (sound + 1, sounds + 1);
            }
        }
    }
}

fn moved(chunk: &Bytes, ticks: u64) -> Bytes {
    Chunk::parse(chunk, SampleDefaults::default()).unwrap().rewrite(1, &mut 0, |time| time + ticks).unwrap()
}

async fn accept(endpoint: Endpoint, service: Arc<Service>, relay: Arc<Mutex<Relay>>) {
    let mut sessions = tokio::task::JoinSet::new();
    for number in 1.. {
        let Some(incoming) = endpoint.accept().await else { return };
        if let Ok(connection) = incoming.await {
            sessions.spawn(session(connection, SessionId(number), Arc::clone(&service), Arc::clone(&relay)));
        }
    }
}

async fn session(connection: Connection, id: SessionId, service: Arc<Service>, relay: Arc<Mutex<Relay>>) {
    let mut streams = Streams::new(&connection);
    let (transport, peer) = (Transport::Quic, connection.remote_address());
    let config = SessionConfig { draft: Draft::D18, transport, path: None, origin: None, peer };
    relay.lock().unwrap().session_open(Instant::now(), id, config);
    let mut pump = tokio::time::interval(PUMP_INTERVAL);
    loop {
        let input = tokio::select! {
            biased;
            Some(input) = streams.inputs.recv() => Some(input),
            _ = connection.closed() => break,
            _ = pump.tick() => None,
        };
        let now = Instant::now();
        let mut relay = relay.lock().unwrap();
        relay.set_time(unix_now_ms());
        match input {
            Some(Input::Opened { stream, send, stop }) => streams.opened(stream, send, stop),
            Some(Input::Data { stream, dir, data, fin }) => {
                relay.stream_data(now, &*service, id, stream, dir, &data, fin);
            }
            Some(Input::Reset { stream, code }) => relay.stream_reset(now, id, stream, code),
            None => relay.handle_timeout(now, unix_now_ms(), &*service),
        }
        relay.pump(now, id, &mut streams.transmit(&connection));
    }
    relay.lock().unwrap().session_closed(Instant::now(), id);
}
