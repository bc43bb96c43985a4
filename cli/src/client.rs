//! The command's HTTP client: one request a connection, TLS with the installation's own certificate pinned.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use streams_control::Error::NoCredentials;
use streams_control::credentials::Credentials;
use streams_control::datadir::DataDir;
use streams_control::tls::Certificates;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::Error;
use crate::trust::client_config;

/// A request that takes longer has failed; making an RSA key is the slowest thing there is.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longest answer: a page of 200 resources is far below.
const ANSWER_LEN_MAX: usize = 8 << 20;

/// A client of one API.
pub struct Client {
    base: Url,
    api_key: String,
    certificates: Certificates,
}

impl Client {
    /// With the data directory's credentials where `api` or `api_key` are not given.
    pub fn new(dir: &DataDir, api: Option<&str>, api_key: Option<&str>) -> Result<Self, Error> {
        let known = match (api, api_key) {
            (Some(_), Some(_)) => None,
            _ => Some(Credentials::read(dir)?.ok_or(NoCredentials { path: dir.credentials() })?),
        };
        let known = known.as_ref();
        let api = api.or(known.map(|known| known.api.as_str())).unwrap_or_default();
        let base = Url::parse(api).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let base = base.ok_or_else(|| Error::Usage(format!("`{api}` is no API address; write https://HOST:PORT")))?;
        let host = base.host_str().unwrap_or_default().to_owned();
        Ok(Self {
            api_key: api_key.or(known.map(|known| known.api_key.as_str())).unwrap_or_default().to_owned(),
            certificates: Certificates::new(dir.tls(), &host),
            base,
        })
    }

    /// `GET`: the whole answer.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.request("GET", path, None).await
    }

    /// `POST` of a JSON object: the whole answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.request("POST", path, Some(body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.request("DELETE", path, None).await.map(drop)
    }

    async fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let unreachable = |reason: String| Error::Unreachable { url: self.base.to_string(), reason };
        match tokio::time::timeout(TIMEOUT, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(unreachable(format!("no answer within {} s", TIMEOUT.as_secs()))),
        }
    }

    async fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let unreachable = |reason: String| Error::Unreachable { url: self.base.to_string(), reason };
        let addresses = self.base.socket_addrs(|| None).map_err(|error| unreachable(error.to_string()))?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|error| unreachable(error.to_string()))?;
        let request = self.build(method, path, body)?;
        if self.base.scheme() == "http" {
            return self.send(stream, request).await;
        }
        let name = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|error| unreachable(error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(client_config(self.certificates.pinned())?));
        let stream = connector.connect(name, stream).await.map_err(|error| unreachable(error.to_string()))?;
        self.send(stream, request).await
    }

    fn build(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Request<String>, Error> {
        let host = &self.base[url::Position::BeforeHost..url::Position::AfterPort];
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("authorization", format!("Bearer {}", self.api_key))
            .header("content-type", "application/json")
            .header("connection", "close")
            .body(body.map_or_else(String::new, Value::to_string));
        request.map_err(|error| Error::Usage(format!("this cannot be asked for: {error}")))
    }

    async fn send<S>(&self, stream: S, request: Request<String>) -> Result<Value, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let unreachable =
            |error: hyper::Error| Error::Unreachable { url: self.base.to_string(), reason: error.to_string() };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let bytes = whole(response.into_body()).await;
        connection.abort();
        let unexpected = |reason: String| Error::Answer { url: self.base.to_string(), reason };
        let bytes = bytes.map_err(unexpected)?;
        let value = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).map_err(|error| unexpected(format!("status {status}, {error}")))?,
        };
        if status < 400 {
            return Ok(value);
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(Error::Api { status, kind: text("type"), detail: text("detail") })
    }
}

/// An answer to its end.
async fn whole(body: Incoming) -> Result<Vec<u8>, String> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|error| error.to_string())?;
        bytes.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        if bytes.len() > ANSWER_LEN_MAX {
            return Err(format!("it is longer than {ANSWER_LEN_MAX} bytes"));
        }
    }
    Ok(bytes)
}
