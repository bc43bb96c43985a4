//! The two listeners: TLS for everybody, plain HTTP for this machine. What a client can hold is bounded
//! ([`crate::http::connections`]), and so is what it can send: the head of a request in bytes, fields and time here, its body in the
//! extractor. The TLS handshake has 10 s, axum-server's own bound.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::ConnectInfo;
use axum::middleware::AddExtension;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::service::SendService;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper::body::Incoming;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::Error;
use crate::http::connections::Limit;

/// A request's head in bytes: room for a token in its target and one in a field, with what a browser sends besides.
const HEAD_LEN_MAX: usize = 16 << 10;
/// Fields of a head. Browsers send about 20.
const HEAD_FIELDS_MAX: usize = 64;

/// Binds a port; `key` names it in errors.
pub fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|source| Error::Port { protocol: "TCP", address, key, source })
}

/// One listener's way of serving.
pub struct Serving {
    /// Bounds on connections.
    pub limit: Limit,
    /// A request's head is here within this.
    pub head_timeout: Duration,
    /// Ends it.
    pub handle: Handle<SocketAddr>,
}

/// Serves with TLS until the handle is shut down.
pub async fn https(listener: TcpListener, tls: RustlsConfig, router: Router, serving: Serving) -> Result<(), Error> {
    let acceptor = RustlsAcceptor::new(tls).acceptor(serving.limit.clone());
    serve(listener, router, serving, acceptor).await
}

/// Serves without TLS until the handle is shut down.
pub async fn http(listener: TcpListener, router: Router, serving: Serving) -> Result<(), Error> {
    let acceptor = serving.limit.clone();
    serve(listener, router, serving, acceptor).await
}

async fn serve<A>(listener: TcpListener, router: Router, serving: Serving, acceptor: A) -> Result<(), Error>
where
    A: Accept<TcpStream, Served> + Clone + Send + Sync + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
    A::Service: SendService<Request<Incoming>> + Send,
    A::Future: Send,
{
    let Serving { head_timeout, handle, .. } = serving;
    let address = listener.local_addr().map_err(Error::file("read the address of", "a listener"))?;
    let stopped = |source| Error::Server { address, source };
    let mut server = axum_server::from_tcp(listener).map_err(stopped)?.acceptor(acceptor).handle(handle).http1_only();
    let mut http = server.http_builder().http1();
    http.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(HEAD_LEN_MAX);
    http.max_headers(HEAD_FIELDS_MAX);
    // Who asks is told to the handlers.
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    server.serve(router).await.map_err(|source| Error::Server { address, source })
}

