//! The file that is written while watching.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use streams_media::fmp4::same_decoder;
use streams_media::{MediaError, MediaKind};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::tracks::Chosen;
use crate::mp4::Mp4Writer;
use crate::{ClientError, OpenPart};

/// Set-ups announced ahead of their media. An encoder that changes announces one.
const CHANGES_MAX: usize = 16;

/// A fragmented MP4 on its way to an output, in as many parts as the broadcast has decoder set-ups.
pub(super) struct Recording {
    open: OpenPart,
    part: u32,
    output: Box<dyn AsyncWrite + Send + Unpin>,
    /// `None` until the tracks are known.
    writer: Option<Mp4Writer>,
    /// The newest tracks that were announced.
    tracks: Vec<Chosen>,
    /// Set-ups that follow, oldest first.
    changes: VecDeque<Change>,
    ready: Vec<Bytes>,
    written_bytes: u64,
    /// Of the parts before this one.
    past: (Duration, u64),
}

/// The tracks of a part to come.
struct Change {
    tracks: Vec<Chosen>,
    /// The tracks that need another decoder set-up, and the first media group that does.
    from: Vec<(MediaKind, u64)>,
}

impl Recording {
    pub fn new(mut open: OpenPart) -> Result<Self, ClientError> {
        let output = open(1).map_err(not_opened)?;
        Ok(Self {
            open,
            part: 1,
            output,
            writer: None,
            tracks: Vec::new(),
            changes: VecDeque::new(),
            ready: Vec::new(),
            written_bytes: 0,
            past: (Duration::ZERO, 0),
        })
    }

    /// Bytes that the output took.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The part that is being written.
    pub fn part(&self) -> u32 {
        self.part
    }

    /// Media time of all parts.
    pub fn duration(&self) -> Duration {
        self.past.0.saturating_add(self.writer.as_ref().map(Mp4Writer::duration).unwrap_or_default())
    }

    /// Chunks left out of the files.
    pub fn dropped(&self) -> u64 {
        self.past.1.saturating_add(self.writer.as_ref().map_or(0, Mp4Writer::dropped))
    }

    /// The tracks that a catalog announces. The first make the file; those of later ones that it cannot hold make the next.
    pub fn tracks(&mut self, tracks: &[Chosen]) -> Result<(), ClientError> {
        if self.writer.is_none() {
            self.writer = Some(writer(tracks)?);
        } else {
            let mut from = Vec::new();
            for track in tracks {
                let before = self.tracks.iter().find(|before| before.kind == track.kind);
                let same = before.is_none_or(|before| before.init == track.init);
                if !same
                    && !before.map_or(Ok(true), |before| same_decoder(&before.init, &track.init)).map_err(broken)?
                {
                    from.push((track.kind, track.init_group));
                }
            }
            if from.is_empty() {
                return Ok(());
            }
            if self.changes.len() >= CHANGES_MAX {
                return Err(ClientError::failed(
                    "the broadcast changes its codec settings faster than its media comes",
                ));
            }
            self.changes.push_back(Change { tracks: tracks.to_vec(), from });
        }
        self.tracks = tracks.to_vec();
        Ok(())
    }

    /// A new session begins.
    pub fn discontinuity(&mut self) -> Result<(), ClientError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.discontinuity(&mut self.ready).map_err(broken)
    }

    /// The next object of a track. `true` when it begins another part.
    pub async fn push(&mut self, kind: MediaKind, group: u64, payload: &Bytes) -> Result<bool, ClientError> {
        let mut began = false;
        while let Some(change) = self.changes.pop_front_if(|change| change.begins_with(kind, group)) {
            self.next_part(&change.tracks).await?;
            began = true;
        }
        if let Some(writer) = &mut self.writer {
            writer.push(kind, payload, &mut self.ready).map_err(broken)?;
        }
        Ok(began)
    }

    async fn next_part(&mut self, tracks: &[Chosen]) -> Result<(), ClientError> {
        let next = writer(tracks)?;
        self.finish().await?;
        self.past = (self.duration(), self.dropped());
        self.part = self.part.saturating_add(1);
        self.output = (self.open)(self.part).map_err(not_opened)?;
        self.writer = Some(next);
        Ok(())
    }

    /// Hands what is ready to the output.
    pub async fn write(&mut self) -> Result<(), ClientError> {
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
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        if let Some(writer) = &mut self.writer {
            writer.finish(&mut self.ready).map_err(broken)?;
        }
        self.write().await?;
        self.output.shutdown().await.map_err(not_written)
    }
}

