//! Object names and sizes of both workspaces.

use streams_rings::WorkspaceBuilder;

use crate::{Counter, Tunable};

/// Names of objects, so that no two places spell them.
pub mod names {
    /// Workspace kind and run-folder name of what control writes.
    pub const CONTROL: &str = "control";
    /// Workspace kind and run-folder name of what the engine writes.
    pub const SHARDS: &str = "shards";
    /// Table of `InputEntry`.
    pub const INPUTS: &str = "inputs";
    /// Table of `ResourceEntry`.
    pub const RESOURCES: &str = "resources";
    /// Table of `SigningKeyEntry`.
    pub const SIGNING_KEYS: &str = "signing_keys";
    /// Table of `Tunables`: entry 0 for all shards, entry 1+i for shard i alone.
    pub const TUNABLES: &str = "tunables";
    /// Words of `Home`, by input entry index.
    pub const HOMES: &str = "homes";
    /// Cnc of control.
    pub const CONTROL_CNC: &str = "control";

    /// First part of the names of receive links.
    pub const RX: &str = "rx";
    /// First part of the names of media links.
    pub const MEDIA: &str = "media";
    /// First part of the names of command links.
    pub const CMD: &str = "cmd";
    /// First part of the names of event links.
    pub const EVENTS: &str = "events";

    /// Cnc and counters of a shard.
    pub fn shard(shard: usize) -> String {
        format!("shard.{shard}")
    }
    /// Commands to a shard: link in `control`, consumer's fseq in `shards`.
    pub fn cmd(shard: usize) -> String {
        format!("{CMD}.{shard}")
    }
    /// Events of a shard: link in `shards`, consumer's fseq in `control`.
    pub fn events(shard: usize) -> String {
        format!("{EVENTS}.{shard}")
    }
    /// Counters with what a shard runs with, by `Tunable` index.
    pub fn tunables(shard: usize) -> String {
        format!("tunables.{shard}")
    }
    /// Received datagrams of a shard: link and fseq.
    pub fn rx(shard: usize) -> String {
        format!("{RX}.{shard}")
    }
    /// Objects of tracks at home on a shard.
    pub fn media(shard: usize) -> String {
        format!("{MEDIA}.{shard}")
    }
    /// Fseq of shard `to` in the media link of shard `from`; it gives no credits, it shows how far the reader is.
    pub fn media_reader(from: usize, to: usize) -> String {
        format!("{MEDIA}.{from}.{to}")
    }
    /// Reliable messages from one shard to another: link and fseq.
    pub fn ask(from: usize, to: usize) -> String {
        format!("ask.{from}.{to}")
    }
    /// Datagrams that reached one shard while their connection lives on another: link, and fseq of the reader, which gives no
    /// credits.
    pub fn toss(from: usize, to: usize) -> String {
        format!("toss.{from}.{to}")
    }
    /// Table of `TrackEntry` written by a shard.
    pub fn tracks(shard: usize) -> String {
        format!("tracks.{shard}")
    }
    /// Table of `RuntimeEntry` written by a shard.
    pub fn runtime(shard: usize) -> String {
        format!("runtime.{shard}")
    }
}

/// Frag size of links that carry objects: the largest whole number of chunks under the 64 KiB of a frag's length field.
const OBJECT_FRAG_LEN_MAX: usize = 65_472;
/// Frag size of links that carry documents; a table entry's length, so most messages are one frag.
const DOCUMENT_FRAG_LEN_MAX: usize = 2_048;

/// Datagrams that may wait between two shards.
const TOSS_DEPTH: usize = 1_024;

/// Sizes of a shard's links, which depend on the machine. Lengths are in bytes; depths and rings are powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardsSizes {
    /// Frags of `rx.<i>`.
    pub rx_depth: usize,
    /// Payload ring of each `rx.<i>`.
    pub rx_len: usize,
    /// Largest received datagram (or coalesced batch) in one frag, at most 65535.
    pub rx_frag_len_max: usize,
    /// Frags of `media.<i>`.
    pub media_depth: usize,
    /// Payload ring of each `media.<i>`: what all tracks of a shard publish while another shard may be descheduled.
    pub media_len: usize,
    /// Payload ring of each `ask.<i>.<j>`.
    pub ask_len: usize,
    /// Payload ring of each `toss.<i>.<j>`.
    pub toss_len: usize,
}

impl Default for ShardsSizes {
    fn default() -> Self {
        // 4096 datagrams of 2 KiB; 32 MiB is more than a second of 200 Mbit/s; 8 MiB holds a group's replay of most tracks.
        // 512 KiB is 340 datagrams of 1.5 KB, or as many acknowledgements as a toss link has lines: what the viewers say that
        // changed their address. With its lines such a link takes 545 KiB, so 6.4 MiB among 4 shards, 2.1 GiB among 64.
        ShardsSizes {
            rx_depth: 4_096,
            rx_len: 8 << 20,
            rx_frag_len_max: 2_048,
            media_depth: 16_384,
            media_len: 32 << 20,
            ask_len: 8 << 20,
            toss_len: 512 << 10,
        }
    }
}

/// The workspace that control writes and the engine maps read-only.
pub fn control_workspace(shards: usize) -> WorkspaceBuilder {
    let mut builder = WorkspaceBuilder::new(names::CONTROL)
        .cnc(names::CONTROL_CNC)
        .table(names::INPUTS, 4_096, 1_024)
        .table(names::RESOURCES, 8_192, 512)
        .table(names::SIGNING_KEYS, 1_024, 2_048)
        .table(names::TUNABLES, 1 + shards, 1_024);
    for shard in 0..shards {
        builder = builder.link(&names::cmd(shard), 256, 512 << 10, DOCUMENT_FRAG_LEN_MAX).fseq(&names::events(shard));
    }
    builder
}

/// The workspace that the engine writes and control maps read-only, all shards alike.
pub fn shards_workspace(shards: usize, sizes: ShardsSizes) -> WorkspaceBuilder {
    shards_workspace_of(&vec![sizes; shards])
}

/// The same with sizes for each shard.
pub fn shards_workspace_of(shards: &[ShardsSizes]) -> WorkspaceBuilder {
    let mut builder = WorkspaceBuilder::new(names::SHARDS).words(names::HOMES, 4_096);
    for (shard, sizes) in shards.iter().enumerate() {
        builder = builder
            .cnc(&names::shard(shard))
            .counters(&names::shard(shard), Counter::COUNT)
            .counters(&names::tunables(shard), Tunable::COUNT)
            .fseq(&names::cmd(shard))
            .link(&names::rx(shard), sizes.rx_depth, sizes.rx_len, sizes.rx_frag_len_max)
            .fseq(&names::rx(shard))
            .link(&names::media(shard), sizes.media_depth, sizes.media_len, OBJECT_FRAG_LEN_MAX)
            .link(&names::events(shard), 1_024, 2 << 20, DOCUMENT_FRAG_LEN_MAX)
            .table(&names::tracks(shard), 1_024, 1_024)
            .table(&names::runtime(shard), 1_024, 2_048);
        for other in (0..shards.len()).filter(|other| *other != shard) {
            let ask = names::ask(shard, other);
            builder = builder.fseq(&names::media_reader(shard, other));
            builder = builder.link(&ask, 1_024, sizes.ask_len, OBJECT_FRAG_LEN_MAX).fseq(&ask);
            let toss = names::toss(shard, other);
            builder = builder.link(&toss, TOSS_DEPTH, sizes.toss_len, sizes.rx_frag_len_max).fseq(&toss);
        }
    }
    builder
}
