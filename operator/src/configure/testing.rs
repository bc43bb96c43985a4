//! A made-up machine: a folder with `/proc`, `/sys`, `/etc`, and a host whose devices are numbers in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use streams_config::Config;

use super::nic::{Channels, Feature, Flow, XdpFeatures};
use super::system::{Host, System};
use crate::scratch::Scratch;

/// The devices and rights of a made-up machine.
#[derive(Default)]
pub struct Devices {
    pub channels: BTreeMap<String, Channels>,
    pub features: BTreeMap<(String, String), Feature>,
    pub hashes: BTreeMap<(String, &'static str), String>,
    pub xdp: Option<XdpFeatures>,
    pub root: bool,
    /// Services that were started or stopped, in order.
    pub services: Vec<(String, bool)>,
}

#[derive(Clone)]
pub struct Machine {
    scratch: Rc<Scratch>,
    pub devices: Rc<RefCell<Devices>>,
}

impl Machine {
    pub fn new() -> Self {
        let scratch = Rc::new(Scratch::new());
        let machine = Self { scratch, devices: Rc::default() };
        machine.devices.borrow_mut().root = true;
        machine.file("/proc/self/status", "Cpus_allowed_list:\t0-3\nCapEff:\t0000000000000000\n");
        machine.file("/proc/sys/kernel/random/boot_id", "boot");
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        machine.file("/etc/passwd", &format!("root:x:{uid}:{gid}:root:/root:/bin/sh\n"));
        for folder in ["sys/class/net", "dev/shm"] {
            fs::create_dir_all(machine.root().join(folder)).unwrap();
        }
        machine
    }

    pub fn system(&self) -> System {
        System::at(self.root(), Box::new(self.clone()))
    }

    pub fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// The file of notes.
    pub fn state(&self) -> PathBuf {
        self.root().join("var/lib/streams-configure/configure.json")
    }

    pub fn config(&self, shards: usize) -> Config {
        let mut config = Config::default();
        config.engine.shards = shards;
        config.server.data = self.root().join("data");
        config
    }

    pub fn file(&self, path: &str, text: &str) {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path.trim_start_matches('/'))).unwrap()
    }

    pub fn link(&self, path: &str, target: &str) {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Every file with its text, every folder with its mode and group; what `init` may leave behind empty is left out.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() && !path.starts_with(self.root().join("var")) {
                    let text = fs::read_to_string(&path).unwrap();
                    found.insert(path, text.trim().to_owned());
                }
            }
        }
        found
    }

    /// A device that only has a name.
    pub fn interface(&self, name: &str) {
        self.file(&format!("/sys/class/net/{name}/ifindex"), "7");
        self.file(&format!("/sys/class/net/{name}/iflink"), "7");
    }

    /// A NIC of four queues at most, one now, with everything on that should be off.
    pub fn nic(&self, name: &str) {
        self.interface(name);
        let mut devices = self.devices.borrow_mut();
        devices.channels.insert(name.into(), Channels { combined: 1, combined_max: 4, ..Channels::default() });
        for (feature, active, changeable) in
            [("rx-gro", true, true), ("rx-lro", false, false), ("tx-udp-segmentation", true, true)]
        {
            devices.features.insert((name.into(), feature.into()), Feature { active, changeable });
        }
        for flow in [Flow::Udp4, Flow::Udp6] {
            devices.hashes.insert((name.into(), flow.name()), "sd".into());
        }
    }
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

impl Host for Machine {
    fn channels(&self, interface: &str) -> io::Result<Channels> {
        self.devices.borrow().channels.get(interface).copied().ok_or_else(unsupported)
    }

    fn set_channels(&self, interface: &str, wanted: Channels) -> io::Result<()> {
        self.devices.borrow_mut().channels.insert(interface.into(), wanted);
        Ok(())
    }

    fn feature(&self, interface: &str, name: &str) -> io::Result<Option<Feature>> {
        Ok(self.devices.borrow().features.get(&(interface.into(), name.into())).copied())
    }

    fn set_feature(&self, interface: &str, name: &str, on: bool) -> io::Result<()> {
        let mut devices = self.devices.borrow_mut();
        let feature = devices.features.get_mut(&(interface.into(), name.into())).ok_or_else(unsupported)?;
        feature.active = on;
        Ok(())
    }

    fn flow_hash(&self, interface: &str, flow: Flow) -> io::Result<String> {
        self.devices.borrow().hashes.get(&(interface.into(), flow.name())).cloned().ok_or_else(unsupported)
    }

    fn set_flow_hash(&self, interface: &str, flow: Flow, fields: &str) -> io::Result<()> {
        self.devices.borrow_mut().hashes.insert((interface.into(), flow.name()), fields.into());
        Ok(())
    }

    fn xdp_features(&self, _interface_index: u32) -> io::Result<XdpFeatures> {
        self.devices.borrow().xdp.ok_or_else(unsupported)
    }

    fn set_service(&self, name: &str, running: bool) -> io::Result<()> {
        self.devices.borrow_mut().services.push((name.into(), running));
        if running {
            self.file("/proc/77/comm", &format!("{name}\n"));
        } else {
            fs::remove_dir_all(self.root().join("proc/77"))?;
        }
        Ok(())
    }

    fn set_group(&self, name: &str, present: bool) -> io::Result<()> {
        let path = self.root().join("etc/group");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let own = format!("{name}:x:{}:\n", rustix::process::getegid().as_raw());
        fs::write(path, if present { text + &own } else { text.replace(&own, "") })
    }

    /// A user of another number than that of the test, who is root here.
    fn set_user(&self, name: &str, present: bool) -> io::Result<()> {
        let path = self.root().join("etc/passwd");
        let text = fs::read_to_string(&path)?;
        let (uid, gid) = (rustix::process::geteuid().as_raw() + 1, rustix::process::getegid().as_raw());
        let own = format!("{name}:x:{uid}:{gid}:::/usr/sbin/nologin\n");
        fs::write(path, if present { text + &own } else { text.replace(&own, "") })
    }

    fn mount_hugetlbfs(&self, folder: &Path, mode: u32, group: u32) -> io::Result<()> {
        let line = format!("streams {} hugetlbfs rw,gid={group},mode={mode:o},pagesize=2M 0 0\n", folder.display());
        let mounts = self.system().text("/proc/mounts").unwrap_or_default();
        self.file("/proc/mounts", &(mounts + "\n" + &line));
        Ok(())
    }

    fn unmount(&self, folder: &Path) -> io::Result<()> {
        let mounts = self.text("/proc/mounts");
        let kept: Vec<_> = mounts.lines().filter(|line| !line.contains(folder.to_str().unwrap())).collect();
        self.file("/proc/mounts", &kept.join("\n"));
        Ok(())
    }

    fn is_root(&self) -> bool {
        self.devices.borrow().root
    }
}
