//! WHIP: encoders of others push by WebRTC, and what HTTP says of it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use streams_tests::{
    Chromium, Film, Https, Namespace, Options, Stack, WhipEncoder, WhipInput, camera_played_well, eventually, film,
    report,
};

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

fn start() -> Stack {
    Stack::start(&Options::default())
}

fn edge(stack: &Stack) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, stack.ports.quic).into()
}

fn path_of(whip: &WhipInput) -> String {
    format!("/whip/{}", whip.input.id)
}

/// An offer as Chromium makes it, with one line exchanged.
fn offer(from: &str, to: &str) -> String {
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 108 109\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n\
                 a=rtpmap:108 H264/90000\r\na=rtcp-fb:108 nack\r\na=rtcp-fb:108 nack pli\r\n\
                 a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
                 a=rtpmap:109 rtx/90000\r\na=fmtp:109 apt=108\r\na=ssrc-group:FID 11 12\r\na=ssrc:11 cname:c\r\na=ssrc:12 cname:c\r\n";
    let transport = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\na=setup:actpass\r\na=fingerprint:sha-256 \
                     00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
                 a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=ssrc:10 cname:c\r\n";
    let head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n";
    format!("{head}{audio}{transport}{video}{transport}").replace(from, to)
}

fn plain_offer() -> String {
    offer("", "")
}