impl Change {
    fn begins_with(&self, kind: MediaKind, group: u64) -> bool {
        self.from.iter().any(|&(changed, from)| changed == kind && group >= from)
    }
}

fn writer(tracks: &[Chosen]) -> Result<Mp4Writer, ClientError> {
    Mp4Writer::new(tracks.iter().map(|track| (track.kind, track.init.clone())).collect()).map_err(broken)
}

fn not_opened(error: std::io::Error) -> ClientError {
    ClientError::failed(format!("the output cannot be opened: {error}"))
}

fn broken(error: MediaError) -> ClientError {
    ClientError::failed(error)
}

fn not_written(error: std::io::Error) -> ClientError {
    ClientError::failed(format!("the output cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::mp4::source::{Folder, Source, audio, decode_complaints, probe, video, video_of};

    fn chosen(kind: MediaKind, source: &Source, init_group: u64) -> Chosen {
        Chosen { kind, name: format!("{kind:?}"), init: source.init.clone(), init_group }
    }

    fn recording(folder: &Folder) -> (Recording, impl Fn(u32) -> PathBuf) {
        let root = folder.0.clone();
        let path = move |part: u32| root.join(format!("part-{part}.mp4"));
        let file = path.clone();
        let open = move |part| Ok(Box::new(tokio::fs::File::from_std(std::fs::File::create(file(part))?)) as Box<_>);
        (Recording::new(Box::new(open)).unwrap(), path)
    }

    #[tokio::test]
    async fn another_picture_size_goes_on_in_another_part_from_its_group_on() {
        let folder = Folder::new("parts");
        let (small, large, sound) = (video(&folder, 0), video_of(&folder, "640x360", 4), audio(&folder, 0));
        let (mut recording, path) = recording(&folder);
        recording.tracks(&[chosen(MediaKind::Video, &small, 1), chosen(MediaKind::Audio, &sound, 1)]).unwrap();
        // The catalog is ahead of the media: the change is announced while the old group is on its way.
        for chunk in &small.chunks[..50] {
            assert!(!recording.push(MediaKind::Video, 1, chunk).await.unwrap());
        }
        recording.tracks(&[chosen(MediaKind::Video, &large, 2), chosen(MediaKind::Audio, &sound, 1)]).unwrap();
        for chunk in &small.chunks[50..] {
            assert!(!recording.push(MediaKind::Video, 1, chunk).await.unwrap());
        }
        for chunk in &sound.chunks {
            assert!(!recording.push(MediaKind::Audio, 1, chunk).await.unwrap());
        }
        for (frame, chunk) in large.chunks.iter().enumerate() {
            assert_eq!(recording.push(MediaKind::Video, 2, chunk).await.unwrap(), frame == 0);
        }
        recording.finish().await.unwrap();

        assert_eq!(recording.part(), 2);
        for (part, width) in [(1, "320"), (2, "640")] {
            assert_eq!(decode_complaints(&path(part)), "");
            assert_eq!(probe(&path(part), "v:0", "stream=width,nb_read_frames"), [width, "100"]);
        }
        let written = (1..=2).map(|part| std::fs::metadata(path(part)).unwrap().len()).sum::<u64>();
        assert_eq!(recording.written_bytes(), written);
        assert_eq!(recording.duration(), Duration::from_secs(8));
    }

    #[tokio::test]
    async fn the_same_tracks_again_make_no_part() {
        let folder = Folder::new("same-parts");
        let (pictures, sound) = (video(&folder, 0), audio(&folder, 0));
        let (mut recording, _) = recording(&folder);
        for init_group in [1, 2] {
            recording.tracks(&[chosen(MediaKind::Video, &pictures, init_group)]).unwrap();
            recording.tracks(&[chosen(MediaKind::Audio, &sound, init_group)]).unwrap();
        }
        assert!(!recording.push(MediaKind::Video, 3, &pictures.chunks[0]).await.unwrap());
        assert_eq!(recording.part(), 1);
    }

    #[test]
    fn an_output_that_cannot_be_opened_is_told_before_anything_is_watched() {
        let refused = Recording::new(Box::new(|_| Err(std::io::ErrorKind::PermissionDenied.into())));
        assert!(refused.map(drop).unwrap_err().reason.contains("cannot be opened"));
    }
}
