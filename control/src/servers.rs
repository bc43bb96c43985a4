//! The two listeners: TLS for everybody, plain HTTP for this machine. What a client can hold is bounded: connections,
//! the time for a TLS handshake (10 s, axum-server's own), the time for a request's head.

use std::future::{Ready, ready};
use std::io::{self, Error as IoError};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// Connections to one port at the same time. An operator's tools and a few hundred page loads fit; each costs a file and
/// some 30 KB.
const CONNECTIONS_MAX: usize = 512;
/// A request's head is here within this: the slowest honest client sends it in one packet.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Binds a port; `key` names it in errors.
pub fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|source| Error::Port { protocol: "TCP", address, key, source })
}

/// Serves with TLS until `handle` is shut down.
pub async fn https(
    listener: TcpListener,
    tls: RustlsConfig,
    router: Router,
    handle: Handle<SocketAddr>,
    limit: Limit,
) -> Result<(), Error> {
    serve(listener, router, handle, RustlsAcceptor::new(tls).acceptor(limit)).await
}

/// Serves without TLS until `handle` is shut down.
pub async fn http(
    listener: TcpListener,
    router: Router,
    handle: Handle<SocketAddr>,
    limit: Limit,
) -> Result<(), Error> {
    serve(listener, router, handle, limit).await
}

async fn serve<A>(listener: TcpListener, router: Router, handle: Handle<SocketAddr>, acceptor: A) -> Result<(), Error>
where
    A: Accept<tokio::net::TcpStream, Router, Service = Router> + Clone + Send + Sync + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
    A::Future: Send,
{
    let address = listener.local_addr().map_err(Error::file("read the address of", "a listener"))?;
    let stopped = |source| Error::Server { address, source };
    let mut server = axum_server::from_tcp(listener).map_err(stopped)?.acceptor(acceptor).handle(handle).http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    server.serve(router.into_make_service()).await.map_err(|source| Error::Server { address, source })
}

/// Lets a bounded number of connections in and closes what is beyond.
#[derive(Clone)]
pub struct Limit {
    slots: Arc<Semaphore>,
    refused: Counter,
}

impl Limit {
    /// With the usual bound; `refused` counts what was closed.
    pub fn new(refused: Counter) -> Self {
        Self { slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)), refused }
    }
}

impl<S, T> Accept<S, T> for Limit {
    type Stream = Held<S>;
    type Service = T;
    type Future = Ready<io::Result<(Held<S>, T)>>;

    fn accept(&self, stream: S, service: T) -> Self::Future {
        ready(match self.slots.clone().try_acquire_owned() {
            Ok(slot) => Ok((Held { stream, _slot: slot }, service)),
            Err(_) => {
                self.refused.inc();
                Err(IoError::new(io::ErrorKind::ConnectionRefused, "too many connections"))
            }
        })
    }
}

/// A connection and the slot that it takes until it is dropped.
pub struct Held<S> {
    stream: S,
    _slot: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn connections_beyond_the_bound_are_closed_and_counted() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), "ports.http_dev").unwrap();
        let address = listener.local_addr().unwrap();
        let refused = Counter::default();
        let limit = Limit { slots: Arc::new(Semaphore::new(2)), refused: refused.clone() };
        let router = Router::new().fallback(|| async { "served" });
        let serving = tokio::spawn(http(listener, router, Handle::new(), limit));
        let ask = async |stream: &mut TcpStream| {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let mut answer = vec![0; 4096];
            stream.read(&mut answer).await.unwrap_or(0)
        };
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut first).await > 0);
        assert!(ask(&mut second).await > 0);
        let mut third = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut third).await, 0);
        assert_eq!(refused.get(), 1);
        drop(first);
        // The slot is free as soon as the server has seen the end: whoever tries again gets in.
        while ask(&mut TcpStream::connect(address).await.unwrap()).await == 0 {
            tokio::task::yield_now().await;
        }
        serving.abort();
    }
}
