//! Signing keys and the playback URLs minted with them.

use crate::server::Server;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::json;
use streams_control::keys::Claims;

#[tokio::test]
async fn a_made_key_tells_its_private_half_once() {
    let server = Server::start().await;
    for alg in ["EdDSA", "RS256"] {
        let answer = server.post("/v1/signing-keys", json!({ "alg": alg })).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let key = answer.data();
        assert_eq!((&key["alg"], &key["status"], &key["id"]), (&json!(alg), &json!("active"), &key["kid"]));
        assert!(key["private_key_pem"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert!(key["public_key_pem"].as_str().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
        let read = server.get(&format!("/v1/signing-keys/{}", key["id"].as_str().unwrap())).await.data();
        assert!(read.get("private_key_pem").is_none());
        assert_eq!(read["public_key_pem"], key["public_key_pem"]);
    }
    assert_eq!(server.post("/v1/signing-keys", json!({ "alg": "HS256" })).await.problem(), "invalid_request");
    assert_eq!(server.post("/v1/signing-keys", json!({ "alg": "none" })).await.problem(), "invalid_request");
}

#[tokio::test]
async fn a_public_key_is_imported_and_a_private_one_refused() {
    let server = Server::start().await;
    let made = server.post("/v1/signing-keys", json!({})).await.data();
    let imported = server.post("/v1/signing-keys", json!({ "public_key_pem": made["public_key_pem"] })).await.data();
    assert_ne!(imported["id"], made["id"]);
    assert!(imported.get("private_key_pem").is_none());
    let answer = server.post("/v1/signing-keys", json!({ "public_key_pem": made["private_key_pem"] })).await;
    assert_eq!(answer.problem(), "invalid_request");
    assert!(answer.text.contains("private key"), "{}", answer.text);
}

#[tokio::test]
async fn a_revoked_key_stays_visible_and_can_be_revoked_again() {
    let server = Server::start().await;
    let key = server.post("/v1/signing-keys", json!({})).await.data();
    let path = format!("/v1/signing-keys/{}", key["id"].as_str().unwrap());
    assert_eq!(server.delete(&path).await.status, 204);
    assert_eq!(server.delete(&path).await.status, 204);
    let read = server.get(&path).await.data();
    assert_eq!(read["status"], "revoked");
    assert!(read["revoked_at"].is_string());
    assert_eq!(server.delete("/v1/signing-keys/key_01ARZ3NDEKTSV4RRFFQ69G5FAV").await.status, 404);
}

#[tokio::test]
async fn a_playback_url_carries_a_token_that_the_servers_public_key_verifies() {
    let server = Server::start().await;
    let (id, _) = server.live_input().await;
    let path = format!("/v1/live-inputs/{id}/playback-url");
    let urls = server.post(&path, json!({ "ttl_seconds": 120 })).await.data();
    let token = urls["token"].as_str().unwrap();
    assert_eq!(urls["moqt"], format!("moqt://127.0.0.1:4433/playback/{id}?tok={token}"));
    assert_eq!(urls["webtransport"], format!("https://127.0.0.1:4433/playback/{id}?tok={token}"));
    assert_eq!(urls["watch"], format!("http://127.0.0.1:8080/watch/{id}?tok={token}"));
    assert_eq!(urls["namespace"][2], json!(id));

    let kid = decode_header(token).unwrap().kid.unwrap();
    let key = server.get(&format!("/v1/signing-keys/{kid}")).await.data();
    assert_eq!(key["custody"], "server");
    let public = DecodingKey::from_ed_pem(key["public_key_pem"].as_str().unwrap().as_bytes()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["playback"]);
    let claims = decode::<Claims>(token, &public, &validation).unwrap().claims;
    assert_eq!((claims.sub, claims.exp - claims.iat), (id.clone(), 120));
    assert_eq!(json!(claims.iss), urls["namespace"][1]);

    let again = server.post(&path, json!({})).await.data();
    assert_ne!(again["token"], urls["token"]);
    assert_eq!(decode_header(again["token"].as_str().unwrap()).unwrap().kid.unwrap(), kid);

    server.delete(&format!("/v1/signing-keys/{kid}")).await;
    let fresh = server.post(&path, json!({})).await.data();
    assert_ne!(decode_header(fresh["token"].as_str().unwrap()).unwrap().kid.unwrap(), kid);
}
