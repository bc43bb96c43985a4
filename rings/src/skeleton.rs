//! Signatures.
#![allow(unused_variables, missing_docs)]
use crate::RingsError;
use std::path::Path;
use std::sync::atomic::AtomicU64;

type Result<T> = std::result::Result<T, RingsError>;

/// How a workspace is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}
/// Describes a workspace and makes it.
#[derive(Debug, Clone)]
pub struct WorkspaceBuilder {}
impl WorkspaceBuilder {
    pub fn new(kind: &str) -> Self {
        unimplemented!()
    }
    /// mcache and dcache of one name
    pub fn link(self, name: &str, depth: usize, data_len: usize, frag_len_max: usize) -> Self {
        unimplemented!()
    }
    pub fn mcache(self, name: &str, depth: usize) -> Self {
        unimplemented!()
    }
    pub fn dcache(self, name: &str, data_len: usize, frag_len_max: usize) -> Self {
        unimplemented!()
    }
    pub fn fseq(self, name: &str) -> Self {
        unimplemented!()
    }
    pub fn cnc(self, name: &str) -> Self {
        unimplemented!()
    }
    pub fn table(self, name: &str, entries: usize, entry_len_max: usize) -> Self {
        unimplemented!()
    }
    pub fn counters(self, name: &str, count: usize) -> Self {
        unimplemented!()
    }
    pub fn words(self, name: &str, count: usize) -> Self {
        unimplemented!()
    }
    pub fn build_id(self, id: &str) -> Self {
        unimplemented!()
    }
    pub fn create(self, path: impl AsRef<Path>) -> Result<Workspace> {
        unimplemented!()
    }
}
#[derive(Debug, Clone)]
pub struct Workspace {}
impl Workspace {
    pub fn join(path: impl AsRef<Path>, access: Access) -> Result<Workspace> {
        unimplemented!()
    }
    pub fn kind(&self) -> &str {
        unimplemented!()
    }
    pub fn build_id(&self) -> &str {
        unimplemented!()
    }
    pub fn layout_version(&self) -> u32 {
        unimplemented!()
    }
    pub fn access(&self) -> Access {
        unimplemented!()
    }
    pub fn link_writer(&self, name: &str) -> Result<LinkWriter> {
        unimplemented!()
    }
    pub fn link_reader(&self, name: &str) -> Result<LinkReader> {
        unimplemented!()
    }
    pub fn reliable_writer(&self, link: &str, consumers: &[Fseq]) -> Result<ReliableWriter> {
        unimplemented!()
    }
    pub fn reliable_reader(&self, link: &str, position: Fseq) -> Result<ReliableReader> {
        unimplemented!()
    }
    pub fn fseq(&self, name: &str) -> Result<Fseq> {
        unimplemented!()
    }
    pub fn cnc(&self, name: &str) -> Result<Cnc> {
        unimplemented!()
    }
    pub fn table(&self, name: &str) -> Result<Table> {
        unimplemented!()
    }
    pub fn counters(&self, name: &str) -> Result<Counters> {
        unimplemented!()
    }
    pub fn words(&self, name: &str) -> Result<Words> {
        unimplemented!()
    }
}
/// Writer of an unreliable link.
#[derive(Debug)]
pub struct LinkWriter {}
impl LinkWriter {
    /// Time of publication (`tspub_us`) of what follows; tell it once a turn (see `now_us`). Never told: tspub = tsorig.
    pub fn set_now_us(&mut self, now_us: u32) {
        unimplemented!()
    }
    /// Longer than message_len_max(): dropped and counted in refused().
    pub fn publish(&mut self, sig: u64, tsorig_us: u32, payload: &[u8]) -> u64 {
        unimplemented!()
    }
    pub fn publish_parts(&mut self, sig: u64, tsorig_us: u32, parts: &[&[u8]]) -> u64 {
        unimplemented!()
    }
    pub fn seq(&self) -> u64 {
        unimplemented!()
    }
    pub fn message_len_max(&self) -> usize {
        unimplemented!()
    }
    pub fn refused(&self) -> u64 {
        unimplemented!()
    }
}
/// What a poll found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Nothing (more) there.
    Empty,
    /// One whole message is in `out` (which is cleared first).
    Message { sig: u64, seq: u64, tsorig_us: u32, tspub_us: u32 },
    /// One frag was passed by: not wanted, or rest of a lost message.
    Skipped,
    /// The writer was faster: `lost` frags; the position is now the newest.
    Overrun { lost: u64 },
}
/// Counts of a reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReaderStats {
    pub messages: u64,
    pub skipped: u64,
    pub overruns: u64,
    pub lost_frags: u64,
    pub broken: u64,
    pub malformed: u64,
}
#[derive(Debug)]
pub struct LinkReader {}
impl LinkReader {
    pub fn poll(&mut self, wanted: impl FnMut(u64) -> bool, out: &mut Vec<u8>) -> Polled {
        unimplemented!()
    }
    pub fn seq(&self) -> u64 {
        unimplemented!()
    }
    pub fn stats(&self) -> ReaderStats {
        unimplemented!()
    }
}
/// Why a reliable writer did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("no credit")]
    NoCredit,
    #[error("message of {len} bytes is over the link's {max}")]
    TooLong { len: usize, max: usize },
}
#[derive(Debug)]
pub struct ReliableWriter {}
impl ReliableWriter {
    pub fn set_now_us(&mut self, now_us: u32) {
        unimplemented!()
    }
    pub fn try_publish(&mut self, sig: u64, tsorig_us: u32, payload: &[u8]) -> std::result::Result<u64, Full> {
        unimplemented!()
    }
    pub fn try_publish_parts(
        &mut self,
        sig: u64,
        tsorig_us: u32,
        parts: &[&[u8]],
    ) -> std::result::Result<u64, Full> {
        unimplemented!()
    }
    /// Publishes without credit (a consumer known to be away): what it had not read may be lost, its reader counts it.
    pub fn publish_over(&mut self, sig: u64, tsorig_us: u32, payload: &[u8]) -> u64 {
        unimplemented!()
    }
    pub fn seq(&self) -> u64 {
        unimplemented!()
    }
    pub fn message_len_max(&self) -> usize {
        unimplemented!()
    }
}
#[derive(Debug)]
pub struct ReliableReader {}
impl ReliableReader {
    pub fn poll(&mut self, out: &mut Vec<u8>) -> Polled {
        unimplemented!()
    }
    pub fn seq(&self) -> u64 {
        unimplemented!()
    }
    pub fn stats(&self) -> ReaderStats {
        unimplemented!()
    }
}
#[derive(Debug, Clone)]
pub struct Fseq {}
impl Fseq {
    pub fn get(&self) -> u64 {
        unimplemented!()
    }
    pub fn publish(&self, seq: u64) {
        unimplemented!()
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Run,
    Boot,
    Fail,
    Halt,
}
#[derive(Debug, Clone)]
pub struct Cnc {}
impl Cnc {
    pub fn signal(&self) -> Signal {
        unimplemented!()
    }
    pub fn set_signal(&self, signal: Signal) {
        unimplemented!()
    }
    pub fn heartbeat(&self, now_ns: u64) {
        unimplemented!()
    }
    pub fn heartbeat_ns(&self) -> u64 {
        unimplemented!()
    }
    pub fn pid(&self) -> u32 {
        unimplemented!()
    }
    pub fn set_pid(&self, pid: u32) {
        unimplemented!()
    }
}
#[derive(Debug, Clone)]
pub struct Table {}
impl Table {
    pub fn version(&self) -> u64 {
        unimplemented!()
    }
    pub fn entries(&self) -> usize {
        unimplemented!()
    }
    pub fn entry_len_max(&self) -> usize {
        unimplemented!()
    }
    pub fn entry_version(&self, i: usize) -> u64 {
        unimplemented!()
    }
    pub fn read(&self, i: usize, out: &mut Vec<u8>) -> Option<u64> {
        unimplemented!()
    }
    pub fn write(&mut self, i: usize, content: &[u8]) -> Result<()> {
        unimplemented!()
    }
    pub fn clear(&mut self, i: usize) -> Result<()> {
        unimplemented!()
    }
    pub fn find_free(&self) -> Option<usize> {
        unimplemented!()
    }
}
#[derive(Debug, Clone)]
pub struct Counters {}
impl Counters {
    pub fn count(&self) -> usize {
        unimplemented!()
    }
    pub fn add(&self, i: usize, n: u64) {
        unimplemented!()
    }
    pub fn set(&self, i: usize, n: u64) {
        unimplemented!()
    }
    pub fn get(&self, i: usize) -> u64 {
        unimplemented!()
    }
}
#[derive(Debug, Clone)]
pub struct Words {}
impl Words {
    pub fn count(&self) -> usize {
        unimplemented!()
    }
    pub fn get(&self, i: usize) -> &AtomicU64 {
        unimplemented!()
    }
}
/// Microseconds of CLOCK_MONOTONIC, low 32 bits (wraps every 71 minutes; compare with wrapping_sub).
pub fn now_us() -> u32 {
    unimplemented!()
}
/// Nanoseconds of CLOCK_MONOTONIC, for heartbeats.
pub fn now_ns() -> u64 {
    unimplemented!()
}
