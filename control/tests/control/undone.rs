//! A change that fails at any step is in the database and in the tables, or in neither. The database is the real one, in which
//! triggers refuse what they are told to; the tables are the real ones, full or closed.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;
use streams_contract::Tunable;
use streams_control::resources::{Fields, Settings};
use streams_control::store::StreamKey;

use crate::engine::FakeEngine;
use crate::server::{Answer, Server};

/// Entries of the table `inputs`.
const INPUTS_MAX: usize = 4096;
/// Entries of the table `signing_keys`.
const SIGNING_KEYS_MAX: usize = 1024;

/// A control process, its tables as the engine sees them, and its database as a troublemaker sees it.
struct Both {
    server: Server,
    engine: FakeEngine,
    database: SqlitePool,
    org: String,
}

impl Both {
    async fn start() -> Self {
        Self::of(Server::start().await).await
    }

    async fn of(server: Server) -> Self {
        let engine = FakeEngine::start(&server.scratch.dir.run_dir());
        server.app.program.tick(|_| ());
        let path = server.scratch.dir.database();
        // One connection: another one may still believe in a trigger that was dropped by this one.
        let one = SqlitePoolOptions::new().max_connections(1);
        let database = one.connect(path.to_str().unwrap()).await.unwrap();
        let org = server.app.store.first_org().await.unwrap().unwrap();
        Self { server, engine, database, org }
    }

    /// Refuses a statement, such as `INSERT ON stream_keys`, until [`Self::allow`].
    async fn refuse(&self, statement: &str) {
        let trigger = format!("CREATE TRIGGER refuse BEFORE {statement} BEGIN SELECT RAISE(ABORT, 'injected'); END");
        sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(&self.database).await.unwrap();
    }

    async fn allow(&self) {
        sqlx::query("DROP TRIGGER refuse").execute(&self.database).await.unwrap();
    }

    /// Inputs by their ids; database and tables must tell the same.
    async fn inputs(&self) -> Vec<String> {
        let mut kept = self.server.app.store.all_live_inputs().await.unwrap();
        let mut told = self.engine.inputs();
        told.sort_by(|a, b| a.id.cmp(&b.id));
        kept.sort_by(|a, b| a.id.cmp(&b.id));
        let of_table: Vec<_> = told
            .iter()
            .map(|entry| {
                let keys: Vec<_> =
                    entry.key_hashes.iter().map(|key| (key.sha256.as_str(), key.expires_at_ms)).collect();
                (entry.id.as_str(), entry.enabled, entry.ingest.as_str(), entry.reconnect_window_s, keys)
            })
            .collect();
        let of_database: Vec<_> = kept
            .iter()
            .map(|row| {
                let end_ms = |key: &StreamKey| key.expires_at.map(i64::unsigned_abs);
                let keys: Vec<_> = row.keys.iter().map(|key| (key.sha256.as_str(), end_ms(key))).collect();
                (row.id.as_str(), row.enabled, row.ingest.as_str(), row.reconnect_window_s, keys)
            })
            .collect();
        assert_eq!(of_table, of_database);
        assert_eq!(self.engine.resources().len(), kept.len(), "what can be watched");
        kept.into_iter().map(|row| row.id).collect()
    }

    /// Signing keys, and whether they are revoked; database and tables must tell the same.
    async fn keys(&self) -> Vec<(String, bool)> {
        let known = self.server.app.store.signing_keys_known_since(0).await.unwrap();
        let mut kept: Vec<_> = known.into_iter().map(|row| (row.id, row.revoked_at.is_some())).collect();
        let mut told: Vec<_> = self.engine.signing_keys().into_iter().map(|entry| (entry.kid, entry.revoked)).collect();
        kept.sort();
        told.sort();
        assert_eq!(told, kept);
        kept
    }

    async fn setting(&self) -> Option<u64> {
        let rows = self.server.app.store.tunables().await.unwrap();
        let kept = rows.iter().find(|row| row.name == "recv_batch" && row.shard.is_none()).and_then(|row| row.value);
        assert_eq!(self.engine.tunables(0).get(Tunable::RecvBatch), kept);
        kept
    }

    async fn create(&self) -> Answer {
        self.server.post("/v1/live-inputs", json!({ "name": "another" })).await
    }

    async fn patch(&self, id: &str, body: Value) -> Answer {
        let request = self.server.request("PATCH", &format!("/v1/live-inputs/{id}"));
        self.server.send(request.body(axum::body::Body::from(body.to_string())).unwrap()).await
    }
}

