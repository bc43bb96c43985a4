//! Joining a workspace and finding its objects.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cnc::Cnc;
use crate::counters::Counters;
use crate::dcache::Dcache;
use crate::directory::{
    ENTRY_LEN, Entry, HEADER_LEN, Header, LAYOUT_VERSION, LAYOUT_VERSION_OLDEST, OBJECTS_MAX, ObjectKind,
};
use crate::error::RingsError;
use crate::fseq::Fseq;
use crate::link::{Link, LinkWriter};
use crate::link_reader::LinkReader;
use crate::link_view::LinkView;
use crate::mapping::Mapping;
use crate::mcache::Mcache;
use crate::region::Region;
use crate::reliable::{ReliableReader, ReliableWriter};
use crate::table::Table;
use crate::words::Words;

/// How a workspace is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Writing is refused, by this crate and by the processor.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// A joined workspace. Clones are cheap; handles keep the mapping alive by themselves.
#[derive(Debug, Clone)]
pub struct Workspace {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    access: Access,
    header: Header,
    region: Region,
    objects: HashMap<(u64, String), Entry>,
}

impl Workspace {
    /// Maps the workspace at `path` (links are followed) and checks its header and directory.
    ///
    /// # Errors
    /// `Io`; `NotAWorkspace`: no magic, shorter than it says, or a directory that points outside; `LayoutVersion`.
    pub fn join(path: impl AsRef<Path>, access: Access) -> Result<Workspace, RingsError> {
        let path = path.as_ref();
        let bad = |reason| RingsError::NotAWorkspace { path: path.to_path_buf(), reason };
        let region = map(path, access)?;
        let header = Header::read(&region).ok_or_else(|| bad("magic is wrong"))?;
        if !(LAYOUT_VERSION_OLDEST..=LAYOUT_VERSION).contains(&header.layout_version) {
            return Err(RingsError::LayoutVersion {
                path: path.to_path_buf(),
                found: header.layout_version,
                oldest: LAYOUT_VERSION_OLDEST,
                newest: LAYOUT_VERSION,
            });
        }
        let region = region.part(0, header.total_len).ok_or_else(|| bad("file is shorter than its header says"))?;
        let objects = directory(&region, &header).map_err(bad)?;
        Ok(Workspace { shared: Arc::new(Shared { path: path.to_path_buf(), access, header, region, objects }) })
    }

    /// Kind given by the builder.
    pub fn kind(&self) -> &str {
        &self.shared.header.kind
    }

    /// Build that made it.
    pub fn build_id(&self) -> &str {
        &self.shared.header.build_id
    }

    /// Layout of the build that made it.
    pub fn layout_version(&self) -> u32 {
        self.shared.header.layout_version
    }

    /// Process that made it.
    pub fn creator_pid(&self) -> u32 {
        self.shared.header.pid
    }

    /// When it was made, nanoseconds since 1970.
    pub fn created_unix_ns(&self) -> u64 {
        self.shared.header.created_unix_ns
    }

    /// How it is mapped.
    pub fn access(&self) -> Access {
        self.shared.access
    }

