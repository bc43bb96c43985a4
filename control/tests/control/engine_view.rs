//! What reaches the shards through shared memory, and what comes back.

use std::time::Duration;

use crate::engine::{self, FakeEngine};
use crate::server::Server;
use serde_json::json;
use streams_contract::{Command, Counter, Event, RuntimeEntry};
use streams_control::store::{Change, SigningKey};
use streams_control::{clock, ids};
use streams_rings::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn ready_means_that_every_shard_runs_and_beats() {
    let server = Server::start().await;
    assert_eq!(server.get("/readyz").await.problem(), "unavailable");
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    assert_eq!(server.get("/readyz").await.status, 200);
    engine.beat(Signal::Halt);
    let answer = server.get("/readyz").await;
    assert_eq!(answer.problem(), "unavailable");
    assert!(answer.text.contains("shard 0"), "{}", answer.text);
    let next = FakeEngine::start(&server.scratch.dir.run_dir());
    assert_eq!(server.get("/readyz").await.status, 200, "a restarted engine is followed");
    drop(next);
}

#[tokio::test]
async fn tables_hold_hashes_and_follow_every_change() {
    let server = Server::start().await;
    let mut engine = FakeEngine::start(&server.scratch.dir.run_dir());
    server.app.program.tick(|_| ());
    let (id, key) = server.live_input().await;
    let (index, entry) = engine.input(&id).unwrap();
    assert!(entry.enabled);
    assert_eq!(entry.key_hashes.len(), 1);
    assert_eq!(entry.key_hashes[0].sha256, ids::sha256_hex(key.as_bytes()));
    let resource = engine.resource(&id).unwrap();
    assert_eq!((resource.canonical.as_str(), resource.org.as_str()), (id.as_str(), entry.org.as_str()));

    let path = format!("/v1/live-inputs/{id}");
    let rotated = server.post(&format!("{path}/rotate-stream-key"), json!({ "grace_seconds": 60 })).await.data();
    let (same, entry) = engine.input(&id).unwrap();
    assert_eq!((same, entry.key_hashes.len()), (index, 2));
    let new_hash = ids::sha256_hex(rotated["stream_key"].as_str().unwrap().as_bytes());
    let open_ended: Vec<_> = entry.key_hashes.iter().filter(|hash| hash.expires_at_ms.is_none()).collect();
    assert_eq!(open_ended.iter().map(|hash| &hash.sha256).collect::<Vec<_>>(), [&new_hash]);
    assert_eq!(engine.commands(0), [], "a key in grace cuts nobody");

    server.post(&format!("{path}/rotate-stream-key"), json!({})).await.data();
    assert_eq!(engine.input(&id).unwrap().1.key_hashes.len(), 1);
    server.post(&format!("{path}/disable"), json!({})).await.data();
    assert!(!engine.input(&id).unwrap().1.enabled);
    server.post(&format!("{path}/disconnect"), json!({})).await.data();
    server.delete(&path).await;
    assert!(engine.input(&id).is_none() && engine.resource(&id).is_none());
    for shard in 0..engine::SHARDS {
        let commands = engine.commands(shard);
        assert_eq!(commands.len(), 4, "{commands:?}");
        assert!(
            commands.iter().all(|command| matches!(command, Command::DisconnectInput { input, .. } if *input == id))
        );
    }
}

#[tokio::test]
async fn a_revoked_key_is_marked_and_its_sessions_are_cut() {
    let server = Server::start().await;
    let mut engine = FakeEngine::start(&server.scratch.dir.run_dir());
    server.app.program.tick(|_| ());
    let kid = server.post("/v1/signing-keys", json!({})).await.data()["id"].as_str().unwrap().to_owned();
    assert!(!engine.signing_key(&kid).unwrap().revoked);
    server.delete(&format!("/v1/signing-keys/{kid}")).await;
    assert!(engine.signing_key(&kid).unwrap().revoked);
    assert_eq!(engine.commands(1), [Command::RevokeKey { kid }]);
}

