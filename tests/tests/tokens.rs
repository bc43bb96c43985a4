//! Who may watch: every way in which a token can be wrong ends with exit code 4 and a reason that begins with `auth_failed`,
//! and so does every kind of request with the codes of the drafts.

use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use streams_relay_core::client::{Client, ClientEvent, FetchRequest, Join, RequestId, SubscribeRequest};
use streams_relay_core::wire::{
    EndLocation, FullTrackName, GroupOrder, Location, Namespace, RequestErrorCode, SessionError,
};
use streams_tests::{Answer, Encoder, Film, Input, Moqt, Options, Stack};

struct Minter {
    kid: String,
    key: EncodingKey,
    algorithm: Algorithm,
    org: String,
}

impl Minter {
    /// A customer-held signing key: the private half is returned once.
    fn new(stack: &Stack, algorithm: Algorithm) -> Self {
        let name = if algorithm == Algorithm::EdDSA { "EdDSA" } else { "RS256" };
        let made = stack.json(&["signing-key", "create", "--alg", name]);
        let pem = made["private_key_pem"].as_str().expect("the private key, once").as_bytes().to_vec();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem),
            _ => EncodingKey::from_rsa_pem(&pem),
        };
        Self { kid: text(&made["kid"], &made["id"]), key: key.expect("a PEM key"), algorithm, org: org(stack) }
    }

    fn claims(&self, id: &str) -> Value {
        let now = now_s();
        json!({"iss": self.org, "sub": id, "aud": "playback", "iat": now, "nbf": now, "exp": now + 600, "jti": "t"})
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).expect("signed")
    }

    fn revoke(&self, stack: &Stack) {
        let keys = stack.json(&["signing-key", "list"]);
        let keys = keys["data"].as_array().or(keys.as_array()).expect("a list").clone();
        let ours = keys.iter().find(|key| text(&key["kid"], &key["id"]) == self.kid).expect("our key is listed");
        assert!(stack.cli(&["signing-key", "revoke", ours["id"].as_str().expect("an id")]).status.success());
    }
}

