//! Live inputs as an API caller sees them.

use crate::server::Server;
use axum::body::Body;
use serde_json::json;

#[tokio::test]
async fn a_created_input_tells_its_secrets_once() {
    let server = Server::start().await;
    let body = json!({ "name": "My show", "ingest": "rtmp", "meta": { "room": 7 } });
    let answer = server.post("/v1/live-inputs", body).await;
    assert_eq!(answer.status, 201);
    let input = answer.data();
    for key in ["id", "name", "ingest", "status", "namespace", "stream_key", "srt_passphrase", "urls", "created_at"] {
        assert!(!input[key].is_null(), "{key} is missing in {input}");
    }
    let id = input["id"].as_str().unwrap();
    assert!(id.starts_with("lv_"));
    assert_eq!((input["name"].as_str(), input["status"].as_str()), (Some("My show"), Some("idle")));
    assert_eq!(input["urls"]["rtmp"], "rtmp://127.0.0.1:1935/live");
    let namespace = input["namespace"].as_array().unwrap();
    assert_eq!((namespace[0].as_str(), namespace[2].as_str()), (Some("stream"), Some(id)));

    let read = server.get(&format!("/v1/live-inputs/{id}")).await;
    let again = read.data();
    assert_eq!((&again["meta"]["room"], &again["reconnect_window_s"]), (&json!(7), &json!(60)));
    assert!(again.get("stream_key").is_none() && again.get("srt_passphrase").is_none());
    assert!(!read.text.contains(input["stream_key"].as_str().unwrap()));
}

