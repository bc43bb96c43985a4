//! Watching a real relay over real QUIC, within one process.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::mp4::source::{Folder, audio, decode_complaints, probe, video};
use crate::testing::{FRAME_RATE, Server, Service};
use crate::{
    Client, ClientErrorKind, Delivery, OpenPart, PlayEvent, PlayOptions, SessionUrl, Trust, Viewer, ViewerEvent, play,
};

/// No story here takes longer, even on a busy machine.
const STORY_MAX: Duration = Duration::from_secs(60);

fn service(folder: &Folder) -> Arc<Service> {
    // The clock of a broadcast that began long ago.
    Arc::new(Service::new(video(folder, 60_000), audio(folder, 60_000)))
}

fn start(service: &Arc<Service>) -> Server {
    Server::start(service, "127.0.0.1:0".parse().unwrap())
}

fn pinned(service: &Service) -> Trust {
    Trust::PinnedCertPem(service.certificate_pem.clone().into_bytes())
}

/// A recording's file, and how it is opened.
fn file(folder: &Folder) -> (std::path::PathBuf, OpenPart) {
    let path = folder.0.join("played.mp4");
    let file = path.clone();
    (path, Box::new(move |_| Ok(Box::new(tokio::fs::File::from_std(std::fs::File::create(&file)?)) as Box<_>)))
}

#[tokio::test]
async fn a_broadcast_is_played_into_a_file_that_decodes_without_a_complaint() {
    let folder = Folder::new("play");
    let service = service(&folder);
    let server = start(&service);
    let (path, file) = file(&folder);
    let mut options = PlayOptions::new(service.url(server.address, 600), pinned(&service));
    options.output = Some(file);
    options.for_duration = Some(Duration::from_secs(3));
    let summary = timeout(STORY_MAX, play(options, |_| {})).await.unwrap().unwrap();

    assert_eq!(decode_complaints(&path), "");
    let fields = probe(&path, "v:0", "stream=codec_name,avg_frame_rate,nb_read_frames");
    assert_eq!(fields[..2], ["h264", "25/1"]);
    // Joining adds what there is of the current group.
    let frames: u64 = fields[2].parse().unwrap();
    assert!((2 * FRAME_RATE..6 * FRAME_RATE).contains(&frames), "{frames}");
    let start: f64 = probe(&path, "a:0", "stream=start_time")[0].parse().unwrap();
    assert!(start < 0.2, "{start}");
    assert_eq!((summary.video.as_deref(), summary.audio.as_deref()), (Some("video/180p"), Some("audio")));
    assert_eq!((summary.reconnects, summary.skipped_groups), (0, 0));
    assert_eq!(summary.written_bytes, std::fs::metadata(&path).unwrap().len());
}

#[tokio::test]
async fn a_restarted_server_is_found_again_and_the_file_stays_whole() {
    let folder = Folder::new("restart");
    let service = service(&folder);
    let server = start(&service);
    let address = server.address;
    let (path, file) = file(&folder);
    let mut options = PlayOptions::new(service.url(address, 600), pinned(&service));
    options.output = Some(file);
    options.for_duration = Some(Duration::from_secs(6));
    options.stats = true;
    let events = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&events);
    let playing = tokio::spawn(play(options, move |event| noted.lock().unwrap().push(event)));

    // A second or so of media is there.
    let watched = |event: &PlayEvent| matches!(event, PlayEvent::Stats(summary) if summary.objects > FRAME_RATE);
    while !events.lock().unwrap().iter().any(watched) {
        sleep(Duration::from_millis(10)).await;
    }
    server.stop().await;
    let server = Server::start(&service, address);
    let summary = timeout(STORY_MAX, playing).await.unwrap().unwrap().unwrap();
    server.stop().await;

    assert!(summary.reconnects >= 1, "{summary:?}");
    // The film goes on with another round of itself, and its clock from the start.
    assert!(summary.holes >= 1 && summary.missing > Duration::ZERO, "{summary:?}");
    assert_eq!(decode_complaints(&path), "");
    let frames: u64 = probe(&path, "v:0", "stream=nb_read_frames")[0].parse().unwrap();
    assert!(frames > 3 * FRAME_RATE, "{frames}");
}

