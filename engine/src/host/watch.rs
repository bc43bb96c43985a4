//! Waiting for a descriptor that glommio has no type for.
//!
//! glommio's TCP stream asks its ring to poll the descriptor when it is made, and tells when that is answered. Nothing is read
//! that way, so whatever can be polled can be watched: an epoll set, a listener. The answer comes once, so a descriptor that
//! was ready is wrapped anew for the next wait. A socket that has data must not be wrapped itself, for the stream would read
//! some of it; it goes into an epoll set.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::io::AsyncRead;
use glommio::net::TcpStream;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2_of_glommio::Socket;

/// Wraps a descriptor for glommio.
pub(super) fn wrap(descriptor: OwnedFd) -> TcpStream {
    TcpStream::from(Socket::from(net::TcpStream::from(descriptor)))
}

/// An epoll set of descriptors, each reported for as long as it is readable.
pub(super) fn set_of<'a, T: AsFd + 'a>(watched: impl IntoIterator<Item = &'a T>) -> io::Result<OwnedFd> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    for watched in watched {
        epoll::add(&set, watched, EventData::new_u64(0), EventFlags::IN)?;
    }
    Ok(set)
}

/// A descriptor that somebody waits for.
pub(super) struct Watch {
    watched: OwnedFd,
    armed: RefCell<Option<TcpStream>>,
}

impl Watch {
    /// Of an epoll set or a listener.
    pub(super) fn new(watched: OwnedFd) -> Self {
        Self { watched, armed: RefCell::new(None) }
    }

    /// Has the kernel asked, unless it is already.
    ///
    /// # Errors
    /// No descriptor is left: nothing is watched then.
    pub(super) fn arm(&self) -> io::Result<()> {
        let mut armed = self.armed.borrow_mut();
        if armed.is_none() {
            *armed = Some(wrap(self.watched.try_clone()?));
        }
        Ok(())
    }

    /// Ready once the armed descriptor is, which has to be armed again then. Never ready while it is not armed.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut armed = self.armed.borrow_mut();
        let Some(stream) = armed.as_mut() else { return Poll::Pending };
        // What it says is that the descriptor is no stream, or none with data. That it says something is the answer.
        match Pin::new(stream).poll_read(context, &mut [0]) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                *armed = None;
                Poll::Ready(())
            }
        }
    }

    /// Waits for an armed descriptor.
    pub(super) async fn ready(&self) {
        poll_fn(|context| self.poll_ready(context)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::time::{Duration, Instant};

    use futures_lite::future;
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::host::tests::run;
    use crate::host::time::sleep_until;

    fn bell() -> File {
        File::from(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap())
    }

    async fn rings(watch: &Watch, patience: Duration) -> bool {
        watch.arm().unwrap();
        let rang = async {
            watch.ready().await;
            true
        };
        let late = async {
            sleep_until(Instant::now() + patience).await;
            false
        };
        future::or(rang, late).await
    }

    #[test]
    fn a_bell_ends_one_wait_a_ring_and_is_watched_again_afterwards() {
        let bell = bell();
        run(async move {
            let watch = Watch::new(set_of([&bell]).unwrap());
            let (long, short) = (Duration::from_secs(10), Duration::from_millis(20));
            for _ in 0..3 {
                assert!(!rings(&watch, short).await, "nobody rang");
                (&bell).write_all(&1u64.to_ne_bytes()).unwrap();
                assert!(rings(&watch, long).await);
                assert!(rings(&watch, long).await, "it rings until it is read");
                (&bell).read_exact(&mut [0; 8]).unwrap();
            }
        });
    }

    #[test]
    fn a_datagram_wakes_and_stays_to_be_received() {
        let socket = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        run(async move {
            let watch = Watch::new(set_of([&socket]).unwrap());
            watch.arm().unwrap();
            sender.send_to(b"whole", socket.local_addr().unwrap()).unwrap();
            assert!(rings(&watch, Duration::from_secs(10)).await);
            let mut buffer = [0; 16];
            let (len, _) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"whole");
        });
    }
}
