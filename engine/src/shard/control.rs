//! This shard's side of the control process: tables, commands, events, heartbeat, counters.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use streams_contract::{
    self as contract, Command, Counter, Event, MESSAGE_SIG, Section, TunableValues, Tunables, names,
};
use streams_rings::{Access, Cnc, Counters, Polled, ReliableReader, ReliableWriter, RingsError, Signal, Workspace};

use super::tuning::Wishes;
use crate::directory::{Changes, ReadStats, Tables};

/// Control beats once a second or more often; after this long its events are written over instead of waited for.
const CONTROL_FRESH: Duration = Duration::from_secs(5);

/// What the control side counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlStats {
    /// Reading of tables.
    pub tables: ReadStats,
    /// Commands carried out.
    pub commands_handled: u64,
    /// Commands that could not be read.
    pub commands_rejected: u64,
    /// Events written over because control was away.
    pub events_full: u64,
}

/// A shard's connection to whatever control process runs now.
pub struct ControlSide {
    shard: usize,
    run_dir: PathBuf,
    shards: Workspace,
    current: PathBuf,
    tables: Tables,
    wishes: Wishes,
    commands: ReliableReader,
    control_cnc: Cnc,
    complete: bool,
    events: ReliableWriter,
    own_cnc: Cnc,
    counters: Counters,
    tuned: Counters,
    scratch: Vec<u8>,
    stats: ControlStats,
}

impl ControlSide {
    /// Joins control's current workspace.
    pub fn join(run_dir: &Path, shards: &Workspace, shard: usize) -> Result<Self, RingsError> {
        let current = current_generation(run_dir);
        let control = Workspace::join(&current, Access::ReadOnly)?;
        Ok(Self {
            shard,
            run_dir: run_dir.to_owned(),
            shards: shards.clone(),
            tables: Tables::join(&control)?,
            wishes: Wishes::join(&control, shard)?,
            commands: control.reliable_reader(&names::cmd(shard), shards.fseq(&names::cmd(shard))?)?,
            control_cnc: control.cnc(names::CONTROL_CNC)?,
            complete: false,
            events: shards.reliable_writer(&names::events(shard), &[control.fseq(&names::events(shard))?])?,
            own_cnc: shards.cnc(&names::shard(shard))?,
            counters: shards.counters(&names::shard(shard))?,
            tuned: shards.counters(&names::tunables(shard))?,
            current,
            scratch: Vec::new(),
            stats: ControlStats::default(),
        })
    }

    /// Leaves out commands from before this engine's life: they were for sessions and a state that are gone.
    pub fn skip_old_commands(&mut self) {
        self.commands.skip_backlog();
    }

    /// The mirror of control's tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Counters of this module.
    pub fn stats(&self) -> ControlStats {
        self.stats
    }

    /// Reads tables that changed.
    pub fn refresh(&mut self) -> Changes {
        // Control says that it runs once it has written every entry: looked at before they are read.
        let complete = self.control_cnc.signal() == Signal::Run;
        let changes = self.tables.refresh(&mut self.stats.tables);
        self.complete = complete;
        changes
    }

    /// Whether the mirror held every entry at the last refresh: what it does not hold then does not exist.
    pub fn tables_complete(&self) -> bool {
        self.complete
    }

    /// What is tuned for all shards and for this one, when that may have changed.
    pub fn wishes(&mut self) -> Option<(Tunables, Tunables)> {
        self.wishes.changed(&mut self.stats.tables)
    }

    /// Tells what the shard runs with.
    pub fn tell_tuned(&self, values: &TunableValues) {
        for tunable in contract::Tunable::ALL {
            self.tuned.set(tunable.index(), values.get(*tunable));
        }
    }

    /// The next command.
    pub fn command(&mut self) -> Option<Command> {
        loop {
            match self.commands.poll(&mut self.scratch) {
                Polled::Empty => return None,
                Polled::Message { sig: MESSAGE_SIG, .. } => match contract::decode(&self.scratch) {
                    Ok(command) => {
                        self.stats.commands_handled += 1;
                        return Some(command);
                    }
                    Err(_) => self.stats.commands_rejected += 1,
                },
                Polled::Message { .. } | Polled::Skipped | Polled::Overrun { .. } => self.stats.commands_rejected += 1,
            }
        }
    }

    /// Tells control something. While control is away its oldest unread events are written over and counted.
    pub fn event(&mut self, event: &Event) {
        let Ok(document) = contract::encode(event) else { return };
        if self.events.try_publish(MESSAGE_SIG, 0, &document).is_err() {
            let age_ns = streams_rings::now_ns().saturating_sub(self.control_cnc.heartbeat_ns());
            if Duration::from_nanos(age_ns) > CONTROL_FRESH {
                self.events.publish_over(MESSAGE_SIG, 0, &document);
            }
            self.stats.events_full += 1;
        }
    }

    /// Follows control into a new generation of its workspace. True when there was one.
    pub fn follow(&mut self) -> bool {
        if current_generation(&self.run_dir) == self.current {
            return false;
        }
        match Self::join(&self.run_dir, &self.shards, self.shard) {
            Ok(fresh) => {
                let stats = self.stats;
                *self = Self { stats, ..fresh };
                true
            }
            // Control has switched the link but not finished; the next housekeeping looks again.
            Err(_) => false,
        }
    }

    /// Shows the shard's state and that it lives.
    pub fn beat(&self, signal: Signal) {
        if self.own_cnc.signal() != signal {
            self.own_cnc.set_signal(signal);
        }
        self.own_cnc.heartbeat(streams_rings::now_ns());
    }

    /// Publishes one section of counters.
    pub fn count(&self, section: Section, values: &[(Counter, u64)]) {
        debug_assert!(
            section.counters().iter().all(|counter| values.iter().filter(|(given, _)| given == counter).count() == 1),
            "{section:?} is filled, each counter once"
        );
        for (counter, value) in values {
            self.counters.set(counter.index(), *value);
        }
    }
}

pub(super) fn current_generation(run_dir: &Path) -> PathBuf {
    let link = contract::current_path(run_dir, names::CONTROL);
    match std::fs::read_link(&link) {
        Ok(target) => run_dir.join(target),
        Err(_) => link,
    }
}

/// Waits until control has made its workspace.
pub fn wait_for_control(run_dir: &Path, patience: Duration) -> Result<(), RingsError> {
    let deadline = Instant::now() + patience;
    loop {
        match Workspace::join(current_generation(run_dir), Access::ReadOnly) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
