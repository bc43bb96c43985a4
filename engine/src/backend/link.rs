//! Two network namespaces and a veth pair between them, for tests.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;

use rustix::process::geteuid;

/// Addresses of the two ends, on `va` and `vb`.
pub(super) const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Removed when it drops.
pub(super) struct Link {
    pub(super) here: String,
    pub(super) there: String,
}

impl Link {
    /// `None`, said by the test's name, without root.
    pub(super) fn new(test: &str, name: &str) -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("NOT RUN: {test}: needs root");
            return None;
        }
        let end = |side| format!("st-{name}-{side}-{}", std::process::id());
        let link = Self { here: end("a"), there: end("b") };
        let Self { here, there } = &link;
        for line in [
            format!("netns add {here}"),
            format!("netns add {there}"),
            format!("link add va netns {here} type veth peer name vb netns {there} address 02:00:00:00:00:02"),
            format!("-n {here} address add {HERE}/24 dev va"),
            format!("-n {there} address add {THERE}/24 dev vb"),
            format!("-n {here} link set va up"),
        ] {
            ip(&line);
        }
        Some(link)
    }

    /// The other end comes up: as a neighbour that answers, or as one that does not.
    pub(super) fn up(&self, answers: bool) {
        let arp = if answers { "on" } else { "off" };
        ip(&format!("-n {} link set vb arp {arp} up", self.there));
        let patience = "echo 60000 > /proc/sys/net/ipv4/neigh/va/retrans_time_ms";
        let set =
            Command::new("ip").args(["netns", "exec", &self.here, "sh", "-c", patience]).status().expect("ip runs");
        assert!(set.success());
    }

    /// From now on the neighbour is known.
    pub(super) fn resolve(&self) {
        ip(&format!("-n {} neighbour replace {THERE} lladdr 02:00:00:00:00:02 dev va", self.here));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for name in [&self.here, &self.there] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a step on a thread of its own inside the namespace.
pub(super) fn inside<R: Send>(namespace: &str, step: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let namespace = File::open(format!("/run/netns/{namespace}")).expect("it was made");
            // SAFETY: an open descriptor; it changes this thread alone.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            step()
        });
        thread.join().expect("as it should be")
    })
}