#[tokio::test]
async fn playing_that_is_stopped_leaves_a_whole_file_with_all_that_came() {
    let folder = Folder::new("stop");
    let service = service(&folder);
    let server = start(&service);
    let (path, file) = file(&folder);
    let mut options = PlayOptions::new(service.url(server.address, 600), pinned(&service));
    options.output = Some(file);
    options.stats = true;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    options.stop = Some(Box::pin(async { stopped.await.unwrap() }));
    let mut stop = Some(stop);
    let playing = play(options, move |event| {
        if matches!(&event, PlayEvent::Stats(summary) if summary.objects > 3 * FRAME_RATE) {
            let _ = stop.take().map(|stop| stop.send(()));
        }
    });
    let summary = timeout(STORY_MAX, playing).await.unwrap().unwrap();
    assert_eq!(decode_complaints(&path), "");
    assert_eq!(summary.written_bytes, std::fs::metadata(&path).unwrap().len());
    let frames: u64 = probe(&path, "v:0", "stream=nb_read_frames")[0].parse().unwrap();
    assert!(frames > FRAME_RATE, "{frames} frames, {summary:?}");
}

#[tokio::test]
async fn playing_is_stopped_while_there_is_nobody_to_play_from() {
    let folder = Folder::new("stop-early");
    let service = service(&folder);
    // A port that takes packets and never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut options = PlayOptions::new(service.url(silent.local_addr().unwrap(), 600), pinned(&service));
    options.stop = Some(Box::pin(sleep(Duration::from_millis(50))));
    let error = timeout(Duration::from_secs(5), play(options, |_| {})).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ClientErrorKind::Failed);
    assert_eq!(error.reason, "nothing was played: it was stopped before any media came");
}

#[tokio::test]
async fn a_broadcast_that_nobody_can_join_is_told_of_and_ends_in_an_error() {
    let folder = Folder::new("no-key-frame");
    let mut service = Service::new(video(&folder, 60_000), audio(&folder, 60_000));
    service.first_object = 1;
    let service = Arc::new(service);
    let server = start(&service);
    let mut options = PlayOptions::new(service.url(server.address, 600), pinned(&service));
    options.for_duration = Some(Duration::from_secs(4));
    let events = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&events);
    let playing = play(options, move |event| noted.lock().unwrap().push(event));
    let error = timeout(STORY_MAX, playing).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ClientErrorKind::Failed);
    assert!(error.reason.starts_with("nothing was played: no key frame for "), "{error}");
    let told = |event: &&PlayEvent| matches!(event, PlayEvent::NoKeyFrame { .. });
    assert_eq!(events.lock().unwrap().iter().filter(told).count(), 1);
}

#[tokio::test]
async fn a_broadcast_that_ends_ends_the_playing() {
    let folder = Folder::new("end");
    let service = service(&folder);
    let mut server = start(&service);
    let options = PlayOptions::new(service.url(server.address, 600), pinned(&service));
    let (sender, mut started) = tokio::sync::mpsc::unbounded_channel();
    let playing = tokio::spawn(play(options, move |event| {
        if matches!(event, PlayEvent::Started { .. }) {
            let _ = sender.send(());
        }
    }));
    timeout(STORY_MAX, started.recv()).await.unwrap().unwrap();
    server.end_broadcast();
    let summary = timeout(STORY_MAX, playing).await.unwrap().unwrap().unwrap();
    assert!(summary.objects > 0 && summary.reconnects == 0, "{summary:?}");
}

#[tokio::test]
async fn a_bad_token_is_an_auth_error_that_says_why() {
    let folder = Folder::new("token");
    let service = service(&folder);
    let server = start(&service);
    let expired = service.url(server.address, -50);
    let error =
        timeout(STORY_MAX, play(PlayOptions::new(expired, pinned(&service)), |_| {})).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ClientErrorKind::Auth, "{error}");
    assert!(error.reason.starts_with("auth_failed: "), "{error}");
    assert!(error.reason.contains("expired"), "{error}");
}

#[tokio::test]
async fn a_rendition_that_is_not_there_is_not_found() {
    let folder = Folder::new("rendition");
    let service = service(&folder);
    let server = start(&service);
    let mut options = PlayOptions::new(service.url(server.address, 600), pinned(&service));
    options.rendition = Some("1080p".to_owned());
    let error = timeout(STORY_MAX, play(options, |_| {})).await.unwrap().unwrap_err();
    assert_eq!(error.kind, ClientErrorKind::NotFound, "{error}");
    assert!(error.reason.contains("video/180p"), "{error}");
}

