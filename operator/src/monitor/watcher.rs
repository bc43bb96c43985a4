//! Joining the workspaces read-only, following their generations, and looking.

use std::fs::read_link;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use streams_contract::{Counter, RuntimeEntry, current_path, decode, names};
use streams_control::program::shard_count;
use streams_rings::{Access, Cnc, Counters, Fseq, LinkView, ObjectKind, Table, Workspace, now_ns};

use super::sample::{LinkSample, Sample, ShardSample};

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
            self.runtime.read(index, &mut bytes).version()?;
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

/// Every link that can be seen, in the order in which a person reads them: packets, media, what shards ask each other, control.
fn links(shards: &Workspace, control: Option<&Workspace>, count: usize) -> Vec<Link> {
    let mut found: Vec<(LinkName, Link)> = names_of_links(shards)
        .into_iter()
        .chain(control.map(names_of_links).into_iter().flatten())
        .flat_map(|name| readers(&name, count).into_iter().map(move |reader| (name.clone(), reader)))
        .filter_map(|(name, reader)| {
            let (place, position) = match name.kind.as_str() {
                names::CMD => (control?, shards.fseq(&name.object)),
                names::EVENTS => (shards, control?.fseq(&name.object)),
                names::MEDIA => (shards, shards.fseq(&names::media_reader(name.shard, reader?))),
                _ => (shards, shards.fseq(&name.object)),
            };
            let view = place.link_view(&name.object).ok()?;
            let who = reader.map_or("control".to_owned(), |shard| format!("shard {shard}"));
            let link = Link { name: name.object.clone(), reader: who, view, position: position.ok() };
            Some((name, link))
        })
        .collect();
    // Readers of one link stay in their order.
    found.sort_by(|(a, _), (b, _)| a.sort_key().cmp(&b.sort_key()));
    found.into_iter().map(|(_, link)| link).collect()
}

/// `<kind>.<shard>` or `<kind>.<shard>.<other>`.
#[derive(Debug, Clone)]
struct LinkName {
    object: String,
    kind: String,
    shard: usize,
    other: Option<usize>,
}

impl LinkName {
    fn parse(object: &str) -> Option<Self> {
        let mut parts = object.split('.');
        let (kind, shard) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let other = parts.next().map(str::parse).transpose().ok()?;
        Some(Self { object: object.to_owned(), kind, shard, other })
    }

    fn sort_key(&self) -> (usize, &str, usize, Option<usize>) {
        let first = [names::RX, names::MEDIA].iter().position(|kind| *kind == self.kind);
        let last = [names::CMD, names::EVENTS].iter().position(|kind| *kind == self.kind).map(|place| place + 3);
        (first.or(last).unwrap_or(2), &self.kind, self.shard, self.other)
    }
}

fn names_of_links(workspace: &Workspace) -> Vec<LinkName> {
    let rings = workspace.objects().filter(|(kind, ..)| *kind == ObjectKind::Mcache);
    rings.filter_map(|(_, name, _)| LinkName::parse(name)).collect()
}

/// Who reads a link: shards, or control (`None`).
fn readers(name: &LinkName, count: usize) -> Vec<Option<usize>> {
    match (name.kind.as_str(), name.other) {
        (names::EVENTS, _) => vec![None],
        (names::MEDIA, _) => (0..count).filter(|shard| *shard != name.shard).map(Some).collect(),
        (_, Some(other)) => vec![Some(other)],
        (_, None) => vec![Some(name.shard)],
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use streams_contract::{ShardsSizes, control_workspace, shards_workspace};

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn every_link_is_found_with_its_readers_in_reading_order() {
        let scratch = Scratch::new();
        let small = ShardsSizes { rx_len: 1 << 20, media_len: 1 << 20, ask_len: 1 << 20, ..ShardsSizes::default() };
        let shards = shards_workspace(3, small).create(scratch.path().join("shards.1")).unwrap();
        let control = control_workspace(3).create(scratch.path().join("control.1")).unwrap();
        let shown = |control| {
            let found = links(&shards, control, 3);
            assert!(
                found.iter().all(|link| control.is_none() || link.position.is_some()),
                "each reader tells its place"
            );
            found.into_iter().map(|link| format!("{} {}", link.name, link.reader)).collect::<Vec<_>>()
        };
        let all = shown(Some(&control));
        let ring =
            ["rx.0 shard 0", "rx.1 shard 1", "rx.2 shard 2", "media.0 shard 1", "media.0 shard 2", "media.1 shard 0"];
        assert_eq!(all[..6], ring);
        assert_eq!(all[all.len() - 4..], ["cmd.2 shard 2", "events.0 control", "events.1 control", "events.2 control"]);
        assert!(all.contains(&"ask.2.0 shard 0".to_owned()));
        // 3 receive links, 6 readers of media, 6 links to ask and 6 to toss, 3 of commands, 3 of events.
        assert_eq!((all.len(), shown(None).len()), (27, 21));
    }
}