/// The routes for one connection, with the address that it comes from.
type Served = AddExtension<Router, ConnectInfo<SocketAddr>>;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::http::connections::Bounds;

    const FAR: Duration = Duration::from_secs(600);
    const SOON: Duration = Duration::from_millis(300);
    const USUAL: Bounds = Bounds { connections_max: 100, connections_address_max: 100, idle: FAR, response: FAR };

    struct Server {
        address: SocketAddr,
        refused: Counter,
        serving: JoinHandle<Result<(), Error>>,
    }

    impl Server {
        fn start(bounds: Bounds, head_timeout: Duration) -> Self {
            // All of 127/8 is this machine's: strangers need an address that is not.
            let listener = bind("0.0.0.0:0".parse().unwrap(), "ports.http_dev").unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
            let refused = Counter::default();
            let router = Router::new().fallback(|request: Request| async move {
                match request.uri().path() {
                    "/big" => "x".repeat(64 << 20),
                    _ => "served".to_owned(),
                }
            });
            let limit = Limit::new(bounds, refused.clone());
            let serving = tokio::spawn(http(listener, router, Serving { limit, head_timeout, handle: Handle::new() }));
            Self { address, refused, serving }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.serving.abort();
        }
    }

    /// The status line of the answer; empty when the connection was closed.
    async fn ask(stream: &mut TcpStream, request: &str) -> String {
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 4096];
        let len = stream.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..len]).lines().next().unwrap_or_default().to_owned()
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const SERVED: &str = "HTTP/1.1 200 OK";

    /// Waits for the end of a connection that the server closes.
    async fn closed(stream: &mut TcpStream) {
        let mut rest = Vec::new();
        let _ =
            tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await.expect("it is closed");
    }

    #[tokio::test]
    async fn at_a_full_house_the_connection_that_was_idle_for_longest_goes() {
        let server = Server::start(Bounds { connections_max: 2, ..USUAL }, FAR);
        let (mut first, mut second) = (server.connect().await, server.connect().await);
        assert_eq!(ask(&mut first, GET).await, SERVED);
        assert_eq!(ask(&mut second, GET).await, SERVED);
        // All of them have just worked: nobody goes.
        assert_eq!(ask(&mut server.connect().await, GET).await, "");
        assert_eq!(server.refused.get(), 1);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(ask(&mut first, GET).await, SERVED);
        let mut third = server.connect().await;
        assert_eq!(ask(&mut third, GET).await, SERVED);
        closed(&mut second).await;
        assert_eq!(ask(&mut first, GET).await, SERVED, "the one that was at work stays");
        assert_eq!(server.refused.get(), 2);
    }

    #[tokio::test]
    async fn a_slot_is_free_as_soon_as_its_connection_has_ended() {
        let server = Server::start(Bounds { connections_max: 1, ..USUAL }, FAR);
        let mut first = server.connect().await;
        assert_eq!(ask(&mut first, GET).await, SERVED);
        drop(first);
        while ask(&mut server.connect().await, GET).await.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_address_has_its_share_and_others_still_get_in() {
        let Some(own) = own_address() else {
            return eprintln!("NOT RUN: an_address_has_its_share_and_others_still_get_in: no address but loopback");
        };
        let server = Server::start(Bounds { connections_address_max: 3, ..USUAL }, FAR);
        let from = async |address: SocketAddr| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(address.ip(), 0)).unwrap();
            socket.connect(SocketAddr::new(address.ip(), server.address.port())).await.unwrap()
        };
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = from(own).await;
            assert_eq!(ask(&mut stream, GET).await, SERVED);
            held.push(stream);
        }
        assert_eq!(ask(&mut from(own).await, GET).await, "");
        assert_eq!(server.refused.get(), 1);
        for _ in 0..10 {
            let mut stream = server.connect().await;
            assert_eq!(ask(&mut stream, GET).await, SERVED, "this machine's own tools are not counted");
            held.push(stream);
        }
    }

    /// An address of this machine that is no loopback address. Nothing is sent: the system only chooses.
    fn own_address() -> Option<SocketAddr> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect("192.0.2.1:9").ok()?;
        socket.local_addr().ok().filter(|address| !address.ip().is_loopback())
    }

    #[tokio::test]
    async fn a_connection_that_stays_silent_or_sends_its_head_byte_by_byte_ends() {
        let server = Server::start(Bounds { idle: SOON, ..USUAL }, FAR);
        let mut silent = server.connect().await;
        closed(&mut silent).await;
        let mut after = server.connect().await;
        assert_eq!(ask(&mut after, GET).await, SERVED);
        closed(&mut after).await;

        let server = Server::start(USUAL, SOON);
        let mut slow = server.connect().await;
        let dribbling = async {
            for byte in GET.bytes().cycle() {
                if slow.write_all(if byte == b'\n' { b"x" } else { b"y" }).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), dribbling).await.expect("it is cut off");
    }

    #[tokio::test]
    async fn an_answer_that_is_read_byte_by_byte_is_cut_off() {
        let server = Server::start(Bounds { response: SOON, ..USUAL }, FAR);
        let mut slow = server.connect().await;
        slow.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut total = 0;
        let reading = async {
            let mut some = [0; 16 << 10];
            while let Ok(len @ 1..) = slow.read(&mut some).await {
                total += len;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it is cut off");
        assert!(total < 64 << 20, "all of it was sent");
    }

    #[tokio::test]
    async fn a_head_of_too_many_bytes_or_fields_is_refused() {
        let server = Server::start(USUAL, FAR);
        let fields = |count: usize| (0..count).map(|i| format!("x-{i}: 1\r\n")).collect::<String>();
        let with = |more: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{more}\r\n");
        let cases = [
            (with(&fields(HEAD_FIELDS_MAX - 1)), SERVED),
            (with(&fields(HEAD_FIELDS_MAX)), "HTTP/1.1 431 Request Header Fields Too Large"),
            (with(&format!("x: {}\r\n", "y".repeat(HEAD_LEN_MAX / 2))), SERVED),
            (with(&format!("x: {}\r\n", "y".repeat(HEAD_LEN_MAX))), "HTTP/1.1 431 Request Header Fields Too Large"),
            (format!("GET /{} HTTP/1.1\r\n", "y".repeat(HEAD_LEN_MAX)), "HTTP/1.1 431 Request Header Fields Too Large"),
        ];
        for (request, wanted) in cases {
            assert_eq!(ask(&mut server.connect().await, &request).await, wanted, "{} bytes", request.len());
        }
    }
}
