//! What the filter and the drop really stop, tried by a process that gives its rights up: this test's own program, started again.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::geteuid;
use rustix::io::Errno;
use streams_config::Seccomp;
use streams_privileges::{Account, drop_capabilities, seccomp};

/// Names what the started process shall try.
const TRY: &str = "STREAMS_TEST_TRY";
/// Exit code of a process that was let do it.
const DONE: i32 = 7;
/// Exit code of a process that was told no.
const REFUSED: i32 = 8;

/// Not a test by itself: what the others start.
#[test]
fn tried() {
    let Ok(what) = std::env::var(TRY) else { return };
    if let Some(user) = what.strip_prefix("outside as ") {
        write_outside(user);
    }
    drop_capabilities().expect("dropped");
    seccomp::confine(if what.starts_with("logged") { Seccomp::Log } else { Seccomp::Kill }).expect("confined");
    let answer = match what.as_str() {
        "execve" => Err(Command::new("/bin/true").exec().to_string()),
        "fork" => Command::new("/bin/true").status().map(drop).map_err(|error| error.to_string()),
        "packet socket" => {
            // SAFETY: plain numbers.
            let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
            if fd < 0 { Err("refused".into()) } else { Ok(()) }
        }
        "ptrace" => {
            // SAFETY: this request has no pointers.
            let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            if traced < 0 { Err("refused".into()) } else { Ok(()) }
        }
        "signal another" => rustix::process::test_kill_process(rustix::process::Pid::INIT).map_err(|e| e.to_string()),
        "executable memory" => map(libc::PROT_READ | libc::PROT_EXEC),
        "memory" => map(libc::PROT_READ | libc::PROT_WRITE),
        "thread" => std::thread::spawn(|| ()).join().map_err(|_| "it panicked".to_owned()),
        "logged execve" => Err(Command::new("/bin/false").exec().to_string()),
        "load program" => bpf(5),
        "read map" => bpf(1),
        "make ring" => ring(libc::SYS_io_uring_setup),
        "enter ring" => ring(libc::SYS_io_uring_enter),
        "change of rights" => rustix::thread::set_no_new_privs(true).map_err(|errno| errno.to_string()),
        other => panic!("{other} is unknown"),
    };
    std::process::exit(if answer.is_ok() { DONE } else { REFUSED });
}

fn map(protection: i32) -> Result<(), String> {
    // SAFETY: a new mapping of one page, which nobody uses.
    let page =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if page == libc::MAP_FAILED { Err("refused".into()) } else { Ok(()) }
}

fn bpf(command: i32) -> Result<(), String> {
    let nothing = [0u8; 128];
    // SAFETY: the kernel reads no more than the length that it is told, and finds no valid descriptor there.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, nothing.as_ptr(), nothing.len()) };
    if done < 0 { Err(Errno::BADF.to_string()) } else { Ok(()) }
}

fn ring(call: libc::c_long) -> Result<(), String> {
    // SAFETY: no descriptor, no pointer, nothing to submit.
    let done = unsafe { libc::syscall(call, -1, 0, 0, 0, 0, 0) };
    if done < 0 { Err("refused".into()) } else { Ok(()) }
}

/// Becomes the user and tries to write where it may and where it may not.
fn write_outside(user: &str) -> ! {
    let scratch = std::env::temp_dir().join(format!("streams-outside-{}", std::process::id()));
    let (data, run_dir) = (scratch.join("data"), scratch.join("run"));
    for folder in [data.join("tls"), data.join("engine"), run_dir.clone()] {
        std::fs::create_dir_all(folder).expect("made");
    }
    for file in ["tls/key.pem", "secret.key", "engine/keys"] {
        let path = data.join(file);
        std::fs::write(&path, "secret").expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
    }
    std::fs::write(data.join("streams.db"), "as an earlier version left it").expect("written");
    std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("closed");
    let account = Account::choose(user, &data).expect("the user exists");
    account.share(&data, &run_dir).expect("shared");
    account.enter().expect("entered");
    seccomp::confine(Seccomp::Kill).expect("confined");
    let write = |path: &Path| OpenOptions::new().append(true).create(true).open(path).map(drop);
    let read = |name: &str| std::fs::read(data.join(name)).map(drop);
    let fine = [read("tls/key.pem"), write(&data.join("engine/groups/lv_1"))];
    let not = [
        write(Path::new("/etc/passwd")),
        write(&data.join("tls/key.pem")),
        write(&data.join("new")),
        write(&run_dir.join("new")),
        read("secret.key"),
        read("engine/keys"),
        read("streams.db"),
    ];
    let _ = writeln!(std::io::stderr(), "{fine:?} {not:?}");
    let kept = fine.iter().all(Result::is_ok) && not.iter().all(Result::is_err);
    std::process::exit(if kept { DONE } else { REFUSED });
}

fn attempt(what: &str) -> Output {
    Command::new(std::env::current_exe().expect("this test is a file"))
        .args(["--exact", "tried", "--nocapture", "--test-threads", "1"])
        .env(TRY, what)
        .output()
        .expect("it starts")
}

#[test]
fn a_call_that_is_not_on_the_list_ends_the_process() {
    let calls = [
        "execve",
        "fork",
        "packet socket",
        "ptrace",
        "signal another",
        "executable memory",
        "load program",
        "make ring",
        "change of rights",
    ];
    for what in calls {
        let output = attempt(what);
        assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{what}: {output:?}");
    }
}

#[test]
fn what_a_running_engine_needs_is_let_through() {
    for (what, code) in [("thread", DONE), ("memory", DONE), ("read map", REFUSED), ("enter ring", REFUSED)] {
        let output = attempt(what);
        assert_eq!(output.status.code(), Some(code), "{what}: {output:?}");
    }
}

#[test]
fn a_logged_call_goes_on() {
    // It becomes /bin/false, which ends with 1.
    let output = attempt("logged execve");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn an_unprivileged_engine_writes_to_its_own_folder_alone() {
    if !geteuid().is_root() {
        eprintln!("NOT RUN: an_unprivileged_engine_writes_to_its_own_folder_alone: needs root");
        return;
    }
    let output = attempt("outside as nobody");
    assert_eq!(output.status.code(), Some(DONE), "{output:?}");
}
