//! The file that is written while watching.

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::tracks::Chosen;
use crate::PlayError;
use crate::mp4::{Mp4Error, Mp4Writer, TrackRole};

/// A fragmented MP4 on its way to an output.
pub(super) struct Recording {
    output: Box<dyn AsyncWrite + Send + Unpin>,
    /// `None` until the tracks are known.
    writer: Option<Mp4Writer>,
    ready: Vec<Bytes>,
    written_bytes: u64,
}

impl Recording {
    pub fn new(output: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        Self { output, writer: None, ready: Vec::new(), written_bytes: 0 }
    }

    /// Bytes that the output took.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    pub fn duration(&self) -> std::time::Duration {
        self.writer.as_ref().map(Mp4Writer::duration).unwrap_or_default()
    }

    /// Chunks left out of the file.
    pub fn dropped(&self) -> u64 {
        self.writer.as_ref().map_or(0, Mp4Writer::dropped)
    }

    /// The tracks of the session: the first time they make the file, later they must fit it.
    pub fn tracks(&mut self, tracks: &[Chosen]) -> Result<(), PlayError> {
        match &self.writer {
            None => {
                let parts = tracks.iter().map(|track| (track.role, track.name.clone(), track.init.clone()));
                self.writer = Some(Mp4Writer::new(parts.collect()).map_err(broken)?);
                Ok(())
            }
            Some(writer) => {
                tracks.iter().try_for_each(|track| writer.check_init(track.role, &track.init)).map_err(broken)
            }
        }
    }

    /// A new session begins.
    pub fn discontinuity(&mut self) -> Result<(), PlayError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.discontinuity(&mut self.ready).map_err(broken)
    }

    /// The next object of a track.
    pub fn push(&mut self, role: TrackRole, payload: &Bytes) -> Result<(), PlayError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.push(role, payload, &mut self.ready).map_err(broken)
    }

    /// Hands what is ready to the output.
    pub async fn write(&mut self) -> Result<(), PlayError> {
        if self.ready.is_empty() {
            return Ok(());
        }
        for bytes in self.ready.drain(..) {
            self.output.write_all(&bytes).await.map_err(not_written)?;
            self.written_bytes = self.written_bytes.saturating_add(bytes.len() as u64);
        }
        // So that the output is whole up to here whenever the process ends.
        self.output.flush().await.map_err(not_written)
    }

    /// Writes what waits and closes the output.
    pub async fn finish(&mut self) -> Result<(), PlayError> {
        if let Some(writer) = &mut self.writer {
            writer.finish(&mut self.ready).map_err(broken)?;
        }
        self.write().await?;
        self.output.shutdown().await.map_err(not_written)
    }
}

fn broken(error: Mp4Error) -> PlayError {
    PlayError::failed(error)
}

fn not_written(error: std::io::Error) -> PlayError {
    PlayError::failed(format!("the output cannot be written: {error}"))
}
