//! `Idempotency-Key`.

use crate::server::Server;
use serde_json::json;

#[tokio::test]
async fn a_repeated_create_gives_the_same_answer_and_makes_one_input() {
    let server = Server::start().await;
    let body = json!({ "name": "once" });
    let first = server.post_once("/v1/live-inputs", body.clone(), "key-1").await;
    let second = server.post_once("/v1/live-inputs", body.clone(), "key-1").await;
    assert_eq!((first.status, &first.text), (second.status, &second.text));
    assert!(first.headers.get("idempotency-replayed").is_none());
    assert_eq!(second.headers["idempotency-replayed"], "true");
    let other = server.post_once("/v1/live-inputs", body, "key-2").await;
    assert_ne!(other.data()["id"], first.data()["id"]);
    assert_eq!(server.get("/v1/live-inputs").await.data().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn concurrent_repeats_make_one_input() {
    let server = Server::start().await;
    let create = || server.post_once("/v1/live-inputs", json!({ "name": "race" }), "race");
    let answers = tokio::join!(create(), create(), create(), create());
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert!(answer.status == 201 || answer.status == 409, "{}", answer.text);
    }
    assert_eq!(server.get("/v1/live-inputs").await.data().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_of_another_request_is_refused_and_a_failed_request_frees_its_key() {
    let server = Server::start().await;
    assert_eq!(server.post_once("/v1/live-inputs", json!({ "name": "a" }), "k").await.status, 201);
    let answer = server.post_once("/v1/live-inputs", json!({ "name": "b" }), "k").await;
    assert_eq!((answer.status, answer.problem().as_str()), (422, "idempotency_mismatch"));
    let answer = server.post_once("/v1/signing-keys", json!({ "name": "a" }), "k").await;
    assert_eq!(answer.problem(), "invalid_request", "an invalid body is refused before the key is looked at");

    let wrong = json!({ "public_key_pem": "junk" });
    for _ in 0..2 {
        assert_eq!(server.post_once("/v1/signing-keys", wrong.clone(), "again").await.problem(), "invalid_request");
    }
    assert_eq!(server.post_once("/v1/signing-keys", json!({}), "again").await.status, 201);
    assert_eq!(server.post_once("/v1/live-inputs", json!({ "name": "a" }), "").await.problem(), "invalid_request");
}

#[tokio::test]
async fn secrets_do_not_lie_open_in_the_database() {
    let server = Server::start().await;
    let input = server.post_once("/v1/live-inputs", json!({ "name": "a" }), "k").await.data();
    let key = server.post_once("/v1/signing-keys", json!({}), "s").await.data();
    server.post(&format!("/v1/live-inputs/{}/playback-url", input["id"].as_str().unwrap()), json!({})).await.data();
    let private: String = key["private_key_pem"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let secrets = [
        input["stream_key"].as_str().unwrap().to_owned(),
        input["srt_passphrase"].as_str().unwrap().to_owned(),
        server.api_key.clone(),
        private,
        "BEGIN PRIVATE".to_owned(),
    ];
    for file in ["streams.db", "streams.db-wal"] {
        let content = std::fs::read(server.scratch.path().join(file)).unwrap_or_default();
        for secret in &secrets {
            let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{file} holds a secret");
        }
    }
}
