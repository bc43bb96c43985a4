//! TCP on a shard's thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

use super::reactor::{Hosted, Reactor, Way};

/// Hosts a listener on this shard.
pub(crate) fn host_listener(reactor: &Rc<Reactor>, listener: TcpListener) -> io::Result<Hosted<TcpListener>> {
    listener.set_nonblocking(true)?;
    reactor.register(listener)
}

/// Hosts a connection on this shard.
pub(crate) fn host_stream(reactor: &Rc<Reactor>, stream: TcpStream) -> io::Result<Hosted<TcpStream>> {
    stream.set_nonblocking(true)?;
    reactor.register(stream)
}

impl Hosted<TcpListener> {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.when_ready(Way::Read, TcpListener::accept).await
    }
}

impl Hosted<TcpStream> {
    /// Reads what is there, at least one byte; 0 is the end of the stream.
    pub(crate) async fn read(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.by(deadline, Way::Read, |mut stream| stream.read(buffer)).await
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.by(deadline, Way::Write, |mut stream| stream.write(bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs::File;
    use std::future::Future;
    use std::time::Duration;

    use async_executor::LocalExecutor;
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    /// Runs `task` as a shard's thread does: ready tasks first, then a sleep in the reactor.
    fn run<'a, T: 'a>(reactor: &Rc<Reactor>, task: impl Future<Output = T> + 'a) -> T {
        let executor = LocalExecutor::new();
        let task = executor.spawn(task);
        let end = Instant::now() + Duration::from_secs(20);
        while !task.is_finished() {
            assert!(Instant::now() < end, "the task does not end");
            if !executor.try_tick() {
                reactor.sleep(Instant::now() + Duration::from_secs(1));
            }
        }
        futures_lite::future::block_on(task)
    }

    fn reactor() -> io::Result<(Rc<Reactor>, File)> {
        let bell = File::from(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok((Reactor::new(Vec::new(), bell.try_clone()?)?, bell))
    }

    fn pair(reactor: &Rc<Reactor>) -> io::Result<(Hosted<TcpStream>, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok((host_stream(reactor, listener.accept()?.0)?, client))
    }

    #[test]
    fn bytes_arrive_in_both_directions_and_the_end_is_told() -> io::Result<()> {
        let (reactor, _bell) = reactor()?;
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
        let listener = host_listener(&reactor, listener)?;
        let echoed = run(&reactor, async {
            let stream = host_stream(&reactor, listener.accept().await?.0)?;
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
        assert!(echoed == sent, "what came back is what was sent");
        assert!(peer.join().is_ok_and(|got| got.is_ok()));
        Ok(())
    }

    #[test]
    fn a_silent_peer_runs_into_the_deadline() -> io::Result<()> {
        let (reactor, _bell) = reactor()?;
        let (stream, _client) = pair(&reactor)?;
        let start = Instant::now();
        let patience = Duration::from_millis(40);
        let mut buffer = [0; 8];
        let got = run(&reactor, stream.read(&mut buffer, start + patience));
        assert_eq!(got.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert!(start.elapsed() >= patience);
        Ok(())
    }

    #[test]
    fn a_peer_that_never_stops_sending_leaves_the_others_their_turn() -> io::Result<()> {
        let (reactor, _bell) = reactor()?;
        let (stream, client) = pair(&reactor)?;
        let flood = std::thread::spawn(move || {
            let mut client = client;
            while client.write_all(&[7; 64 << 10]).is_ok() {}
        });
        let executor = LocalExecutor::new();
        let read = Rc::new(Cell::new(0));
        let counted = read.clone();
        let reader = executor.spawn(async move {
            let mut buffer = vec![0; 1 << 10];
            while stream.read(&mut buffer, Instant::now() + Duration::from_secs(5)).await.is_ok_and(|len| len > 0) {
                counted.set(counted.get() + 1);
            }
        });
        let mut steps = 0;
        while read.get() < 2_000 {
            let before = read.get();
            if !executor.try_tick() {
                reactor.sleep(Instant::now() + Duration::from_millis(20));
            }
            assert!(read.get() - before <= 1, "one read a step");
            steps += 1;
        }
        assert!(steps >= 2_000);
        // Closes the connection, for the task owns it.
        drop((reader, executor));
        assert!(flood.join().is_ok());
        Ok(())
    }

    #[test]
    fn the_bell_ends_a_sleep_once_a_ring() -> io::Result<()> {
        let (reactor, bell) = reactor()?;
        (&bell).write_all(&1u64.to_ne_bytes())?;
        let start = Instant::now();
        reactor.sleep(start + Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(5), "a bell rung before the sleep ends it");
        let start = Instant::now();
        let patience = Duration::from_millis(30);
        reactor.sleep(start + patience);
        assert!(start.elapsed() >= patience, "and rings for one sleep only");
        Ok(())
    }

    #[test]
    fn closing_one_handle_takes_the_socket_out_of_the_set() -> io::Result<()> {
        let (reactor, _bell) = reactor()?;
        let (stream, mut client) = pair(&reactor)?;
        let other = stream.io().try_clone()?;
        drop(stream);
        client.write_all(b"for whoever has it now")?;
        let start = Instant::now();
        let patience = Duration::from_millis(30);
        reactor.sleep(start + patience);
        assert!(start.elapsed() >= patience, "its data wakes nobody here");
        // The next shard hosts the same connection and finds the data.
        let (next, _bell) = self::reactor()?;
        let stream = host_stream(&next, other)?;
        let mut buffer = [0; 64];
        let len = run(&next, stream.read(&mut buffer, Instant::now() + Duration::from_secs(5)))?;
        assert_eq!(&buffer[..len], b"for whoever has it now");
        Ok(())
    }
}
