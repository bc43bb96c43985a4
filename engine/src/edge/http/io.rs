//! A shard's TCP as TLS and hyper want it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::io::{AsyncRead, AsyncWrite};
use hyper::rt::{Executor, Read, ReadBufCursor, Write};

use crate::host::{HostedStream, Spawner};

/// Bytes that a connection reads before the others have their turn.
pub(super) const SLICE_LEN: usize = 16 << 10;
/// One read.
const READ_LEN: usize = 4 << 10;

/// A socket that lets others have their turn.
pub(super) struct FairStream {
    socket: HostedStream,
    read: usize,
}

impl FairStream {
    pub(super) fn new(socket: HostedStream) -> Self {
        Self { socket, read: 0 }
    }
}

impl AsyncRead for FairStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.read >= SLICE_LEN {
            self.read = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match Pin::new(&mut self.socket).poll_read(context, buffer) {
            Poll::Pending => {
                self.read = 0;
                Poll::Pending
            }
            Poll::Ready(done) => {
                self.read = self.read.saturating_add(done.as_ref().map_or(0, |len| *len));
                Poll::Ready(done)
            }
        }
    }
}

impl AsyncWrite for FairStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context)
    }
}

/// A TLS stream for hyper.
pub(super) struct HyperStream<S>(pub(super) S);

impl<S: AsyncRead + Unpin> Read for HyperStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_LEN];
        let room = bytes.len().min(buffer.remaining());
        let part = bytes.get_mut(..room).unwrap_or_default();
        let len = ready!(Pin::new(&mut self.0).poll_read(context, part))?;
        buffer.put_slice(part.get(..len).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for HyperStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// Starts hyper's tasks, one a stream of HTTP/2, among the edge's.
#[derive(Clone)]
pub(super) struct EdgeExecutor(pub(super) Spawner);

impl<F: Future<Output: 'static> + 'static> Executor<F> for EdgeExecutor {
    fn execute(&self, task: F) {
        self.0.spawn(async move {
            task.await;
        });
    }
}
