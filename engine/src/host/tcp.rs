//! TCP on a shard's thread.
//!
//! glommio's stream tells when bytes are there (a peek in its latency ring, which a busy shard notices at once) and writes. The
//! bytes are read from the socket itself: the stream's own read would wait for one more answer of the ring. The plain handle is
//! also what closes a connection from outside, and what moves to another shard.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future;
use futures_lite::io::AsyncWrite;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::time::sleep_until;
use super::watch::{Watch, wrap};

/// Pause before the next look when there is no descriptor left to wait with.
const BLIND_PAUSE: Duration = Duration::from_millis(50);

/// A listener whose tasks run on this shard.
pub(crate) struct HostedListener {
    listener: TcpListener,
    watch: Watch,
}

impl HostedListener {
    /// Hosts a listener.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let watch = Watch::new(listener.try_clone()?.into());
        Ok(Self { listener, watch })
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match self.listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.watch.arm() {
                    Ok(()) => self.watch.ready().await,
                    Err(_) => sleep_until(Instant::now() + BLIND_PAUSE).await,
                },
                done => {
                    future::yield_now().await;
                    return done;
                }
            }
        }
    }
}

/// A connection whose task runs on this shard. Dropping it closes it, unless there are other handles.
pub(crate) struct HostedStream {
    io: Rc<TcpStream>,
    stream: glommio::net::TcpStream,
}

impl HostedStream {
    /// Hosts a connection. The socket stays a blocking one: a ring answers for one that is not before there is anything.
    pub(crate) fn new(io: TcpStream) -> io::Result<Self> {
        let stream = wrap(io.try_clone()?.into());
        Ok(Self { io: Rc::new(io), stream })
    }

    /// The socket itself.
    pub(crate) fn io(&self) -> &Rc<TcpStream> {
        &self.io
    }

    /// Reads what is there, at least one byte; 0 is the end of the stream. Other tasks and the shard's turn get their share
    /// afterwards, for a peer that sends faster than its task reads would never let it wait.
    pub(crate) async fn read(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        let done = future::or(self.receive(buffer), late(deadline)).await;
        future::yield_now().await;
        done
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(&self.io, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, len)) => return Ok(len),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.stream.peek(&mut [0]).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes all of `bytes`; others get their share after each part.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let stream = &mut self.stream;
            let written = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes));
            let written = future::or(written, late(deadline)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
            future::yield_now().await;
        }
        Ok(())
    }
}

/// Fails at `deadline`.
async fn late<T>(deadline: Instant) -> io::Result<T> {
    sleep_until(deadline).await;
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;

    use super::*;
    use crate::host::tests::run;

    fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok((listener.accept()?.0, client))
    }

    #[test]
    fn bytes_arrive_in_both_directions_and_the_end_is_told() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        // More than both sockets' buffers hold, so that writing has to wait for the peer.
        let sent: Vec<u8> = (0..16 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
        let len = sent.len();
        let peer = std::thread::spawn(move || -> io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(address)?;
            std::thread::sleep(Duration::from_millis(30));
            let mut bytes = vec![0; len];
            stream.read_exact(&mut bytes)?;
            stream.write_all(&bytes)?;
            Ok(bytes)
        });
        let expected = sent.clone();
        let echoed = run(async move {
            let listener = HostedListener::new(listener)?;
            let mut stream = HostedStream::new(listener.accept().await?.0)?;
            let deadline = Instant::now() + Duration::from_secs(15);
            stream.write_all(&sent, deadline).await?;
            let (mut back, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
            loop {
                match stream.read(&mut buffer, deadline).await? {
                    0 => return io::Result::Ok(back),
                    len => back.extend_from_slice(&buffer[..len]),
                }
            }
        })?;
        assert!(echoed == expected, "what came back is what was sent");
        assert!(peer.join().is_ok_and(|got| got.is_ok()));
        Ok(())
    }

    #[test]
    fn a_silent_peer_runs_into_the_deadline_and_is_heard_afterwards() -> io::Result<()> {
        let (socket, mut client) = pair()?;
        let (start, patience) = (Instant::now(), Duration::from_millis(40));
        run(async move {
            let stream = HostedStream::new(socket)?;
            let mut buffer = [0; 8];
            let got = stream.read(&mut buffer, start + patience).await;
            assert_eq!(got.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
            assert!(start.elapsed() >= patience);
            client.write_all(b"late")?;
            let len = stream.read(&mut buffer, Instant::now() + Duration::from_secs(5)).await?;
            assert_eq!(&buffer[..len], b"late");
            Ok(())
        })
    }

    #[test]
    fn a_peer_that_does_not_read_runs_into_the_deadline_of_a_write() -> io::Result<()> {
        let (socket, _client) = pair()?;
        run(async move {
            let mut stream = HostedStream::new(socket)?;
            let deadline = Instant::now() + Duration::from_millis(40);
            let got = stream.write_all(&vec![0; 64 << 20], deadline).await;
            assert_eq!(got.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
            Ok(())
        })
    }

    #[test]
    fn another_handle_ends_a_read_that_waits() -> io::Result<()> {
        let (socket, _client) = pair()?;
        let other = socket.try_clone()?;
        let ender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.shutdown(Shutdown::Read)
        });
        run(async move {
            let stream = HostedStream::new(socket)?;
            let len = stream.read(&mut [0; 8], Instant::now() + Duration::from_secs(10)).await?;
            assert_eq!(len, 0);
            io::Result::Ok(())
        })?;
        assert!(ender.join().is_ok_and(|ended| ended.is_ok()));
        Ok(())
    }

    #[test]
    fn a_connection_moves_to_another_executor_with_what_it_was_sent() -> io::Result<()> {
        let (socket, mut client) = pair()?;
        let other = run(async move {
            let stream = HostedStream::new(socket)?;
            // A read waits in the ring when the connection goes.
            let waited = stream.read(&mut [0; 8], Instant::now() + Duration::from_millis(20)).await;
            assert!(waited.is_err());
            stream.io().try_clone()
        })?;
        client.write_all(b"for whoever has it now")?;
        run(async move {
            let stream = HostedStream::new(other)?;
            let mut buffer = [0; 64];
            let len = stream.read(&mut buffer, Instant::now() + Duration::from_secs(5)).await?;
            assert_eq!(&buffer[..len], b"for whoever has it now");
            Ok(())
        })
    }
}
