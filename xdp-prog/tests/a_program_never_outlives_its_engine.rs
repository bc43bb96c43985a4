//! Attaching to real interfaces, in network namespaces of the tests' own.

mod support;

use std::ffi::CString;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libbpf_rs::libbpf_sys;
use streams_xdp_prog::{AttachMode, SteeringMode, XdpError, XdpProgram};
use support::netns::{CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, Namespace, keep_rights};
use support::{steering, unbound_xsk, with_rights};

const PATIENCE: Duration = Duration::from_secs(60);
/// Names the interface to the copy of this test that is to be killed.
const HOLD: &str = "STREAMS_XDP_PROG_HOLD";

fn attach(interface: &str, how: AttachMode) -> Result<XdpProgram, XdpError> {
    XdpProgram::attach(interface, &steering(SteeringMode::PerQueue), how)
}

/// Id of the XDP program on an interface of the calling thread's namespace; 0 when there is none.
fn attached(interface: &str) -> u32 {
    let name = CString::new(interface).expect("no NUL in a name");
    let mut id = 0;
    // SAFETY: the name ends in NUL and `id` lives during the calls.
    let result = unsafe {
        let index = libc::if_nametoindex(name.as_ptr());
        libbpf_sys::bpf_xdp_query_id(index as i32, 0, &raw mut id)
    };
    assert_eq!(result, 0, "query of {interface}: {}", std::io::Error::from_raw_os_error(-result));
    id
}

#[test]
fn a_program_is_on_its_interface_until_it_is_dropped() {
    let test = "a_program_is_on_its_interface_until_it_is_dropped";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    namespace.run(|| {
        for (how, native) in
            [(AttachMode::Native, true), (AttachMode::Generic, false), (AttachMode::NativeOrGeneric, true)]
        {
            let Some(program) = with_rights(test, attach("veth0", how)) else { return };
            assert_eq!(program.is_native(), native, "{how:?}");
            assert_ne!(attached("veth0"), 0);
            drop(program);
            assert_eq!(attached("veth0"), 0);
        }
    });
}

#[test]
fn a_second_program_is_refused_with_the_way_out() {
    let test = "a_second_program_is_refused_with_the_way_out";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    namespace.run(|| {
        for first in [AttachMode::Native, AttachMode::Generic] {
            let Some(_program) = with_rights(test, attach("veth0", first)) else { return };
            for second in [AttachMode::Native, AttachMode::Generic, AttachMode::NativeOrGeneric] {
                let error = attach("veth0", second).expect_err("one program an interface");
                assert_eq!(
                    error.to_string(),
                    "another XDP program is attached to veth0: stop what attached it, or remove it with `ip link set \
                     dev veth0 xdp off`"
                );
            }
        }
    });
}

#[test]
fn what_an_interface_cannot_do_is_named() {
    let test = "what_an_interface_cannot_do_is_named";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    namespace.ip("link set veth1 mtu 9000");
    namespace.run(|| {
        let line = |result: Result<XdpProgram, XdpError>| result.expect_err("refused").to_string();
        let unknown = "no network interface `veth7`: `ip link` lists those that exist";
        assert_eq!(line(attach("veth7", AttachMode::Native)), unknown);
        assert!(line(attach("a\0b", AttachMode::Native)).starts_with("no network interface"));
        assert!(line(attach("", AttachMode::Native)).starts_with("no network interface"));

        let Some(program) = with_rights(test, attach("lo", AttachMode::NativeOrGeneric)) else { return };
        assert!(!program.is_native(), "the loopback interface has no driver");
        drop(program);
        assert_eq!(
            line(attach("lo", AttachMode::Native)),
            "the driver of lo has no native XDP: allow generic mode, or use --io udp"
        );
        let refused = line(attach("veth0", AttachMode::Native));
        assert!(
            refused.starts_with("veth0 refuses an XDP program (") && refused.contains("check its MTU"),
            "{refused}"
        );
        assert_eq!((attached("lo"), attached("veth0")), (0, 0), "nothing half-attached");
    });
}

