//! The machine as the operator commands see it: files below a root, and a few things that are no files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::nic::{self, Channels, Feature, Flow, XdpFeatures};

/// The machine. Files of `/proc`, `/sys`, `/etc` are read below a root, so that a test can make up a machine in a folder.
pub struct System {
    root: PathBuf,
    host: Box<dyn Host>,
}

impl System {
    /// This machine.
    pub fn live() -> Self {
        Self { root: PathBuf::from("/"), host: Box::new(Live) }
    }

    /// A machine whose files are below `root` and whose other parts are `host`.
    pub fn at(root: &Path, host: Box<dyn Host>) -> Self {
        Self { root: root.to_owned(), host }
    }

    /// Everything that is no file.
    pub fn host(&self) -> &dyn Host {
        self.host.as_ref()
    }

    /// Where a file of this machine really is.
    pub fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        let file = file.as_ref();
        self.root.join(file.strip_prefix("/").unwrap_or(file))
    }

    /// A file's text without white space at its ends.
    pub fn text(&self, file: impl AsRef<Path>) -> io::Result<String> {
        fs::read_to_string(self.path(file)).map(|text| text.trim().to_owned())
    }

    /// A file that holds one number.
    pub fn number(&self, file: impl AsRef<Path>) -> Option<u64> {
        self.text(file).ok()?.parse().ok()
    }

    /// Names in a folder, sorted; none when there is no such folder.
    pub fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether a file or folder is there.
    pub fn exists(&self, file: impl AsRef<Path>) -> bool {
        self.path(file).exists()
    }

    /// The last part of what a link points at: the driver's name behind `…/device/driver`.
    pub fn link_name(&self, link: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.path(link)).ok()?;
        target.file_name().and_then(|name| name.to_str()).map(str::to_owned)
    }

    /// A group's number; `None` when there is no such group.
    pub fn group_id(&self, name: &str) -> Option<u32> {
        self.id_of("/etc/group", name)
    }

    /// A user's number; `None` when there is no such user.
    pub fn user_id(&self, name: &str) -> Option<u32> {
        self.id_of("/etc/passwd", name)
    }

    /// A group's or user's name in its file; the number itself where it has none.
    pub fn name_of(&self, file: &str, id: u32) -> String {
        let text = self.text(file).unwrap_or_default();
        let line = text.lines().find(|line| line.split(':').nth(2) == Some(id.to_string().as_str()));
        line.and_then(|line| line.split(':').next()).map_or_else(|| id.to_string(), str::to_owned)
    }

    fn id_of(&self, file: &str, name: &str) -> Option<u32> {
        let text = self.text(file).ok()?;
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    }

    /// A line `Name: value` of a file such as `/proc/meminfo` or `/proc/self/status`.
    pub fn labelled(&self, file: &str, label: &str) -> Option<String> {
        let text = self.text(file).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// A size of `/proc/meminfo`, in bytes.
    pub fn memory(&self, label: &str) -> Option<u64> {
        let value = self.labelled("/proc/meminfo", label)?;
        value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Processors that this process may run on, in order: shard i is pinned to the i-th of them.
    pub fn cpus(&self) -> Vec<u32> {
        cpu_list(&self.labelled("/proc/self/status", "Cpus_allowed_list").unwrap_or_default())
    }

    /// The pids whose program has this name (15 letters at most, as the kernel keeps it).
    pub fn processes(&self, name: &str) -> Vec<u32> {
        let pids = self.names("/proc").into_iter().filter_map(|pid| pid.parse().ok());
        pids.filter(|pid: &u32| self.text(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == name)).collect()
    }
}

/// `0-2,5` as numbers. What is no number is left out.
pub fn cpu_list(text: &str) -> Vec<u32> {
    /// More than any machine has: a broken list must not fill the memory.
    const CPUS_MAX: usize = 4096;
    let ranges = text.split(',').filter_map(|part| {
        let (low, high) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        Some(low.parse::<u32>().ok()?..=high.parse::<u32>().ok()?)
    });
    ranges.flatten().take(CPUS_MAX).collect()
}

/// What is asked of the machine and is no file.
pub trait Host {
    /// Queue counts of a device.
    fn channels(&self, interface: &str) -> io::Result<Channels>;
    /// Sets queue counts.
    fn set_channels(&self, interface: &str, wanted: Channels) -> io::Result<()>;
    /// One offload; `None` when the kernel has none of that name.
    fn feature(&self, interface: &str, name: &str) -> io::Result<Option<Feature>>;
    /// Turns one offload on or off.
    fn set_feature(&self, interface: &str, name: &str, on: bool) -> io::Result<()>;
    /// Letters of `sdfn` that RSS hashes.
    fn flow_hash(&self, interface: &str, flow: Flow) -> io::Result<String>;
    /// Sets them.
    fn set_flow_hash(&self, interface: &str, flow: Flow, fields: &str) -> io::Result<()>;
    /// XDP abilities by the device's index.
    fn xdp_features(&self, interface_index: u32) -> io::Result<XdpFeatures>;
    /// Starts or stops a service.
    fn set_service(&self, name: &str, running: bool) -> io::Result<()>;
    /// Adds or removes a system group.
    fn set_group(&self, name: &str, present: bool) -> io::Result<()>;
    /// Makes a system user with a group of its name that is there, or removes it.
    fn set_user(&self, name: &str, present: bool) -> io::Result<()>;
    /// Mounts a hugetlbfs of 2 MiB pages on a folder, which is made when absent.
    fn mount_hugetlbfs(&self, folder: &Path, mode: u32, group: u32) -> io::Result<()>;
    /// Takes the file system off a folder and removes the empty folder.
    fn unmount(&self, folder: &Path) -> io::Result<()>;
    /// Whether this process is root.
    fn is_root(&self) -> bool;
}

/// Flags of `useradd` for the engine's user: as `deploy/sysusers.d` makes it, and nobody can log in.
pub const USER_FLAGS: &[&str] =
    &["--system", "--no-create-home", "--home-dir", "/var/lib/streams", "--shell", "/usr/sbin/nologin"];

/// This machine.
struct Live;

impl Host for Live {
    fn channels(&self, interface: &str) -> io::Result<Channels> {
        nic::channels(interface)
    }

    fn set_channels(&self, interface: &str, wanted: Channels) -> io::Result<()> {
        nic::set_channels(interface, wanted)
    }

    fn feature(&self, interface: &str, name: &str) -> io::Result<Option<Feature>> {
        nic::feature(interface, name)
    }

    fn set_feature(&self, interface: &str, name: &str, on: bool) -> io::Result<()> {
        nic::set_feature(interface, name, on)
    }

    fn flow_hash(&self, interface: &str, flow: Flow) -> io::Result<String> {
        nic::flow_hash(interface, flow)
    }

    fn set_flow_hash(&self, interface: &str, flow: Flow, fields: &str) -> io::Result<()> {
        nic::set_flow_hash(interface, flow, fields)
    }

    fn xdp_features(&self, interface_index: u32) -> io::Result<XdpFeatures> {
        nic::xdp_features(interface_index)
    }

    fn set_service(&self, name: &str, running: bool) -> io::Result<()> {
        nic::run("systemctl", &[if running { "start" } else { "stop" }, name]).map(drop)
    }

    fn set_group(&self, name: &str, present: bool) -> io::Result<()> {
        match present {
            true => nic::run("groupadd", &["--system", name]).map(drop),
            false => nic::run("groupdel", &[name]).map(drop),
        }
    }

    fn set_user(&self, name: &str, present: bool) -> io::Result<()> {
        match present {
            true => nic::run("useradd", &[USER_FLAGS, &["--gid", name, name]].concat()).map(drop),
            false => nic::run("userdel", &[name]).map(drop),
        }
    }

    fn mount_hugetlbfs(&self, folder: &Path, mode: u32, group: u32) -> io::Result<()> {
        use rustix::mount::{MountFlags, mount};
        fs::create_dir_all(folder)?;
        let options = format!("pagesize=2M,mode={mode:o},gid={group}");
        let options = std::ffi::CString::new(options)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        Ok(mount("streams", folder, "hugetlbfs", flags, Some(options.as_c_str()))?)
    }

    fn unmount(&self, folder: &Path) -> io::Result<()> {
        rustix::mount::unmount(folder, rustix::mount::UnmountFlags::empty())?;
        fs::remove_dir(folder)
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read_and_broken_ones_bounded() {
        assert_eq!(cpu_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cpu_list(""), Vec::<u32>::new());
        assert_eq!(cpu_list("x,3-,7"), [7]);
        assert_eq!(cpu_list("0-4294967295").len(), 4096);
    }
}
