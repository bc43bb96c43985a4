//! Reading what is published: a file or a pipe, on a thread of its own, as access units of one growing time line.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use streams_media::movie::{Movie, MovieSample};
use streams_media::{AccessUnit, MediaError, MediaKind};
use tokio::sync::mpsc;

use crate::{ClientError, PublishInput};

/// Units that wait for the publisher: a second of picture and sound.
const UNITS_MAX: usize = 64;
/// Lengths beyond these are no `moov`, `moof` and `mdat` of a film.
const MOOV_LEN_MAX: u64 = 256 << 20;
const MOOF_LEN_MAX: u64 = 16 << 20;
const FRAGMENT_LEN_MAX: u64 = 256 << 20;

/// What the reading thread tells.
pub(super) enum Fed {
    /// The file has these kinds of media. Comes first.
    Kinds { video: bool, audio: bool },
    /// The next access unit. Its times begin at zero and go on over all passes.
    Unit(AccessUnit),
}

type Sender = mpsc::Sender<Result<Fed, ClientError>>;

/// Why reading ends.
enum End {
    /// The publisher is gone.
    Unwanted,
    /// The input cannot be read any further.
    Failed(ClientError),
}

impl From<ClientError> for End {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

/// Begins to read; `looped` begins again at the end, for ever.
pub(super) fn read(input: PublishInput, looped: bool) -> io::Result<mpsc::Receiver<Result<Fed, ClientError>>> {
    let (sender, receiver) = mpsc::channel(UNITS_MAX);
    std::thread::Builder::new().name("publish-input".to_owned()).spawn(move || {
        let mut reading =
            Reading { sender: sender.clone(), begins_us: 0, first_dts_us: None, spans: [None; 2], told: false };
        if let Err(End::Failed(error)) = reading.run(input, looped) {
            // Nobody minds any more when the publisher is gone.
            let _ = sender.blocking_send(Err(error));
        }
    })?;
    Ok(receiver)
}

struct Reading {
    sender: Sender,
    /// Where this pass begins on the time line.
    begins_us: i64,
    /// The first decoding time of this pass, as the file has it.
    first_dts_us: Option<i64>,
    /// Where each track of this pass begins and ends, as the file has it: video, then audio.
    spans: [Option<(i64, i64)>; 2],
    told: bool,
}

impl Reading {
    fn run(&mut self, input: PublishInput, looped: bool) -> Result<(), End> {
        match input {
            PublishInput::Reader(reader) => self.boxes(BufReader::new(reader)),
            PublishInput::File(path) => loop {
                self.file(&path)?;
                if !looped {
                    return Ok(());
                }
                // The next pass begins as soon as it can without a track that overlaps itself.
                let spans = std::mem::take(&mut self.spans).into_iter().flatten();
                let longest = spans.map(|(from_us, to_us)| to_us.saturating_sub(from_us)).max();
                let Some(longest_us) = longest.filter(|span_us| *span_us > 0) else {
                    return Err(refuse(&path, "it has no media to go on with").into());
                };
                (self.begins_us, self.first_dts_us) = (self.begins_us.saturating_add(longest_us), None);
            },
        }
    }

    fn file(&mut self, path: &Path) -> Result<(), End> {
        let opened = || -> Result<(File, Movie), ClientError> {
            let mut file = File::open(path).map_err(|error| refuse(path, error))?;
            let moov = find_moov(&mut file).map_err(|error| refuse(path, error))?;
            let moov = moov.ok_or_else(|| refuse(path, "it has no moov box: it is no MP4, or was cut short"))?;
            let movie = Movie::parse(&moov).map_err(|error| refuse(path, error))?;
            Ok((file, movie))
        };
        let (mut file, mut movie) = opened()?;
        if movie.is_fragmented() {
            file.rewind().map_err(|error| refuse(path, error))?;
            return self.boxes(BufReader::new(file));
        }
        self.tell(&movie)?;
        for sample in movie.samples().map_err(|error| refuse(path, error))? {
            let mut data = vec![0; sample.len];
            file.read_exact_at(&mut data, sample.offset).map_err(|error| refuse(path, error))?;
            self.sample(&mut movie, &sample, data.into())?;
        }
        Ok(())
    }

    /// A fragmented file, box after box.
    fn boxes(&mut self, mut input: impl Read) -> Result<(), End> {
        let failed = |error: &dyn std::fmt::Display| ClientError::usage(format!("the input cannot be read: {error}"));
        let mut movie: Option<Movie> = None;
        // Samples of the fragment whose data is awaited, and how far behind its moof the input is.
        let mut fragment: (Vec<MovieSample>, u64) = (Vec::new(), 0);
        while let Some(header) = Header::read(&mut input).map_err(|error| failed(&error))? {
            fragment.1 = fragment.1.saturating_add(header.len);
            match &header.kind {
                b"moov" => {
                    let bytes = header.whole(&mut input, MOOV_LEN_MAX).map_err(|error| failed(&error))?;
                    let read = Movie::parse(&bytes).map_err(|error| failed(&error))?;
                    if !read.is_fragmented() {
                        let what = "its samples are not in fragments, and a pipe cannot be searched: give the file's name, \
                                    or write it with `-movflags frag_keyframe+empty_moov`";
                        return Err(failed(&what).into());
                    }
                    self.tell(&read)?;
                    movie = Some(read);
                }
                b"moof" => {
                    let bytes = header.whole(&mut input, MOOF_LEN_MAX).map_err(|error| failed(&error))?;
                    let movie = movie.as_mut().ok_or_else(|| failed(&"a fragment comes before its moov"))?;
                    fragment = (movie.fragment(&bytes).map_err(|error| failed(&error))?, header.len);
                }
                b"mdat" => {
                    let begins = fragment.1.saturating_sub(header.body_len());
                    let data: Bytes = header.body(&mut input, FRAGMENT_LEN_MAX).map_err(|error| failed(&error))?.into();
                    let Some(movie) = &mut movie else { continue };
                    for sample in std::mem::take(&mut fragment.0) {
                        let data = slice(&data, begins, &sample).map_err(|error| failed(&error))?;
                        self.sample(movie, &sample, data)?;
                    }
                }
                _ => header.skip(&mut input).map_err(|error| failed(&error))?,
            }
        }
        match movie {
            Some(_) => Ok(()),
            None => Err(failed(&"it has no moov box: it is no MP4, or was cut short").into()),
        }
    }