#[tokio::test]
async fn what_is_wrong_in_a_body_is_named() {
    let server = Server::start().await;
    let cases = [
        (json!({}), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a", "ingest": "smoke" }), "smoke"),
        (json!({ "name": "a", "colour": 1 }), "colour"),
        (json!({ "name": "a", "reconnect_window_s": 99999 }), "99999"),
        (json!({ "name": "a", "meta": { "x": "y".repeat(5000) } }), "meta"),
        (json!([]), "body"),
    ];
    for (body, named) in cases {
        let answer = server.post("/v1/live-inputs", body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.problem(), "invalid_request");
        assert!(answer.text.contains(named), "{}", answer.text);
    }
    let cut = server.request("POST", "/v1/live-inputs").body(Body::from("{\"name\":")).unwrap();
    assert_eq!(server.send(cut).await.status, 400);
    let huge = server.request("POST", "/v1/live-inputs").body(Body::from(vec![b' '; 100_000])).unwrap();
    assert_eq!(server.send(huge).await.problem(), "too_large");
}

#[tokio::test]
async fn a_change_touches_the_named_fields_alone() {
    let server = Server::start().await;
    let (id, _) = server.live_input().await;
    let path = format!("/v1/live-inputs/{id}");
    let patch = |body: serde_json::Value| server.request("PATCH", &path).body(Body::from(body.to_string())).unwrap();
    let changed = server.send(patch(json!({ "reconnect_window_s": 5, "meta": { "a": 1 } }))).await.data();
    assert_eq!((&changed["reconnect_window_s"], &changed["name"]), (&json!(5), &json!("show")));
    let changed = server.send(patch(json!({ "name": "new name" }))).await.data();
    assert_eq!((&changed["name"], &changed["meta"]["a"]), (&json!("new name"), &json!(1)));
    assert_eq!(server.get(&path).await.data()["reconnect_window_s"], 5);
    let changed = server.send(patch(json!({ "ingest": "any" }))).await.data();
    assert_eq!((&changed["ingest"], &changed["name"]), (&json!("any"), &json!("new name")));
    assert_eq!(server.get(&path).await.data()["ingest"], "any");
    assert_eq!(server.send(patch(json!({ "ingest": "srt" }))).await.data()["ingest"], "srt");
    let wrongs = [
        json!({ "id": "x" }),
        json!({ "name": "" }),
        json!({ "reconnect_window_s": 100_000 }),
        json!({ "ingest": "x" }),
    ];
    for wrong in wrongs {
        assert_eq!(server.send(patch(wrong)).await.problem(), "invalid_request");
    }
}

#[tokio::test]
async fn what_is_not_offered_yet_may_be_switched_off_and_is_refused_in_plain_words() {
    let server = Server::start().await;
    let off = json!({ "name": "a", "record": false, "ladder": [], "dvr_window_s": 0 });
    let input = server.post("/v1/live-inputs", off).await.data();
    assert_eq!((&input["record"], &input["ladder"], &input["dvr_window_s"]), (&json!(false), &json!([]), &json!(0)));
    let path = format!("/v1/live-inputs/{}", input["id"].as_str().unwrap());
    let patch = |body: serde_json::Value| server.request("PATCH", &path).body(Body::from(body.to_string())).unwrap();
    let nulls = json!({ "record": null, "ladder": null, "dvr_window_s": null });
    assert_eq!(server.send(patch(nulls)).await.data()["record"], false);
    let on = [
        (json!({ "record": true }), "record is true"),
        (json!({ "ladder": ["720p"] }), "ladder is"),
        (json!({ "dvr_window_s": 60 }), "dvr_window_s is 60"),
    ];
    for (body, named) in on {
        let mut create = body.clone();
        create["name"] = "b".into();
        for answer in [server.post("/v1/live-inputs", create).await, server.send(patch(body)).await] {
            assert_eq!(answer.problem(), "invalid_request");
            assert!(answer.text.contains(named) && answer.text.contains("does not offer that yet"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_paged() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(server.live_input().await.0);
    }
    ids.sort();
    ids.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/live-inputs?limit=2{cursor}")).await.json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|input| input["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    for query in ["limit=0", "limit=1000", "limit=x", "cursor=%21", "page=2"] {
        assert_eq!(server.get(&format!("/v1/live-inputs?{query}")).await.problem(), "invalid_request", "{query}");
    }
}

#[tokio::test]
async fn deleted_and_unknown_inputs_are_not_found() {
    let server = Server::start().await;
    let (id, _) = server.live_input().await;
    assert_eq!(server.delete(&format!("/v1/live-inputs/{id}")).await.status, 204);
    for id in [id.as_str(), "lv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense", "%ff"] {
        for (method, action) in [("GET", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/rotate-stream-key")] {
            let request = server.request(method, &format!("/v1/live-inputs/{id}{action}")).body(Body::empty()).unwrap();
            let answer = server.send(request).await;
            assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{method} {id}{action}");
        }
    }
    assert_eq!(server.get("/v1/nothing").await.problem(), "not_found");
    let wrong = server.request("PUT", "/v1/live-inputs").body(Body::empty()).unwrap();
    assert_eq!(server.send(wrong).await.problem(), "method_not_allowed");
}

#[tokio::test]
async fn a_disabled_input_says_so_until_it_is_enabled() {
    let server = Server::start().await;
    let (id, _) = server.live_input().await;
    assert_eq!(server.post(&format!("/v1/live-inputs/{id}/disable"), json!({})).await.data()["status"], "disabled");
    assert_eq!(server.get(&format!("/v1/live-inputs/{id}")).await.data()["status"], "disabled");
    assert_eq!(server.post(&format!("/v1/live-inputs/{id}/enable"), json!({})).await.data()["status"], "idle");
}

#[tokio::test]
async fn rotation_gives_a_new_key_and_limits_the_old_ones() {
    let server = Server::start().await;
    let (id, first) = server.live_input().await;
    let path = format!("/v1/live-inputs/{id}/rotate-stream-key");
    let second = server.post(&path, json!({ "grace_seconds": 60 })).await.data();
    assert_ne!(second["stream_key"], first);
    for _ in 0..2 {
        server.post(&path, json!({ "grace_seconds": 60 })).await.data();
    }
    assert_eq!(server.post(&path, json!({ "grace_seconds": 60 })).await.problem(), "limit_reached");
    server.post(&path, json!({})).await.data();
    server.post(&path, json!({ "grace_seconds": 60 })).await.data();
    assert_eq!(server.post(&path, json!({ "grace_seconds": 10_000_000 })).await.problem(), "invalid_request");
    assert_eq!(server.post(&path, json!({ "grace": 1 })).await.problem(), "invalid_request");
}

#[tokio::test]
async fn an_input_shows_the_urls_of_its_kind_alone() {
    let server = Server::start().await;
    for (kind, shown) in [
        ("rtmp", &["rtmp", "rtmps"][..]),
        ("srt", &["srt"]),
        ("whip", &["whip"]),
        ("fmp4", &["moqt", "webtransport"]),
        ("any", &["rtmp", "rtmps", "srt", "whip", "moqt", "webtransport"]),
    ] {
        let made = server.post("/v1/live-inputs", json!({ "name": "show", "ingest": kind })).await.data();
        let urls = made["urls"].as_object().unwrap();
        let mut there: Vec<&str> =
            urls.iter().filter(|(_, url)| url.is_string()).map(|(name, _)| name.as_str()).collect();
        let mut shown = shown.to_vec();
        there.sort_unstable();
        shown.sort_unstable();
        assert_eq!(there, shown, "{kind}");
    }
    let answer = server.post("/v1/live-inputs", json!({ "name": "show", "ingest": "hls" })).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("rtmp, srt, whip, fmp4, any"), "{}", answer.text);
}