#[tokio::test]
async fn a_revocation_that_failed_half_way_is_completed_by_its_repeat() {
    let server = Server::start().await;
    let mut engine = FakeEngine::start(&server.scratch.dir.run_dir());
    server.app.program.tick(|_| ());
    let key = server.post("/v1/signing-keys", json!({})).await.data();
    let (kid, org) = (key["id"].as_str().unwrap().to_owned(), key["org"].as_str().unwrap());
    revoke_in_the_database(&server, org, &kid, clock::unix_ms()).await;
    assert_eq!(server.delete(&format!("/v1/signing-keys/{kid}")).await.status, 204);
    assert!(engine.signing_key(&kid).unwrap().revoked);
    assert_eq!(engine.commands(0), [Command::RevokeKey { kid }]);
}

#[tokio::test]
async fn a_deletion_that_failed_half_way_is_completed_by_its_repeat() {
    let server = Server::start().await;
    let mut engine = FakeEngine::start(&server.scratch.dir.run_dir());
    server.app.program.tick(|_| ());
    let (id, _) = server.live_input().await;
    let org = engine.input(&id).unwrap().1.org;
    delete_in_the_database(&server, &org, &id).await;
    assert_eq!(server.delete(&format!("/v1/live-inputs/{id}")).await.status, 204);
    assert!(engine.input(&id).is_none() && engine.resource(&id).is_none());
    assert!(matches!(&engine.commands(0)[..], [Command::DisconnectInput { input, .. }] if *input == id));
    assert_eq!(server.delete(&format!("/v1/live-inputs/{id}")).await.status, 404);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_split_a_change() {
    let server = Server::start().await;
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    let kid = server.post("/v1/signing-keys", json!({})).await.data()["id"].as_str().unwrap().to_owned();
    // Held here, the handler stands where it is about to change both sides, and its client goes.
    let turn = server.app.resources.turn().await.unwrap();
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "DELETE /v1/signing-keys/{kid} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        server.api_key
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let waits = Duration::from_millis(200);
    assert!(tokio::time::timeout(waits, client.read_u8()).await.is_err(), "the handler waits for its turn");
    drop(client);
    tokio::time::sleep(waits).await;
    drop(turn);
    let carried_out = async {
        while !engine.signing_key(&kid).unwrap().revoked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), carried_out).await.unwrap();
}

#[tokio::test]
async fn keys_revoked_more_than_a_day_ago_leave_the_table() {
    let server = Server::start().await;
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    let (mut kids, mut org) = (Vec::new(), String::new());
    for _ in 0..3 {
        let key = server.post("/v1/signing-keys", json!({})).await.data();
        kids.push(key["id"].as_str().unwrap().to_owned());
        org = key["org"].as_str().unwrap().to_owned();
    }
    let day_ms = 24 * 3600 * 1000;
    revoke_in_the_database(&server, &org, &kids[0], clock::unix_ms() - 2 * day_ms).await;
    revoke_in_the_database(&server, &org, &kids[1], clock::unix_ms() - day_ms / 2).await;
    server.post("/v1/signing-keys", json!({})).await.data();
    assert!(engine.signing_key(&kids[0]).is_none(), "another key takes its place");
    assert_eq!(server.delete(&format!("/v1/signing-keys/{}", kids[0])).await.status, 204);
    assert!(engine.signing_key(&kids[0]).is_none(), "a repeated revocation does not bring it back");
    let server = server.restart().await;
    assert!(engine.signing_key(&kids[0]).is_none(), "nor does a new control process");
    assert!(engine.signing_key(&kids[1]).unwrap().revoked && engine.signing_key(&kids[2]).is_some());
    drop(server);
}