#[tokio::test]
async fn a_database_that_refuses_any_step_changes_neither_side() {
    let mut both = Both::start().await;
    let (id, _) = both.server.live_input().await;
    let key = both.server.post("/v1/signing-keys", json!({})).await.data()["id"].as_str().unwrap().to_owned();
    both.server.post("/v1/tunables", json!({ "key": "recv_batch", "value": 8 })).await.data();
    both.engine.commands(0);
    let (path, key_path) = (format!("/v1/live-inputs/{id}"), format!("/v1/signing-keys/{key}"));
    let before = (both.inputs().await, both.keys().await, both.setting().await);

    for statement in ["INSERT ON live_inputs", "INSERT ON stream_keys"] {
        both.refuse(statement).await;
        assert_eq!(both.create().await.problem(), "internal", "{statement}");
        both.allow().await;
    }
    for statement in ["UPDATE ON live_inputs", "DELETE ON stream_keys", "INSERT ON stream_keys"] {
        both.refuse(statement).await;
        assert_eq!(both.patch(&id, json!({ "reconnect_window_s": 5 })).await.status, 500, "{statement}");
        for action in ["disable", "rotate-stream-key"] {
            assert_eq!(both.server.post(&format!("{path}/{action}"), json!({})).await.status, 500, "{statement}");
        }
        both.allow().await;
    }
    both.refuse("DELETE ON live_inputs").await;
    assert_eq!(both.server.delete(&path).await.status, 500);
    both.allow().await;
    both.refuse("INSERT ON signing_keys").await;
    assert_eq!(both.server.post("/v1/signing-keys", json!({})).await.status, 500);
    assert_eq!(both.server.post(&format!("{path}/playback-url"), json!({})).await.status, 500);
    both.allow().await;
    both.refuse("UPDATE ON signing_keys").await;
    assert_eq!(both.server.delete(&key_path).await.status, 500);
    both.allow().await;
    both.refuse("INSERT ON tunables").await;
    assert_eq!(both.server.post("/v1/tunables", json!({ "key": "recv_batch", "value": 9 })).await.status, 500);
    both.allow().await;

    assert_eq!((both.inputs().await, both.keys().await, both.setting().await), before);
    assert_eq!(both.engine.commands(0), [], "nobody was cut");
    assert_eq!(both.server.delete(&path).await.status, 204, "and everything still works");
    assert!(both.inputs().await.is_empty());
}

#[tokio::test]
async fn tables_that_take_nothing_any_more_leave_the_database_as_it_was() {
    let both = Both::start().await;
    let (id, _) = both.server.live_input().await;
    let key = both.server.post("/v1/signing-keys", json!({})).await.data()["id"].as_str().unwrap().to_owned();
    both.server.post("/v1/tunables", json!({ "key": "recv_batch", "value": 8 })).await.data();
    let before = (both.inputs().await, both.keys().await, both.setting().await);
    let path = format!("/v1/live-inputs/{id}");

    both.server.app.program.close();
    assert_eq!(both.create().await.problem(), "unavailable");
    assert_eq!(both.patch(&id, json!({ "ingest": "any" })).await.status, 503);
    for action in ["disable", "rotate-stream-key"] {
        assert_eq!(both.server.post(&format!("{path}/{action}"), json!({})).await.status, 503);
    }
    assert_eq!(both.server.delete(&path).await.status, 503);
    assert_eq!(both.server.post("/v1/signing-keys", json!({})).await.status, 503);
    assert_eq!(both.server.delete(&format!("/v1/signing-keys/{key}")).await.status, 503);
    let set = both.server.post("/v1/tunables", json!({ "key": "recv_batch", "value": 9 })).await;
    assert_eq!(set.problem(), "unavailable");
    assert_eq!((both.inputs().await, both.keys().await, both.setting().await), before);
}

#[tokio::test]
async fn a_full_table_makes_no_row() {
    let server = Server::start().await;
    let org = server.app.store.first_org().await.unwrap().unwrap();
    let both = Both::of(filled(server, &org).await).await;
    assert_eq!(both.inputs().await.len(), INPUTS_MAX);
    assert_eq!(both.create().await.problem(), "limit_reached");
    assert_eq!(both.inputs().await.len(), INPUTS_MAX);
    assert_eq!(both.server.post("/v1/signing-keys", json!({})).await.problem(), "limit_reached");
    assert_eq!(both.keys().await.len(), SIGNING_KEYS_MAX);

    let gone = both.inputs().await.pop().unwrap();
    assert_eq!(both.server.delete(&format!("/v1/live-inputs/{gone}")).await.status, 204);
    assert_eq!(both.create().await.status, 201, "there is room for one");
}

