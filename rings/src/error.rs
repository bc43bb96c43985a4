//! The one error type of this crate.

use std::path::PathBuf;

/// What can go wrong when a workspace is made, joined or used. Every message names the value, the limit, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingsError {
    /// A file operation failed. `ENOSPC` while creating means that the folder's file system cannot hold the workspace.
    #[error("{action} {path}: {source}; check space and permissions of its folder")]
    Io {
        /// What was tried, as a verb: `create`, `open`, `preallocate`, `map`, `rename`, `link`.
        action: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is no workspace, or one that was cut short.
    #[error("{path} is no usable workspace: {reason}; remove it and start its owner again")]
    NotAWorkspace {
        /// The file that was joined.
        path: PathBuf,
        /// The first check that failed.
        reason: &'static str,
    },
    /// The workspace was made by a build whose layout this build cannot read.
    #[error("{path} has layout version {found}, this build reads {oldest} to {newest}; upgrade the older of the two")]
    LayoutVersion {
        /// The file that was joined.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Oldest version this build reads.
        oldest: u32,
        /// Newest version this build reads, and the one it writes.
        newest: u32,
    },
    /// No object of that kind and name is in the workspace's directory.
    #[error("workspace {workspace} has no {kind} named {name}; its owner was built with another set of objects")]
    NoSuchObject {
        /// Kind of the workspace.
        workspace: String,
        /// Kind of the object.
        kind: &'static str,
        /// Name looked up.
        name: String,
    },
    /// An object's own header contradicts its directory entry.
    #[error("{kind} {name} is damaged: {reason}; restart the workspace's owner")]
    Damaged {
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
        /// The first check that failed.
        reason: &'static str,
    },
    /// A builder argument is out of range.
    #[error("{object}: {what} is {value}, allowed is {allowed}")]
    Limit {
        /// Object or workspace concerned.
        object: String,
        /// Which argument.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The range, in words.
        allowed: &'static str,
    },
    /// A writer was asked of a workspace that is mapped read-only.
    #[error("{name} cannot be written: the workspace is joined read-only; join it with Access::ReadWrite")]
    ReadOnly {
        /// Object that was to be written.
        name: String,
    },
    /// A table entry index beyond the table's end.
    #[error("entry {index} is beyond the table's {entries} entries")]
    NoSuchEntry {
        /// Index asked for.
        index: usize,
        /// Entries in the table.
        entries: usize,
    },
    /// A table entry's content is longer than a slot.
    #[error("table content of {len} bytes is over the entry limit of {max} bytes; shorten it")]
    EntryTooLong {
        /// Length offered.
        len: usize,
        /// Slot size.
        max: usize,
    },
}