#[test]
fn without_rights_one_line_says_which() {
    std::thread::spawn(|| {
        keep_rights(&[]);
        let error = attach("lo", AttachMode::Generic).expect_err("no rights");
        assert!(matches!(error, XdpError::NoRights), "{error:?}");
        assert!(error.to_string().contains("CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"));
    })
    .join()
    .expect("the thread's own assertions");
}

/// Why a thread of the same namespace with only these rights cannot attach.
fn refusal_with(kept: &[u32]) -> XdpError {
    let attempt = || {
        keep_rights(kept);
        attach("veth0", AttachMode::Native).expect_err("a right is missing")
    };
    std::thread::scope(|scope| scope.spawn(attempt).join()).expect("the thread's own assertions")
}

#[test]
fn the_named_rights_are_enough() {
    let test = "the_named_rights_are_enough";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    namespace.run(|| {
        if with_rights(test, attach("veth0", AttachMode::Native)).is_none() {
            return;
        }
        keep_rights(&[CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN]);
        attach("veth0", AttachMode::Native).expect("attached with these capabilities alone");
        for too_few in [[CAP_BPF, CAP_NET_ADMIN], [CAP_BPF, CAP_PERFMON], [CAP_PERFMON, CAP_NET_ADMIN]] {
            // Rights that were given up do not come back, so each set has a thread of its own.
            let error = refusal_with(&too_few);
            assert!(matches!(error, XdpError::NoRights), "{too_few:?}: {error:?}");
        }
    });
}

#[test]
fn rights_are_needed_only_to_set_up() {
    let test = "rights_are_needed_only_to_set_up";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    namespace.run(|| {
        let Some(program) = with_rights(test, attach("veth0", AttachMode::Native)) else { return };
        let socket = unbound_xsk();
        keep_rights(&[]);
        program.set_socket(1, socket.as_fd()).expect("a place in the map");
        program.counters().expect("counters");
        drop(program);
        assert_eq!(attached("veth0"), 0);
    });
}

#[test]
fn a_socket_of_another_kind_or_beyond_the_map_is_refused() {
    let test = "a_socket_of_another_kind_or_beyond_the_map_is_refused";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    namespace.run(|| {
        let Some(program) = with_rights(test, attach("veth0", AttachMode::Native)) else { return };
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        let error = program.set_socket(0, udp.as_fd()).expect_err("UDP").to_string();
        assert!(error.starts_with("cannot put a socket at index 0: ") && error.contains("AF_XDP"), "{error}");
        let error = program.set_socket(256, unbound_xsk().as_fd()).expect_err("beyond").to_string();
        assert!(error.starts_with("cannot put a socket at index 256: ") && error.contains("below 256"), "{error}");
    });
}

/// The copy of the test that is killed: attaches, says so, and waits for its end.
fn hold(interface: &str) {
    let program = attach(interface, AttachMode::Native).expect("attached in the child");
    println!("attached");
    loop {
        std::thread::park();
        program.counters().expect("still attached");
    }
}

#[test]
fn a_killed_process_leaves_nothing_attached() {
    if let Ok(interface) = std::env::var(HOLD) {
        return hold(&interface);
    }
    let test = "a_killed_process_leaves_nothing_attached";
    let Some(namespace) = Namespace::with_veth(test) else { return };
    if namespace.run(|| with_rights(test, attach("veth0", AttachMode::Native))).is_none() {
        return;
    }
    let mut child = Command::new("ip")
        .args(["netns", "exec", &namespace.name])
        .arg(std::env::current_exe().expect("this test's file"))
        .args(["--exact", test, "--nocapture"])
        .env(HOLD, "veth0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("iproute2 is installed");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    // Ends without the line when the child fails, which the next assertion tells.
    let said = lines.map_while(Result::ok).any(|line| line.contains("attached"));
    let before = namespace.run(|| attached("veth0"));
    // SIGKILL: nothing in the child can clean up.
    child.kill().expect("our child");
    child.wait().expect("our child");
    assert!(said && before != 0, "the child attached its program");
    let start = Instant::now();
    while namespace.run(|| attached("veth0")) != 0 {
        assert!(start.elapsed() < PATIENCE, "the program outlived its process");
        std::thread::yield_now();
    }
}