#[tokio::test]
async fn what_cannot_be_undone_yet_is_undone_before_anything_else_is_changed() {
    let server = Server::start().await;
    let org = server.app.store.first_org().await.unwrap().unwrap();
    let both = Both::of(filled(server, &org).await).await;
    // The table has no room, and the database does not let go of the row.
    both.refuse("DELETE ON live_inputs").await;
    assert_eq!(both.create().await.problem(), "limit_reached");
    let set = json!({ "key": "recv_batch", "value": 9 });
    assert_eq!(both.server.post("/v1/tunables", set.clone()).await.problem(), "internal");
    assert_eq!(both.setting().await, None, "nothing else is changed meanwhile");
    both.allow().await;
    assert_eq!(both.server.post("/v1/tunables", set).await.data()["set"], 9);
    assert_eq!(both.inputs().await.len(), INPUTS_MAX);

    both.refuse("DELETE ON live_inputs").await;
    assert_eq!(both.create().await.problem(), "limit_reached");
    both.allow().await;
    both.server.app.resources.repair().await;
    assert_eq!(both.inputs().await.len(), INPUTS_MAX, "it does not wait for the next change either");
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_takes_its_change_along() {
    let both = Both::start().await;
    let (id, _) = both.server.live_input().await;
    let before = (both.inputs().await, both.keys().await);
    both.refuse("UPDATE ON idempotency").await;
    let body = json!({ "name": "once" });
    assert_eq!(both.server.post_once("/v1/live-inputs", body.clone(), "a").await.status, 500);
    assert_eq!(both.server.post_once("/v1/signing-keys", json!({}), "b").await.status, 500);
    let rotate = format!("/v1/live-inputs/{id}/rotate-stream-key");
    assert_eq!(both.server.post_once(&rotate, json!({}), "c").await.status, 500);
    both.allow().await;
    assert_eq!((both.inputs().await, both.keys().await), before);
    let made = both.server.post_once("/v1/live-inputs", body, "a").await;
    assert_eq!((made.status, made.headers.get("idempotency-replayed")), (201, None), "the key was free again");
}

#[tokio::test]
async fn a_change_that_is_undone_leaves_no_answer_for_a_repeat() {
    let server = Server::start().await;
    let org = server.app.store.first_org().await.unwrap().unwrap();
    let both = Both::of(filled(server, &org).await).await;
    for _ in 0..2 {
        let answer = both.server.post_once("/v1/live-inputs", json!({ "name": "once" }), "k").await;
        assert_eq!(answer.problem(), "limit_reached");
    }
    let gone = both.inputs().await.pop().unwrap();
    both.server.delete(&format!("/v1/live-inputs/{gone}")).await;
    let made = both.server.post_once("/v1/live-inputs", json!({ "name": "once" }), "k").await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn a_change_that_is_dropped_anywhere_leaves_both_sides_alike() {
    let both = Both::start().await;
    let resources = &both.server.app.resources;
    // Each attempt is dropped after one step more than the one before, until one comes to its end.
    for steps in 0.. {
        let settings = Settings::new(Fields { name: Some("dropped".to_owned()), ..Fields::default() }).unwrap();
        let done = {
            let mut create = pin!(resources.create_live_input(&both.org, settings, |_| Ok(((), None))));
            let mut done = false;
            for _ in 0..steps {
                done = create.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                if done {
                    break;
                }
                // The database works on a thread of its own.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            done
        };
        resources.repair().await;
        let inputs = both.inputs().await;
        assert_eq!(inputs.len(), usize::from(done), "dropped after {steps} steps");
        if done {
            return;
        }
    }
}

/// Another control process on the same data directory, with as many inputs and signing keys as the tables hold.
async fn filled(server: Server, org: &str) -> Server {
    let database = SqlitePool::connect(server.scratch.dir.database().to_str().unwrap()).await.unwrap();
    let numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)";
    let inputs = format!(
        "{numbers} INSERT INTO live_inputs SELECT printf('lv_%026d', i), $1, 'filler', 'rtmp', 1, 30, '{{}}', '', i, i FROM n"
    );
    let keys = format!(
        "{numbers} INSERT INTO signing_keys SELECT printf('key_%026d', i), $1, 'EdDSA', 'pem', 'customer', NULL, i, NULL FROM n"
    );
    for (fill, count) in [(inputs, INPUTS_MAX), (keys, SIGNING_KEYS_MAX)] {
        let fill = sqlx::query(sqlx::AssertSqlSafe(fill)).bind(org).bind(count as i64);
        fill.execute(&database).await.unwrap();
    }
    database.close().await;
    server.restart().await
}
