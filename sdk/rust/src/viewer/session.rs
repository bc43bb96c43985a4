//! One session as the drafts have it: the protocol machine on a connection, whatever it is used for.

use std::future::pending;
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError};
use streams_relay_core::client::{self as machine, ClientConfig, ClientEvent};
use streams_relay_core::relay::Transport;
use tokio::time::sleep_until;

use super::Client;
use super::io::{Input, Streams};
use crate::error::close_reason;
use crate::{ClientError, SessionUrl};

/// How soon a write is tried again that QUIC had no room for. Requests are small, so this is rare.
const WRITE_RETRY: Duration = Duration::from_millis(20);

/// A session for programs that ask for more than [`super::Viewer`] does: any request of the machine, any event of it. Dropping
/// it closes the session.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    machine: machine::Client,
    streams: Streams,
    /// The machine has something to send that QUIC had no room for.
    blocked: bool,
    /// When the bytes behind the machine's newest events were read.
    arrival: Instant,
}

impl Session {
    /// Connects to the server of `url` and sends SETUP. Draft, transport, path and authority of `config` come from the
    /// connection and the URL.
    ///
    /// # Errors
    /// [`crate::ClientErrorKind::Unreachable`] when no address answers or the certificate is not believed.
    pub async fn connect(client: &Client, url: &SessionUrl, config: ClientConfig) -> Result<Self, ClientError> {
        let (connection, draft) = client.connect(url).await?;
        let (path, authority) = (url.path.clone(), url.authority.clone());
        let config = ClientConfig { draft, transport: Transport::Quic, path, authority, ..config };
        let (machine, streams) = (machine::Client::new(config), Streams::new(&connection));
        let mut session = Self { connection, machine, streams, blocked: false, arrival: Instant::now() };
        session.pump(Instant::now());
        Ok(session)
    }

    /// Makes or changes requests and sends what that leads to.
    ///
    /// # Panics
    /// Outside of the tokio runtime of [`Session::connect`]: a task reads each stream.
    pub fn ask<R>(&mut self, ask: impl FnOnce(&mut machine::Client) -> R) -> R {
        let answer = ask(&mut self.machine);
        self.pump(Instant::now());
        answer
    }

    /// The next event; safe to drop and call again. A close by the server's own code comes as [`ClientEvent::Closed`].
    ///
    /// # Errors
    /// The connection is gone, and why; also what every call after [`ClientEvent::Closed`] gives.
    pub async fn next_event(&mut self) -> Result<ClientEvent, ClientError> {
        loop {
            let event = self.machine.poll_event();
            if event.is_none() || matches!(event, Some(ClientEvent::Closed { .. })) {
                self.pump(Instant::now());
            }
            match event {
                Some(event) => return Ok(event),
                None => self.wait().await?,
            }
        }
    }

    /// Waits until the server has acknowledged all that was sent on streams of ours that are over.
    pub async fn drained(&mut self) {
        self.streams.drained().await;
    }

    /// When the bytes behind the newest events were read.
    pub fn arrival(&self) -> Instant {
        self.arrival
    }

    /// Round-trip time of the path, as QUIC measures it.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Waits for bytes or for a time limit of the machine, and hands them to it.
    async fn wait(&mut self) -> Result<(), ClientError> {
        let retry = self.blocked.then(|| Instant::now() + WRITE_RETRY);
        let wake = [self.machine.next_timeout(), retry].into_iter().flatten().min();
        let timer = async {
            match wake {
                Some(wake) => sleep_until(wake.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(input) = self.streams.inputs.recv() => {
                self.arrival = Instant::now();
                self.take(input);
            }
            error = self.connection.closed() => match &error {
                ConnectionError::ApplicationClosed(close) if !self.machine.is_closed() => {
                    let reason = String::from_utf8_lossy(&close.reason);
                    self.machine.transport_closed(close.error_code.into_inner(), &reason);
                }
                _ => return Err(close_reason(&error)),
            },
            () = timer => {
                self.arrival = Instant::now();
                self.machine.handle_timeout(self.arrival);
            }
        }
        Ok(())
    }

    fn take(&mut self, input: Input) {
        let now = self.arrival;
        match input {
            Input::Opened { stream, send, stop } => self.streams.opened(stream, send, stop),
            Input::Data { stream, dir, data, fin } => {
                if fin {
                    self.streams.read_to_end(stream);
                }
                self.machine.stream_data(now, stream, dir, &data, fin);
            }
            Input::Reset { stream, code } => {
                self.streams.read_to_end(stream);
                self.machine.stream_reset(now, stream, code);
            }
        }
    }

    fn pump(&mut self, now: Instant) {
        self.blocked = self.machine.pump(now, &mut self.streams.transmit(&self.connection)).more;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.close(quinn::VarInt::from_u32(0), b"done");
    }
}
