//! An engine that cannot have its rings does not start, and says what to change.

use std::collections::BTreeMap;
use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// Starts an engine that nobody prepared anything for; it gets no further than its rings.
fn start(before: &[&str]) -> Output {
    let data = std::env::temp_dir().join(format!("streams-no-rings-{}-{}", before.len(), std::process::id()));
    std::fs::create_dir_all(&data).expect("made");
    let engine = streams_tests::binary("streams-engine");
    let mut words = before.iter().map(AsRef::as_ref).chain([engine.as_os_str()]);
    let output = Command::new(words.next().expect("the engine at least"))
        .args(words)
        .arg("--data")
        .arg(&data)
        .output()
        .expect("it runs");
    let _ = std::fs::remove_dir_all(&data);
    output
}

fn says(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "it ends by itself: {said}");
    for part in parts {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

#[test]
fn too_little_locked_memory_is_named_with_the_limit_and_what_to_do() {
    let limit = ["prlimit", "--memlock=65536:65536"];
    // Whoever may raise its limits does.
    let without_right = ["setpriv", "--bounding-set=-sys_resource"];
    let root = metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let before = if root { [without_right, limit].concat() } else { limit.to_vec() };
    says(&start(&before), &["may lock 65536 bytes", "524288", "LimitMEMLOCK="]);
}

#[test]
fn a_policy_that_forbids_io_uring_is_named() {
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known machine");
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).expect("a filter");
    let filter: BpfProgram = filter.try_into().expect("a program");
    // The filter is this thread's and of all that it starts.
    let output = std::thread::spawn(move || {
        apply_filter(&filter).expect("applied");
        start(&[])
    });
    says(&output.join().expect("it ran"), &["io_uring cannot be used", "policy", "io_uring_setup"]);
}
