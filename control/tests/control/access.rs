//! Who gets in: API keys, scopes, rate limit, host check.

use crate::server::{Scratch, Server};
use axum::body::Body;
use serde_json::json;
use streams_config::Config;
use streams_control::store::ApiKey;
use streams_control::{clock, ids};

#[tokio::test]
async fn without_a_valid_key_nothing_is_told() {
    let server = Server::start().await;
    let (id, _) = server.live_input().await;
    let headers = ["", "Bearer", "Bearer ", "Bearer ak_wrong", "Basic abc", "Token x"];
    for header in headers {
        let request = hyper::Request::get(format!("/v1/live-inputs/{id}"))
            .header("host", "localhost")
            .header("authorization", header)
            .body(Body::empty())
            .unwrap();
        let answer = server.send(request).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthorized"), "{header}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    let healthy = hyper::Request::get("/healthz").header("host", "localhost").body(Body::empty()).unwrap();
    assert_eq!(server.send(healthy).await.status, 200);
}

#[tokio::test]
async fn a_key_does_what_its_scopes_allow() {
    let mut server = Server::start().await;
    let org = server.app.store.first_org().await.unwrap().unwrap();
    let secret = ids::new_secret(ids::API_KEY_PREFIX).unwrap();
    let key = ApiKey {
        id: ids::new_id("apikey"),
        org,
        sha256: ids::sha256_hex(secret.as_bytes()),
        scopes: "live:read".to_owned(),
        created_at: clock::unix_ms(),
    };
    server.app.store.add_api_key(&key).await.unwrap();
    server.api_key = secret;
    assert_eq!(server.get("/v1/live-inputs").await.status, 200);
    let answer = server.post("/v1/live-inputs", json!({ "name": "a" })).await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"));
    assert!(answer.text.contains("live:write"), "{}", answer.text);
    assert_eq!(server.get("/v1/signing-keys").await.status, 403);
    assert_eq!(server.post("/v1/drain", json!({})).await.status, 403);
    assert_eq!(server.post("/v1/sessions/1/kick", json!({})).await.status, 403);
    assert_eq!(server.get("/v1/tunables").await.status, 403);
    assert_eq!(server.post("/v1/tunables", json!({ "key": "spin_us", "value": 1 })).await.status, 403);
}

#[tokio::test]
async fn another_organisation_sees_nothing_of_this_one() {
    let mut server = Server::start().await;
    let (id, _) = server.live_input().await;
    let org = ids::new_id("org");
    server.app.store.add_org(&org, clock::unix_ms()).await.unwrap();
    let secret = ids::new_secret(ids::API_KEY_PREFIX).unwrap();
    let sha256 = ids::sha256_hex(secret.as_bytes());
    let key = ApiKey { id: ids::new_id("apikey"), org, sha256, scopes: "admin".to_owned(), created_at: 0 };
    server.app.store.add_api_key(&key).await.unwrap();
    server.api_key = secret;
    assert_eq!(server.get(&format!("/v1/live-inputs/{id}")).await.status, 404);
    assert_eq!(server.delete(&format!("/v1/live-inputs/{id}")).await.status, 404);
    assert_eq!(server.post(&format!("/v1/live-inputs/{id}/playback-url"), json!({})).await.status, 404);
    assert_eq!(server.get("/v1/live-inputs").await.data(), json!([]));
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let mut config = Config::default();
    (config.api.rate_per_s, config.api.burst) = (1, 3);
    let server = Server::with(Scratch::new(), config, None).await;
    let mut refused = None;
    for _ in 0..10 {
        let answer = server.get("/v1/live-inputs").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("ten requests in a row pass the burst of three");
    assert_eq!(refused.problem(), "too_many_requests");
    assert_eq!(refused.headers["retry-after"], "1");
}

#[tokio::test]
async fn the_plain_port_answers_to_loopback_names_alone() {
    let server = Server::start().await;
    for path in ["/v1/live-inputs", "/watch-config.json", "/healthz", "/nothing"] {
        let request = hyper::Request::get(path)
            .header("host", "evil.example")
            .header("authorization", format!("Bearer {}", server.api_key))
            .body(Body::empty())
            .unwrap();
        assert_eq!(server.send(request).await.problem(), "forbidden", "{path}");
    }
}

/// A GET of the metrics from this machine, without the key of the installation.
fn metrics(more: &[(&str, &str)]) -> hyper::Request<Body> {
    let request = hyper::Request::get("/metrics").header("host", "localhost");
    more.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(Body::empty()).unwrap()
}

async fn with_metrics(access: streams_config::MetricsAccess) -> Server {
    let mut config = Config::default();
    config.api.metrics = access;
    Server::with(Scratch::new(), config, None).await
}

#[tokio::test]
async fn the_metrics_are_for_this_machine_and_for_keys_unless_they_are_opened() {
    use streams_config::MetricsAccess;
    let passed_on = [("x-forwarded-for", "192.0.2.1")];
    let local = with_metrics(MetricsAccess::Local).await;
    assert_eq!(local.send(metrics(&[])).await.status, 200);
    for header in [passed_on[0], ("forwarded", "for=192.0.2.1")] {
        let refused = local.send(metrics(&[header])).await;
        assert_eq!((refused.status, refused.problem().as_str()), (401, "unauthorized"), "{header:?}");
    }
    let key = format!("Bearer {}", local.api_key);
    assert_eq!(local.send(metrics(&[passed_on[0], ("authorization", &key)])).await.status, 200);

    let closed = with_metrics(MetricsAccess::Key).await;
    assert_eq!(closed.send(metrics(&[])).await.status, 401);
    assert_eq!(closed.get("/metrics").await.status, 200);
    let mut reader = closed;
    let org = reader.app.store.first_org().await.unwrap().unwrap();
    for (scopes, status) in [("metrics:read", 200), ("live:read", 403)] {
        let secret = ids::new_secret(ids::API_KEY_PREFIX).unwrap();
        let sha256 = ids::sha256_hex(secret.as_bytes());
        let (id, org) = (ids::new_id("apikey"), org.clone());
        let key = ApiKey { id, org, sha256, scopes: scopes.to_owned(), created_at: clock::unix_ms() };
        reader.app.store.add_api_key(&key).await.unwrap();
        reader.api_key = secret;
        assert_eq!(reader.get("/metrics").await.status, status, "{scopes}");
    }

    let open = with_metrics(MetricsAccess::Open).await;
    assert_eq!(open.send(metrics(&passed_on)).await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut config = Config::default();
    config.api.request_timeout_ms = 200;
    let server = Server::with(Scratch::new(), config, None).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/live-inputs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n{{",
        server.api_key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let len = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("application/problem+json"), "{answer}");
    assert_eq!(server.get("/v1/live-inputs").await.status, 200, "others are served");
}