    fn tell(&mut self, movie: &Movie) -> Result<(), End> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(());
        }
        let (video, audio) = (movie.has(MediaKind::Video), movie.has(MediaKind::Audio));
        self.send(Fed::Kinds { video, audio })
    }

    fn sample(&mut self, movie: &mut Movie, sample: &MovieSample, data: Bytes) -> Result<(), End> {
        // What is no access unit is left out, as of an encoder.
        let Some(mut unit) = movie.unit(sample, data) else { return Ok(()) };
        let first_us = *self.first_dts_us.get_or_insert(unit.dts_us);
        let [video, audio] = &mut self.spans;
        let span = if unit.kind() == MediaKind::Video { video } else { audio };
        let (_, ends_us) = span.get_or_insert((unit.dts_us, unit.dts_us));
        *ends_us = unit.dts_us.saturating_add(sample.duration_us);
        let moved_us = self.begins_us.saturating_sub(first_us);
        unit.dts_us = unit.dts_us.saturating_add(moved_us);
        unit.pts_us = unit.pts_us.saturating_add(moved_us);
        self.send(Fed::Unit(unit))
    }

    fn send(&self, read: Fed) -> Result<(), End> {
        self.sender.blocking_send(Ok(read)).map_err(|_| End::Unwanted)
    }
}

fn refuse(path: &Path, error: impl std::fmt::Display) -> ClientError {
    ClientError::usage(format!("{} cannot be published: {error}", path.display()))
}

/// A sample's bytes in the data of its fragment, which begins `begins` bytes behind the start of the `moof`.
fn slice(data: &Bytes, begins: u64, sample: &MovieSample) -> Result<Bytes, MediaError> {
    let outside = MediaError::Malformed("a sample lies outside of its fragment's data");
    let at = sample.offset.checked_sub(begins).and_then(|at| usize::try_from(at).ok());
    let range = at.and_then(|at| Some(at..at.checked_add(sample.len)?)).filter(|range| range.end <= data.len());
    range.map(|range| data.slice(range)).ok_or(outside)
}

fn find_moov(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    while let Some(header) = Header::read(file)? {
        if &header.kind == b"moov" {
            return header.whole(file, MOOV_LEN_MAX).map(Some);
        }
        let body_len = i64::try_from(header.body_len()).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        file.seek(SeekFrom::Current(body_len))?;
    }
    Ok(None)
}

/// Length and type of a box.
struct Header {
    kind: [u8; 4],
    /// Of the whole box.
    len: u64,
    bytes: Vec<u8>,
}

impl Header {
    /// `None` at the end of the input.
    fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; 8];
        match input.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            done => done?,
        }
        let wrong = || io::Error::new(ErrorKind::InvalidData, "a box has an impossible length");
        let (len, kind) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let kind = *kind.first_chunk::<4>().ok_or_else(wrong)?;
        let len = match u32::from_be_bytes(*len) {
            // To the end of the file, which only the last box may say.
            0 => u64::from(u32::MAX),
            1 => {
                let mut large = [0; 8];
                input.read_exact(&mut large)?;
                bytes.extend_from_slice(&large);
                u64::from_be_bytes(large)
            }
            len => u64::from(len),
        };
        if len < bytes.len() as u64 {
            return Err(wrong());
        }
        Ok(Some(Self { kind, len, bytes }))
    }

    fn body_len(&self) -> u64 {
        self.len.saturating_sub(self.bytes.len() as u64)
    }

    fn body(&self, input: &mut impl Read, len_max: u64) -> io::Result<Vec<u8>> {
        let len = self.body_len();
        if len > len_max {
            let name = self.kind.escape_ascii();
            return Err(io::Error::new(ErrorKind::InvalidData, format!("a {name} of {len} bytes is too long")));
        }
        let mut body = Vec::new();
        let read = input.take(len).read_to_end(&mut body)?;
        if (read as u64) < len {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it is cut short"));
        }
        Ok(body)
    }

    fn whole(&self, input: &mut impl Read, len_max: u64) -> io::Result<Vec<u8>> {
        let body = self.body(input, len_max)?;
        Ok([self.bytes.as_slice(), &body].concat())
    }

    fn skip(&self, input: &mut impl Read) -> io::Result<()> {
        io::copy(&mut input.take(self.body_len()), &mut io::sink()).map(drop)
    }
}