#[tokio::test]
async fn only_the_pinned_certificate_is_believed() {
    let folder = Folder::new("pin");
    let (right, other) = (service(&folder), service(&folder));
    let server = start(&right);
    let url = SessionUrl::playback(&right.url(server.address, 600)).unwrap();
    let client = Client::new(&pinned(&right)).unwrap();
    assert!(Viewer::connect(&client, &url, Delivery::InOrder).await.is_ok());
    for wrong in [pinned(&other), Trust::CaPem(other.certificate_pem.clone().into_bytes())] {
        let client = Client::new(&wrong).unwrap();
        let refused = Viewer::connect(&client, &url, Delivery::InOrder).await.map(drop).unwrap_err();
        assert_eq!(refused.kind, ClientErrorKind::Untrusted, "{refused}");
    }
}

#[tokio::test]
async fn a_certificate_is_believed_by_its_hash_and_no_other_one() {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let folder = Folder::new("hash");
    let service = service(&folder);
    let server = start(&service);
    let url = SessionUrl::playback(&service.url(server.address, 600)).unwrap();
    let der = CertificateDer::from_pem_slice(service.certificate_pem.as_bytes()).unwrap();
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der).as_ref());
    let client = Client::new(&Trust::CertSha256(hash)).unwrap();
    assert!(Viewer::connect(&client, &url, Delivery::InOrder).await.is_ok());
    hash[31] ^= 1;
    let client = Client::new(&Trust::CertSha256(hash)).unwrap();
    let refused = Viewer::connect(&client, &url, Delivery::InOrder).await.map(drop).unwrap_err();
    assert_eq!(refused.kind, ClientErrorKind::Untrusted, "{refused}");
}

#[tokio::test]
async fn a_certificate_of_a_trusted_root_has_to_name_the_host() {
    let folder = Folder::new("root");
    let service = service(&folder);
    let server = start(&service);
    let client = Client::new(&Trust::CaPem(service.certificate_pem.clone().into_bytes())).unwrap();
    // The certificate is for `localhost` and not for its address.
    let url = SessionUrl::playback(&service.url(server.address, 600)).unwrap();
    let refused = Viewer::connect(&client, &url, Delivery::InOrder).await.map(drop).unwrap_err();
    assert_eq!(refused.kind, ClientErrorKind::Untrusted, "{refused}");
}

#[tokio::test]
async fn a_pem_without_a_certificate_is_a_usage_error() {
    for pem in ["", "no certificate"] {
        let error = Client::new(&Trust::PinnedCertPem(pem.into())).map(drop).unwrap_err();
        assert_eq!(error.kind, ClientErrorKind::Usage);
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let folder = Folder::new("nobody");
    let service = service(&folder);
    let server = start(&service);
    let url = service.url(server.address, 600);
    server.stop().await;
    let began = Instant::now();
    let error = play(PlayOptions::new(url, pinned(&service)), |_| {}).await.unwrap_err();
    assert_eq!(error.kind, ClientErrorKind::Unreachable, "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn one_client_carries_many_viewers() {
    let folder = Folder::new("many");
    let service = service(&folder);
    let server = start(&service);
    let url = SessionUrl::playback(&service.url(server.address, 600)).unwrap();
    let client = Arc::new(Client::new(&pinned(&service)).unwrap());
    let mut viewers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, url) = (Arc::clone(&client), url.clone());
        viewers.spawn(async move {
            let mut viewer = Viewer::connect(&client, &url, Delivery::AsItComes).await?;
            let mut objects = 0;
            while objects < 30 {
                match viewer.next_event().await? {
                    ViewerEvent::Namespace(namespace) => {
                        let track = streams_relay_core::wire::FullTrackName::new(namespace, "video/180p").unwrap();
                        viewer.subscribe(track);
                    }
                    ViewerEvent::Object { .. } => objects += 1,
                    _ => {}
                }
            }
            Ok::<_, crate::ClientError>(())
        });
    }
    let all = async {
        while let Some(watched) = viewers.join_next().await {
            watched.unwrap().unwrap();
        }
    };
    timeout(STORY_MAX, all).await.unwrap();
}
