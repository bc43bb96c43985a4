//! A testbed of its own for one test.

use std::io::copy;
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;
use streams_harness::{self as harness, Namespace};

/// Two namespaces with a veth pair between them; removed with everything that runs in them when it drops.
pub struct Testbed(harness::Testbed);

impl Deref for Testbed {
    type Target = harness::Testbed;

    fn deref(&self) -> &harness::Testbed {
        &self.0
    }
}

impl Testbed {
    /// The engine's addresses.
    pub const POP_IPV4: IpAddr = harness::Testbed::POP_IPV4;
    /// The same in IPv6.
    pub const POP_IPV6: IpAddr = harness::Testbed::POP_IPV6;

    /// Makes a testbed with so many queues and the options of a bad line, such as `["--loss", "1%"]`; none of these is a good line.
    /// Where the rights are missing, it says that `test` did not run and why.
    pub fn up(test: &str, queues: usize, line: &[&str]) -> Option<Self> {
        if let Err(reason) = harness::Testbed::check() {
            // Where this runs as a gate the rights have to be there.
            assert!(std::env::var_os("CI").is_none(), "{test}: {reason}");
            eprintln!("NOT RUN: {test}: {reason}");
            return None;
        }
        Some(Self(harness::Testbed::up(queues, line).unwrap_or_else(|error| panic!("{error}"))))
    }

    /// What the impairer did so far.
    pub fn counters(&self) -> Value {
        self.0.counters().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Lets the clients reach a loopback port of the engine's side at their own loopback: a browser calls a page secure when it
    /// comes from there.
    pub fn forward_loopback(&self, port: u16) -> Forwarder {
        Forwarder::start(self.net.clone(), self.pop.clone(), port)
    }
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
