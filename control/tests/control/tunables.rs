//! Settings of the shards: who may change them, what is refused, where they go, and that they last.

use serde_json::{Value, json};
use streams_contract::{Tunable, Tunables};

use crate::engine::FakeEngine;
use crate::server::Server;

async fn set(server: &Server, key: &str, value: Value, shard: Option<u64>) -> Value {
    server.post("/v1/tunables", json!({ "key": key, "value": value, "shard": shard })).await.data()
}

fn wishes(values: &[(Tunable, u64)]) -> Tunables {
    let mut wishes = Tunables::default();
    values.iter().for_each(|(tunable, value)| wishes.set(*tunable, Some(*value)));
    wishes
}

#[tokio::test]
async fn a_setting_reaches_the_table_and_the_engine_s_answer_is_shown() {
    let server = Server::start().await;
    let seen = set(&server, "recv_batch", json!(8), None).await;
    assert_eq!((&seen["set"], &seen["effective"]), (&json!(8), &json!([])), "no engine, nothing in effect");
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    set(&server, "poll", json!("busy"), Some(1)).await;
    assert_eq!(engine.tunables(0), wishes(&[(Tunable::RecvBatch, 8)]));
    assert_eq!(engine.tunables(1), Tunables::default());
    assert_eq!(engine.tunables(2), wishes(&[(Tunable::Poll, 1)]));
    engine.run_with(0, Tunable::RecvBatch, 8);
    engine.run_with(1, Tunable::RecvBatch, 16);
    let all = server.get("/v1/tunables").await.data();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), Tunable::COUNT);
    let of = |key: &str| all.iter().find(|tunable| tunable["key"] == key).unwrap();
    assert_eq!(of("recv_batch")["effective"], json!([8, 16]));
    assert_eq!((&of("recv_batch")["min"], &of("recv_batch")["max"]), (&json!(1), &json!(64)));
    assert_eq!(of("poll")["set_by_shard"], json!({ "1": "busy" }));
    assert_eq!((&of("poll")["changes"], &of("rx_depth")["changes"]), (&json!("live"), &json!("on restart")));
    for tunable in all {
        assert!(!tunable["meaning"].as_str().unwrap().is_empty() && !tunable["allowed"].as_str().unwrap().is_empty());
    }
    set(&server, "poll", json!("default"), Some(1)).await;
    set(&server, "recv_batch", Value::Null, None).await;
    assert_eq!([0, 1, 2].map(|entry| engine.tunables(entry)), [(); 3].map(|()| Tunables::default()));
}

#[tokio::test]
async fn settings_outlive_control() {
    let server = Server::start().await;
    set(&server, "spin_us", json!(0), None).await;
    set(&server, "spin_us", json!("25"), None).await;
    set(&server, "cache_bytes_max", json!(64u64 << 30), Some(1)).await;
    let server = server.restart().await;
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    assert_eq!(engine.tunables(0), wishes(&[(Tunable::SpinUs, 25)]));
    assert_eq!(engine.tunables(2), wishes(&[(Tunable::CacheBytesMax, 64 << 30)]));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_can() {
    let server = Server::start().await;
    let cases = [
        (json!({ "key": "recv_batch", "value": 0 }), "a whole number from 1 to 64"),
        (json!({ "key": "recv_batch", "value": "many" }), "`many`"),
        (json!({ "key": "poll", "value": "lazy" }), "adaptive or busy"),
        (json!({ "key": "rx_depth", "value": 1000 }), "a power of two"),
        (json!({ "key": "recv_bach", "value": 8 }), "recv_batch"),
        (json!({ "key": "recv_batch", "value": 8, "shard": 2 }), "0 to 1"),
        (json!({ "key": "recv_batch", "value": 8, "shards": 1 }), "shards"),
    ];
    for (body, wanted) in cases {
        let answer = server.post("/v1/tunables", body.clone()).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid_request"), "{body}");
        assert!(answer.text.contains(wanted), "{wanted} is not in {}", answer.text);
    }
    let engine = FakeEngine::start(&server.scratch.dir.run_dir());
    assert_eq!(engine.tunables(0), Tunables::default());
}
