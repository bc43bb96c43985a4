//! quinn's streams as the protocol machine wants them.

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt, WriteError};
use streams_relay_core::relay::{Dir, StreamId, Transmit, TransmitError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Chunks that may wait for the viewer, of all streams together.
const INPUTS_MAX: usize = 64;
/// Most bytes taken from a stream at once: with the number above, at most 4 MiB wait outside of QUIC's flow control.
const CHUNK_LEN_MAX: usize = 64 * 1024;

/// What happened on the connection.
pub(crate) enum Input {
    /// The server opened a stream.
    Opened { stream: StreamId, send: Option<SendStream>, stop: oneshot::Sender<u64> },
    /// Bytes of a stream, in order.
    Data { stream: StreamId, dir: Dir, data: Bytes, fin: bool },
    /// The server reset a stream.
    Reset { stream: StreamId, code: u64 },
}

/// A stream that is open in one direction at least.
#[derive(Debug)]
struct Open {
    send: Option<SendStream>,
    /// Tells the reader to stop with this code; `None` when everything was read.
    stop: Option<oneshot::Sender<u64>>,
}

/// The streams of one connection.
#[derive(Debug)]
pub(crate) struct Streams {
    pub inputs: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
    open: HashMap<StreamId, Open>,
    /// Streams that were finished and may hold bytes that the server has not acknowledged.
    finished: JoinSet<()>,
}

impl Streams {
    /// Begins to read every stream that the server opens.
    pub fn new(connection: &Connection) -> Self {
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        tokio::spawn(accept(connection.clone(), sender.clone()));
        Self { inputs, sender, open: HashMap::new(), finished: JoinSet::new() }
    }

    pub fn opened(&mut self, stream: StreamId, send: Option<SendStream>, stop: oneshot::Sender<u64>) {
        self.open.insert(stream, Open { send, stop: Some(stop) });
    }

    /// Nothing more will be read from the stream.
    pub fn read_to_end(&mut self, stream: StreamId) {
        self.change(stream, |open| open.stop = None);
    }

    /// Waits until the server has acknowledged every finished stream, or does not want it.
    pub async fn drained(&mut self) {
        while self.finished.join_next().await.is_some() {}
    }

    /// No byte follows on our side of a stream.
    fn finish(&mut self, stream: StreamId) {
        let Some(mut send) = self.open.get_mut(&stream).and_then(|open| open.send.take()) else { return };
        // An error says that the server stopped the stream, and so does not mind.
        let _ = send.finish();
        self.change(stream, |_| {});
        while self.finished.try_join_next().is_some() {}
        self.finished.spawn(async move {
            let _ = send.stopped().await;
        });
    }

    /// A view of the streams for one pump.
    pub fn transmit<'a>(&'a mut self, connection: &'a Connection) -> QuinnTransmit<'a> {
        QuinnTransmit { connection, streams: self }
    }

    /// Changes a stream's entry and drops it when both directions are over.
    fn change(&mut self, stream: StreamId, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        change(open);
        if open.send.is_none() && open.stop.is_none() {
            self.open.remove(&stream);
        }
    }
}

async fn accept(connection: Connection, inputs: mpsc::Sender<Input>) {
    loop {
        let (send, receive, dir) = tokio::select! {
            Ok(receive) = connection.accept_uni() => (None, receive, Dir::Uni),
            Ok((send, receive)) = connection.accept_bi() => (Some(send), receive, Dir::Bidi),
            else => return,
        };
        let stream = id_of(&receive);
        let (stop, stopped) = oneshot::channel();
        if inputs.send(Input::Opened { stream, send, stop }).await.is_err() {
            return;
        }
        tokio::spawn(read(receive, dir, stopped, inputs.clone()));
    }
}

fn id_of(stream: &RecvStream) -> StreamId {
    StreamId(VarInt::from(stream.id()).into_inner())
}

/// Reads a stream to its end, or until told to stop. A send that fails says that the viewer is gone.
async fn read(mut receive: RecvStream, dir: Dir, mut stopped: oneshot::Receiver<u64>, inputs: mpsc::Sender<Input>) {
    let stream = id_of(&receive);
    loop {
        let read = tokio::select! {
            biased;
            Ok(code) = &mut stopped => {
                // An error says that the stream is over already.
                let _ = receive.stop(varint(code));
                return;
            }
            read = receive.read_chunk(CHUNK_LEN_MAX, true) => read,
        };
        let (input, last) = match read {
            Ok(Some(chunk)) => (Input::Data { stream, dir, data: chunk.bytes, fin: false }, false),
            Ok(None) => (Input::Data { stream, dir, data: Bytes::new(), fin: true }, true),
            Err(ReadError::Reset(code)) => (Input::Reset { stream, code: code.into_inner() }, true),
            // The connection is over, which the viewer learns from the connection.
            Err(_) => return,
        };
        if inputs.send(input).await.is_err() || last {
            return;
        }
    }
}

/// MoQT's codes fit QUIC's 62 bits.
fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// What the future gives at once, if it does.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The streams during one pump.
pub(crate) struct QuinnTransmit<'a> {
    connection: &'a Connection,
    streams: &'a mut Streams,
}

impl Transmit for QuinnTransmit<'_> {
    fn open_uni(&mut self) -> Option<StreamId> {
        let send = at_once(self.connection.open_uni())?.ok()?;
        let stream = StreamId(VarInt::from(send.id()).into_inner());
        self.streams.open.insert(stream, Open { send: Some(send), stop: None });
        Some(stream)
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        let (send, receive) = at_once(self.connection.open_bi())?.ok()?;
        let stream = id_of(&receive);
        let (stop, stopped) = oneshot::channel();
        self.streams.opened(stream, Some(send), stop);
        tokio::spawn(read(receive, Dir::Bidi, stopped, self.streams.sender.clone()));
        Some(stream)
    }

    fn write(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        let send = self.streams.open.get_mut(&stream).and_then(|open| open.send.as_mut());
        let send = send.ok_or(TransmitError::Closed)?;
        let taken = if data.is_empty() { Some(Ok(0)) } else { at_once(send.write(data)) };
        let taken = match taken {
            None => 0,
            Some(Ok(taken)) => taken,
            Some(Err(WriteError::Stopped(code))) => return Err(TransmitError::Stopped(code.into_inner())),
            Some(Err(_)) => return Err(TransmitError::Closed),
        };
        if fin && taken == data.len() {
            self.streams.finish(stream);
        }
        Ok(taken)
    }

    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError> {
        self.write(stream, data, fin)
    }

    fn set_urgency(&mut self, stream: StreamId, urgency: u8) {
        // quinn sends higher numbers first; 0 is the most urgent here.
        if let Some(send) = self.streams.open.get(&stream).and_then(|open| open.send.as_ref()) {
            let _ = send.set_priority(-i32::from(urgency));
        }
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        self.streams.change(stream, |open| {
            if let Some(mut send) = open.send.take() {
                let _ = send.reset(varint(code));
            }
        });
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        self.streams.change(stream, |open| {
            if let Some(stop) = open.stop.take() {
                let _ = stop.send(code);
            }
        });
    }

    fn close(&mut self, code: u64, reason: &str) {
        self.connection.close(varint(code), reason.as_bytes());
    }
}
