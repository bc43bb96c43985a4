//! A testbed of its own for one test: `scripts/testbed` with a name that nobody else has.

use std::io::copy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::{Namespace, binary, repo};

/// Two namespaces with a veth pair between them; removed with everything that runs in them when it drops.
pub struct Testbed {
    name: String,
    /// Where the engine belongs; its interface is `pop0`.
    pub pop: Namespace,
    /// Where the clients belong; their interface is `net0`.
    pub net: Namespace,
}

impl Testbed {
    /// The engine's addresses.
    pub const POP_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    /// The same in IPv6.
    pub const POP_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1));

    /// Makes a testbed with so many queues and the options of a bad line, such as `["--loss", "1%"]`; none of these is a good line.
    /// Where the rights are missing, it says that `test` did not run and why.
    pub fn up(test: &str, queues: usize, line: &[&str]) -> Option<Self> {
        let can = script(&["check"]);
        if !can.status.success() {
            let reason = String::from_utf8_lossy(&can.stderr).trim().to_owned();
            // Where this runs as a gate the rights have to be there.
            assert!(std::env::var_os("CI").is_none(), "{test}: {reason}");
            eprintln!("NOT RUN: {test}: {reason}");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Made before it is up, so that what a failure leaves is removed as well.
        let testbed =
            Self { pop: Namespace::named(&format!("{name}-pop")), net: Namespace::named(&format!("{name}-net")), name };
        let queues = queues.to_string();
        let up = script(&[&["up", "--name", &testbed.name, "--queues", &queues], line].concat());
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        println!("{}", String::from_utf8_lossy(&up.stdout));
        Some(testbed)
    }

    /// Its name for `scripts/testbed --name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the impairer did so far.
    pub fn counters(&self) -> Value {
        let output = script(&["counters", "--name", &self.name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("counters are JSON")
    }

    /// Lets the clients reach a loopback port of the engine's side at their own loopback: a browser calls a page secure when it
    /// comes from there.
    pub fn forward_loopback(&self, port: u16) -> Forwarder {
        Forwarder::start(self.net.clone(), self.pop.clone(), port)
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let down = script(&["down", "--name", &self.name]);
        if !down.status.success() {
            eprintln!("testbed {} is not removed: {}", self.name, String::from_utf8_lossy(&down.stderr));
        }
    }
}

/// Runs `scripts/testbed`.
fn script(arguments: &[&str]) -> Output {
    Command::new(repo().join("scripts/testbed"))
        .args(arguments)
        .env("STREAMS_IMPAIR", binary("streams-impair"))
        .output()
        .expect("scripts/testbed runs")
}

/// Carries TCP connections from a loopback port in one namespace to the same port in another, until it drops.
pub struct Forwarder {
    from: Namespace,
    port: u16,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Forwarder {
    fn start(from: Namespace, to: Namespace, port: u16) -> Self {
        let listener = from.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).expect("the port is free");
        let ending = Arc::new(AtomicBool::new(false));
        let asked = ending.clone();
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if asked.load(Ordering::Relaxed) {
                    return;
                }
                // A refused connection is for the client to see.
                if let Ok(server) = to.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port))) {
                    carry(&client, &server);
                    carry(&server, &client);
                }
            }
        });
        Self { from, port, ending, accepting: Some(accepting) }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = self.from.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Carries one direction on a thread of its own, until either side ends.
fn carry(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) =
        (from.try_clone().expect("a socket can be shared"), to.try_clone().expect("a socket can be shared"));
    std::thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
