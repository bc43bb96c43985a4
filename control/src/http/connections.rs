//! What the clients of a listener may hold: connections in all, connections an address, and time.
//!
//! ```text
//! accepted ─▶ share of its address? ─▶ room? else the one that moved no byte for longest goes ─▶ Held
//! Held: a byte moves within `idle`, and what is being sent leaves within `response`; else it ends
//! ```
//!
//! The time for a request's head is hyper's to watch, the time for its body the extractor's
//! ([`Strict`](crate::http::api)): a stream does not know where a request begins.

use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use prometheus_client::metrics::counter::Counter;
use streams_config::Api;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

/// At a full house nobody goes who moved a byte within this: newcomers are refused then, for all the others are at work.
const AT_WORK: Duration = Duration::from_secs(1);

/// Bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Connections of one address at the same time; this machine's own addresses may have all.
    pub connections_address_max: usize,
    /// Longest silence.
    pub idle: Duration,
    /// An answer has left within this.
    pub response: Duration,
}

impl Bounds {
    /// As configured.
    pub fn new(api: &Api) -> Self {
        Self {
            connections_max: api.connections_max,
            connections_address_max: api.connections_address_max,
            idle: Duration::from_millis(api.idle_timeout_ms),
            response: Duration::from_millis(api.response_timeout_ms),
        }
    }
}

/// Lets connections in within the bounds.
#[derive(Clone)]
pub struct Limit {
    bounds: Bounds,
    open: Arc<Mutex<Open>>,
    refused: Counter,
}

/// The open connections.
#[derive(Default)]
struct Open {
    numbers: u64,
    connections: HashMap<u64, Entry>,
    addresses: HashMap<IpAddr, usize>,
}

struct Entry {
    address: IpAddr,
    moved: Instant,
    cut: Option<oneshot::Sender<()>>,
}

impl Open {
    fn remove(&mut self, number: u64) {
        let Some(entry) = self.connections.remove(&number) else { return };
        if let Some(count) = self.addresses.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&entry.address);
            }
        }
    }

    /// Cuts the connection that moved no byte for longest. False when all are at work.
    fn make_room(&mut self, now: Instant) -> bool {
        let oldest = self.connections.iter().min_by_key(|(_, entry)| entry.moved);
        let idle = oldest.filter(|(_, entry)| now.saturating_duration_since(entry.moved) >= AT_WORK);
        let Some(number) = idle.map(|(number, _)| *number) else { return false };
        if let Some(cut) = self.connections.get_mut(&number).and_then(|entry| entry.cut.take()) {
            // Its task may be ending at this moment.
            let _ = cut.send(());
        }
        self.remove(number);
        true
    }
}

/// One share: an IPv4 address, or the /64 that a host has of IPv6.
fn share_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

impl Limit {
    /// `refused` counts what was closed for others' sake.
    pub fn new(bounds: Bounds, refused: Counter) -> Self {
        Self { bounds, open: Arc::default(), refused }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, stream: TcpStream) -> io::Result<Held> {
        let peer = stream.peer_addr()?.ip().to_canonical();
        let (address, now) = (share_of(peer), Instant::now());
        let mut open = self.lock();
        let share = open.addresses.get(&address).copied().unwrap_or(0);
        if share >= self.bounds.connections_address_max && !peer.is_loopback() {
            return Err(self.refuse("too many connections of this address"));
        }
        if open.connections.len() >= self.bounds.connections_max {
            self.refused.inc();
            if !open.make_room(now) {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "too many connections"));
            }
        }
        open.numbers += 1;
        let (number, (cut, is_cut)) = (open.numbers, oneshot::channel());
        *open.addresses.entry(address).or_default() += 1;
        open.connections.insert(number, Entry { address, moved: now, cut: Some(cut) });
        drop(open);
        let deadline = Box::pin(sleep_until(now + self.bounds.idle));
        Ok(Held { stream, place: Place { limit: self.clone(), number }, is_cut: Some(is_cut), sending: None, deadline })
    }

    fn refuse(&self, why: &'static str) -> io::Error {
        self.refused.inc();
        io::Error::new(io::ErrorKind::ConnectionRefused, why)
    }
}

impl<T> Accept<TcpStream, T> for Limit {
    type Stream = Held;
    type Service = T;
    type Future = Ready<io::Result<(Held, T)>>;

    fn accept(&self, stream: TcpStream, service: T) -> Self::Future {
        ready(self.hold(stream).map(|held| (held, service)))
    }
}

/// A connection's place among the others until it is dropped.
struct Place {
    limit: Limit,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limit.lock().remove(self.number);
    }
}

/// A connection that ends when its time is over or others need its place.
pub struct Held {
    stream: TcpStream,
    place: Place,
    /// Until others needed its place.
    is_cut: Option<oneshot::Receiver<()>>,
    /// Since when an answer has been on its way.
    sending: Option<Instant>,
    deadline: Pin<Box<Sleep>>,
}

impl Held {
    /// Bytes moved.
    fn moved(&mut self) {
        let (now, bounds) = (Instant::now(), self.place.limit.bounds);
        if let Some(entry) = self.place.limit.lock().connections.get_mut(&self.place.number) {
            entry.moved = now;
        }
        let response = self.sending.map(|since| since + bounds.response);
        self.deadline.as_mut().reset(response.unwrap_or(now + bounds.idle).min(now + bounds.idle));
    }

    /// Nothing can be done now: ends the connection when it may wait no more.
    fn waiting<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.is_cut.as_mut().is_none_or(|is_cut| Pin::new(is_cut).poll(cx).is_ready()) {
            self.is_cut = None;
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "others need its place")));
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.sending.get_or_insert_with(Instant::now);
        match written {
            Poll::Pending => self.waiting(cx),
            Poll::Ready(done) => {
                self.moved();
                // A reader that takes a byte now and then never lets a write wait for long.
                match self.waiting::<usize>(cx) {
                    Poll::Ready(Err(over)) => Poll::Ready(Err(over)),
                    _ => Poll::Ready(done),
                }
            }
        }
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.waiting(cx),
            Poll::Ready(done) => {
                if buf.filled().len() > before {
                    self.moved();
                }
                Poll::Ready(done)
            }
        }
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Comes once all of an answer is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() && self.sending.take().is_some() {
            self.moved();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_share_however_many_addresses_its_network_gives_it() {
        let share = |text: &str| share_of(text.parse().unwrap());
        assert_eq!(share("2001:db8:1:2:aaaa::1"), share("2001:db8:1:2:bbbb::2"));
        assert_ne!(share("2001:db8:1:2::1"), share("2001:db8:1:3::1"));
        assert_eq!(share("::ffff:192.0.2.1"), share("192.0.2.1"));
        assert_ne!(share("192.0.2.1"), share("192.0.2.2"));
    }
}
