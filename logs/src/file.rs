//! A log file of bounded size, and its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{LogError, redact};

/// Size at which a log file is put aside as `<name>.1`; the one before that goes.
const LOG_LEN_MAX: u64 = 16 << 20;
/// Where the last line is looked for, from the end: some lines of the longest kind.
const TAIL_LEN: u64 = 16 << 10;

/// A log file that is put aside when it is full.
pub struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    /// Opens for appending.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let refused = |source| LogError::File { path: path.to_owned(), source };
        let (file, len) = append_with_len(path).map_err(refused)?;
        let mut log = Self { path: path.to_owned(), file, len };
        log.turn_over().map_err(refused)?;
        Ok(log)
    }

    fn turn_over(&mut self) -> io::Result<()> {
        if self.len < LOG_LEN_MAX {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        match std::fs::rename(&self.path, aside) {
            Ok(()) => (self.file, self.len) = append_with_len(&self.path)?,
            // The folder is another user's: the process has given up the rights that it was started with.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.keep_newer_half()?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Drops the older half, for a log that cannot be put aside.
    fn keep_newer_half(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::End(-(LOG_LEN_MAX as i64 / 2)))?;
        let mut newer = Vec::new();
        self.file.read_to_end(&mut newer)?;
        let whole_line = newer.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let newer = newer.get(whole_line..).unwrap_or_default();
        self.file.set_len(0)?;
        self.file.write_all(newer)?;
        self.len = newer.len() as u64;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.turn_over()?;
        let written = self.file.write(line)?;
        self.len = self.len.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens a log for appending without its bound: for the standard error of a process that has a [`LogFile`] for all else.
pub fn append(path: &Path) -> Result<File, LogError> {
    append_with_len(path).map(|(file, _)| file).map_err(|source| LogError::File { path: path.to_owned(), source })
}

fn append_with_len(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// The last line of a log with something in it, redacted.
pub fn last_line(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_LEN))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL_LEN).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(|line| redact(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of its own for one test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("streams-logs-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn path(&self) -> PathBuf {
            self.0.join("engine.log")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_log_that_is_full_is_put_aside_at_the_start_and_while_it_is_written() {
        let scratch = Scratch::new("full");
        let path = scratch.path();
        let len = |path: &Path| std::fs::metadata(path).unwrap().len();
        File::create(&path).unwrap().set_len(LOG_LEN_MAX).unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"line\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"line\n");
        assert_eq!(len(&path.with_extension("log.1")), LOG_LEN_MAX);

        let block = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            log.write_all(&block).unwrap();
            assert!(len(&path) <= LOG_LEN_MAX + block.len() as u64);
        }
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 2, "the log and the one before");
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_keeps_its_newer_half() {
        let scratch = Scratch::new("half");
        let mut log = LogFile::open(&scratch.path()).unwrap();
        for line in 0..2_000 {
            writeln!(log, "{line:01000}").unwrap();
        }
        log.len = LOG_LEN_MAX;
        for _ in 0..20 {
            log.file.write_all(&vec![b'x'; 1 << 20]).unwrap();
        }
        writeln!(log.file, "\nthe newest").unwrap();
        log.keep_newer_half().unwrap();
        let len = std::fs::metadata(scratch.path()).unwrap().len();
        assert!(len == log.len && len <= LOG_LEN_MAX / 2, "{len}");
        log.write_all(b"and on\n").unwrap();
        let text = std::fs::read_to_string(scratch.path()).unwrap();
        assert!(text.ends_with("the newest\nand on\n"), "{}", &text[text.len() - 40..]);
    }

    #[test]
    fn the_last_line_is_found_without_reading_all_and_holds_no_secret() {
        let scratch = Scratch::new("tail");
        let path = scratch.path();
        assert_eq!(last_line(&path), None);
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"the only line\n").unwrap();
        assert_eq!(last_line(&path).as_deref(), Some("the only line"));
        log.write_all(&vec![b'x'; 1 << 20]).unwrap();
        log.write_all("\ngrüße ?sk=hunter2\n\n".as_bytes()).unwrap();
        assert_eq!(last_line(&path).as_deref(), Some("grüße ?sk=[redacted]"));
    }
}
