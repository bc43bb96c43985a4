//! Making a workspace: objects are named, laid out, and the file appears under its name only when it is whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Error, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::array::Array;
use crate::cnc::Cnc;
use crate::counters::Counters;
use crate::dcache::Dcache;
use crate::directory::{ENTRY_LEN, Entry, HEADER_LEN, Header, LAYOUT_VERSION, NAME_LEN_MAX, OBJECTS_MAX, ObjectKind};
use crate::error::RingsError;
use crate::fseq::Fseq;
use crate::mapping::Mapping;
use crate::mcache::{DEPTH_MAX, DEPTH_MIN, Mcache};
use crate::region::Region;
use crate::table::{ENTRIES_MAX, ENTRY_LEN_MAX, Table};
use crate::words::Words;
use crate::workspace::{Access, Workspace};

/// Largest number of counters or words in one object.
const COUNT_MAX: u64 = 1 << 20;

/// Objects start at a line pair, so that no two share one; payload starts at a chunk.
const ALIGN: u64 = 128;

#[derive(Debug, Clone, Copy)]
enum Shape {
    Mcache { depth: u64 },
    Dcache { data_len: u64, frag_len_max: u64 },
    Fseq,
    Cnc,
    Table { entries: u64, entry_len_max: u64 },
    Counters { count: u64 },
    Words { count: u64 },
}

/// Names the objects of a workspace and makes its file. Arguments are checked by `create`.
#[derive(Debug, Clone)]
pub struct WorkspaceBuilder {
    kind: String,
    build_id: String,
    objects: Vec<(String, Shape)>,
}

impl WorkspaceBuilder {
    /// A workspace of this kind (at most 32 bytes), still without objects.
    pub fn new(kind: &str) -> Self {
        WorkspaceBuilder { kind: kind.to_owned(), build_id: env!("CARGO_PKG_VERSION").to_owned(), objects: Vec::new() }
    }

    /// Text of at most 32 bytes that tells which build made the workspace; by default the version of this crate.
    pub fn build_id(mut self, build_id: &str) -> Self {
        self.build_id = build_id.to_owned();
        self
    }

    /// Both rings of a link; arguments as of `mcache` and `dcache`.
    pub fn link(self, name: &str, depth: usize, data_len: usize, frag_len_max: usize) -> Self {
        self.mcache(name, depth).dcache(name, data_len, frag_len_max)
    }

    /// Metadata ring of `depth` frags: a power of two, 2 to 65536.
    pub fn mcache(self, name: &str, depth: usize) -> Self {
        self.object(name, Shape::Mcache { depth: depth as u64 })
    }

    /// Payload ring of `data_len` bytes (a power of two, up to 4 GiB) for frags of up to `frag_len_max` bytes (1 to 65535, at
    /// most half the ring); longer messages are several frags.
    pub fn dcache(self, name: &str, data_len: usize, frag_len_max: usize) -> Self {
        self.object(name, Shape::Dcache { data_len: data_len as u64, frag_len_max: frag_len_max as u64 })
    }

    /// A consumer's position.
    pub fn fseq(self, name: &str) -> Self {
        self.object(name, Shape::Fseq)
    }

    /// Command and control, in state `Boot`, with the pid of this process.
    pub fn cnc(self, name: &str) -> Self {
        self.object(name, Shape::Cnc)
    }

    /// A table of 1 to 2^24 entries of up to `entry_len_max` bytes (1 to 1 MiB), all empty.
    pub fn table(self, name: &str, entries: usize, entry_len_max: usize) -> Self {
        self.object(name, Shape::Table { entries: entries as u64, entry_len_max: entry_len_max as u64 })
    }

    /// 1 to 2^20 counters, all 0.
    pub fn counters(self, name: &str, count: usize) -> Self {
        self.object(name, Shape::Counters { count: count as u64 })
    }

