//! House rules that a machine can check.

use std::path::{Path, PathBuf};
use std::process::Command;

use streams_tests::repo;

/// Lines that a source file may have before it is two concepts.
const LINES_MAX: usize = 600;

fn tracked(extensions: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("git").arg("-C").arg(repo()).args(["ls-files", "-z"]).output().expect("git is installed");
    let names = String::from_utf8(output.stdout).expect("UTF-8 names");
    let files = names.split('\0').filter(|name| !name.is_empty()).map(|name| repo().join(name));
    files.filter(|file| file.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e))).collect()
}

fn offenders(extensions: &[&str], broken: impl Fn(&Path, &str) -> Option<String>) -> Vec<String> {
    let files = tracked(extensions);
    assert!(!files.is_empty(), "no files found");
    files
        .iter()
        .filter_map(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            broken(file, &text).map(|what| format!("{}: {what}", file.display()))
        })
        .collect()
}

#[test]
fn every_source_file_is_one_concept_long() {
    let long = offenders(&["rs", "ts", "mjs"], |_, text| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{lines} lines"))
    });
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_is_left_undone_in_the_source() {
    // Put together here so that this file does not find itself.
    let marks =
        [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat(), ["unimplemented", "!("].concat()];
    let marked = offenders(&["rs", "ts", "mjs", "sql"], |_, text| {
        let line = text.lines().position(|line| marks.iter().any(|mark| line.contains(mark)))?;
        Some(format!("line {}", line + 1))
    });
    assert!(marked.is_empty(), "{marked:#?}");
}

#[test]
fn unsafe_code_stays_where_it_may_be() {
    let allowed = [
        "rings/",
        "engine/src/backend/",
        "bench/src/allocations.rs",
        "xdp-prog/src/",
        "tests/src/process.rs",
        "tests/tests/tidy.rs",
    ];
    let astray = offenders(&["rs"], |file, text| {
        let name = file.strip_prefix(repo()).ok()?.to_str()?;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn")).count();
        let elsewhere = !allowed.iter().any(|place| name.starts_with(place))
            && !name.contains("/tests/")
            && !name.contains("/benches/");
        (found > 0 && elsewhere).then(|| format!("{found} unsafe blocks"))
    });
    assert!(astray.is_empty(), "{astray:#?}");
}