    /// Path it was joined by.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Kind, name and bytes of every object, in no certain order.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectKind, &str, u64)> {
        self.shared.objects.values().map(|entry| (entry.kind, entry.name.as_str(), entry.footprint))
    }

    /// The writer of a link. One at a time.
    pub fn link_writer(&self, name: &str) -> Result<LinkWriter, RingsError> {
        Ok(LinkWriter::new(self.writable_link(name)?))
    }

    /// A reader of a link, with a position of its own, at what is published next.
    pub fn link_reader(&self, name: &str) -> Result<LinkReader, RingsError> {
        let link = self.link(name)?;
        let position = link.mcache.position();
        Ok(LinkReader::new(link, position))
    }

    /// A link as a monitor sees it: where its writer is, and nothing of what it carries.
    pub fn link_view(&self, name: &str) -> Result<LinkView, RingsError> {
        Ok(LinkView::new(self.link(name)?))
    }

    /// The writer of a link that waits for these consumers. One at a time.
    pub fn reliable_writer(&self, link: &str, consumers: &[Fseq]) -> Result<ReliableWriter, RingsError> {
        Ok(ReliableWriter::new(self.writable_link(link)?, consumers))
    }

    /// The consumer of a link that gives credits through `position`, an fseq of any workspace that this side may write.
    pub fn reliable_reader(&self, link: &str, position: Fseq) -> Result<ReliableReader, RingsError> {
        if !position.writable() {
            return Err(RingsError::ReadOnly { name: format!("fseq of the reader of link {link}") });
        }
        Ok(ReliableReader::new(self.link(link)?, position))
    }

    /// A consumer's position.
    pub fn fseq(&self, name: &str) -> Result<Fseq, RingsError> {
        self.object(ObjectKind::Fseq, name, Fseq::join)
    }

    /// Command and control.
    pub fn cnc(&self, name: &str) -> Result<Cnc, RingsError> {
        self.object(ObjectKind::Cnc, name, Cnc::join)
    }

    /// A table.
    pub fn table(&self, name: &str) -> Result<Table, RingsError> {
        self.object(ObjectKind::Table, name, Table::join)
    }

    /// Counters.
    pub fn counters(&self, name: &str) -> Result<Counters, RingsError> {
        self.object(ObjectKind::Counters, name, Counters::join)
    }

    /// Compare-and-swap words; only of a workspace joined for writing, as a swap that fails writes too.
    pub fn words(&self, name: &str) -> Result<Words, RingsError> {
        self.check_writable(name)?;
        self.object(ObjectKind::Words, name, Words::join)
    }

    fn link(&self, name: &str) -> Result<Link, RingsError> {
        let mcache = self.object(ObjectKind::Mcache, name, Mcache::join)?;
        let dcache = self.object(ObjectKind::Dcache, name, Dcache::join)?;
        Ok(Link::new(mcache, dcache))
    }

    fn writable_link(&self, name: &str) -> Result<Link, RingsError> {
        self.check_writable(name)?;
        self.link(name)
    }

    fn check_writable(&self, name: &str) -> Result<(), RingsError> {
        match self.shared.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(RingsError::ReadOnly { name: name.to_owned() }),
        }
    }

    fn object<T>(
        &self,
        kind: ObjectKind,
        name: &str,
        join: fn(Region) -> Result<T, &'static str>,
    ) -> Result<T, RingsError> {
        let damaged = |reason| RingsError::Damaged { kind: kind.name(), name: name.to_owned(), reason };
        let entry = self.shared.objects.get(&(kind as u64, name.to_owned()));
        let entry = entry.ok_or_else(|| RingsError::NoSuchObject {
            workspace: self.kind().to_owned(),
            kind: kind.name(),
            name: name.to_owned(),
        })?;
        let region = self.shared.region.part(entry.offset, entry.footprint);
        join(region.ok_or_else(|| damaged("lies outside of the workspace"))?).map_err(damaged)
    }
}

/// Maps all of the file: at least a header.
fn map(path: &Path, access: Access) -> Result<Region, RingsError> {
    let io = |action, source| RingsError::Io { action, path: path.to_path_buf(), source };
    let writable = access == Access::ReadWrite;
    // Opening a pipe of that name must not wait for its other end.
    let opened = OpenOptions::new().read(true).write(writable).custom_flags(libc::O_NONBLOCK).open(path);
    let file: File = opened.map_err(|source| io("open", source))?;
    let metadata = file.metadata().map_err(|source| io("open", source))?;
    let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if !metadata.is_file() || (len as u64) < HEADER_LEN {
        return Err(RingsError::NotAWorkspace {
            path: path.to_path_buf(),
            reason: "it is no regular file of at least a header",
        });
    }
    let mapping = Mapping::new(&file, len, writable).map_err(|source| io("map", source))?;
    Ok(Region::whole(Arc::new(mapping)))
}

/// Reads the directory; every object must lie behind it and inside the workspace.
fn directory(region: &Region, header: &Header) -> Result<HashMap<(u64, String), Entry>, &'static str> {
    let count = header.object_count as usize;
    let end = HEADER_LEN + count as u64 * ENTRY_LEN;
    if count > OBJECTS_MAX || end > header.total_len {
        return Err("directory is longer than the file");
    }
    let mut objects = HashMap::with_capacity(count);
    for entry in (0..count).filter_map(|index| Entry::read(region, index)) {
        if entry.offset < end || region.part(entry.offset, entry.footprint).is_none() {
            return Err("an object lies outside of the file");
        }
        if objects.insert((entry.kind as u64, entry.name.clone()), entry).is_some() {
            return Err("two objects have one kind and name");
        }
    }
    Ok(objects)
}
