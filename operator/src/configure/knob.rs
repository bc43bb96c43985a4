//! One thing of the machine that can be read, set, and put back: what `init` changes and `fini` restores.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::nic::{Channels, Flow};
use super::system::System;

/// Mode of the hugetlbfs: the group may make files there, and nobody may remove another's.
pub const MOUNT_MODE: u32 = 0o1770;

/// Something with a value. The value is text; `None` says that the thing is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Knob {
    /// A file of `/proc/sys` or `/sys` that holds one value.
    Value {
        /// The file.
        path: String,
    },
    /// A whole file of settings that belongs to Streams.
    Config {
        /// The file.
        path: String,
    },
    /// Queues of a network device: `combined 4`, or `rx 2 tx 2`.
    Queues {
        /// The device.
        interface: String,
    },
    /// An offload of a network device: `on` or `off`.
    Offload {
        /// The device.
        interface: String,
        /// The kernel's name of it.
        feature: String,
    },
    /// What RSS hashes of a flow: letters of `sdfn`.
    FlowHash {
        /// The device.
        interface: String,
        /// The flow.
        flow: Flow,
    },
    /// A service: `running` or `stopped`.
    Service {
        /// Its name, and that of its program.
        name: String,
    },
    /// A system group: `present`, or not there.
    Group {
        /// Its name.
        name: String,
    },
    /// A system user with a group of the same name: `present`, or not there.
    User {
        /// Its name.
        name: String,
    },
    /// A folder: `0750 owner:group`, or not there.
    Folder {
        /// Where.
        path: String,
    },
    /// A hugetlbfs for a group: `group streams`, or not mounted.
    Hugetlbfs {
        /// Where.
        path: String,
    },
}

impl Knob {
    /// A file of `/proc/sys` or `/sys`.
    pub fn value(path: impl Into<String>) -> Self {
        Knob::Value { path: path.into() }
    }

    /// What it is, for a line of `fini`.
    pub fn label(&self) -> String {
        match self {
            Knob::Value { path } => value_label(path),
            Knob::Config { path } | Knob::Folder { path } | Knob::Hugetlbfs { path } => path.clone(),
            Knob::Queues { interface } => format!("{interface} queues"),
            Knob::Offload { interface, feature } => format!("{interface} {feature}"),
            Knob::FlowHash { interface, flow } => format!("{interface} rx-flow-hash {}", flow.name()),
            Knob::Service { name } => format!("service {name}"),
            Knob::Group { name } => format!("group {name}"),
            Knob::User { name } => format!("user {name}"),
        }
    }

    /// The network device that it belongs to.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Knob::Queues { interface } | Knob::Offload { interface, .. } | Knob::FlowHash { interface, .. } => {
                Some(interface)
            }
            Knob::Value { path } => path.strip_prefix("/sys/class/net/")?.split('/').next(),
            _ => None,
        }
    }

    /// Whether a restart of the machine undoes a change of it.
    pub fn volatile(&self) -> bool {
        !matches!(self, Knob::Config { .. } | Knob::Group { .. } | Knob::User { .. })
    }

    /// The value now.
    pub fn read(&self, system: &System) -> io::Result<Option<String>> {
        let host = system.host();
        match self {
            Knob::Value { path } => system.text(path).map(Some),
            Knob::Config { path } => absent_is_none(fs::read_to_string(system.path(path))),
            Knob::Queues { interface } => host.channels(interface).map(|channels| Some(queues_text(channels))),
            Knob::Offload { interface, feature } => match host.feature(interface, feature)? {
                Some(feature) => Ok(Some(if feature.active { "on" } else { "off" }.to_owned())),
                None => Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel has no such offload")),
            },
            Knob::FlowHash { interface, flow } => host.flow_hash(interface, *flow).map(Some),
            Knob::Service { name } => {
                let running = !system.processes(name).is_empty();
                Ok(Some(if running { "running" } else { "stopped" }.to_owned()))
            }
            Knob::Group { name } => Ok(system.group_id(name).map(|_| "present".to_owned())),
            Knob::User { name } => Ok(system.user_id(name).map(|_| "present".to_owned())),
            Knob::Folder { path } => folder_text(system, path),
            Knob::Hugetlbfs { path } => Ok(mount_text(system, path)),
        }
    }

    /// Sets the value, or takes the thing away.
    pub fn write(&self, system: &System, value: Option<&str>) -> io::Result<()> {
        let host = system.host();
        let needed = || value.ok_or_else(|| invalid("it cannot be taken away"));
        match self {
            Knob::Value { path } => fs::write(system.path(path), needed()?),
            Knob::Config { path } => match value {
                Some(text) => write_config(&system.path(path), text),
                None => fs::remove_file(system.path(path)),
            },
            Knob::Queues { interface } => {
                let wanted = queues_of(host.channels(interface)?, needed()?)?;
                host.set_channels(interface, wanted)
            }
            Knob::Offload { interface, feature } => host.set_feature(interface, feature, needed()? == "on"),
            Knob::FlowHash { interface, flow } => host.set_flow_hash(interface, *flow, needed()?),
            Knob::Service { name } => host.set_service(name, needed()? == "running"),
            Knob::Group { name } => host.set_group(name, value.is_some()),
            Knob::User { name } => host.set_user(name, value.is_some()),
            Knob::Folder { path } => match value {
                Some(text) => set_folder(system, path, text),
                None => fs::remove_dir(system.path(path)),
            },
            Knob::Hugetlbfs { path } => match value {
                Some(text) => {
                    let group = text.strip_prefix("group ").and_then(|name| id(name, |name| system.group_id(name)));
                    let group =
                        group.ok_or_else(|| invalid("there is no such group yet; run the stage `folders` first"))?;
                    host.mount_hugetlbfs(&system.path(path), MOUNT_MODE, group)
                }
                None => host.unmount(&system.path(path)),
            },
        }
    }
}

