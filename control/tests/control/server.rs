//! A control process inside the test: real database, real shared memory, real HTTP on a loopback port of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use streams_config::Config;
use streams_control::credentials::Credentials;
use streams_control::datadir::DataDir;
use streams_control::http::api::{App, router};
use streams_control::{ids, process};
use tokio::net::{TcpListener, TcpStream};

/// A folder of its own, and the folder in shared memory that belongs to it; both go afterwards.
#[derive(Clone)]
pub struct Scratch {
    pub dir: DataDir,
    _remover: Arc<Remover>,
}

struct Remover(DataDir);

impl Scratch {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(ids::new_id("streams-control-test"));
        let dir = DataDir::create(&path).unwrap();
        Self { _remover: Arc::new(Remover(dir.clone())), dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.root()
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.run_dir());
        let _ = std::fs::remove_dir_all(self.0.root());
    }
}

pub struct Server {
    pub app: Arc<App>,
    pub address: std::net::SocketAddr,
    pub api_key: String,
    serving: tokio::task::JoinHandle<()>,
    pub scratch: Scratch,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn data(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text);
        self.json()["data"].clone()
    }

    /// The problem's type; every refusal must be a whole problem document.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem["type"].as_str().unwrap().to_owned()
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Scratch::new(), Config::default(), None).await
    }

    pub async fn with(scratch: Scratch, mut config: Config, web_dir: Option<PathBuf>) -> Self {
        config.engine.shards = 2;
        let app = process::open(&scratch.dir, config, web_dir).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = router(app.clone(), true);
        let routes = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let api_key = Credentials::read(&scratch.dir).unwrap().unwrap().api_key;
        Self { app, address, api_key, serving, scratch }
    }

    /// Stops this one and starts another on the same data directory.
    pub async fn restart(self) -> Self {
        let scratch = self.scratch.clone();
        drop(self);
        Self::with(scratch, Config::default(), None).await
    }

    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.api_key))
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let response: Response<_> =
            tokio::time::timeout(Duration::from_secs(20), sender.send_request(request)).await.unwrap().unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(Body::new(body), 1 << 20).await.unwrap();
        connection.abort();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("POST", path).body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn post_once(&self, path: &str, body: Value, key: &str) -> Answer {
        let request = self.request("POST", path).header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// A live input's id and stream key.
    pub async fn live_input(&self) -> (String, String) {
        let input = self.post("/v1/live-inputs", serde_json::json!({ "name": "show", "ingest": "rtmp" })).await.data();
        (input["id"].as_str().unwrap().to_owned(), input["stream_key"].as_str().unwrap().to_owned())
    }
}