#[tokio::test]
async fn the_status_of_an_input_is_what_its_home_shard_says() {
    let server = Server::start().await;
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    let (id, _) = server.live_input().await;
    let path = format!("/v1/live-inputs/{id}");
    let mut entry = RuntimeEntry {
        input: id.clone(),
        state: "active".into(),
        protocol: "rtmp".into(),
        shard: 1,
        since_ms: 5,
        ..RuntimeEntry::default()
    };
    engine.runtime(1, &entry);
    let shown = server.get(&path).await.data();
    assert_eq!((&shown["status"], &shown["protocol"]), (&json!("active"), &json!("rtmp")));
    assert_eq!(shown["warnings"], json!([]));
    entry.warnings = vec!["no key frame for 12 s: viewers cannot join; use a closed GOP".into()];
    engine.runtime(1, &entry);
    let health = server.get(&format!("{path}/health")).await.data();
    let told = json!({
        "id": id, "status": "active", "protocol": "rtmp", "tracks": [], "link": null, "warnings": entry.warnings,
        "last_error": null,
    });
    assert_eq!((&health, &server.get(&path).await.data()["warnings"]), (&told, &told["warnings"]));
    entry.state = "reconnecting".into();
    entry.last_error = Some("the encoder went away".into());
    engine.runtime(1, &entry);
    let shown = server.get(&path).await.data();
    assert_eq!((&shown["status"], &shown["last_error"]), (&json!("reconnecting"), &json!("the encoder went away")));
    assert_eq!(server.get("/v1/live-inputs").await.data()[0]["status"], "reconnecting");
}

#[tokio::test]
async fn why_an_encoder_was_refused_is_told_until_one_is_accepted() {
    let server = Server::start().await;
    let mut engine = FakeEngine::start(&server.scratch.dir.run_dir());
    server.app.program.tick(|_| ());
    let (id, _) = server.live_input().await;
    let path = format!("/v1/live-inputs/{id}");
    let (reason, peer) = ("codec hvc1 is not supported".to_owned(), "127.0.0.1:9".to_owned());
    engine.event(
        0,
        &Event::IngestRefused { input: Some(id.clone()), shard: 0, reason: reason.clone(), peer: peer.clone() },
    );
    let mut seen = 0;
    server.app.program.tick(|_| seen += 1);
    assert_eq!(seen, 1);
    assert_eq!(server.get(&path).await.data()["last_error"], json!(reason));
    engine.event(1, &Event::IngestUp { input: id, shard: 1, protocol: "rtmp".into(), peer });
    server.app.program.tick(|_| ());
    assert!(server.get(&path).await.data()["last_error"].is_null());
}

#[tokio::test]
async fn metrics_carry_the_counters_of_each_shard() {
    let server = Server::start().await;
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    engine.count(1, Counter::IngestAccepted, 42);
    server.get("/healthz").await;
    let text = server.get("/metrics").await.text;
    assert!(text.contains("streams_engine_ingest_accepted_total{shard=\"1\"} 42"), "{text}");
    assert!(text.contains("streams_engine_shard_ready{shard=\"0\"} 1"), "{text}");
    assert!(text.contains("route=\"/healthz\""), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_new_control_process_keeps_every_entry_in_its_place() {
    let server = Server::start().await;
    let (first, _) = server.live_input().await;
    let (second, key) = server.live_input().await;
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    let before = (engine.input(&first).unwrap(), engine.input(&second).unwrap());
    // While control is down a row goes and one comes: the table follows the database.
    delete_in_the_database(&server, &before.0.1.org, &first).await;
    let server = server.restart().await;
    assert!(engine.input(&first).is_none());
    assert_eq!(engine.input(&second).unwrap(), before.1);
    assert_eq!(before.1.1.key_hashes[0].sha256, ids::sha256_hex(key.as_bytes()));
    assert_eq!(server.get("/readyz").await.status, 200, "the running engine is still the one that is seen");
    let (third, _) = server.live_input().await;
    assert!(engine.input(&third).is_some(), "the workspace is the same one");
}

/// As if the change had stopped behind the database.
async fn revoke_in_the_database(server: &Server, org: &str, kid: &str, revoked_ms: i64) {
    let key = server.app.store.signing_key(org, kid).await.unwrap().unwrap();
    let revoked = Change::PutSigningKey(SigningKey { revoked_at: Some(revoked_ms), ..key });
    server.app.store.change(&revoked, None).await.unwrap();
}

async fn delete_in_the_database(server: &Server, org: &str, id: &str) {
    let deletion = Change::DeleteLiveInput { org: org.to_owned(), id: id.to_owned() };
    server.app.store.change(&deletion, None).await.unwrap();
}
