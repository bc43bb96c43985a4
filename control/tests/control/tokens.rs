//! What is minted here, checked by what the shards check with, through the tables the shards read.

use serde_json::json;
use streams_relay_core::token::{VerifyingKeys, verify};
use streams_relay_core::{Directory, Resource, SigningAlgorithm, SigningKey};

use crate::engine::FakeEngine;
use crate::server::Server;

/// A shard's view of the tables.
struct Tables<'a>(&'a FakeEngine);

impl Directory for Tables<'_> {
    fn signing_key(&self, kid: &str) -> Option<SigningKey> {
        let entry = self.0.signing_key(kid)?;
        let alg = SigningAlgorithm::from_name(entry.alg.as_str())?;
        Some(SigningKey { alg, org: entry.org, public_key_pem: entry.public_key_pem, revoked: entry.revoked })
    }

    fn resource(&self, id: &str) -> Option<Resource> {
        let entry = self.0.resource(id)?;
        Some(Resource { canonical: entry.canonical, org: entry.org, enabled: entry.enabled })
    }

    fn publish_key_ok(&self, _: &str, _: &str, _: u64) -> bool {
        false
    }
}

#[tokio::test]
async fn a_minted_token_opens_its_own_input_until_its_key_is_revoked() {
    let server = Server::start().await;
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    let ((id, _), (other, _)) = (server.live_input().await, server.live_input().await);
    let urls = server.post(&format!("/v1/live-inputs/{id}/playback-url"), json!({})).await.data();
    let token = urls["token"].as_str().unwrap();
    let now_ms = streams_control::clock::unix_ms() as u64;
    let tables = Tables(&engine);
    let verify = |id: &str, now_ms| verify(token, id, &tables, &mut VerifyingKeys::default(), now_ms);
    assert!(verify(&id, now_ms).unwrap().exp_ms > now_ms);
    assert!(verify(&other, now_ms).is_err());
    assert!(verify(&id, now_ms + 2 * 3_600_000).is_err());

    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    server.delete(&format!("/v1/signing-keys/{kid}")).await;
    assert!(verify(&id, now_ms).is_err());
    server.delete(&format!("/v1/live-inputs/{other}")).await;
    assert!(tables.resource(&other).is_none());
}
