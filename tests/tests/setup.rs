//! `scripts/setup` on machines that lack something: what it plans, what it asks, what it says when it cannot go on.
//!
//! A machine is a folder of stand-ins for apt, rustup, node and the like, and the only folder on PATH. Each of them writes down
//! how it was called, so a test sees what would have been installed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use streams_tests::repo;

/// What the script itself needs of a Debian with nothing added.
const TOOLS: [&str; 23] = [
    "bash",
    "cat",
    "chmod",
    "cmp",
    "cp",
    "cut",
    "dirname",
    "env",
    "grep",
    "head",
    "id",
    "ln",
    "mkdir",
    "mktemp",
    "mv",
    "printf",
    "rm",
    "sed",
    "sha256sum",
    "sh",
    "sort",
    "tr",
    "uname",
];

/// A machine on which everything is there; its checkout has all npm packages.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("streams-setup-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for folder in ["bin", "home", "checkout/scripts", "checkout/sdk/web/node_modules"] {
            fs::create_dir_all(root.join(folder)).expect("made");
        }
        for script in ["setup", "toolchain"] {
            let from = repo().join("scripts").join(script);
            fs::copy(from, root.join("checkout/scripts").join(script)).expect("copied");
        }
        fs::copy(repo().join("Cargo.toml"), root.join("checkout/Cargo.toml")).expect("copied");
        for lock in ["package-lock.json", "node_modules/.streams-lock"] {
            fs::write(root.join("checkout/sdk/web").join(lock), "locked").expect("written");
        }
        let machine = Self { root };
        for tool in TOOLS {
            let found =
                ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(tool)).find(|file| file.exists());
            symlink(found.expect(tool), machine.root.join("bin").join(tool)).expect("linked");
        }
        machine
            .with("dpkg-query", "echo 'install ok installed'")
            .with("apt-cache", "echo '  Candidate: (none)'")
            .with("apt-get", "")
            .with("cargo", "")
            .with("rustc", "echo 'rustc 1.95.0 (0123456789 2026-04-14)'")
            .with("node", "echo v24.1.0")
            .with("npm", "")
    }

    /// Puts a program there that does this.
    fn with(self, name: &str, body: &str) -> Self {
        let file = self.root.join("bin").join(name);
        let calls = self.root.join("calls");
        fs::write(&file, format!("#!/bin/sh\necho {name} \"$@\" >>{}\n{body}\n", calls.display())).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("made executable");
        self
    }

    fn without(self, name: &str) -> Self {
        fs::remove_file(self.root.join("bin").join(name)).expect("removed");
        self
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root.join("checkout")).env_clear();
        command.env("PATH", self.root.join("bin")).env("HOME", self.root.join("home"));
        command
    }

    fn setup(&self, arguments: &[&str]) -> Output {
        self.command("/bin/bash").arg("scripts/setup").args(arguments).output().expect("bash")
    }

    /// How a program of the machine was called, a line each.
    fn calls(&self, name: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.root.join("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.split(' ').next() == Some(name)).map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_machine_that_has_everything_is_left_alone() {
    let machine = Machine::new("complete");
    let planned = machine.setup(&["--plan"]);
    assert_eq!((planned.status.code(), words(&planned).as_str()), (Some(0), "setup: nothing is missing\n"));
    let done = machine.setup(&[]);
    assert_eq!((done.status.code(), words(&done).as_str()), (Some(0), ""));
    assert!(machine.calls("apt-get").is_empty() && machine.calls("npm").is_empty());
}

#[test]
fn what_is_missing_is_named_with_where_it_comes_from() {
    let machine = Machine::new("bare").without("rustc").without("cargo").without("node").with("dpkg-query", "exit 1");
    let planned = machine.setup(&["--plan"]);
    let words = words(&planned);
    assert!(planned.status.success(), "{words}");
    for part in ["Debian packages (apt-get): build-essential", " curl ", " python3-venv", "Node.js 24", "PyPI"] {
        assert!(words.contains(part), "{part} in {words}");
    }
    assert!(words.contains("Rust 1.95 (rustup, from rust-lang.org): into"), "{words}");
    assert!(machine.calls("apt-get").is_empty(), "a plan changes nothing");
}

#[test]
fn compilers_that_are_too_old_count_as_missing() {
    for (rust, node) in [("1.63.0", "v18.20.4"), ("1.94.1", "v20.18.0"), ("1.9.0", "v21.7.0"), ("0.9.0", "v22.11.0")] {
        let machine = Machine::new(&format!("old-{rust}"))
            .with("rustc", &format!("echo 'rustc {rust} (0123456789 2022-08-08)'"))
            .with("node", &format!("echo {node}"));
        let words = words(&machine.setup(&["--plan"]));
        assert!(words.contains("- Rust 1.95") && words.contains("- Node.js"), "{rust}, {node}: {words}");
    }
    for (rust, node) in [("1.95.0", "v20.19.0"), ("1.100.0", "v22.12.0"), ("2.0.0", "v26.0.0")] {
        let machine = Machine::new(&format!("new-{rust}"))
            .with("rustc", &format!("echo 'rustc {rust} (0123456789 2026-08-08)'"))
            .with("node", &format!("echo {node}"));
        assert_eq!(words(&machine.setup(&["--plan"])), "setup: nothing is missing\n", "{rust}, {node}");
    }
}

#[test]
fn a_rustup_that_is_here_or_in_debian_is_preferred_to_a_download() {
    let here = Machine::new("rustup-here").without("rustc").with("rustup", "exit 1");
    let planned = words(&here.setup(&["--plan"]));
    assert!(planned.contains("(rustup, which is here already)"), "{planned}");
    let debian = Machine::new("rustup-debian").without("rustc").with("apt-cache", "echo '  Candidate: 1.28.2'");
    let planned = words(&debian.setup(&["--plan"]));
    assert!(planned.contains("(rustup, from its Debian package)"), "{planned}");
}

#[test]
fn an_older_compiler_of_somebodys_rustup_stays_the_default() {
    // Its stand-in for rustc answers by RUSTUP_TOOLCHAIN, as rustup's own does.
    let machine = Machine::new("beside")
        .with("rustc", "echo \"rustc ${RUSTUP_TOOLCHAIN:-1.80}.0 (0123456789 2024-07-25)\"")
        .with("rustup", "[ -e \"$HOME/installed\" ] || [ \"$1\" != run ] && { [ \"$1 $2\" != 'toolchain install' ] || : >\"$HOME/installed\"; }");
    let done = machine.setup(&[]);
    assert!(done.status.success(), "{}", words(&done));
    let installed: Vec<String> =
        machine.calls("rustup").into_iter().filter(|call| call.starts_with("rustup toolchain install 1.95")).collect();
    assert_eq!(installed.len(), 1, "{installed:?}");
    assert!(!machine.calls("rustup").contains(&"rustup default 1.95".to_owned()));
    assert_eq!(words(&machine.setup(&["--plan"])), "setup: nothing is missing\n", "the next run finds it");
}

#[test]
fn on_a_terminal_no_means_that_nothing_is_changed() {
    let machine = Machine::new("no").with("dpkg-query", "exit 1").with("sudo", "exec \"$@\"");
    // `script` gives it a terminal; what it answers comes from a pipe.
    let ask = |answer: &str, flags: &str| {
        let line = format!("echo {answer} | /usr/bin/script -qec 'bash scripts/setup {flags}' /dev/null");
        machine.command("/bin/sh").args(["-c", &line]).output().expect("sh")
    };
    let refused = words(&ask("n", ""));
    assert!(refused.contains("go on? [Y/n]") && refused.contains("nothing was changed"), "{refused}");
    assert!(machine.calls("apt-get").is_empty(), "{:?}", machine.calls("apt-get"));
    let agreed = words(&ask("y", ""));
    assert!(agreed.contains("go on? [Y/n]") && !agreed.contains("nothing was changed"), "{agreed}");
    assert_eq!(machine.calls("apt-get").len(), 2, "update and install");
    let unasked = words(&ask("n", "--yes"));
    assert!(!unasked.contains("go on?"), "{unasked}");
    assert_eq!(machine.calls("apt-get").len(), 4);
}

#[test]
fn without_a_terminal_it_goes_on() {
    let machine = Machine::new("pipe")
        .with("sudo", "exec \"$@\"")
        .with("dpkg-query", "[ \"$3\" = m4 ] || echo 'install ok installed'");
    let done = machine.setup(&[]);
    assert!(done.status.success(), "{}", words(&done));
    let install = machine.calls("apt-get").pop().unwrap_or_default();
    assert!(install.ends_with("--no-install-recommends m4"), "only what is missing: {install}");
}

#[test]
fn an_unreachable_rust_is_told_with_what_to_do() {
    let machine =
        Machine::new("unreachable").without("rustc").with("curl", "echo 'curl: (6) no such host' >&2; exit 6");
    let failed = machine.setup(&[]);
    let words = words(&failed);
    assert_eq!(failed.status.code(), Some(1), "{words}");
    for part in ["curl: (6)", "Rust 1.95 could not be installed", "https_proxy", "RUSTUP_DIST_SERVER", "run this again"]
    {
        assert!(words.contains(part), "{part} in {words}");
    }
    // A mirror that answers with something else than rustup is not run.
    let body = "for name; do case $name in */rustup-init) echo 'exit 0' >rustup-init ;; *.sha256) echo 0000 >rustup-init.sha256 ;; esac; done";
    let machine = Machine::new("garbled").without("rustc").with("curl", body);
    let failed = machine.setup(&[]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        machine.calls("curl").iter().any(|call| call.contains("static.rust-lang.org")),
        "{:?}",
        machine.calls("curl")
    );
}
