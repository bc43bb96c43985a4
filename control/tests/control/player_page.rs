//! The player page and what it must know.

use crate::server::{Scratch, Server};
use base64::Engine as _;
use streams_config::Config;

async fn with_page() -> (Server, Scratch) {
    let web = Scratch::new();
    std::fs::create_dir_all(web.path().join("dist/assets")).unwrap();
    std::fs::write(web.path().join("dist/watch.html"), "<title>Watch</title>").unwrap();
    std::fs::write(web.path().join("dist/assets/app-1.js"), "play()").unwrap();
    std::fs::write(web.path().join("outside.txt"), "secret").unwrap();
    let dist = web.path().join("dist");
    (Server::with(Scratch::new(), Config::default(), Some(dist)).await, web)
}

#[tokio::test]
async fn the_page_is_served_for_every_id_and_kept_by_nobody() {
    let (server, _web) = with_page().await;
    let page = server.get("/watch/lv_01ARZ3NDEKTSV4RRFFQ69G5FAV?tok=x.y.z").await;
    assert_eq!((page.status, page.text.as_str()), (200, "<title>Watch</title>"));
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("connect-src 'self' https://127.0.0.1:4433"), "{policy}");

    let script = server.get("/assets/app-1.js").await;
    assert_eq!((script.status, script.text.as_str()), (200, "play()"));
    assert!(script.headers["content-type"].to_str().unwrap().starts_with("text/javascript"));
    assert!(script.headers["cache-control"].to_str().unwrap().contains("immutable"));
}

#[tokio::test]
async fn nothing_outside_of_the_build_is_served() {
    let (server, _web) = with_page().await;
    for path in ["/../outside.txt", "/assets/../../outside.txt", "/%2e%2e/outside.txt", "//etc/passwd", "/assets", "/"]
    {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_page_learns_where_to_connect_and_which_certificate_to_expect() {
    let (server, _web) = with_page().await;
    let config = server.get("/watch-config.json").await;
    assert_eq!(config.headers["cache-control"], "no-store");
    let config = config.json();
    assert_eq!(config["webtransport_base"], "https://127.0.0.1:4433");
    let hashes = config["certificate_hashes"].as_array().unwrap();
    let hash = base64::engine::general_purpose::STANDARD.decode(hashes[0].as_str().unwrap()).unwrap();
    assert_eq!(hash.len(), 32);
    assert_eq!(hashes.len(), server.app.certificates.hashes().len());
}

#[tokio::test]
async fn a_page_that_was_not_built_says_how_to_build_it() {
    let server = Server::with(Scratch::new(), Config::default(), Some("/nonexistent".into())).await;
    let page = server.get("/watch/lv_1").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("npm run build"), "{}", page.text);
}
