//! A network namespace of the test's own, with a veth pair in it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Removed, with everything in it, when dropped.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// `veth0` and `veth1` with two queues each, up, in a new namespace. `None`, said aloud, without the rights.
    pub fn with_veth(test: &str) -> Option<Self> {
        let name = format!("xdp-prog-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output().expect("iproute2 is installed");
        if !made.status.success() {
            super::did_not_run(
                test,
                &format!("no network namespace: {}", String::from_utf8_lossy(&made.stderr).trim()),
            );
            return None;
        }
        let namespace = Self { name };
        namespace
            .ip("link add veth0 numrxqueues 2 numtxqueues 2 type veth peer name veth1 numrxqueues 2 numtxqueues 2");
        for interface in ["lo", "veth0", "veth1"] {
            namespace.ip(&format!("link set {interface} up"));
        }
        Some(namespace)
    }

    /// `ip -n NAME ...`
    pub fn ip(&self, arguments: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(arguments.split(' '));
        let output = command.output().expect("iproute2 is installed");
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `inside` on a thread that is in the namespace.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace exists");
                // SAFETY: a plain system call on an open descriptor; it changes this thread alone.
                let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(result, 0, "setns: {}", std::io::Error::last_os_error());
                inside()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing to be done about a failure here, and a panic would hide the test's own.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// `linux/capability.h`
pub const CAP_NET_ADMIN: u32 = 12;
pub const CAP_PERFMON: u32 = 38;
pub const CAP_BPF: u32 = 39;

/// Leaves the calling thread only these capabilities; with none of them, as the engine is after set-up.
pub fn keep_rights(kept: &[u32]) {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Word {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // _LINUX_CAPABILITY_VERSION_3
    let header = Header { version: 0x2008_0522, pid: 0 };
    let mut words = [Word::default(); 2];
    for &capability in kept {
        let word = &mut words[capability as usize / 32];
        word.effective |= 1 << (capability % 32);
        word.permitted = word.effective;
    }
    // SAFETY: both pointers are to memory of the layout that version 3 asks for; pid 0 is this thread.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const words) };
    assert_eq!(result, 0, "capset: {}", std::io::Error::last_os_error());
}