    /// 1 to 2^20 compare-and-swap words, all 0.
    pub fn words(self, name: &str, count: usize) -> Self {
        self.object(name, Shape::Words { count: count as u64 })
    }

    /// Makes the file `path`, mode 0640, and joins it for writing. All its space is allocated first, so that a full file system
    /// is this call's error and never a SIGBUS later; it is laid out under a temporary name beside `path` and then renamed, so
    /// that nobody joins a half-made one. A file already there is replaced; who has it mapped keeps it.
    ///
    /// # Errors
    /// `Limit` for arguments out of range, `Io` for the file.
    pub fn create(self, path: impl AsRef<Path>) -> Result<Workspace, RingsError> {
        let path = path.as_ref();
        self.check()?;
        let created_unix_ns = unix_ns();
        let (entries, total_len) = self.lay_out();
        let temporary = temporary_path(path);
        let made = make_file(&temporary, total_len).and_then(|region| {
            self.fill(&region, &entries, total_len, created_unix_ns);
            fs::rename(&temporary, path).map_err(|source| io("rename", path, source))
        });
        if let Err(error) = made {
            // It may never have come to be; the first error is the one to tell.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Workspace::join(path, Access::ReadWrite)
    }

    fn object(mut self, name: &str, shape: Shape) -> Self {
        self.objects.push((name.to_owned(), shape));
        self
    }

    fn check(&self) -> Result<(), RingsError> {
        let limit = |object: &str, (what, value, allowed)| {
            Err(RingsError::Limit { object: object.to_owned(), what, value, allowed })
        };
        if self.objects.len() > OBJECTS_MAX {
            return limit(&self.kind, ("number of objects", self.objects.len() as u64, "0 to 65536"));
        }
        let mut seen = std::collections::HashSet::new();
        let own = [(&self.kind, None), (&self.build_id, None)];
        for (name, shape) in own.into_iter().chain(self.objects.iter().map(|(name, shape)| (name, Some(shape)))) {
            if name.is_empty() || name.len() > NAME_LEN_MAX || name.contains('\0') {
                return limit(name, ("name length", name.len() as u64, "1 to 32 bytes without zero bytes"));
            }
            let Some(shape) = shape else { continue };
            if !seen.insert((shape.kind().name(), name)) {
                return limit(name, ("number of objects of this kind and name", 2, "1"));
            }
            if let Err(found) = shape.check() {
                return limit(name, found);
            }
        }
        Ok(())
    }

    /// Directory entries of all objects, and the file's length.
    fn lay_out(&self) -> (Vec<Entry>, u64) {
        let mut end = HEADER_LEN + self.objects.len() as u64 * ENTRY_LEN;
        let mut entries = Vec::with_capacity(self.objects.len());
        for (name, shape) in &self.objects {
            let (offset, footprint) = (end.next_multiple_of(ALIGN), shape.footprint());
            entries.push(Entry { kind: shape.kind(), name: name.clone(), offset, footprint });
            end = offset + footprint;
        }
        (entries, end.next_multiple_of(HEADER_LEN))
    }

    fn fill(&self, region: &Region, entries: &[Entry], total_len: u64, created_unix_ns: u64) {
        for (index, (entry, (_, shape))) in entries.iter().zip(&self.objects).enumerate() {
            entry.write(region, index);
            if let Some(part) = region.part(entry.offset, entry.footprint) {
                shape.init(&part, created_unix_ns);
            }
        }
        let header = Header {
            layout_version: LAYOUT_VERSION,
            object_count: entries.len() as u32,
            total_len,
            created_unix_ns,
            pid: std::process::id(),
            kind: self.kind.clone(),
            build_id: self.build_id.clone(),
        };
        header.write(region);
    }
}

impl Shape {
    fn kind(&self) -> ObjectKind {
        match self {
            Shape::Mcache { .. } => ObjectKind::Mcache,
            Shape::Dcache { .. } => ObjectKind::Dcache,
            Shape::Fseq => ObjectKind::Fseq,
            Shape::Cnc => ObjectKind::Cnc,
            Shape::Table { .. } => ObjectKind::Table,
            Shape::Counters { .. } => ObjectKind::Counters,
            Shape::Words { .. } => ObjectKind::Words,
        }
    }

