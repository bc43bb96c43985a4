//! Joining the workspaces read-only, following their generations, and looking.

use std::fs::read_link;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use streams_rings::schema::{Counter, RuntimeEntry, current_path, decode, names};
use streams_rings::{Access, Cnc, Counters, Fseq, LinkView, Table, Workspace, now_ns};

use super::sample::{LinkSample, Sample, ShardSample};
use crate::program::shard_count;

/// Looks at one shard until its counters did not change under the look; a shard publishes them every 50 ms.
const LOOKS_MAX: usize = 4;

/// Looks at whatever engine belongs to a run folder.
pub struct Watcher {
    run_dir: PathBuf,
    engine: Option<Joined>,
}

/// One generation of `shards`, with the generation of `control` that it was found beside.
struct Joined {
    generation: PathBuf,
    control: Option<PathBuf>,
    workspace: Workspace,
    shards: Vec<Shard>,
    links: Vec<Link>,
}

struct Shard {
    cnc: Cnc,
    counters: Counters,
    runtime: Table,
}

struct Link {
    name: String,
    reader: String,
    view: LinkView,
    position: Option<Fseq>,
}

impl Watcher {
    /// Nothing is joined before the first look.
    pub fn new(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned(), engine: None }
    }

    /// Looks. `None` when there never was an engine here; one that died is still to be seen.
    pub fn sample(&mut self) -> Option<Sample> {
        self.follow();
        self.engine.as_ref().map(Joined::sample)
    }

    fn follow(&mut self) {
        let current = |name| read_link(current_path(&self.run_dir, name)).ok();
        let Some(generation) = current(names::SHARDS) else { return };
        let control = current(names::CONTROL);
        let known = self.engine.as_ref().map(|joined| (&joined.generation, &joined.control));
        if known == Some((&generation, &control)) {
            return;
        }
        // The engine may be replacing it this very moment: the next look tries again.
        if let Some(joined) = Joined::join(&self.run_dir, generation, control) {
            self.engine = Some(joined);
        }
    }
}

impl Joined {
    fn join(run_dir: &Path, generation: PathBuf, control: Option<PathBuf>) -> Option<Self> {
        let workspace = Workspace::join(run_dir.join(&generation), Access::ReadOnly).ok()?;
        let beside = control.as_ref().and_then(|control| Workspace::join(run_dir.join(control), Access::ReadOnly).ok());
        let count = shard_count(&workspace);
        let shards = (0..count).map(|shard| Shard::join(&workspace, shard)).collect::<Option<Vec<_>>>()?;
        let links = links(&workspace, beside.as_ref(), count);
        Some(Self { generation, control, workspace, shards, links })
    }

    fn sample(&self) -> Sample {
        let first = self.shards.first();
        Sample {
            generation: self.generation.to_string_lossy().into_owned(),
            pid: first.map_or(0, |shard| shard.cnc.pid()),
            version: self.workspace.build_id().to_owned(),
            started_unix_ns: self.workspace.created_unix_ns(),
            now_unix_ns: unix_ns(),
            shards: self.shards.iter().map(Shard::sample).collect(),
            links: self.links.iter().map(Link::sample).collect(),
            inputs: self.shards.iter().flat_map(Shard::inputs).collect(),
            // Last, so that no heartbeat is newer.
            now_ns: now_ns(),
        }
    }
}

impl Shard {
    fn join(workspace: &Workspace, shard: usize) -> Option<Self> {
        let name = names::shard(shard);
        Some(Self {
            cnc: workspace.cnc(&name).ok()?,
            counters: workspace.counters(&name).ok()?,
            runtime: workspace.table(&names::runtime(shard)).ok()?,
        })
    }

    fn sample(&self) -> ShardSample {
        let look = || ShardSample {
            signal: self.cnc.signal(),
            heartbeat_ns: self.cnc.heartbeat_ns(),
            counters: (0..Counter::COUNT).map(|index| self.counters.get(index)).collect(),
        };
        let mut seen = look();
        for _ in 1..LOOKS_MAX {
            if self.cnc.heartbeat_ns() == seen.heartbeat_ns {
                break;
            }
            seen = look();
        }
        seen
    }

    fn inputs(&self) -> Vec<RuntimeEntry> {
        let mut bytes = Vec::new();
        let entries = (0..self.runtime.entries()).filter_map(|index| {
            self.runtime.read(index, &mut bytes)?;
            decode(&bytes).ok()
        });
        entries.collect()
    }
}

impl Link {
    fn sample(&self) -> LinkSample {
        // The reader first: whatever it has read was published before.
        let told = self.position.as_ref().map(|position| (position.get(), position.lost()));
        let (seq0, seq) = (self.view.seq0(), self.view.seq());
        // What a reader left in its word in the life of an earlier link is below this one's first number.
        let reader_seq = told.map(|(seq, _)| seq).filter(|reader| reader.wrapping_sub(seq0) <= seq.wrapping_sub(seq0));
        LinkSample {
            name: self.name.clone(),
            reader: self.reader.clone(),
            at_ns: now_ns(),
            depth: self.view.depth(),
            seq0,
            seq,
            chunk: self.view.newest_chunk(),
            reader_seq,
            lost: told.map_or(0, |(_, lost)| lost),
        }
    }
}

/// Every link that can be seen, in the order in which a person reads them: packets, media, questions, control.
fn links(shards: &Workspace, control: Option<&Workspace>, count: usize) -> Vec<Link> {
    let link = |place: &Workspace, name: String, reader: String, position: Option<Fseq>| {
        Some(Link { view: place.link_view(&name).ok()?, name, reader, position })
    };
    let mut found = Vec::new();
    let all = 0..count;
    let pairs = || all.clone().flat_map(|from| (0..count).filter(move |to| *to != from).map(move |to| (from, to)));
    let shard = |index: usize| format!("shard {index}");
    found.extend(all.clone().filter_map(|i| link(shards, names::rx(i), shard(i), shards.fseq(&names::rx(i)).ok())));
    found.extend(pairs().filter_map(|(from, to)| {
        link(shards, names::media(from), shard(to), shards.fseq(&names::media_reader(from, to)).ok())
    }));
    found.extend(pairs().filter_map(|(from, to)| {
        let name = names::ask(from, to);
        let position = shards.fseq(&name).ok();
        link(shards, name, shard(to), position)
    }));
    let Some(control) = control else { return found };
    found.extend(all.clone().filter_map(|i| link(control, names::cmd(i), shard(i), shards.fseq(&names::cmd(i)).ok())));
    found.extend(
        all.filter_map(|i| link(shards, names::events(i), "control".to_owned(), control.fseq(&names::events(i)).ok())),
    );
    found
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