/// Records ten seconds of a broadcast and gives the file.
fn record(stack: &Stack, whip: &WhipInput, name: &str) -> PathBuf {
    let file = stack.data.join(name);
    let url = stack.urls(&whip.input.id).moqt;
    let output = stack.play(&url, &file, "10s");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

#[test]
fn ffmpeg_pushes_by_whip_and_its_film_is_watched_whole() {
    let stack = start();
    let whip = WhipInput::new(&stack, "ffmpeg");
    let Some(encoder) = WhipEncoder::ffmpeg(&stack, &whip, Film::Gop2s) else { return };
    stack.wait_status(&whip.input, "active");
    camera_played_well(&record(&stack, &whip, "ffmpeg.mp4"), 220);
    let shown = stack.json(&["live", "get", &whip.input.id]);
    assert_eq!(shown["protocol"], "whip", "{shown}");
    // It deletes its session, so the broadcast ends without waiting for it to come back.
    encoder.stop();
    stack.wait_status(&whip.input, "idle");
}

#[test]
fn aiortc_pushes_by_whip_and_a_killed_one_may_come_back() {
    let stack = start();
    let whip = WhipInput::of_kind(&stack, "aiortc", "any");
    let source = film(Film::Gop2s);
    let Some(encoder) = WhipEncoder::aiortc(&whip, &source) else { return };
    stack.wait_status(&whip.input, "active");
    // It encodes by itself, as fast as the machine lets it beside others.
    camera_played_well(&record(&stack, &whip, "aiortc.mp4"), 50);
    encoder.kill_hard();
    stack.wait_status(&whip.input, "reconnecting");
    let again = WhipEncoder::aiortc(&whip, &source).expect("it was there before");
    stack.wait_status(&whip.input, "active");
    again.stop();
    stack.wait_status(&whip.input, "idle");
}

#[test]
fn chromium_pushes_its_camera_by_whip_and_chromium_and_play_watch_it() {
    let chromium = Chromium::turn();
    let stack = start();
    let whip = WhipInput::new(&stack, "chromium");
    let encoder = WhipEncoder::chromium(&whip, &format!("http://127.0.0.1:{}/healthz", stack.ports.http_dev));
    stack.wait_status(&whip.input, "active");
    camera_played_well(&record(&stack, &whip, "chromium.mp4"), 50);
    let watch = stack.urls(&whip.input.id).watch;
    let output = chromium.run(&Namespace::here(), &["--url", &watch, "--seconds", "8"]);
    let report = report(&output);
    println!("{report}");
    assert!(output.status.success() && report["ok"] == true, "{report}");
    encoder.stop();
    stack.wait_status(&whip.input, "idle");
}

#[test]
fn every_refusal_has_its_status() {
    let stack = start();
    let (whip, rtmp) = (WhipInput::new(&stack, "whip"), stack.live_of("browser", "rtmp"));
    let (address, path) = (edge(&stack), path_of(&whip));
    let bearer = format!("Bearer {}", whip.input.key);
    let key = ("Authorization", bearer.as_str());
    let post = |path: &str, fields: &[(&str, &str)], body: &str| Https::request(address, "POST", path, fields, body);
    let status = |path: &str, fields: &[(&str, &str)], body: &str| {
        let answered = post(path, fields, body);
        assert_eq!(answered.field("content-type"), Some("application/problem+json"), "{answered:?}");
        answered.status
    };
    let good = plain_offer();
    assert_eq!(status(&path, &[key, ("Content-Type", "text/plain")], &good), 415);
    let unauthorized = post(&path, &[SDP], &good);
    assert_eq!((unauthorized.status, unauthorized.field("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(status(&path, &[SDP, ("Authorization", "Bearer sk_wrong")], &good), 401);
    assert_eq!(status("/whip/lv_01ARZ3NDEKTSV4RRFFQ69G5FAV", &[SDP, key], &good), 404);
    assert_eq!(status("/nowhere", &[SDP, key], &good), 404);
    let other = format!("Bearer {}", rtmp.key);
    let kind = post(&format!("/whip/{}", rtmp.id), &[SDP, ("Authorization", &other)], &good);
    assert_eq!(kind.status, 409, "{kind:?}");
    assert!(kind.body.contains("takes rtmp and not whip"), "{kind:?}");
    assert_eq!(status(&path, &[SDP, key], "not SDP"), 400);
    assert_eq!(status(&path, &[SDP, key], &good.replace("H264", "VP8")), 422);
    assert_eq!(status(&path, &[SDP, key], &good.replace("opus/48000/2", "PCMU/8000")), 422);
    assert_eq!(status(&path, &[SDP, key], &good.replace("a=sendonly", "a=recvonly")), 422);
    assert_eq!(status(&path, &[SDP, key], &good.replace("a=rtcp-mux\r\n", "")), 422);
    assert_eq!(status(&path, &[SDP, key], &good.replace("a=group:BUNDLE 0 1\r\n", "")), 422);
    assert_eq!(status(&path, &[SDP, key], &good.replace("a=fingerprint", "a=fingerprints")), 400);
    assert_eq!(status(&path, &[SDP, key], &format!("{good}{good}")), 422);
    assert_eq!(status(&path, &[SDP, key], &good.replace("42e01f", "f4001f")), 422);
    assert_eq!(status(&path, &[SDP, key], &"v=0\r\n".repeat(20_000)), 413);
    let put = Https::request(address, "PUT", &path, &[key], "");
    assert_eq!((put.status, put.field("allow")), (405, Some("OPTIONS, GET, POST")));
    stack.json(&["live", "disable", &whip.input.id]);
    eventually("the engine knows that the input is disabled", || post(&path, &[SDP, key], &good).status == 403);
}

#[test]
fn options_and_get_answer_and_a_session_is_patched_restarted_and_deleted() {
    let stack = start();
    let whip = WhipInput::new(&stack, "sessions");
    let (address, path) = (edge(&stack), path_of(&whip));
    let options = Https::request(address, "OPTIONS", &path, &[], "");
    assert_eq!((options.status, options.field("accept-post")), (200, Some("application/sdp")));
    assert_eq!(options.field("access-control-allow-origin"), Some("*"));
    assert_eq!(Https::request(address, "GET", &path, &[], "").status, 204);
    assert_eq!(Https::request(address, "GET", "/healthz", &[], "").status, 200);
    // The key may stand in the query.
    let made = Https::request(address, "POST", &format!("{path}?sk={}", whip.input.key), &[SDP], &plain_offer());
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.field("content-type"), Some("application/sdp"));
    assert_eq!(made.field("access-control-expose-headers"), Some("Location, ETag, Link"));
    for line in ["a=setup:passive", "a=recvonly", "a=rtcp-mux", "a=group:BUNDLE 0 1", "a=ice-ufrag:", "stereo=1"] {
        assert!(made.body.contains(line), "no {line} in {}", made.body);
    }
    let location = made.field("location").expect("a Location").to_owned();
    let session = location.strip_prefix(&format!("https://{address}")).expect("an absolute URL").to_owned();
    let etag = made.field("etag").expect("an ETag").to_owned();
    let candidate = "a=candidate:1 1 udp 2122260223 127.0.0.1 61764 typ host\r\n";
    let trickle = format!(
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{candidate}"
    );
    let restart = trickle.replace("abcd", "efgh");
    // Whatever shard a request comes to, the session is the same.
    for _ in 0..6 {
        let patch = |fields: &[(&str, &str)], body: &str| Https::request(address, "PATCH", &session, fields, body);
        assert_eq!(patch(&[FRAGMENT, ("If-Match", &etag)], &trickle).status, 204);
        assert_eq!(patch(&[FRAGMENT], &trickle).status, 428);
        assert_eq!(patch(&[FRAGMENT, ("If-Match", "\"other\"")], &trickle).status, 412);
        assert_eq!(patch(&[SDP, ("If-Match", &etag)], &trickle).status, 415);
        assert_eq!(patch(&[FRAGMENT, ("If-Match", &etag)], "{}").status, 400);
    }
    let restarted = Https::request(address, "PATCH", &session, &[FRAGMENT, ("If-Match", "*")], &restart);
    assert_eq!(restarted.status, 200, "{restarted:?}");
    assert!(restarted.body.starts_with("a=ice-ufrag:"), "{restarted:?}");
    assert!(restarted.field("etag").is_some_and(|fresh| fresh != etag), "{restarted:?}");
    let late = Https::request(address, "PATCH", &session, &[FRAGMENT, ("If-Match", &etag)], &restart);
    assert_eq!(late.status, 412);
    assert_eq!(Https::request(address, "DELETE", &session, &[], "").status, 200);
    assert_eq!(Https::request(address, "DELETE", &session, &[], "").status, 404);
    assert_eq!(Https::request(address, "DELETE", &format!("{path}/zz"), &[], "").status, 404);
    eventually("it is counted out", || stack.metric("streams_engine_webrtc_open") == 0.0);
}

#[test]
fn offers_whose_ice_never_completes_end_by_themselves_and_disturb_nobody() {
    let options = Options {
        toml: "[ingest]\nhandshake_timeout_ms = 1500\nunpublished_max = 8\nunpublished_address_max = 4\n".into(),
        ..Options::default()
    };
    let stack = Stack::start(&options);
    let whip = WhipInput::new(&stack, "half-open");
    let (address, path) = (edge(&stack), format!("{}?sk={}", path_of(&whip), whip.input.key));
    let statuses: Vec<u16> =
        (0..24).map(|_| Https::request(address, "POST", &path, &[SDP], &plain_offer()).status).collect();
    assert!(statuses.iter().all(|status| *status == 201), "a newer offer takes the oldest one's place: {statuses:?}");
    assert_eq!(stack.status(&whip.input), "idle", "nobody publishes before ICE and DTLS are through");
    // A stranger's datagrams are of no session.
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    for shard in 0..2 {
        stranger.send_to(&[0x80; 200], (Ipv4Addr::LOCALHOST, stack.ports.webrtc + shard)).expect("sent");
    }
    eventually("half-open sessions have ended", || {
        stack.metric("streams_engine_webrtc_open") == 0.0
            && stack.metric("streams_engine_webrtc_failed_total") == 24.0
            && stack.metric("streams_engine_webrtc_strangers_total") == 2.0
    });
}

#[test]
fn slow_and_large_requests_are_cut_off_and_http_2_is_spoken() {
    let stack = Stack::start(&Options {
        toml: "[edge]\nrequest_timeout_ms = 500\nidle_timeout_ms = 700\n".into(),
        ..Options::default()
    });
    let whip = WhipInput::new(&stack, "slow");
    let address = edge(&stack);
    assert_eq!(Https::with_alpn(address, &["h2", "http/1.1"]).protocol().as_deref(), Some(&b"h2"[..]));
    let mut head = Https::connect(address);
    head.raw(b"GET /healthz HTTP/1.1\r\n");
    assert!(head.read().is_none(), "a head that never ends");
    let mut body = Https::connect(address);
    let fields = format!(
        "POST {} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\nv=0",
        path_of(&whip),
        whip.input.key
    );
    body.raw(fields.as_bytes());
    assert_eq!(body.read().map(|answered| answered.status), Some(408));
    let mut large = Https::connect(address);
    large.raw(format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000)).as_bytes());
    assert!(large.read().is_none_or(|answered| answered.status == 431), "a head that is too large");
    let mut twice = Https::connect(address);
    for _ in 0..2 {
        twice.send("GET", "/healthz", &[], "");
        assert_eq!(twice.read().map(|answered| answered.status), Some(200));
    }
    assert!(twice.read().is_none(), "a connection without a request is closed");
    eventually("all of them are gone", || stack.metric("streams_engine_edge_open") == 0.0);
    assert!(stack.metric("streams_engine_edge_requests_total") >= 3.0);
}