    fn check(&self) -> Result<(), (&'static str, u64, &'static str)> {
        match *self {
            Shape::Mcache { depth } if !(DEPTH_MIN..=DEPTH_MAX).contains(&depth) || !depth.is_power_of_two() => {
                Err(("depth", depth, "a power of two from 2 to 65536"))
            }
            Shape::Dcache { data_len, frag_len_max } => Dcache::check(data_len, frag_len_max),
            Shape::Table { entries, .. } if !(1..=ENTRIES_MAX).contains(&entries) => {
                Err(("entries", entries, "1 to 2^24"))
            }
            Shape::Table { entry_len_max, .. } if !(1..=ENTRY_LEN_MAX).contains(&entry_len_max) => {
                Err(("entry_len_max", entry_len_max, "1 to 1048576"))
            }
            Shape::Counters { count } | Shape::Words { count } if !(1..=COUNT_MAX).contains(&count) => {
                Err(("count", count, "1 to 2^20"))
            }
            _ => Ok(()),
        }
    }

    fn footprint(&self) -> u64 {
        match *self {
            Shape::Mcache { depth } => Mcache::footprint(depth),
            Shape::Dcache { data_len, .. } => Dcache::footprint(data_len),
            Shape::Fseq => Fseq::FOOTPRINT,
            Shape::Cnc => Cnc::FOOTPRINT,
            Shape::Table { entries, entry_len_max } => Table::footprint(entries, entry_len_max),
            Shape::Counters { count } | Shape::Words { count } => Array::footprint(count),
        }
    }

    /// Lays out the object in zeroed memory. `seq0` is the time of creation in nanoseconds: no ring publishes a frag a
    /// nanosecond, so every number of an older link is below it, and an fseq left from one is told apart.
    fn init(&self, region: &Region, seq0: u64) {
        match *self {
            Shape::Mcache { depth } => Mcache::init(region, depth, seq0),
            Shape::Dcache { data_len, frag_len_max } => Dcache::init(region, data_len, frag_len_max),
            Shape::Fseq => Fseq::init(region),
            Shape::Cnc => Cnc::init(region),
            Shape::Table { entries, entry_len_max } => Table::init(region, entries, entry_len_max),
            Shape::Counters { count } => Counters::init(region, count),
            Shape::Words { count } => Words::init(region, count),
        }
    }
}

/// Makes an empty file of `len` bytes, all allocated, and maps it.
fn make_file(path: &Path, len: u64) -> Result<Region, RingsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("create", path, error)),
        // Gone, or left by a dead process that had our pid.
        _ => {}
    }
    let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path);
    let file = opened.map_err(|source| io("create", path, source))?;
    // The umask may have taken the group's right to read.
    file.set_permissions(Permissions::from_mode(0o640)).map_err(|source| io("create", path, source))?;
    preallocate(&file, len).map_err(|source| io("preallocate", path, source))?;
    let len = usize::try_from(len).map_err(|_| io("map", path, ErrorKind::OutOfMemory.into()))?;
    let mapping = Mapping::new(&file, len, true).map_err(|source| io("map", path, source))?;
    Ok(Region::whole(Arc::new(mapping)))
}

fn preallocate(file: &File, len: u64) -> std::io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| Error::from(ErrorKind::FileTooLarge))?;
    loop {
        // SAFETY: plain system call on an open descriptor.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
            0 => return Ok(()),
            libc::EINTR => continue,
            error => return Err(Error::from_raw_os_error(error)),
        }
    }
}

/// `.<file>.<pid>.tmp` beside the file.
fn temporary_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn io(action: &'static str, path: &Path, source: Error) -> RingsError {
    RingsError::Io { action, path: path.to_path_buf(), source }
}
