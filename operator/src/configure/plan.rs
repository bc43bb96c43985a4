//! What the machine is prepared for: so many shards, on this interface or on kernel sockets.

use std::path::{Path, PathBuf};

use streams_config::{Config, Poll};
use streams_control::datadir::DataDir;

use super::system::System;
use crate::Error;

/// Memory of a shard that has to lie in huge pages, at least: 16 MiB of packet frames (8192 of 2 KiB, by default), and as much
/// again for an engine that starts while the one before it still ends, with room for more.
pub const SHARD_HUGE_BYTES: u64 = 64 << 20;
/// Bytes of a frame of AF_XDP.
const FRAME_BYTES: u64 = 2_048;
/// The size of a huge page.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// The configuration as far as the machine has to fit it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Shards, one thread each.
    pub shards: u32,
    /// The interface of AF_XDP, or why there is none.
    pub interface: Result<String, String>,
    /// Shards never sleep.
    pub busy: bool,
    /// Processors that shards are pinned to: shard i on the i-th of them.
    pub cpus: Vec<u32>,
    /// The folder of shared memory.
    pub run_dir: PathBuf,
    /// Lower a queue count that is above the shard count.
    pub lower_queues: bool,
    /// Flags that lead to this plan again, for the commands that are shown.
    pub flags: String,
    /// Everything else.
    pub config: Config,
}

impl Plan {
    /// Puts a plan together. `io` is that of the command line, `interface` wins over it.
    pub fn new(system: &System, config: Config, io: Option<&str>, interface: Option<&str>) -> Result<Self, Error> {
        let configured = config.engine.io.to_string();
        let io = io.unwrap_or(&configured);
        let named = interface.or_else(|| io.strip_prefix("xdp:"));
        if let Some(name) = named {
            known_interface(system, name)?;
        }
        if named.is_none() && !matches!(io, "auto" | "udp") {
            return Err(Error::Usage(format!("--io {io}: it must be auto, udp or xdp:IFACE")));
        }
        let none = match io {
            "udp" => "the packet backend is udp (kernel sockets)",
            _ => "no AF_XDP interface is chosen; name one with --interface IFACE",
        };
        Ok(Self {
            shards: u32::try_from(config.shards()).unwrap_or(u32::MAX),
            interface: named.map(str::to_owned).ok_or_else(|| none.to_owned()),
            busy: config.engine.poll == Poll::Busy,
            cpus: system.cpus(),
            run_dir: DataDir::at(&config.server.data).run_dir(),
            lower_queues: false,
            flags: String::new(),
            config,
        })
    }

    /// The processor of a shard; with more shards than processors they share.
    pub fn cpu_of(&self, shard: u32) -> Option<u32> {
        let index = usize::try_from(shard).ok()?.checked_rem(self.cpus.len())?;
        self.cpus.get(index).copied()
    }

    /// Processors that have a shard, each once.
    pub fn shard_cpus(&self) -> Vec<u32> {
        let shards = usize::try_from(self.shards).unwrap_or(usize::MAX);
        self.cpus.iter().copied().take(shards).collect()
    }

    /// Bytes of huge pages that all shards need.
    pub fn huge_bytes(&self) -> u64 {
        let engine = &self.config.engine;
        let frames = u64::from(engine.xdp_fill_frames.get()) + u64::from(engine.xdp_send_frames);
        let shard = (frames * FRAME_BYTES).next_multiple_of(HUGE_PAGE_BYTES).max(SHARD_HUGE_BYTES);
        shard.saturating_mul(u64::from(self.shards))
    }

    /// The command that does a stage of this plan.
    pub fn command(&self, verb: &str, stages: &str) -> String {
        let parts = ["sudo streams configure", verb, stages, self.flags.as_str()];
        parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
    }
}

fn known_interface(system: &System, name: &str) -> Result<(), Error> {
    let known = system.names("/sys/class/net");
    if known.iter().any(|other| other == name) && Path::new(name).components().count() == 1 {
        return Ok(());
    }
    Err(Error::Usage(format!("there is no interface `{name}`; this machine has: {}", known.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::testing::Machine;

    fn plan(machine: &Machine, io: Option<&str>, interface: Option<&str>) -> Result<Plan, Error> {
        Plan::new(&machine.system(), machine.config(3), io, interface)
    }

    #[test]
    fn the_interface_comes_from_either_flag_and_has_to_exist() {
        let machine = Machine::new();
        machine.interface("eth0");
        assert_eq!(plan(&machine, Some("xdp:eth0"), None).unwrap().interface.as_deref(), Ok("eth0"));
        assert_eq!(plan(&machine, None, Some("eth0")).unwrap().interface.as_deref(), Ok("eth0"));
        assert!(plan(&machine, Some("udp"), None).unwrap().interface.unwrap_err().contains("udp"));
        assert!(plan(&machine, None, None).unwrap().interface.unwrap_err().contains("--interface"));
        for (io, interface) in
            [(Some("xdp:eth9"), None), (None, Some("../eth0")), (Some("xdp:"), None), (Some("x"), None)]
        {
            let error = plan(&machine, io, interface).unwrap_err();
            assert!(matches!(&error, Error::Usage(text) if text.contains("eth0") || text.contains("auto")), "{error}");
        }
    }

    #[test]
    fn shards_go_to_the_processors_in_order_and_share_when_there_are_more() {
        let machine = Machine::new();
        machine.file("/proc/self/status", "Cpus_allowed_list:\t4,6\n");
        let plan = plan(&machine, None, None).unwrap();
        let cpus: Vec<_> = (0..3).map(|shard| plan.cpu_of(shard)).collect();
        assert_eq!(cpus, [Some(4), Some(6), Some(4)]);
        assert_eq!(plan.shard_cpus(), [4, 6]);
        assert_eq!(plan.huge_bytes(), 192 << 20);
        let mut plan = plan;
        plan.config.engine.xdp_send_frames = 262_144;
        assert_eq!(plan.huge_bytes(), 3 * (520 << 20), "more frames than usual need more pages");
    }
}