fn text(value: &Value, or: &Value) -> String {
    value.as_str().or(or.as_str()).expect("a string").to_owned()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn org(stack: &Stack) -> String {
    let input = stack.live("org");
    let namespace = stack.urls(&input.id).namespace;
    namespace[1].as_str().expect("the org").to_owned()
}

fn with(mut claims: Value, key: &str, value: Value) -> Value {
    match value {
        Value::Null => drop(claims.as_object_mut().expect("an object").remove(key)),
        value => claims[key] = value,
    }
    claims
}

fn play(stack: &Stack, id: &str, token: &str) -> Output {
    let query = if token.is_empty() { String::new() } else { format!("?tok={token}") };
    let url = format!("moqt://127.0.0.1:{}/playback/{id}{query}", stack.ports.quic);
    stack.play(&url, &stack.data.join("out.mp4"), "2s")
}

fn refused(stack: &Stack, id: &str, token: &str, what: &str) {
    let output = play(stack, id, token);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{what}: {words}");
    assert!(words.contains("auth_failed"), "{what}: {words}");
    assert!(token.is_empty() || !words.contains(token), "{what}: the token is shown: {words}");
}

fn allowed(stack: &Stack, id: &str, token: &str, what: &str) {
    let output = play(stack, id, token);
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

fn broadcast() -> (Stack, Input, Encoder) {
    let stack = Stack::start(&Options::default());
    let input = stack.live("tokens");
    let encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    (stack, input, encoder)
}

#[test]
fn every_bad_token_is_refused_and_the_good_ones_beside_them_play() {
    let (stack, input, _encoder) = broadcast();
    let other = stack.live("other");
    let id = input.id.as_str();
    for algorithm in [Algorithm::EdDSA, Algorithm::RS256] {
        let minter = Minter::new(&stack, algorithm);
        let good = minter.claims(id);
        allowed(&stack, id, &minter.sign(&good), "a good token");
        let now = now_s();
        let bad = [
            ("expired", with(with(good.clone(), "iat", json!(now - 700)), "exp", json!(now - 100))),
            ("not yet valid", with(good.clone(), "nbf", json!(now + 300))),
            ("living over 24 h", with(good.clone(), "exp", json!(now + 86_400 + 60))),
            ("wrong audience", with(good.clone(), "aud", json!("upload"))),
            ("wrong org", with(good.clone(), "iss", json!("org_00000000000000000000000000"))),
            ("wrong id", with(good.clone(), "sub", json!(other.id))),
            ("no exp", with(good.clone(), "exp", Value::Null)),
            ("no iat", with(good.clone(), "iat", Value::Null)),
            ("exp as text", with(good.clone(), "exp", json!((now + 600).to_string()))),
        ];
        for (what, claims) in bad {
            refused(&stack, id, &minter.sign(&claims), what);
        }
    }
    refused(&stack, id, "", "missing");
    refused(&stack, id, "abc", "malformed");
    refused(&stack, id, "a.b.c", "malformed in three parts");
}

#[test]
fn forged_headers_and_revoked_keys_are_refused() {
    let (stack, input, _encoder) = broadcast();
    let id = input.id.as_str();
    let minter = Minter::new(&stack, Algorithm::RS256);
    let claims = minter.claims(id);
    let good = minter.sign(&claims);
    allowed(&stack, id, &good, "before it is revoked");

    let unknown = Minter {
        kid: "key_unknown".into(),
        key: minter.key.clone(),
        algorithm: minter.algorithm,
        org: minter.org.clone(),
    };
    refused(&stack, id, &unknown.sign(&claims), "unknown kid");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{}.", part(&json!({"alg": "none", "kid": minter.kid})), part(&claims));
    refused(&stack, id, &none, "alg none");
    // The public key is public: a verifier that lets the token choose HS256 would accept it as the shared secret.
    let keys = stack.json(&["signing-key", "list"]);
    let keys = keys["data"].as_array().or(keys.as_array()).expect("a list").clone();
    let public = keys.iter().find(|key| text(&key["kid"], &key["id"]) == minter.kid).expect("our key is listed");
    let pem = public["public_key_pem"].as_str().expect("the public half").to_owned();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(minter.kid.clone());
    let confused = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(pem.as_bytes())).expect("signed");
    refused(&stack, id, &confused, "HS256 with the public key");

    minter.revoke(&stack);
    refused(&stack, id, &good, "revoked key");
}

#[test]
fn a_session_ends_when_its_token_does_and_when_its_key_is_revoked() {
    let (stack, input, _encoder) = broadcast();
    let minter = Minter::new(&stack, Algorithm::EdDSA);
    let now = now_s();
    let short = with(with(minter.claims(&input.id), "iat", json!(now)), "exp", json!(now + 4));
    let url = |token: &str| format!("moqt://127.0.0.1:{}/playback/{}?tok={token}", stack.ports.quic, input.id);
    let file = stack.data.join("short.mp4");
    // Leeway is 5 s, so the session lives about 9 s; it was asked for a minute.
    let output = stack.play(&url(&minter.sign(&short)), &file, "60s");
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(file.exists(), "it played until then");

    let token = minter.sign(&minter.claims(&input.id));
    std::thread::scope(|scope| {
        let (stack, url) = (&stack, url(&token));
        let file = stack.data.join("revoked.mp4");
        let viewer = scope.spawn(move || stack.play(&url, &file, "60s"));
        streams_tests::eventually("the viewer plays", || {
            stack.data.join("revoked.mp4").metadata().is_ok_and(|meta| meta.len() > 100_000)
        });
        minter.revoke(stack);
        let output = viewer.join().expect("streams play ends");
        assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

/// A namespace of the service, and the track in it that every broadcast has.
fn catalog(org: &str, id: &str) -> FullTrackName {
    let namespace = Namespace::new(["stream", org, id]).expect("a short namespace");
    FullTrackName::new(namespace, ".catalog").expect("a short name")
}

/// A session of raw QUIC with the token in its path.
fn watch(stack: &Stack, id: &str, token: Option<&str>) -> Moqt {
    let query = token.map(|token| format!("?tok={token}")).unwrap_or_default();
    Moqt::connect(stack, &format!("/playback/{id}{query}"))
}

type Ask = fn(&mut Client, &FullTrackName, Location) -> RequestId;

/// One request of each kind that reads; `Location` is an object that is there.
const REQUESTS: [(&str, Ask); 5] = [
    ("SUBSCRIBE", |client, track, _| {
        client.subscribe(SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(track.clone()) })
    }),
    ("FETCH", |client, track, start| {
        let end = EndLocation { group: start.group, last_object: None };
        let (track, order) = (track.clone(), GroupOrder::Ascending);
        client.fetch(FetchRequest { track, start, end, order, priority: 128, token: None })
    }),
    ("TRACK_STATUS", |client, track, _| client.track_status(track.clone(), None)),
    ("SUBSCRIBE_NAMESPACE", |client, track, _| client.watch_namespaces(track.namespace.clone(), None)),
    ("SUBSCRIBE_TRACKS", |client, track, _| client.watch_tracks(track.namespace.clone(), None)),
];

#[test]
fn every_kind_of_request_is_answered_with_a_good_token_and_closes_the_session_with_a_bad_one() {
    let (stack, input, _encoder) = broadcast();
    let id = input.id.as_str();
    let (minter, revoked) = (Minter::new(&stack, Algorithm::EdDSA), Minter::new(&stack, Algorithm::EdDSA));
    let track = catalog(&minter.org, id);
    let good = minter.sign(&minter.claims(id));
    let status = watch(&stack, id, Some(&good)).ask(|client| client.track_status(track.clone(), None));
    let Answer::Accepted(Some(largest)) = status else { panic!("the catalog is there: {status:?}") };
    for (kind, ask) in REQUESTS {
        let mut session = watch(&stack, id, Some(&good));
        let answer = session.ask(|client| ask(client, &track, largest));
        assert!(matches!(answer, Answer::Accepted(_)), "{kind}: {answer:?}");
        let again = session.ask(|client| client.track_status(track.clone(), None));
        assert!(matches!(again, Answer::Accepted(_)), "after {kind} the session goes on: {again:?}");
        if kind == "FETCH" {
            let whole = session.wait("the fetch ends", |event| match event {
                ClientEvent::FetchEnd { complete, .. } => Some(*complete),
                _ => None,
            });
            let objects = session.events.iter().filter(|event| matches!(event, ClientEvent::Object(..))).count();
            assert_eq!((whole, objects), (true, 1), "the catalog was fetched");
        }
    }

    let now = now_s();
    let past = with(with(minter.claims(id), "iat", json!(now - 700)), "exp", json!(now - 100));
    let cut = revoked.sign(&revoked.claims(id));
    let before = watch(&stack, id, Some(&cut)).ask(|client| client.track_status(track.clone(), None));
    assert!(matches!(before, Answer::Accepted(_)), "before its key is revoked: {before:?}");
    revoked.revoke(&stack);
    let bad = [
        ("expired", Some(minter.sign(&past)), SessionError::ExpiredAuthToken),
        ("missing", None, SessionError::Unauthorized),
        ("of a revoked key", Some(cut), SessionError::Unauthorized),
    ];
    for (what, token, code) in &bad {
        for (kind, ask) in REQUESTS {
            let answer = watch(&stack, id, token.as_deref()).ask(|client| ask(client, &track, largest));
            let Answer::Closed(closed, reason) = answer else { panic!("{kind}, token {what}: {answer:?}") };
            assert_eq!(closed, *code, "{kind}, token {what}: {reason}");
            assert!(reason.starts_with("auth_failed"), "{kind}, token {what}: {reason}");
            assert!(token.as_ref().is_none_or(|token| !reason.contains(token)), "{kind}: the token is told: {reason}");
        }
    }
}

#[test]
fn a_viewer_may_not_publish_and_a_publisher_keeps_to_its_own_namespace() {
    let (stack, input, _encoder) = broadcast();
    let other = stack.live("other");
    let id = input.id.as_str();
    let minter = Minter::new(&stack, Algorithm::EdDSA);
    let (own, others) = (catalog(&minter.org, id), catalog(&minter.org, &other.id));
    let camera = FullTrackName::new(own.namespace.clone(), "camera").expect("a short name");
    let unauthorized = |answer: &Answer| matches!(answer, Answer::Refused(RequestErrorCode::Unauthorized, _));

    let mut viewer = watch(&stack, id, Some(&minter.sign(&minter.claims(id))));
    let answer = viewer.ask(|client| client.announce(own.namespace.clone()));
    assert!(unauthorized(&answer), "PUBLISH_NAMESPACE of a viewer: {answer:?}");
    let answer = viewer.ask(|client| client.publish(camera.clone(), 1, None));
    assert!(unauthorized(&answer), "PUBLISH of a viewer: {answer:?}");
    let answer = viewer.ask(|client| client.track_status(own.clone(), None));
    assert!(matches!(answer, Answer::Accepted(_)), "it may watch on: {answer:?}");

    let mut publisher = Moqt::connect(&stack, &format!("/publish/{id}?sk={}", input.key));
    let answer = publisher.ask(|client| client.announce(others.namespace.clone()));
    assert!(unauthorized(&answer), "PUBLISH_NAMESPACE of another input: {answer:?}");
    let answer = publisher.ask(|client| client.publish(others.clone(), 1, None));
    assert!(unauthorized(&answer), "PUBLISH into another input: {answer:?}");
    let answer = publisher.ask(|client| client.announce(own.namespace.clone()));
    assert!(matches!(answer, Answer::Accepted(_)), "PUBLISH_NAMESPACE of its own: {answer:?}");

    for key in ["sk_wrong", other.key.as_str()] {
        let mut stranger = Moqt::connect(&stack, &format!("/publish/{id}?sk={key}"));
        let answer = stranger.ask(|client| client.announce(own.namespace.clone()));
        let Answer::Closed(SessionError::Unauthorized, reason) = &answer else { panic!("a wrong key: {answer:?}") };
        assert!(reason.starts_with("auth_failed") && !reason.contains(key), "{reason}");
    }
}