/// The words that `check` has for a file of one value.
fn value_label(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["proc", "sys", name @ ..] => name.join("."),
        ["proc", "irq", number, _] => format!("irq {number}"),
        ["sys", "class", "net", interface, name] => format!("{interface} {name}"),
        ["sys", "kernel", "mm", "hugepages", ..] => "2 MiB pages".to_owned(),
        _ => path.to_owned(),
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn absent_is_none<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name, or a number that stands for itself.
fn id(name: &str, known: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    known(name).or_else(|| name.parse().ok())
}

/// Every count that this driver has, so that each can be put back.
pub fn queues_text(channels: Channels) -> String {
    let counts = [
        ("combined", channels.combined, channels.combined_max),
        ("rx", channels.rx, channels.rx_max),
        ("tx", channels.tx, channels.tx_max),
    ];
    let shown = counts.iter().filter(|(_, _, most)| *most > 0).map(|(name, count, _)| format!("{name} {count}"));
    shown.collect::<Vec<_>>().join(" ")
}

fn queues_of(now: Channels, text: &str) -> io::Result<Channels> {
    let mut wanted = now;
    let words: Vec<&str> = text.split_whitespace().collect();
    for pair in words.chunks(2) {
        let [name, count] = pair else { return Err(invalid("a queue count without a number")) };
        let count = count.parse().map_err(|_| invalid("a queue count that is no number"))?;
        match *name {
            "combined" => wanted.combined = count,
            "rx" => wanted.rx = count,
            "tx" => wanted.tx = count,
            _ => return Err(invalid("an unknown kind of queue")),
        }
    }
    Ok(wanted)
}

fn folder_text(system: &System, path: &str) -> io::Result<Option<String>> {
    let Some(found) = absent_is_none(fs::symlink_metadata(system.path(path)))? else { return Ok(None) };
    if !found.is_dir() {
        return Err(invalid("it is there and no folder"));
    }
    let owner = system.name_of("/etc/passwd", found.uid());
    let group = system.name_of("/etc/group", found.gid());
    Ok(Some(format!("{:04o} {owner}:{group}", found.permissions().mode() & 0o7777)))
}

fn set_folder(system: &System, path: &str, text: &str) -> io::Result<()> {
    let parsed = text.split_once(' ').and_then(|(mode, names)| {
        let (owner, group) = names.split_once(':')?;
        let owner = id(owner, |name| system.user_id(name))?;
        Some((u32::from_str_radix(mode, 8).ok()?, owner, id(group, |name| system.group_id(name))?))
    });
    let (mode, owner, group) = parsed.ok_or_else(|| invalid("its owner or group does not exist"))?;
    let path = system.path(path);
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Opened without following a link, so that owner and mode go to this folder and to nothing it was exchanged for.
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(&path, flags, Mode::empty())?;
    std::os::unix::fs::fchown(&folder, Some(owner), Some(group))?;
    Ok(rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))?)
}

/// `group NAME` of a hugetlbfs that is mounted there.
fn mount_text(system: &System, path: &str) -> Option<String> {
    let mounts = system.text("/proc/mounts").ok()?;
    let real = system.path(path);
    let options = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind, options) = (words.next()?, words.next()?, words.next()?);
        (kind == "hugetlbfs" && (place == path || Path::new(place) == real)).then(|| options.to_owned())
    })?;
    let group = options.split(',').find_map(|option| option.strip_prefix("gid="));
    let group =
        group.and_then(|id| id.parse().ok()).map_or_else(|| "root".to_owned(), |id| system.name_of("/etc/group", id));
    Some(format!("group {group}"))
}

/// A file of settings in one step, readable by all as such files are.
fn write_config(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension(format!("new.{}", std::process::id()));
    absent_is_none(fs::remove_file(&fresh))?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_counts_are_written_and_read_back() {
        let apart = Channels { rx: 1, tx: 2, rx_max: 4, tx_max: 4, ..Channels::default() };
        assert_eq!(queues_text(apart), "rx 1 tx 2");
        assert_eq!(queues_of(Channels { rx: 4, tx: 4, ..apart }, "rx 1 tx 2").unwrap(), apart);
        for broken in ["rx", "rx x", "wings 2"] {
            assert!(queues_of(apart, broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_knob_says_which_device_it_belongs_to() {
        assert_eq!(Knob::value("/sys/class/net/eth0/gro_flush_timeout").interface(), Some("eth0"));
        assert_eq!(Knob::value("/proc/sys/net/core/rmem_max").interface(), None);
    }
}
