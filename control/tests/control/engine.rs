//! An engine as control sees it: the workspace `shards`, written by the test.

use std::path::Path;

use streams_contract::{
    self as contract, Command, Event, InputEntry, MESSAGE_SIG, ResourceEntry, RuntimeEntry, ShardsSizes,
    SigningKeyEntry, Tunable, Tunables, names,
};
use streams_rings::{Access, Polled, ReliableReader, ReliableWriter, Signal, Workspace, now_ns, now_us};

pub const SHARDS: usize = 2;

pub struct FakeEngine {
    shards: Workspace,
    control: Workspace,
    commands: Vec<ReliableReader>,
    events: Vec<ReliableWriter>,
}

impl FakeEngine {
    /// Joins control's workspace, makes its own, and runs.
    pub fn start(run_dir: &Path) -> Self {
        let control = Workspace::join(contract::current_path(run_dir, names::CONTROL), Access::ReadOnly).unwrap();
        let generation = contract::next_generation(run_dir, names::SHARDS).unwrap();
        let path = contract::generation_path(run_dir, names::SHARDS, generation);
        let small = ShardsSizes { rx_len: 1 << 20, media_len: 1 << 20, ask_len: 1 << 20, ..ShardsSizes::default() };
        let shards = contract::shards_workspace(SHARDS, small).create(&path).unwrap();
        let commands = (0..SHARDS)
            .map(|i| control.reliable_reader(&names::cmd(i), shards.fseq(&names::cmd(i)).unwrap()).unwrap())
            .collect();
        let events = (0..SHARDS)
            .map(|i| shards.reliable_writer(&names::events(i), &[control.fseq(&names::events(i)).unwrap()]).unwrap())
            .collect();
        let engine = Self { shards, control, commands, events };
        engine.beat(Signal::Run);
        contract::switch_current(run_dir, names::SHARDS, generation).unwrap();
        engine
    }

    pub fn beat(&self, signal: Signal) {
        for i in 0..SHARDS {
            let cnc = self.shards.cnc(&names::shard(i)).unwrap();
            cnc.set_pid(std::process::id());
            cnc.heartbeat(now_ns());
            cnc.set_signal(signal);
        }
    }

    pub fn count(&self, shard: usize, counter: contract::Counter, value: u64) {
        self.shards.counters(&names::shard(shard)).unwrap().set(counter.index(), value);
    }

    pub fn runtime(&self, shard: usize, entry: &RuntimeEntry) {
        self.beat(Signal::Run);
        let mut table = self.shards.table(&names::runtime(shard)).unwrap();
        table.write(0, &contract::encode(entry).unwrap()).unwrap();
    }

    pub fn event(&mut self, shard: usize, event: &Event) {
        self.events[shard].try_publish(MESSAGE_SIG, now_us(), &contract::encode(event).unwrap()).unwrap();
    }

    /// The commands that came to a shard since last asked.
    pub fn commands(&mut self, shard: usize) -> Vec<Command> {
        let (mut found, mut bytes) = (Vec::new(), Vec::new());
        loop {
            match self.commands[shard].poll(&mut bytes) {
                Polled::Message { .. } => found.push(contract::decode(&bytes).unwrap()),
                Polled::Empty => return found,
                Polled::Skipped => {}
                Polled::Overrun { lost } => panic!("{lost} commands lost"),
            }
        }
    }

    fn entries<T: serde::de::DeserializeOwned>(&self, table: &str) -> Vec<(usize, T)> {
        let table = self.control.table(table).unwrap();
        let mut bytes = Vec::new();
        (0..table.entries())
            .filter_map(|i| {
                table.read(i, &mut bytes).version()?;
                Some((i, contract::decode(&bytes).unwrap()))
            })
            .collect()
    }

    /// An input's entry and its index.
    pub fn input(&self, id: &str) -> Option<(usize, InputEntry)> {
        self.entries::<InputEntry>(names::INPUTS).into_iter().find(|(_, entry)| entry.id == id)
    }

    /// Every input.
    pub fn inputs(&self) -> Vec<InputEntry> {
        self.entries(names::INPUTS).into_iter().map(|(_, entry)| entry).collect()
    }

    /// Every resource that can be watched.
    pub fn resources(&self) -> Vec<ResourceEntry> {
        self.entries(names::RESOURCES).into_iter().map(|(_, entry)| entry).collect()
    }

    /// Every signing key.
    pub fn signing_keys(&self) -> Vec<SigningKeyEntry> {
        self.entries(names::SIGNING_KEYS).into_iter().map(|(_, entry)| entry).collect()
    }

    pub fn resource(&self, id: &str) -> Option<ResourceEntry> {
        self.entries::<ResourceEntry>(names::RESOURCES).into_iter().map(|(_, entry)| entry).find(|entry| entry.id == id)
    }

    /// An entry of `tunables`.
    pub fn tunables(&self, index: usize) -> Tunables {
        let mut bytes = Vec::new();
        self.control.table(names::TUNABLES).unwrap().read(index, &mut bytes).version().unwrap();
        contract::decode(&bytes).unwrap()
    }

    /// Says what a shard runs with.
    pub fn run_with(&self, shard: usize, tunable: Tunable, value: u64) {
        self.beat(Signal::Run);
        self.shards.counters(&names::tunables(shard)).unwrap().set(tunable.index(), value);
    }

    pub fn signing_key(&self, kid: &str) -> Option<SigningKeyEntry> {
        let mut entries = self.entries::<SigningKeyEntry>(names::SIGNING_KEYS).into_iter();
        entries.find(|(_, entry)| entry.kid == kid).map(|(_, entry)| entry)
    }
}
